"""Each cell of a chapter may be run twice in a row, and none changes the kernel for good.

All chapters are read for the known causes; the cheapest one is run, under a matplotlib backend that shows nothing.
``python tools/notebooks.py twice`` runs all.
"""

import sys
from pathlib import Path

import pytest
from rerun import faults
from test_notebooks import NOTEBOOKS, code_cells, each_notebook, python

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import notebooks  # noqa: E402

# The course's own training loops: a second run trains on, as its reader expects.
TRAINS_ON = ("00-12", "08-18")


@each_notebook
def test_a_second_run_finds_what_the_first_one_found(path):
    found = faults({cell["id"]: python(cell) for cell in code_cells(path)})
    assert [fault for fault in found if not fault.startswith(TRAINS_ON)] == []


WRONG = {
    "gradients off": ("torch.set_grad_enabled(False)",),
    "gradients off, by a function": ("def off():\n    torch.set_grad_enabled(False)",),
    "another dtype": ("torch.set_default_dtype(torch.float64)",),
    "threads": ("torch.set_num_threads(1)",),
    "another folder": ("import os", "os.chdir('..')"),
    "the environment": ("import os", "os.environ['A'] = '1'"),
    "the environment, updated": ("import os", "os.environ.update(A='1')"),
    "sys.path": ("import sys", "sys.path.append('..')"),
    "warnings": ("import warnings", "warnings.filterwarnings('ignore')"),
    "rcParams": ("import matplotlib.pyplot as plt", "plt.rcParams['font.size'] = 20"),
    "rcParams, updated": ("import matplotlib.pyplot as plt", "plt.rcParams.update({'font.size': 20})"),
    "rcParams, by rc": ("import matplotlib.pyplot as plt", "plt.rc('font', size=20)"),
    "a backend": ("import matplotlib", "matplotlib.use('svg')"),
    "a setting of a library": ("torch.backends.cudnn.benchmark = True",),
    "precision": ("torch.set_float32_matmul_precision('high')",),
    "a style": ("import matplotlib.pyplot as plt", "plt.style.use('ggplot')"),
    "a module's own": ("from vae_tutorial import plotting", "plotting.COLORS['p'] = 'red'"),
    "a list of another cell": ("rows = []", "for i in range(3):\n    rows.append(i)"),
    "a list in a dictionary": ("rows = {'a': []}", "rows['a'].append(1)"),
    "lists by a loop": ("a, b = [], []", "for rows in (a, b):\n    rows.append(1)"),
    "lists by a loop over two": ("a, b = [], []", "for rows, i in zip((a, b), (1, 2)):\n    rows.append(i)"),
    "a list, extended": ("rows = [1]", "rows += [2]"),
    "a list in order": ("rows = [2, 1]", "rows.reverse()"),
    "a name made from itself": ("x = torch.ones(3)", "x = 2 * x"),
    "a name by a function": ("x = 1", "def f():\n    return x\ny = f()\nx = y + 1"),
    "a name by a lambda": ("x = 1\nf = lambda: x", "y = f()\nx = y + 1"),
    "a number": ("total = 0", "total += 1"),
    "a weight": ("layer = torch.nn.Linear(2, 2)", "layer.weight.data *= 10"),
    "a weight by its layer": ("net = torch.nn.Linear(2, 2)", "part = net.weight\npart.data.mul_(2)"),
    "weights in a loop": ("net = torch.nn.Linear(2, 2)", "for p in net.parameters():\n    p.data.mul_(2)"),
    "a weight that is set anew": ("net = torch.nn.Linear(2, 2)", "torch.nn.init.normal_(net.weight)"),
    "an element": ("x = torch.ones(3)", "x[0] = 2 * x[0]"),
    "a tensor in place": ("x = torch.ones(3)", "x.detach().exp_()"),
    "a graph": ("x = torch.ones(3, requires_grad=True)\nloss = x.sum()", "loss.backward()"),
    "a model": ("model = make()", "training.fit(model, images)"),
    "a model, by hand": ("model = make()", "optimizer = torch.optim.Adam(model.parameters())"),
    "an iterator": ("pairs = zip(a, b)", "print(list(pairs))"),
    "a generator": ("squares = (i**2 for i in range(3))", "total = sum(squares)"),
    "something deleted": ("x = 1", "del x"),
    "a global": ("x = 1", "def f():\n    global x\n    x = 2"),
    "what a comprehension takes out": ("rows = [1, 2]", "last = [rows.pop() for _ in range(1)]"),
}


@pytest.mark.parametrize("sources", WRONG.values(), ids=WRONG)
def test_a_cell_that_cannot_be_run_twice_is_found(sources):
    cells = {"imports": "import torch\nfrom vae_tutorial import training", **dict(zip("abc", sources, strict=False))}
    found = faults(cells)
    assert len(found) == 1
    assert found[0].startswith("abc"[len(sources) - 1])


RIGHT = {
    "a list where it is filled": ("rows = []\nfor i in range(3):\n    rows.append(i)\nrows += [4]",),
    "a name that is made here": ("x = 1", "x = 2\nx = x + 1\ndel x"),
    "a copy": ("net = make()", "from copy import deepcopy\nmine = deepcopy(net)\nmine.weight.data *= 2"),
    "an entry": ("found = {}", "found['a'] = 1\nfound.setdefault('b', 2)"),
    "weights that are frozen": ("net = make()", "net.requires_grad_(False)"),
    "a sorted copy": ("x = torch.ones(3)", "y = x.sort().values"),
    "a graph of its own": ("x = 1", "y = torch.ones(3, requires_grad=True)\n(x * y).sum().backward()"),
    "no gradients for a while": ("with torch.no_grad():\n    x = 1",),
    "no warnings for a while": (
        "import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')",
    ),
    "a model of its own": ("model = make()\ntraining.fit(model, images)",),
    "an iterator of its own": ("pairs = zip(a, b)\nprint(list(pairs))",),
    "a seed": ("torch.manual_seed(0)",),
    "what a function does to its own": ("def f(n):\n    rows = []\n    rows.append(n)\n    return rows",),
}


@pytest.mark.parametrize("sources", RIGHT.values(), ids=RIGHT)
def test_a_cell_that_can_be_run_twice_is_left_alone(sources):
    cells = {"imports": "import torch\nfrom vae_tutorial import training", **dict(zip("abc", sources, strict=False))}
    assert faults(cells) == []


FIRST = 12  # cells of chapter 1: "make twice" runs all chapters


@pytest.fixture(scope="module")
def ran_twice():
    """The beginning of chapter 1, each cell twice, with an environment whose matplotlib shows no figures."""
    return notebooks.repeated(NOTEBOOKS[1], {"MPLBACKEND": "Agg"}, first=FIRST)


@pytest.mark.process
def test_the_first_cells_run_twice(ran_twice):
    notebook, wrong = ran_twice
    assert wrong == []
    for cell, again in zip(notebook.cells[::2], notebook.cells[1::2], strict=True):
        assert notebooks.texts(cell) == notebooks.texts(again)


@pytest.mark.process
def test_figures_appear_under_a_backend_that_shows_nothing(ran_twice):
    shown = {cell.id for cell in ran_twice[0].cells if any("image/png" in o.get("data", {}) for o in cell.outputs)}
    figures = {cell["id"] for cell in code_cells(NOTEBOOKS[1])[:FIRST] if "mystnb" in cell["metadata"]}
    assert len(figures) >= 2
    assert shown == figures | {f"{name}-again" for name in figures}


@pytest.mark.process
def test_the_tool_says_what_goes_wrong(tmp_path, capsys):
    """An error the second time, and each setting of the process, by the cell that changes it."""
    import nbformat

    sources = {
        "a": "import torch, matplotlib, os, warnings",
        "b": "torch.set_grad_enabled(False)",
        "c": "torch.set_default_dtype(torch.float64)\nos.chdir('..')\nmatplotlib.rcParams['font.size'] = 30",
        "d": "warnings.simplefilter('ignore')",
        "e": "rows = []",
        "f": "rows.append(1)\nassert len(rows) == 1\nprint('alone')",
        "g": "import sys\nprint('oh', file=sys.stderr)",
        "h": "os.environ['HOME'] = '/'",
    }
    cells = [nbformat.v4.new_code_cell(source, id=name) for name, source in sources.items()]
    path = tmp_path / "00_wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert notebooks.twice([path]) == 1
    said = capsys.readouterr().out
    for sentence in (
        "b: gradients are recorded changed",
        "c: torch's dtype changed",
        "c: working folder changed",
        "c: rcParams font.size changed",
        "d: warnings that are shown changed",
        "f-again: AssertionError",
        "g: on stderr: oh",
        "g-again: on stderr: oh",
        "h: environment variable HOME changed",
    ):
        assert sentence in said
    assert not any(quiet in said for quiet in ("\n  a", "\n  e", " f: "))
