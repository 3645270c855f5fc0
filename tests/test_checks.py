"""A check in the book is one line that says what was checked and what came out; its code and output are inside."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
nodes = pytest.importorskip("docutils.nodes")
pytest.importorskip("myst_nb")
SPEC = importlib.util.spec_from_file_location("road", ROOT / "book" / "_ext" / "road.py")
road = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(road)

CODE = """# Check (eq-x): two ways
a = 2
agree("the sum", a, 2.0, within=1e-6)
agree("scaled", a, 2.0, within=a / 9)
below("half", 1, a)"""


def came_out(printed, code=CODE):
    cell = nodes.container("", nodes.container("", nodes.literal_block(code, code)))
    cell += nodes.container("", nodes.literal_block(printed, printed)) if printed else []
    return road.outcome(cell)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("the sum: 2 and 2 agree", "the sum: 2 and 2 agree within 1e-06"),
        ("scaled: 2 and 2 agree\nhalf: 1 < 2", "scaled: 2 and 2 agree; and 1 more"),  # a tolerance that is computed
        ("half: 1 < 2", "half: 1 < 2"),
        ("a table: 3\nhalf, a: third: holds, in all 1,200 pairs\n", "half, a: third: holds, in all 1,200 pairs"),
        ("200 lists, and a code for each", "200 lists, and a code for each"),
        ("", "holds"),
    ],
)
def test_the_outcome_is_what_was_printed(printed, said):
    assert came_out(printed) == said


def test_a_line_of_ipython_is_no_python():
    assert came_out("the sum: 2 and 2 agree", f"%time\n{CODE}") == "the sum: 2 and 2 agree"


def test_each_check_of_the_book_says_what_came_out(built):
    """By the notebooks: as many as have the tag, no two of a page alike, nothing of them outside."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = (built / "notebooks" / f"{path.stem}.html").read_text("utf-8")
        cells = page.split('<div class="cell tag_hide-cell')[1:]
        assert len(cells) == path.read_text("utf-8").count('"hide-cell"'), path.stem
        lines = []
        for cell in cells:
            assert re.match(r'[^>]*>\s*<details class="admonition hide', cell), path.stem
            line = re.search(r"<summary>\s*<p[^>]*>(Check.*?) <span class=\"outcome\">(.+?)</span></p>", cell)
            assert line, cell[:400]
            assert "eq-" not in line[1]
            lines.append(line[0])
        assert len(set(lines)) == len(lines), path.stem
