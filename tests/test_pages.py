"""The pages round the chapters against what they speak of: the chapters' heads, the package, the ledger."""

import ast
import dataclasses
import itertools
import json
import re
import shlex
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest
import yaml
from PIL import Image

import vae_tutorial
from vae_tutorial import cli, data, ledger

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import clock  # noqa: E402

BOOK = ROOT / "book"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BASE = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["html"]["baseurl"]
MADE = {"requirements.txt"}  # on the branch "running", by book/_ext/editions.py
MODULES = [name for name in vae_tutorial.__all__ if name != "explorers"]
NUMBERS = {"an hour": 60, "a minute": 1, "half an hour": 30, "forty-five minutes": 45, "one minute": 1}
NUMBERS |= {
    f"{word} minutes": value
    for word, value in [
        *(("two", 2), ("three", 3), ("five", 5), ("ten", 10)),
        *(("fifteen", 15), ("twenty", 20), ("thirty", 30)),
    ]
}


def read(path):
    return (ROOT / path).read_text("utf-8")


@cache
def cells(path, kind):
    found = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def exercises():
    """The minutes of every exercise, as its title says them."""
    titles = [
        title
        for path in NOTEBOOKS
        for title in re.findall(r"^```+\{exercise\} (.*)$", "\n".join(cells(path, "markdown")), re.M)
    ]
    said = re.compile("|".join(map(re.escape, NUMBERS)), re.I)
    return [NUMBERS[said.search(title)[0].lower()] for title in titles]


# The landing page and the README


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapters_row_says_what_its_head_says(path):
    head = cells(path, "markdown")[0]
    title = re.match(r"# (.*)\n", head)[1]
    question = re.search(r"^\*\*(.*\?)\*\*$", head, re.M)[1]

    def plain(text):  # the head has formulas, the README plain text where it can
        return re.sub(r"\\(?=log)|\$", "", text)

    link = f"{BASE}notebooks/{path.stem}.html"
    row = next(line for line in read("README.md").splitlines() if f"({link})" in line and line.startswith("|"))
    assert f"[{title}]" in row
    assert plain(question) in plain(row)


def linked_minutes(card):
    """The minutes of what a card links: an evening, a section or a chapter, each as the clock has it."""
    links = re.findall(r"\[([^]]*)\]\(\.\./notebooks/([\w.]+)(?:#([\w-]+))?\)", card)
    assert links
    total = 0
    for text, name, anchor in links:
        path = ROOT / "notebooks" / name
        evening = re.search(r"evening (\d)", text)
        if evening:
            found = clock.evenings(path)[int(evening[1]) - 1]
        else:
            found = clock.section(path, anchor) if anchor else [cell for cell in clock.cells(path) if cell.on_the_road]
        assert found, f"{name} has no section #{anchor}"
        total += clock.factor(path) * clock.minutes(found)
    return total


def said_minutes(text):
    hours, rest = re.search(r"(?:(\d+) h)? ?(?:(\d+) min)? of reading", text).groups()
    return 60 * int(hours or 0) + int(rest or 0)


def test_the_doors_take_as_long_as_what_stands_behind_them():
    cards = re.findall(r":::\{grid-item-card\} ([^\n]*)\n(.*?):::", read("book/index.md"), re.DOTALL)
    assert [title for title, _ in cards] == [
        "Explain the loss to me",
        "Train one now",
        "On my own data",
        "All of it",
    ]
    for title, card in cards[:3]:
        assert said_minutes(card) == pytest.approx(linked_minutes(card), abs=10), title
    chapters = [path for path in NOTEBOOKS if clock.number(path).isdigit()]
    sittings = [minutes for path in chapters for minutes in clock.printed(path)]
    count, hours = re.search(r"(\d+) evenings, (\d+(?:\.5)?) h of reading", cards[3][1]).groups()
    assert int(count) == len(sittings)
    assert float(hours) == pytest.approx(sum(sittings) / 60, abs=0.25)
    count, hours = re.search(r"(\d+) h for the (\d+) exercises", cards[3][1]).groups()[::-1]
    assert int(count) == len(exercises())
    assert int(hours) == pytest.approx(sum(exercises()) / 60, abs=0.5)
    assert f"{count} exercises" in read("CHANGELOG.md")


def said(row):
    return ("≤ " if row.kind == "bound" else "") + f"{row.nats:.0f}"


def test_the_picture_of_the_ledger_shows_the_ledger():
    """`make figures` draws it; it is a file, so that a change of the ledger could be forgotten there."""
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", read("book/_static/ledger.svg"))
    shown = [text for row in ledger.rows() for text in (said(row), row.model)]
    floor = f"≥ {ledger.floor().nats:.1f}"
    unit = ["what it draws", "what a real digit costs, in nats"]
    assert [text for text in drawn if text in unit] == unit
    assert [text for text in drawn if text not in unit] == [*shown, floor, "real digits: the floor for any model"]
    for page in ("book/index.md", "README.md"):
        alt = re.search(r":alt: (.*)|\[!\[(.*?)\]", read(page))[0]
        numbers = [number for number in re.findall(r"\b\d{3}\b", alt) if number != "100"]  # the mixture's
        assert numbers == [f"{row.nats:.0f}" for row in ledger.rows()]
        assert f"{ledger.floor().nats:.1f}" in alt
    with Image.open(BOOK / "_static" / "card.png") as card:
        assert card.size == (1200, 630)


# The package's reference


def test_the_reference_has_every_module_in_reading_order():
    page = read("book/api.md")
    order = re.findall(r"automodule:: vae_tutorial\.(\w+)", page)
    assert sorted(order) == sorted(vae_tutorial.__all__)
    assert re.findall(r"^## (\w+):", page, re.M) == order
    docstring = re.search(r"in this order.*?:\n(.*?)\.\n", vae_tutorial.__doc__, re.S)[1]
    assert re.findall(r"``(\w+)``", docstring) == order
    assert re.findall(r"autoclass:: vae_tutorial\.explorers\.(\w+)", page) == vae_tutorial.explorers.__all__
    listed = re.search(r"in reading order: (.*?)\.\n", read("README.md"))[1]
    assert re.findall(r"`(\w+)`", listed) == order


# The notation


def names_in_code():
    """What the last column of the notation's tables names, without the explanations in brackets."""
    found = []
    for line in read("book/notation.md").splitlines():
        columns = [column.strip() for column in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(columns) == 5 and columns[0].startswith("$"):
            found += re.findall(r"`([^`]+)`", columns[4])
    return found


@cache
def known():
    """Every name that the package or a notebook's code gives to something: variables, arguments, functions, fields."""
    sources = [path.read_text("utf-8") for path in (ROOT / "vae_tutorial").rglob("*.py")]
    sources += [re.sub(r"^(\s*)%.*", r"\1pass", cell, flags=re.M) for path in NOTEBOOKS for cell in cells(path, "code")]
    names = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            names |= {getattr(node, field) for field in ("id", "attr", "arg", "name") if hasattr(node, field)}
    return names


def test_there_are_names_in_the_notation():
    assert len(names_in_code()) > 100


@pytest.mark.parametrize("name", sorted(set(names_in_code())))
def test_a_name_of_the_notation_is_used(name):
    """A dotted name that begins with a module of the package must be there; any other must be given in some code."""
    expression = ast.parse(re.sub(r"^(.*)=(?!=)", r"\1==", name).lstrip("."), mode="eval") if name != "*" else None
    for node in ast.walk(expression) if expression else ():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in MODULES:
            assert hasattr(getattr(vae_tutorial, node.value.id), node.attr), name
        elif isinstance(node, ast.Name | ast.Attribute):
            assert getattr(node, "id", getattr(node, "attr", None)) in known(), name


# The glossary


def test_links_to_the_glossary_reach_a_term_and_each_chapter_has_some():
    terms = {clock.slug(heading) for heading in re.findall(r"^### (.*)$", read("book/glossary.md"), re.M)}
    assert len(terms) > 50
    for path in NOTEBOOKS:
        linked = re.findall(r"\(\.\./book/glossary\.md#([^)]*)\)", "\n".join(cells(path, "markdown")))
        assert len(linked) >= 5, path.name
        assert set(linked) <= terms, path.name
        assert len(set(linked)) == len(linked), f"{path.name} links a term twice"


# Commands and code that a newcomer pastes

PAGES = ["README.md", "CONTRIBUTING.md", "book/setup.md", "book/index.md", "book/api.md", "book/teaching.md"]


def commands():
    """Every command line of the pages, in blocks and in sentences, without its comment."""
    found = []
    for page in PAGES:
        text = read(page)
        for language, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S):
            if language in ("", "bash"):
                found += [(page, line.split("  #")[0].strip()) for line in block.splitlines() if line.strip()]
        found += [(page, line) for line in re.findall(r"`((?:make|python|pip|jupyter|conda) [^`]+)`", text)]
    return found


def test_every_command_of_the_pages_is_one():
    """The targets of make, our own command line, and the files that are named. What is installed, CI tries."""
    targets = set(re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.M)[1].split())
    ours, makes = 0, 0
    for page, line in commands():
        words = shlex.split(line.replace("\\S", "/S").replace("\\a", "/a"))  # Windows' .venv\Scripts
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets | {"..."}, f"{page}: {line}"
            makes += 1
        if "vae_tutorial" in words and words[words.index("vae_tutorial") - 1] == "-m":
            arguments = words[words.index("vae_tutorial") + 1 :]
            if "--help" not in arguments:
                cli.parse(arguments)  # ends the process where it is wrong
            ours += 1
        for option, file in itertools.pairwise(words):
            if option in ("-r", "-c", "-f") and not file.startswith(("-", "import")):
                assert (ROOT / file).is_file() or file in MADE, f"{page}: {line}"
    assert ours > 8
    assert makes > 10


@pytest.mark.parametrize("page", ["README.md", "book/setup.md"])
def test_the_code_of_a_page_runs(page, capsys, monkeypatch):
    """On 2,000 images and for one epoch, which is enough to see that it runs and learns."""

    def few(*args, load=data.load, **kwargs):
        found = load(*args, **kwargs)
        return dataclasses.replace(found, images=found.images[:2000], labels=found.labels[:2000])

    monkeypatch.setattr(data, "load", few)
    for source in re.findall(r"^```python\n(.*?)^```$", read(page), re.M | re.S):
        scope = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", data.StandInWarning)
            exec(source.replace("epochs=10", "epochs=1"), scope)
        if "elbo" in scope:
            assert scope["elbo"].shape == scope["kl"].shape
            assert -543 < scope["elbo"].mean() < -80


def test_the_errors_that_the_setup_page_explains_exist():
    named = set(re.findall(r"`(\w+(?:Error|Warning|Diverged))\b", read("book/setup.md"))) - {"ModuleNotFoundError"}
    assert len(named) >= 6
    own = {"StandInWarning": "data", "DataError": "data", "LedgerError": "ledger", "TrainingDiverged": "training"}
    own |= {"CheckpointError": "training", "PretrainedError": "pretrained"}
    assert named == set(own)
    for name, module in own.items():
        assert issubclass(getattr(getattr(vae_tutorial, module), name), Exception)


def test_the_glossary_lists_its_terms_from_a_to_z():
    page = read("book/glossary.md")
    terms = re.findall(r"^### (.*)$", page, re.M)
    listed = re.search(r"^\*\*From A to Z:\*\* (.*)$", page, re.M)[1]
    links = re.findall(r"\[([^]]+)\]\(#([^)]+)\)", listed)
    assert links == [
        (term, clock.slug(term)) for term in sorted(terms, key=lambda term: re.sub(r"[^\w ]", "", term).lower())
    ]


@pytest.mark.process
def test_the_reference_needs_nothing_that_the_package_needs():
    """What builds the book installs neither the package nor its dependencies; here those it would miss are hidden."""
    pytest.importorskip("sphinx")
    config = yaml.safe_load(read("_config.yml"))["sphinx"]["config"]
    needed = set(re.findall(r'^    "([\w-]+)>=', read("pyproject.toml"), re.M)) - {"scikit-learn"} | {"sklearn", "PIL"}
    assert {"torch", "torchvision", "anywidget", "platformdirs"} < needed
    code = f"""
import sys
from types import SimpleNamespace
from sphinx.ext.autodoc.mock import mock

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {needed!r}:
            raise ImportError(f"{{name}} is not there where the book is built")

# Where the package is installed from this checkout, only its own finder or the folder on the path would find it.
sys.meta_path[:] = [Missing(), *(finder for finder in sys.meta_path if "editable" not in repr(finder).lower())]
sys.path[:] = [{str(BOOK / "_ext")!r}, *(path for path in sys.path if path not in ("", {str(ROOT)!r}))]
import api

api.setup(SimpleNamespace(connect=lambda *arguments: None))
with mock({config["autodoc_mock_imports"]!r}):
    import vae_tutorial

    for name in vae_tutorial.__all__:
        getattr(vae_tutorial, name)
    for name in vae_tutorial.explorers.__all__:
        getattr(vae_tutorial.explorers, name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests")
    assert done.returncode == 0, done.stderr[-1000:]
