"""The comparison of "make newer", on two small sites that differ in one thing, or only in what is of no account."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("newer", ROOT / "tools" / "newer.py")
newer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(newer)

NAME = "notebooks/01_first.html"
EQUATION = r"""<div class="math" id="equation-eq-first">
<span class="eqno">(1.1)<a class="headerlink" href="#">#</a></span>
\[ x = 1 \]</div>"""
EXERCISE = """<div class="exercise admonition" id="ex-first">
<p class="admonition-title"><span class="caption-number">Exercise 1.1 </span> (By hand)</p></div>"""
PAGE = f"""<!doctype html><html lang="en"><head><title>First</title><link rel="icon" href="data:,"></head><body>
<nav><details><summary>Contents</summary></details></nav>
<article><section id="first"><h1>First<a class="headerlink" href="#first">#</a></h1>
<p>As <a href="../book/rooms.html#all">the rooms</a> say <span id="id1">[1]</span>.</p>
{EQUATION}
{EXERCISE}
</section></article></body></html>"""
# A newer Sphinx writes a formula in one line, names a section twice, counts citations otherwise, and has its own frame.
LIKE = (
    PAGE.replace("\n\\[ x = 1 \\]", "\\[x = 1\\]")
    .replace('id="id1"', 'id="id2"')
    .replace("<details>", "<details open>")
)
LIKE = LIKE.replace("<h1>", '<span id="1-first"></span><h1>').replace(
    '"headerlink" href="#first"', '"headerlink" href="#1"'
)

CHANGED = {
    "equation": (EQUATION, EQUATION.replace("1.1", "1.2"), ["equation-eq-first has (1.2), not (1.1)"]),
    "exercise": (
        EXERCISE,
        "",
        [
            "0 exercises, not 1",
            "0 boxes, not 1",
            "the label ex-first is lost",
            "ex-first has no number, not Exercise 1.1",
        ],
    ),
    "label": ('id="first"', 'id="second"', ["the label first is lost"]),
    "link": ("#all", "#some", ["the link to ../book/rooms.html#all is lost"]),
    "word": ("the rooms", "no rooms", ["the text has 'First#Asnoroomssay[1]"]),
}


@pytest.fixture
def sites(tmp_path):
    """Two sites with one page each, which can be written anew, and files that Sphinx names as it likes."""
    for site, text in (("old", PAGE), ("new", LIKE)):
        (tmp_path / site / "notebooks").mkdir(parents=True)
        (tmp_path / site / NAME).write_text(text, "utf-8")
        (tmp_path / site / "_static").mkdir()
        (tmp_path / site / "_static" / f"{site}.html").touch()
        for name in ("index", "404"):
            (tmp_path / site / f"{name}.html").write_text('<link rel="icon" href="data:,">', "utf-8")
    return tmp_path / "old", tmp_path / "new"


def test_equal_sites_differ_in_nothing(chromium, sites):
    assert LIKE != PAGE
    assert newer.differences(chromium, *sites) == []


@pytest.mark.parametrize("what", CHANGED)
def test_a_change_is_found(chromium, sites, what):
    old, new, lines = CHANGED[what]
    (sites[0] / NAME).write_text(PAGE, "utf-8")
    assert PAGE.count(old) == 1
    (sites[1] / NAME).write_text(PAGE.replace(old, new), "utf-8")
    found = newer.differences(chromium, *sites)
    for line in lines:
        assert any(entry.startswith(f"{NAME}: {line}") for entry in found), found


def test_a_page_more_or_less_is_found(chromium, sites):
    (sites[1] / NAME).rename(sites[1] / "other.html")
    assert newer.differences(chromium, *sites) == [f"{NAME}: is missing", "other.html: is new"]


def test_another_notebook_is_found(chromium, sites):
    for site, text in zip(sites, ("{}", "{ }"), strict=True):
        (site / "01_first.ipynb").write_text(text, "utf-8")
    assert newer.differences(chromium, *sites) == ["01_first.ipynb: has other bytes"]


def test_what_fails_in_the_browser_is_found(chromium, sites):
    bad = '<img src="none.png" alt="none"><script>console.error("no such function")</script></article>'
    (sites[1] / NAME).write_text(PAGE.replace("</article>", bad), "utf-8")
    found = newer.broken(chromium, sites[1], "/course/")
    for line in (
        "status 404",
        "console error: no such function",
        "0 of 1 formulas are set",
        "a picture that does not load",
    ):
        assert any(entry.startswith(f"{NAME}: {line}") for entry in found), found
    (sites[1] / NAME).write_text(PAGE.replace(EQUATION, ""), "utf-8")
    assert newer.broken(chromium, sites[1], "/course/") == []
