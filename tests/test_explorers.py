"""What all explorers have in common: a page without a kernel, without scripts, on a phone, for a screen reader."""

import json
import os
import re
import sys
import types
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
import traitlets
from anywidget._util import enable_custom_widget_manager_once
from explorer_page import STYLES, explorer_page

from vae_tutorial import explorers
from vae_tutorial.explorers import _base

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")

LAYOUT = """() => [...document.querySelectorAll('.vx *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map(e => e.outerHTML.slice(0, 100))"""
SMALL = """() => [...document.querySelectorAll('.vx svg text')]
  .filter(e => parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getCTM().a, e.getCTM().b) < 11)
  .map(e => e.textContent)"""


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('svg text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return boxes.flatMap(([t, a], i) => boxes.slice(i + 1).filter(([, b]) => !apart(a, b)).map(([u]) => [t, u]));
}"""
# Renders the module of the page's explorer for a model that counts, and says how many listeners it leaves behind.
LEFT_BEHIND = """async () => {
  const host = document.querySelector('[data-explorer]');
  const { default: explorer } = await import(`./explorers/${host.dataset.explorer}.js`);
  const heard = [];
  const model = {
    get: key => host.explorer.get(key), set() {}, save_changes() {},
    on: (event, callback) => heard.push([event, callback]),
    off: (event, callback) => heard.splice(heard.findIndex(([e, c]) => e === event && c === callback), 1),
  };
  const el = document.body.appendChild(document.createElement('div'));
  const stop = await explorer.render({ model, el });
  const most = heard.length;
  stop();
  el.remove();
  return [most, heard.map(([event]) => event)];
}"""


@pytest.fixture(scope="module", params=list(explorers._HOMES))
def widget(request):
    return getattr(explorers, request.param)()


def test_bundle(widget):
    bundle, _ = widget._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == f"{type(widget).__name__}()"  # no address: nbval compares it
    assert bundle["text/html"] == type(widget)()._repr_mimebundle_()[0]["text/html"]  # the same in every run
    state = re.search(r'<script type="application/json">(.*?)</script>', bundle["text/html"], re.DOTALL)[1]
    assert json.loads(state)["title"] == widget.title
    # Not one address of another host but the names of XML's languages.
    for text in (widget._esm, widget._css, bundle["text/html"]):
        assert set(re.findall(r"https?://[^\"'\s<]+", text)) <= {
            "http://www.w3.org/1999/xhtml",
            "http://www.w3.org/2000/svg",
        }


def test_module_stands_alone(widget):
    assert not re.search(r"^import ", widget._esm, re.M)
    assert len(re.findall(r"^export default", widget._esm, re.M)) == 1


def test_every_number_has_a_row(widget):
    numbers = widget.numbers()
    assert set(numbers) == {key for key, *_ in widget.rows}
    assert widget.question.endswith("?")
    assert 2 <= len(widget.choices) <= 4
    assert all(label and reply for label, reply in widget.choices)
    assert widget.task.startswith("Now ")


def test_in_colab_the_widget_is_left_to_colab(widget, monkeypatch):
    calls = []
    output = types.ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: calls.append(1)
    output._widgets = types.SimpleNamespace(_installed_url="the manager's address")
    colab = types.ModuleType("google.colab")
    colab.output = output
    for name, module in {"google.colab": colab, "google.colab.output": output}.items():
        monkeypatch.setitem(sys.modules, name, module)
    enable_custom_widget_manager_once.cache_clear()
    for one in (type(widget)(), type(widget)()):
        bundle, metadata = one._repr_mimebundle_()
        assert set(bundle) == {"text/plain", "application/vnd.jupyter.widget-view+json"}
        assert "the manager's address" in str(metadata)
    assert calls == [1]


@pytest.mark.parametrize("theme", STYLES)
@pytest.mark.parametrize("width", [360, 1200])
def test_page(explorer, widget, width, theme):
    page = explorer.open(widget, width, theme)
    assert page.evaluate(LAYOUT) == []
    assert page.evaluate(SMALL) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The table shows what Python computes.
    found, wanted = explorer.numbers(), widget.numbers()
    for key, label, *_ in widget.rows:
        assert found[label] == pytest.approx(wanted[key], rel=1e-4, abs=1e-4), label
    # Whatever can be moved has a name, and every picture says in words what it shows.
    for control in page.locator(".vx :is(input, button, [tabindex])").all():
        assert control.evaluate(
            "e => e.computedName ?? e.labels?.[0]?.textContent ?? e.ariaLabel ?? e.textContent"
        ).strip()
    for picture in page.locator(".vx-picture > :is(svg, canvas)").all():
        assert len(picture.get_attribute("aria-label")) > 20


def test_unknown_names_are_refused(widget):
    kind = type(widget)
    with pytest.raises(TypeError, match=rf"{kind.__name__} has no 'widht'; it has .*\btitle\b"):
        kind(widht=1)
    with pytest.raises(AttributeError, match=rf"{kind.__name__} has no 'widht' to set; it has .*\btitle\b"):
        widget.widht = 1
    assert kind(title="Mine", layout={"width": "50%"}).title == "Mine"


def test_nothing_but_finite_numbers(widget):
    moved = [name for name, trait in widget.traits().items() if isinstance(trait, _base.Number)]
    for name in moved:
        for value in (float("nan"), float("inf"), "1", True, None):
            with pytest.raises(traitlets.TraitError):
                type(widget)(**{name: value})


def test_static_picture_needs_no_style_sheet(widget):
    """What is no <img> is cleaned away in an untrusted notebook, and its labels run together as one text."""
    pictures = re.findall(r'<img [^>]*alt="[^"]{20,}"[^>]* src="data:image/(\w+)[^,]*,([^"]*)">', widget.picture())
    assert re.sub(r"<img [^>]*>|<p>[^<]*</p>", "", widget.picture()) == ""
    for kind, source in pictures:
        if kind == "png":
            continue
        root = ElementTree.fromstring(unquote(source))
        for node in root.iter():
            tag = node.tag.partition("}")[2]
            assert not {"class", "style"} & set(node.attrib)  # there are no rules for them
            if tag in ("path", "circle", "rect"):
                assert re.match(r"none|#", node.get("fill", "")) or node.get("stroke", "").startswith("#"), node.attrib
            elif tag == "text":
                assert float(node.get("font-size")) >= 12
                assert node.get("text-anchor") in ("start", "middle", "end")
    assert "svg" in [kind for kind, _ in pictures]
    assert "In a notebook, run this cell" in widget._page()


def test_labels_of_the_static_picture_are_apart(explorer, widget):
    page = explorer.page
    for source in re.findall(r'src="data:image/svg\+xml,([^"]*)"', widget.picture()):
        page.set_content(unquote(source))
        assert page.evaluate(OVERLAPS) == []


def test_a_second_look_hears_nothing_of_the_first(explorer, widget):
    page = explorer.open(widget)
    most, left = page.evaluate(LEFT_BEHIND)
    assert most > 5
    assert left == []
    # Words that Python sets later are shown, and what a reader moves still moves.
    explorer.set(title="Another title")
    assert page.locator(".vx-title").inner_text() == "Another title"
    before = explorer.numbers()
    page.get_by_role("slider").first.press("ArrowRight")
    assert explorer.numbers() != before


def test_a_finger_that_scrolls_moves_nothing(explorer, widget):
    page = explorer.open(widget, width=390)
    page.add_style_tag(content="body { padding-bottom: 900px }")
    page.get_by_role("radio").first.check()
    picture = page.locator(".vx-picture :is(svg, canvas)").last
    picture.scroll_into_view_if_needed()
    box = page.locator(".vx-picture svg[role=img]").first.bounding_box()
    x, y = box["x"] + 0.7 * box["width"], box["y"] + 40
    page.evaluate(f"window.scrollBy(0, {y - 600})")
    y = page.locator(".vx-picture svg[role=img]").first.bounding_box()["y"] + 40
    before, top = explorer.numbers(), page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)

    def finger(*places):
        for n, (a, b) in enumerate(places):
            kind = "touchMove" if n else "touchStart"
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    finger(*[(x + step, y - 25 * step) for step in range(9)])
    assert page.evaluate("scrollY") > top + 50
    assert explorer.numbers() == before
    assert page.get_by_role("status").inner_text() == widget.task  # it is not answered yet
    page.evaluate(f"window.scrollTo(0, {top})")
    finger(*[(x - 20 * step, y + step) for step in range(6)])
    assert explorer.numbers() != before


def test_prediction_is_answered_after_a_move(explorer, widget):
    for label, answer in widget.choices:
        page = explorer.open(widget)
        reply = page.get_by_role("status")
        assert reply.inner_text() == ""
        page.get_by_label(label, exact=True).check()
        assert reply.inner_text() == widget.task
        page.get_by_role("slider").first.press("ArrowRight")
        assert reply.inner_text() == answer


def test_without_scripts(chromium, widget, tmp_path):
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        css = f"<style>{widget._css}</style>"
        page.set_content(f"<!doctype html><html><body>{css}{widget._repr_mimebundle_()[0]['text/html']}</body></html>")
        assert page.locator(".vx-static :is(svg, img)").first.bounding_box()["width"] > 200
        shown = page.locator(".vx-static").inner_text()
        assert widget.title in shown
        for _, label, *_ in widget.rows:
            assert label in shown
    finally:
        context.close()


def test_accessibility(explorer, widget):
    axe = Path(os.environ.get("AXE_CORE") or "node_modules/axe-core/axe.min.js")
    if not axe.is_file():
        pytest.skip("axe-core not found: npm install axe-core, or set AXE_CORE to the path of axe.min.js")
    for theme in STYLES:
        page = explorer.open(widget, 760, theme)
        page.add_script_tag(path=axe)
        violations = page.evaluate("axe.run()")["violations"]
        assert [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in violations] == [], theme


def test_shared_arithmetic(explorer):
    import torch
    from scipy.stats import kstest

    from vae_tutorial import information

    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        p, q = (torch.rand(6, generator=generator, dtype=torch.float64).square() for _ in "pq")
        p, q = p / p.sum(), q / q.sum()
        assert explorer.call("shared", "entropy", p.tolist()) == pytest.approx(information.entropy(p).item(), abs=1e-9)
        kl = information.kl_divergence(p, q).item()
        assert explorer.call("shared", "kl", p.tolist(), q.tolist()) == pytest.approx(kl, abs=1e-9)
        a, b, s, t = (torch.rand(4, generator=generator, dtype=torch.float64) + 0.3).tolist()
        two = [torch.tensor([v], dtype=torch.float64) for v in (a, s, b, t)]
        wanted = information.gaussian_kl(two[0], 2 * two[1].log(), two[2], 2 * two[3].log()).item()
        assert explorer.call("shared", "gaussianKL", a, s, b, t) == pytest.approx(wanted, abs=1e-9)
    assert explorer.call("shared", "entropy", [1.0, 0.0]) == 0
    assert explorer.call("shared", "logSumExp", [-1000.0, -1001.0]) == pytest.approx(-1000 + 0.3132617)
    draws = explorer.call("shared", "normals", 4000, 3)
    assert kstest(draws, "norm").pvalue > 0.001
    assert draws == explorer.call("shared", "normals", 4000, 3)


def test_a_broken_explorer_leaves_its_picture(chromium, tmp_path):
    with pytest.raises(AssertionError, match="could not be drawn"):
        show_a_broken_one(chromium, tmp_path)


def show_a_broken_one(chromium, folder):
    with explorer_page(chromium, folder) as shown:
        (folder / "explorers" / "kl.js").write_text("export default { render() { throw Error('no'); } }")
        markup = explorers.KLExplorer()._repr_mimebundle_()[0]["text/html"]
        (folder / "x.html").write_text(f"{markup}<script async src=explorers/page.js></script>")
        with shown.page.expect_console_message(lambda message: "could not be drawn" in message.text):
            shown.page.goto(shown.url + "x.html")
        assert shown.page.locator(".vx-static img").is_visible()


def test_scripts_are_written_to_be_read():
    for path in [*_base.STATIC.glob("*.js"), *_base.STATIC.glob("*.css")]:
        text = path.read_text("utf-8")
        assert max(map(len, text.split("\n"))) <= 120, path.name
        assert path.suffix == ".css" or "style:" not in text, path.name  # looks stand in the style sheet


def test_static_files_are_in_the_package():
    assert {path.stem for path in _base.STATIC.glob("*.js")} == {"shared", "page", *explorers._HOMES.values()}


def test_unknown():
    with pytest.raises(AttributeError, match="it has EntropyExplorer"):
        _ = explorers.EntropieExplorer
