"""What makes the pages light: of one style sheet what a page can use, scripts that wait, the search on one page."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))
import sheet  # noqa: E402

SPEC = importlib.util.spec_from_file_location("weight", ROOT / "book" / "_ext" / "weight.py")
weight = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(weight)

PAGE = """<head>
<meta charset="utf-8" />
<link href="../_static/styles/theme.css?digest=1" rel="stylesheet" />
    <link rel="stylesheet" type="text/css" href="../_static/course.css?v=1" />
  <link rel="preload" as="script" href="../_static/scripts/bootstrap.js" />
    <script src="../_static/documentation_options.js?v=1"></script>
    <script>DOCUMENTATION_OPTIONS.pagename = 'x';</script>
    <script>let other = 1;</script>
    <script async="async" src="../_static/explorers/page.js"></script>
    <script src="../searchindex.js"></script>
</head>
<p class="seen" id='own'>
"""
RULES = sheet.parsed('.seen{background:url("a.png")} .set{top:0} .unseen{left:0} .vx{right:0}')
SCRIPTS = {"documentation_options.js": {"set"}, "explorers/kl.js": {"vx"}}


def lightened(page=PAGE, name="notebooks/x.html"):
    return weight.lighten(page, name, "book.css", RULES, SCRIPTS)


def test_a_page_waits_for_nothing():
    found = lightened()
    assert "stylesheet" not in found
    assert '<meta charset="utf-8" />\n<style data-of="../_static/book.css">\n.seen' in found
    assert '<script defer src="../_static/documentation_options.js' in found
    assert '<script type="module">DOCUMENTATION_OPTIONS' in found
    assert "<script>let other" in found
    assert '<script async="async"' in found
    assert "bootstrap" not in found
    assert "searchindex" not in found


def test_a_page_has_the_rules_that_it_or_its_scripts_can_use():
    found = lightened()
    assert '.seen{background:url("../_static/a.png")}' in found
    assert ".set{top:0}" in found
    assert ".unseen" not in found
    assert ".vx" not in found
    assert ".vx{right:0}" in lightened(PAGE + '<div data-explorer="kl">')


def test_the_page_of_the_search_keeps_its_index():
    assert '<script defer src="../searchindex.js">' in lightened(name="search.html")


@pytest.mark.parametrize(
    ("selector", "needed"),
    [
        ("a.b > c#d:not(.e, f[g=')'])::before", {"a", "b", "c", "d"}),
        ("html[data-theme='dark'] .x:is(.y, .z):hover", {"x"}),
        (".sd-p\\:2 +.x", {"sd-p:2", "x"}),
        ("*::-moz-placeholder", set()),
    ],
)
def test_the_words_of_a_selector(selector, needed):
    assert sheet.words(selector) == needed


def test_a_sheet_loses_what_cannot_be_used():
    text = """
    @import "x.css"; :root{--a: 1px; --b: url(data:image/svg+xml;{x}); --c: var(--b)}
    @media (width > 1px) { .a, .b:not(.c) {top: var(--a); content: "};/* no */"} .d{left:0} } /* .a{} */
    @font-face{font-family:"One";src:url(1)} @font-face{font-family:Two;src:url(2)} .a{font:1px One}
    @keyframes on{to{top:0}} @keyframes off{to{top:0}} .b{animation:on 1s} @media print{.d{left:0}}"""
    found = sheet.without_unnamed(sheet.written(sheet.kept(sheet.parsed(text), {"b"})), {"--kept"})
    assert found == (
        '@import "x.css";\n:root{--a: 1px;}\n'
        '@media (width > 1px){\n.b:not(.c){top: var(--a);content: "};/* no */"}\n}\n'
        "@keyframes on{to{top:0}}\n.b{animation:on 1s}\n"
    )
    with pytest.raises(ValueError, match="not closed"):
        sheet.parsed("a{b")


def test_sheets_are_joined_with_their_addresses(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "base.css").write_text("a{background:url(a.png)}")
    (tmp_path / "styles" / "theme.css").write_text(
        '@import "../base.css";b{src:url("../fonts/f.woff2"), url(data:x)} /* said */ .fa-sun:before{content:"1"}'
        '.fa-house:before,.fa-home:before{content:"2"}'
    )
    found = weight.bundled(tmp_path, ["styles/theme.css"])
    assert 'url("a.png")' in found
    assert 'url("fonts/f.woff2"), url(data:x)' in found
    assert "@import" not in found
    less = weight.without_needless(found, {"fa-sun"})
    assert "said" not in less
    assert "fa-sun" in less
    assert "fa-house" not in less


def test_the_order_is_each_page_s():
    assert weight.in_order([("a", "c"), ("a", "b", "c")]) == ["a", "b", "c"]
    assert weight.in_order([("a", "k", "c"), ("a", "b", "c")]) in (["a", "b", "k", "c"], ["a", "k", "b", "c"])
    with pytest.raises(ValueError, match="different orders"):
        weight.in_order([("a", "b"), ("b", "a")])
