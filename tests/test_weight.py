"""What makes the pages light: one style sheet in the right order, scripts that wait, the search on its page alone."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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
"""


def test_a_page_waits_for_one_style_sheet():
    found = weight.lighten(PAGE, "notebooks/x.html", "book.css")
    assert found.count("stylesheet") == 1
    assert '<meta charset="utf-8" />\n<link rel="stylesheet" href="../_static/book.css" />' in found
    assert '<script defer src="../_static/documentation_options.js' in found
    assert '<script type="module">DOCUMENTATION_OPTIONS' in found
    assert "<script>let other" in found
    assert '<script async="async"' in found
    assert "bootstrap" not in found
    assert "searchindex" not in found


def test_the_page_of_the_search_keeps_its_index():
    assert '<script defer src="../searchindex.js">' in weight.lighten(PAGE, "search.html", "book.css")


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
