"""The figures that explain: what is drawn is what was given, and no text lies on another; the map of concepts."""

import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch

from vae_tutorial import diagrams, plotting

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import figures  # noqa: E402

IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
PRIOR = torch.arange(1.0, 11) / 55
MU, LOGVAR, Z = torch.tensor([[0.7, -1.1], [-4.0, -6.0], [0.6, -1.1]])


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


def story(**changed):
    given = {"z": torch.tensor([7, 0, 9]), "probabilities": IMAGES, "x": IMAGES.round(), "prior": PRIOR}
    return diagrams.story(**(given | changed))


def autoencoder(**changed):
    return diagrams.autoencoder(**({"x": IMAGES[0], "mean": IMAGES[1], "z": Z, "reconstruction": -149.9} | changed))


def vae(**changed):
    given = {"x": IMAGES[0], "mean": IMAGES[1, 0], "mu": MU, "logvar": LOGVAR, "z": Z}
    return diagrams.vae(**(given | {"reconstruction": torch.tensor(-149.9), "kl": torch.tensor(6.2)} | changed))


def bound(log_p=-3.3, reconstruction=-2.9, kl=2.0):
    return diagrams.bound(log_p, reconstruction, kl)


FIGURES = {
    "story": story,
    "story of two kinds": lambda: story(z=[0, 1, 0], prior=[0.25, 0.75], names=["one", "zero"]),
    "story of one draw": lambda: story(z=[0], probabilities=IMAGES[:1, 0], x=IMAGES[:1, 0].round()),
    "autoencoder": autoencoder,
    "autoencoder, far code": lambda: autoencoder(z=torch.tensor([-40.0, 90.0]), reconstruction=-1234.5),
    "vae": vae,
    "vae, far code": lambda: vae(mu=MU * 9, z=MU * 9),
    "bound": bound,
    "bound of a digit": lambda: bound(-153.7, -152.7, 5.3),
    "bound, large KL": lambda: bound(-3.0, -0.2, 30.0),
    "bound, no gap": lambda: bound(-10.0, -8.0, 2.0),
}


def texts(ax):
    ax.figure.canvas.draw()
    return [(text.get_text(), text.get_window_extent()) for text in ax.texts if text.get_text()]


@pytest.mark.parametrize("name", FIGURES)
def test_texts_keep_apart_and_inside(name):
    ax = FIGURES[name]()
    assert ax.figure.get_size_inches()[0] <= 5.2
    found, frame = texts(ax), ax.get_window_extent()
    assert min(text.get_fontsize() for text in ax.texts) >= 11
    for i, (text, box) in enumerate(found):
        assert frame.x0 <= box.x0, f"{text!r} leaves the Axes"
        assert box.x1 <= frame.x1, f"{text!r} leaves the Axes"
        assert frame.y0 <= box.y0, f"{text!r} leaves the Axes"
        assert box.y1 <= frame.y1, f"{text!r} leaves the Axes"
        for other, its in found[i + 1 :]:
            assert not box.overlaps(its), f"{text!r} lies on {other!r}"


@pytest.mark.parametrize("draw", [story, autoencoder, vae])
def test_pictures_are_those_given_in_the_order_of_the_story(draw):
    shown = [torch.tensor(image.get_array()) for image in draw().images]
    if draw is story:
        wanted = [picture[n, 0] for n in range(3) for picture in (IMAGES, IMAGES.round())]
    else:
        wanted = [IMAGES[0, 0], IMAGES[1, 0]]
    assert len(shown) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(shown, wanted, strict=True))


def test_storys_bars_are_the_prior_and_the_drawn_one_is_marked():
    ax = story()
    grey = matplotlib.colors.to_rgb(plotting.COLORS["prior"])
    bars = [patch for patch in ax.patches if patch.get_fill() and patch.get_facecolor()[:3] == grey]
    heights = torch.tensor([bar.get_height() for bar in bars]).view(3, 10)
    assert torch.allclose(heights / heights.sum(1, keepdim=True), PRIOR.expand(3, 10), atol=1e-6)
    for row, (z, mark) in enumerate(zip((7, 0, 9), ax.lines, strict=True)):
        bar = bars[10 * row + z]
        assert mark.get_xdata()[0] == pytest.approx(bar.get_x() + bar.get_width() / 2)
        assert mark.get_ydata()[0] > bar.get_y() + bar.get_height()
        assert [b.get_alpha() for b in bars[10 * row : 10 * row + 10]].index(1) == z


def test_cloud_and_prior_share_a_scale():
    """Read back from the Axes: two circles of radius 1 and 2, and an ellipse of two standard deviations round mu."""
    ax = vae()
    rings = [p for p in ax.patches if isinstance(p, plt.Circle) and not p.get_fill()]
    unit = rings[0].radius
    assert [ring.radius / unit for ring in rings] == pytest.approx([1, 2])
    orange = matplotlib.colors.to_rgba(plotting.COLORS["q"])
    small, large = (torch.tensor(patch.get_xy()) for patch in ax.patches if patch.get_facecolor() == orange)
    low, high = small.aminmax(dim=0)
    assert torch.allclose((low + high) / 2, torch.tensor(rings[0].center).double() + unit * MU, atol=1e-3)
    assert torch.allclose((high - low) / unit, 4 * torch.exp(0.5 * LOGVAR).double(), rtol=1e-2)
    magnified = ((large.amax(0) - large.amin(0)) / (high - low)).mean().item()
    assert f"{magnified:.0f} times as large" in "".join(text for text, _ in texts(ax))


def test_bills_add_up():
    shown = " ".join(text for text, _ in texts(vae())).replace("\N{MINUS SIGN}", "-")
    assert re.findall(r"(-?\d+\.\d) nats", shown) == ["-156.1", "-6.2", "-149.9"]
    shown = " ".join(text for text, _ in texts(autoencoder())).replace("\N{MINUS SIGN}", "-")
    assert re.findall(r"(-?\d+\.\d) nats", shown) == ["-149.9", "-149.9"]
    assert "left out" in shown


@pytest.mark.parametrize("numbers", [(-3.3, -2.9, 2.0), (-153.7, -152.7, 5.3)])
def test_bounds_lengths_are_to_scale(numbers):
    log_p, reconstruction, kl = numbers
    ax = bound(*numbers)
    lengths = torch.tensor([patch.get_width() for patch in ax.patches])
    costs = torch.tensor([-log_p, log_p - reconstruction + kl, -reconstruction, kl])
    assert torch.allclose(lengths / lengths.sum(), costs / costs.sum())
    assert lengths[:2].sum() == pytest.approx(lengths[2:].sum().item())
    shown = " ".join(text for text, _ in texts(ax))
    for nats in (*costs.tolist(), kl - reconstruction):
        assert f"{nats:.2f} nats" in shown


def test_an_axes_may_be_given():
    ax = plt.figure().gca()
    assert diagrams.bound(-3.3, -2.9, 2.0, ax=ax) is ax


@pytest.mark.parametrize(
    ("draw", "wrong", "message"),
    [
        (story, {"z": torch.tensor([7.0, 0.0, 9.0])}, "z must be .* whole numbers from 0 to 9"),
        (story, {"z": torch.tensor([7, 0, 10])}, "z must be .* whole numbers from 0 to 9"),
        (story, {"z": torch.tensor([7, 0])}, "must have the same length"),
        (story, {"prior": PRIOR * 2}, "prior must be probabilities"),
        (story, {"names": ["one", "zero"]}, "names must be 10.*got 2"),
        (story, {"x": IMAGES * 2}, r"x must be in \[0, 1\]"),
        (story, {"probabilities": IMAGES[0, 0]}, r"probabilities must have shape .*got \(28, 28\)"),
        (autoencoder, {"x": IMAGES}, r"x must have shape \(1, H, W\) or \(H, W\); got \(3, 1, 28, 28\)"),
        (autoencoder, {"mean": IMAGES[:, 0]}, "mean must have shape"),
        (autoencoder, {"z": torch.zeros(3)}, r"z must have shape \(2,\); got \(3,\)"),
        (vae, {"logvar": torch.zeros(1, 2)}, "logvar must have shape"),
        (vae, {"kl": -0.1}, "kl must be at least 0"),
        (bound, {"log_p": 0.5}, "-log_p must be positive"),
        (bound, {"reconstruction": 1.0}, "-reconstruction must be positive"),
        (bound, {"kl": 0.0}, "kl must be positive"),
        (bound, {"log_p": -5.0}, "the ELBO, must not exceed log_p"),
    ],
)
def test_wrong_arguments_are_named(draw, wrong, message):
    with pytest.raises(ValueError, match=message):
        draw(**wrong)


# The map of concepts

LABELS = {
    (source, target): figures.lay(relation) for relation in figures.RELATIONS for source, _, target, _ in [relation]
}


def test_map_is_what_its_tool_draws():
    assert figures.MAP.read_text("utf-8") == figures.draw(), "edit tools/figures.py and run it, not the SVG"


def test_relations_join_concepts_and_every_concept_is_joined():
    ends = [end for source, _, target, _ in figures.RELATIONS for end in (source, target)]
    assert set(ends) == set(figures.CONCEPTS)
    pairs = [(source, target) for source, _, target, _ in figures.RELATIONS]
    assert len(set(pairs)) == len(pairs)


def test_maps_links_lead_to_the_chapters_of_their_part():
    links = re.findall(r'<a href="\.\./notebooks/(\w+)\.html" aria-label="([^"]+), chapter (\d+)">', figures.draw())
    assert len(links) == len(figures.CONCEPTS)
    parts = {"Part I.": range(1, 3), "Part II.": range(3, 7), "Part III.": range(7, 13)}
    for (file, name, number), (_, y) in zip(links, (c[1:] for c in figures.CONCEPTS.values()), strict=True):
        assert (ROOT / "notebooks" / f"{file}.ipynb").is_file(), name
        assert file.startswith(f"{int(number):02d}_"), name
        title = next(title for title, _, top, bottom, _ in figures.PARTS if top <= y < bottom)
        assert int(number) in next(chapters for start, chapters in parts.items() if title.startswith(start + " ")), name


def test_page_says_every_relation_in_words_and_no_other():
    page = (ROOT / "book" / "concepts.md").read_text("utf-8")
    drawn = sorted(" ".join(parts[:3]).replace("|", " ").lower() for parts in figures.RELATIONS)
    found = re.findall(r"^- \*\*(.+?)\*\* \*(.+?)\* (?:the )?\*\*(.+?)\*\*.*\(\[chapter \d+\]", page, re.M)
    assert sorted(" ".join(parts).lower() for parts in found) == drawn
    assert len(re.findall(r"^- ", page, re.M)) == len(drawn)
    assert ":file: _static/figures/concepts.svg" in page


def test_map_has_room_for_everything():
    """Boxes and words keep apart and inside, and no line runs through what it does not join."""
    boxes = {name: figures.node(name) for name in figures.CONCEPTS}
    for pair, (_, words) in LABELS.items():
        boxes |= {(*pair, word): figures.box([word], x, y) for word, x, y in words}
    for title, _, top, _, left in figures.PARTS:
        boxes[title] = (left, top + 7, left + len(title) * figures.LETTER, top + 21)
    names = list(boxes)
    for i, name in enumerate(names):
        left, top, right, bottom = boxes[name]
        assert left >= 0, f"{name} leaves the map"
        assert top >= 0, f"{name} leaves the map"
        assert right <= figures.WIDTH, f"{name} leaves the map"
        assert bottom <= figures.HEIGHT, f"{name} leaves the map"
        for other in names[i + 1 :]:
            a, b, c, d = boxes[other]
            assert right <= a or c <= left or bottom <= b or d <= top, f"{name} lies on {other}"
    for pair, (lines, _) in LABELS.items():
        for start, end in lines:
            for name in set(names) - set(pair):
                own = isinstance(name, tuple) and name[:2] == pair
                assert own or figures.clip(start, end, boxes[name]) is None, f"{pair} runs through {name}"
