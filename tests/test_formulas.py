"""Formulas are set when the book is built: what KaTeX makes of them, what holds together, and what a wrong one says."""

import importlib.util
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("py_mini_racer")
nodes = pytest.importorskip("docutils.nodes")
pytest.importorskip("sphinx")
SPEC = importlib.util.spec_from_file_location("formulas", ROOT / "book" / "_ext" / "formulas.py")
formulas = importlib.util.module_from_spec(SPEC)
sys.modules["formulas"] = formulas
SPEC.loader.exec_module(formulas)

MACROS = (("Normal", r"\mathcal{N}"),)


def held(*children):
    """The paragraph of these children after hold_together, with what is held in square brackets and $ for formulas."""
    document = nodes.paragraph("", "", *children)
    formulas.hold_together(SimpleNamespace(builder=SimpleNamespace(format="html")), document, "page")
    for node in list(document.findall(nodes.inline)):
        node.parent.replace(node, nodes.Text(f"[{node.astext()}]"))
    return document.astext()


def formula(tex="$"):
    return nodes.math(tex, tex)


def test_a_formula_has_what_is_seen_and_what_is_spoken():
    found = formulas.set_formula(r"p(x) = \Normal", False, MACROS)
    assert 'class="katex-html" aria-hidden="true"' in found
    assert "<math><mrow><mi>p</mi>" in found
    assert "\\" not in found
    assert "annotation" not in found
    assert "katex-display" not in found
    assert "katex-display" in formulas.set_formula("x", True, MACROS)


@pytest.mark.parametrize("tex", [r"\nosuch", r"\frac{1", r"x_1_2", "é"])
def test_wrong_tex_is_an_error(tex):
    with pytest.raises(ValueError, match="KaTeX parse error"):
        formulas.set_formula(tex, False, MACROS)


def test_a_formula_that_cannot_be_set_is_a_warning_with_its_place(caplog):
    translator = SimpleNamespace(config=SimpleNamespace(formula_macros={}), encode=lambda text: text)
    node = formula(r"\nosuch")
    node.source, node.line = "page.md", 12
    with caplog.at_level(logging.WARNING):
        assert formulas.html(translator, node, display=False) == r"<code>\nosuch</code>"
    [record] = caplog.records
    assert r"\nosuch" in record.getMessage()
    assert "Undefined control sequence" in record.getMessage()
    assert record.location is node


def test_a_condition_bar_stays_with_what_follows():
    assert formulas.set_formula(r"p(x \mid z)", False, ()).count('"katex-base"') == 1
    assert formulas.set_formula(r"p = x", False, ()).count('"katex-base"') == 2


@pytest.mark.parametrize(
    ("tex", "short"), [("p(x)", True), (r"\log p(x \mid z)", True), (r"a = b + c + d + e + f + g + h + i", False)]
)
def test_what_is_short_stays_in_one_line(tex, short):
    assert formulas.is_short(formulas.set_formula(tex, False, ())) == short


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("of ", ". If", "of [$.] If"),
        ("of (", " in", "of [($] in"),
        ("of (", "), as", "of [($),] as"),
        ("the ", "’s mean", "the [$’s] mean"),
        ("the ", "-VAE, which", "the [$-VAE,] which"),
        ("so ", " is", "so $ is"),
        ("so ", "—and", "so $—and"),
        ("the word ", "(x)", "the word $(x)"),
    ],
)
def test_marks_stay_with_their_formula(before, after, said):
    assert held(nodes.Text(before), formula(), nodes.Text(after)) == said


def test_two_formulas_share_their_marks():
    assert held(formula("a"), nodes.Text("), ("), formula("b"), nodes.Text(".")) == "[a),] [(b.]"


def test_other_builders_keep_the_tree():
    document = nodes.paragraph("", "", formula(), nodes.Text("."))
    formulas.hold_together(SimpleNamespace(builder=SimpleNamespace(format="")), document, "page")
    assert [type(node) for node in document] == [nodes.math, nodes.Text]
