"""A figure for the page: what is drawn is where it was, the figure stays as it is, its colours are the page's."""

import base64
import hashlib
import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from vae_tutorial import plotting

ROOT = Path(__file__).resolve().parents[1]
nodes = pytest.importorskip("docutils.nodes")
sys.path.insert(0, str(ROOT / "tools"))
import plots  # noqa: E402


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


def pictures(text):
    """The pictures within a drawing."""
    coded = re.findall(r'href="data:image/png;base64,([^"]*)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in coded]


def on_pictures(text):
    """Those parts of a drawing that keep their colours."""
    parts = ElementTree.fromstring(text).iter()
    return b"".join(ElementTree.tostring(part) for part in parts if part.get("class") == plots.STATIC)


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()


def test_a_line_is_where_it_was():
    figure, ax = plt.subplots(layout="none")
    ax.set(xlim=(0, 4), ylim=(-1, 1), xticks=[], yticks=[])
    x = np.array([0.1, 0.5, 1.25, 3.875])
    ax.plot(x, np.sin(3 * x), color="#12ab34")
    root = ElementTree.fromstring(plots.svg(figure))
    [line] = [e for e in root.iter() if "#12ab34" in e.get("style", "")]
    found = np.array(re.findall(r"-?[\d.]+", line.get("d")), float).reshape(-1, 2)
    expected = ax.transData.transform(np.stack([x, np.sin(3 * x)], 1)) * 72 / figure.dpi
    left, low, right, high = root.get("viewBox").split()
    # The drawing is cut to what is drawn: up to that move, and upside down, it is the same line.
    moved = found * [1, -1] - expected
    assert np.abs(moved - moved.mean(0)).max() < 0.01
    assert found.min() > 0
    assert (found.max(0) < [float(right), float(high)]).all()
    assert left == low == "0"


def test_the_figure_stays_as_it_is_and_a_second_drawing_is_the_same():
    def drawn():
        figure, (left, right) = plt.subplots(1, 2, figsize=(5.2, 2.5))
        left.plot([0, 1], [1, 2], label=r"$\beta = 2$")
        left.legend()
        left.secondary_xaxis("top", functions=(lambda x: 2 * x, lambda x: x / 2))
        plotting.image_grid(torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), ax=right)
        return figure

    figure = drawn()
    assert plots.svg(figure) == plots.svg(figure)
    assert png(figure) == png(drawn())
    assert len(plt.get_fignums()) == 2
    assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert "Course Text" not in matplotlib.rcParams["font.family"]


def test_text_stays_text_in_the_pages_faces(caplog):
    _, ax = plt.subplots()
    ax.set(xlabel="nats per image", ylabel=r"$z_1$ and $\mu$", title="σ of a pixel")
    ax.text(0, 0, "z + 1", family="monospace")
    ax.text(0, 1, "wide", weight="bold")
    ax.text(1, 1, "a step of 0.00125")
    caplog.clear()
    text = plots.svg(ax.figure)
    assert not caplog.records  # of a font that is not found
    assert ">nats per image</text>" in text
    assert ">a step of 0.00125</text>" in text
    assert re.search(r'style="[^"]*font-weight: 700[^"]*"[^>]*>wide<', text)
    assert ">σ of a pixel</text>" in text
    assert re.search(r'style="[^"]*font-style: italic[^"]*">z</tspan>', text)
    assert re.search(r'style="[^"]*font-family: KaTeX_Main[^"]*">μ</tspan>', text)
    assert re.search(r'style="[^"]*font-family: var\(--plot-code\)[^"]*"[^>]*>z \+ 1</text>', text)
    assert not re.search("DejaVu|Course Text|sans-serif", text)


def test_colours_are_those_of_the_page():
    _, ax = plt.subplots()
    ax.plot([0, 1], color="black")
    ax.plot([1, 0], color=plotting.COLORS["kl"])
    ax.text(0, 0, "on white", bbox={"facecolor": "white", "edgecolor": "none"})
    text = plots.svg(ax.figure)
    assert "stroke: currentColor" in text
    assert "stroke: var(--plot-red)" in text
    assert "fill: var(--plot-ground)" in text
    assert not re.search("#000000|#ffffff|#d55e00", text, re.IGNORECASE)


def test_each_colour_of_the_course_has_one_for_each_theme():
    look = (ROOT / "book" / "_static" / "look.css").read_text("utf-8")
    paper = re.search(r"^\.plot,\n\.plot \.on-picture \{(.*?)\}", look, re.MULTILINE | re.DOTALL)[1]
    dark = re.search(r'^html\[data-theme="dark"\] \.plot \{(.*?)\}', look, re.MULTILINE | re.DOTALL)[1]
    assert set(map(str.lower, plotting.COLORS.values())) - {"#777777"} <= set(plots.NAMED)
    for color, name in plots.NAMED.items():
        if name.startswith("var(--plot-") and color != "#ffffff":
            assert f"{name[4:-1]}: {color};" in paper
            assert f"{name[4:-1]}: #" in dark
            assert f"{name[4:-1]}: {color};" not in dark


def test_what_lies_on_a_picture_keeps_its_colours():
    figure, (grid, field, levels) = plt.subplots(1, 3)
    plotting.image_grid(torch.rand(4, 1, 28, 28), ax=grid)
    grid.text(-3, 15, "beside", ha="right")
    grid.text(15, 15, "upon")
    field.imshow(np.eye(5))
    field.plot([0, 4], [0, 4], color="#123456")
    field.set(xlabel="below")
    levels.contourf(np.eye(5), colors=["white", "#abcdef"], levels=[0, 0.5, 1])
    levels.plot([0, 4], [0, 4], color="#654321", label="line")
    levels.legend(loc="center")
    kept = on_pictures(plots.svg(figure))
    assert b"upon" in kept
    assert b"#123456" in kept
    assert b"#654321" in kept
    assert b">line<" in kept
    assert b"beside" not in kept
    assert b"below" not in kept


def test_a_grey_is_a_share_of_the_text_in_the_ground():
    """On paper the same grey."""
    plt.plot([0, 1], color="#cccccc")
    assert "stroke: color-mix(in srgb, currentColor calc(var(--plot-lift) * 20%), var(--plot-ground))" in plots.svg(
        plt.gcf()
    )


def test_what_lies_on_a_bright_fill_is_black_there():
    _, ax = plt.subplots()
    ax.set(xlim=(0, 3), ylim=(0, 2))
    ax.bar([0.5, 1.5], 1.5, color=plotting.COLORS["data"])
    ax.bar([2.5], 1.5, color=plotting.COLORS["data"], alpha=0.3)
    for x, y, name in ((0.5, 1, "upon"), (0.5, 1.8, "above"), (2.5, 1, "pale")):
        ax.text(x, y, name, ha="center")
    ax.plot(1.5, 1.8, "o", ms=30, mfc=plotting.COLORS["data"])
    ax.text(1.5, 1.8, "z", ha="center", va="center")
    ax.annotate("", (0.3, 0.5), (0.7, 0.5), arrowprops={"arrowstyle": "->", "color": "#123456"})
    kept = on_pictures(plots.svg(ax.figure))
    assert b"upon" in kept
    assert b">z<" in kept
    assert b">z<" in kept
    assert b"#123456" in kept
    assert b"above" not in kept
    assert b"pale" not in kept


def test_the_colours_of_a_map_are_exact():
    values = np.linspace(0, 1, 256).reshape(16, 16)
    plt.imshow(values, cmap="Blues")
    [picture] = pictures(plots.svg(plt.gcf()))
    expected = plt.get_cmap("Blues")(values, bytes=True)
    assert np.array_equal(np.frombuffer(picture.convert("RGBA").tobytes(), np.uint8).reshape(16, 16, 4), expected)


def test_pictures_keep_their_pixels():
    figure, ax = plt.subplots()
    digits = torch.randint(0, 256, (2, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    plotting.image_grid(digits, ax=ax)
    [picture] = pictures(plots.svg(figure))
    assert picture.size == (60, 30)
    ink = 255 - np.frombuffer(picture.convert("L").crop((1, 1, 29, 29)).tobytes(), np.uint8).reshape(28, 28).astype(int)
    assert np.abs(ink - digits[0, 0].numpy()).max() <= 1  # the colour map has 256 greys


@pytest.mark.parametrize("draw", [plt.scatter, lambda x, y, c: plt.plot(x, y, ".", color=c)], ids=["scatter", "plot"])
def test_a_cloud_of_points_is_a_path_of_dots(draw):
    x, y = np.random.default_rng(0).normal(size=(2, plots.MANY + 1))
    draw(x, y, c=plotting.COLORS["data"])
    draw([0], [0], c="#123456")
    text = plots.svg(plt.gcf())
    [dots] = [e for e in ElementTree.fromstring(text).iter() if "h0" in e.get("d", "")]
    assert "stroke: var(--plot-light-blue)" in dots.get("style")
    steps = re.findall(r"m(-?\d+)([ -]\d+)h0", dots.get("d"))
    found = np.cumsum(np.array(steps, float), 0) / 10  # from left to right
    [single] = [
        e for e in ElementTree.fromstring(text).iter() if e.tag.endswith("use") and "#123456" in e.get("style", "")
    ]
    moved = (found - [float(single.get("x")), float(single.get("y"))]) * [1, -1]
    figure = plt.gcf()
    figure.savefig(io.BytesIO(), format="png")
    expected = plt.gca().transData.transform(np.stack([x, y], 1)) - plt.gca().transData.transform((0, 0))
    expected *= moved.std(0) / expected.std(0)  # points for pixels, and one layout for another
    distance = np.linalg.norm(moved[:, None] - expected, axis=-1)
    assert distance.min(0).max() < 0.1
    assert distance.min(1).max() < 0.1
    assert not pictures(text)


def test_few_points_and_points_that_are_no_discs():
    plt.scatter(*np.random.default_rng(0).normal(size=(2, plots.MANY)), marker="o")
    assert not re.search(r' d="m[\d -]+h0', plots.svg(plt.gcf()))
    plt.figure()
    plt.scatter(*np.random.default_rng(0).normal(size=(2, plots.MANY + 1)), marker="x")
    text = plots.svg(plt.gcf())
    assert not re.search(r' d="m[\d -]+h0', text)
    assert len(pictures(text)) == 1


def test_a_letter_that_no_font_has_is_an_error():
    plt.title("\N{CYRILLIC SMALL LETTER ZHE}\N{HIRAGANA LETTER A}")
    with pytest.raises(UserWarning, match="HIRAGANA"):
        plots.svg(plt.gcf())


def test_two_figures_of_a_page_share_no_name(tmp_path):
    names = []
    for name in ("fig-a", "fig-b"):
        plt.figure()
        plt.plot([0, 1])
        plots.write(tmp_path / f"{name}.svg", plots.svg(plt.gcf()), b"stored")
        text = (tmp_path / f"{name}.svg").read_text("utf-8")
        own = set(re.findall(r' id="([^"]*)"', text))
        assert own == set(re.findall(r"url\(#([^)]*)\)", text)) | set(re.findall(r'href="#([^"]*)"', text))
        names.append(own)
    assert names[0]
    assert not names[0] & names[1]


def test_the_page_takes_only_the_drawing_of_its_picture(tmp_path, monkeypatch, caplog):
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    monkeypatch.delitem(sys.modules, "plots")
    import plots as extension

    sys.path.pop(0)
    monkeypatch.delitem(sys.modules, "plots")
    monkeypatch.setattr(extension, "FOLDER", tmp_path)
    said = []
    monkeypatch.setattr(extension.logger, "warning", lambda text, **_: said.append(text))
    (tmp_path / "stored.png").write_bytes(b"stored")
    app = SimpleNamespace(builder=SimpleNamespace(format="html"), srcdir=tmp_path)

    def page():
        figure = nodes.figure("", nodes.image(uri="stored.png", alt='A "curve" & a line'), ids=["fig-a"])
        document = nodes.section("", figure)
        extension.draw(app, document, "notebooks/05_elbo")
        return figure[0]

    assert isinstance(page(), nodes.image)
    plots.write(tmp_path / "fig-a.svg", '<svg width="1pt"></svg>', b"another")
    assert isinstance(page(), nodes.image)
    assert [text.split(": ")[0].split("fig-a.svg ")[1] for text in said] == [
        "is missing",
        "is not a drawing of the stored figure",
    ]
    plots.write(tmp_path / "fig-a.svg", '<svg width="1pt"></svg>', b"stored")
    assert page().astext().startswith('<svg role="img" aria-label="A &quot;curve&quot; &amp; a line" class="plot"')
    assert len(said) == 2
    assert hashlib.sha256(b"stored").hexdigest()[:16] in page().astext()
