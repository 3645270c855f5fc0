"""The road through each chapter: what everybody reads, without side rooms, checks and exercises.

tools/clock.py says what stands on it. That a chapter really runs with its rooms and checks taken out, the command
"python tools/notebooks.py road" shows; here it is read off the names that its cells use, and one chapter runs.
"""

import ast
import builtins
import importlib.util
import io
import json
import re
import statistics
import symtable
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[1]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


clock = tool("clock")
NOTEBOOKS = clock.notebooks()
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def python(cell):
    return TransformerManager().transform_cell(cell.source)  # %pip is no Python


def joined(cells):
    return "\n\n".join(cell.source for cell in cells)


# Names: what a cell uses, and who made it


@cache
def names(source):
    """The names that a cell sets for others, and those that it uses and does not set itself."""
    top = symtable.symtable(source, "cell", "exec")
    made = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    used, tables = set(), [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        here = table is top
        used |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (here or s.is_global())}
    return made, used - made - set(dir(builtins)) - {"get_ipython", "display"}


def unknown(path):
    """Names that a cell uses, though a reader who copies what stands open up to there has never seen them made.

    What may be used: of the road its open cells, by all; of a room its own open cells, by the room; what a figure made,
    by figures and checks; what a check made, by nobody else. A name that a room, a figure or a check sets anew is
    theirs from there on: without them it would have another value.
    """
    open_names, drawn, rooms, solved, wrong = set(), set(), {}, set(), []
    for cell in clock.cells(path):
        if cell.kind == "text":
            continue
        made, used = names(python(cell))
        known = open_names | rooms.setdefault(cell.room, set())
        known |= drawn if cell.kind in ("figure", "check") else set()
        known |= solved if cell.exercise else set()
        if used - known:
            wrong.append(f"{cell.id}: {', '.join(sorted(used - known))}")
        if cell.kind in ("check", "figure") or cell.room:
            open_names -= made
        if cell.kind in ("first", "code"):
            (solved if cell.exercise else rooms[cell.room] if cell.room else open_names).update(made)
        elif cell.kind == "figure":
            drawn |= made
    return wrong


@each_notebook
def test_cells_can_be_copied_and_rooms_and_checks_left_out(path):
    assert unknown(path) == []


def test_a_name_out_of_a_fold_is_found():
    made, used = names(
        "import torch\ndef f(x):\n    y = x + z\n    return [y + i for i in range(n)]\nw = f(torch.ones(v))"
    )
    assert made == {"torch", "f", "w"}
    assert used == {"z", "n", "v"}


@pytest.mark.process
def test_a_chapter_runs_with_its_rooms_and_checks_taken_out():
    path = next(path for path in NOTEBOOKS if clock.number(path) == "2")
    assert {cell.kind for cell in clock.cells(path) if cell.room} >= {"text", "code", "check"}
    notebooks = tool("notebooks")
    notebooks.road([path])


# Cells to read


@each_notebook
def test_cells_to_read_neither_plot_nor_assert_and_are_light(path):
    cells = [cell for cell in clock.cells(path) if cell.kind == "code" and not cell.exercise]
    each, lines = [], []
    for cell in cells:
        source = python(cell)
        nodes = list(ast.walk(ast.parse(source)))
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        plots = used & {"plt", "ax", "axes", "fig", "sns"} | set(re.findall(r"plotting\.(?!COLORS)\w+", source))
        assert not plots, f"{cell.id} draws, without a caption: {plots}"
        assert not any(isinstance(node, ast.Assert) for node in nodes), f"{cell.id}: an assertion belongs into a check"
        assert len(cell.source.splitlines()) <= 12, f"{cell.id}: more than 12 lines to read"
        tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.string.strip()]
        tokens = [token.start[0] for token in tokens if token.type != tokenize.COMMENT]
        each.append(len(tokens))
        lines += [tokens.count(line) for line in set(tokens)]
    assert statistics.median(each) <= 120
    if clock.number(path) != "0":  # whose lines are those that everybody has seen
        assert sorted(lines)[int(0.9 * len(lines))] <= 22


# Rooms


@each_notebook
def test_a_room_says_what_is_in_it_and_ends_where_it_says(path):
    seen = ""
    for cell in (cell for cell in clock.cells(path) if cell.kind == "text"):
        found = [(level, cell.source[at:].split("\n")[0]) for at, level in clock.headings(cell.source)]
        assert not any(clock.ROOM.match(line) for _, line in found[1:]), f"{cell.id}: a room begins a cell"
        if cell.room and cell.room != seen:
            (level, heading), *found = found
            promise = cell.source.split(heading)[1].strip().split("\n\n")[0]
            assert heading.endswith(cell.room), f"{cell.id}: a room begins a cell"
            assert 3 <= len(promise.split()) <= 25, f"{cell.id}: {len(promise.split())} words of promise: {promise}"
            assert not re.match(r"[`:$#|-]", promise), f"{cell.id}: the promise is a sentence"
            assert "](" not in promise, f"{cell.id}: a promise opens its room, so it cannot be a link as well"
            assert cell.source.rstrip().endswith(promise), f"{cell.id}: JupyterLab folds the cells below, not this one"
        if cell.room:
            assert all(depth > level for depth, _ in found), f"{cell.id}: a room ends where a cell begins"
        seen = cell.room


def labels(path):
    """The labels of the equations and figures in a notebook's rooms."""
    inside = {cell.id: cell for cell in clock.cells(path) if cell.room}
    text = joined(cell for cell in inside.values() if cell.kind == "text")
    found = set(re.findall(r"\((eq-[\w-]+)\)$", text, re.MULTILINE))
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["id"] in inside and "figure" in cell["metadata"].get("mystnb", {}):
            found.add(cell["metadata"]["mystnb"]["figure"]["name"])
    return found


def test_the_road_refers_to_nothing_in_a_room():
    inside = set().union(*map(labels, NOTEBOOKS))
    wrong = []
    for cell in (cell for path in NOTEBOOKS for cell in clock.cells(path)):
        if cell.on_the_road and cell.kind == "text":
            named = set(re.findall(r"\{(?:eq|numref)\}`([\w-]+)`", cell.source))
            wrong += [f"{cell.id} refers to {label}" for label in named & inside]
            links = re.findall(r"\[([^]]*)\]\([^)]*#for-the-curious[^)]*\)", cell.source)
            wrong += [f"{cell.id}: [{text}] leads into a room" for text in links if "proof" not in text]
    assert not wrong


# Evenings


@each_notebook
def test_evenings_are_short_begin_with_a_question_and_end_in_a_box(path):
    each = clock.printed(path)
    assert max(each) <= clock.LIMIT, each
    for evening, cells in enumerate(clock.evenings(path)):
        text = [cell.source for cell in cells if cell.kind == "text"]
        opening = "\n".join(text[:3])
        assert ":class: predict" in opening, f"evening {evening + 1} does not open with a question"
        choices = re.findall(r"^```\{dropdown\} .+\n(.*)$", opening, re.MULTILINE)
        assert 2 <= len(choices) <= 4, f"evening {evening + 1}: its question has {len(choices)} choices"
        assert sum(reply.startswith("Yes") for reply in choices) == 1, choices
        assert all(reply.startswith(("Yes", "No")) for reply in choices), choices
        box = re.compile(r"\{admonition\} ([^\n]*)\n:class: evening\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        boxes = box.findall("\n".join(text))
        assert len(boxes) == 1, f"evening {evening + 1}"
        title, box = boxes[0]
        assert title == "You may stop here"
        for part in ("**The answer:**", "**To remember:**", "**Next evening:**"):
            assert part in box
        said = re.search(r"\*\*Next evening:\*\* .*?(\d+) minutes", box)
        if evening + 1 < len(each):
            assert said
            assert int(said[1]) == each[evening + 1]
        elif said:
            following = NOTEBOOKS[NOTEBOOKS.index(path) + 1]
            assert int(said[1]) == clock.printed(following)[0], "of the next chapter's first evening"


@each_notebook
def test_a_head_says_what_the_clock_says(path):
    text = clock.cells(path)[0].source
    assert f"**Reading** takes {clock.head(clock.printed(path))}, **running**" in text, clock.head(clock.printed(path))


def test_the_clock_reads_as_it_says():
    text = "one two\n\n$$\na + b\n$$ (eq-x)\n\n```{admonition} three\n:class: predict\nfour\n```"
    cells = [clock.Cell("", "text", text, "", False, 0), clock.Cell("", "code", "a = 1\n\nb = 2", "", False, 0)]
    cells.append(clock.Cell("", "figure", "c = 3", "", False, 0))
    assert clock.minutes(cells) == pytest.approx(3 / 140 + 1 + 2 / 15)
    assert clock.head([35, 20]) == "about 55 minutes, in two evenings of 35 and 20"
