"""The bibliography: every work can be found by its identifier, and is named by a chapter, a page or the package.

The file is read here without pybtex, which only the book needs. It has one form: a field a line, in braces.
"""

import ast
import io
import json
import re
import tokenize
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIBLIOGRAPHY = ROOT / "book" / "references.bib"
ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n((?:  \w+ = \{.*\},?\n)+)\}\n?", re.MULTILINE)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
CITATION = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
YEAR = re.compile(r"\((1[89]\d\d|20\d\d)\)")
DOI = re.compile(r"10\.\d{4,9}/\S+")
ARXIV = re.compile(r"(\d\d)(0[1-9]|1[0-2])\.(\d{4}|\d{5})")
URL = re.compile(r"https?://[\w-]+(\.[\w-]+)+(/\S*)?")


@cache
def bibliography():
    """The entries, as pairs of a key and the fields, with the type of the entry under ``type``."""
    text = BIBLIOGRAPHY.read_text("utf-8")
    left = [line for line in ENTRY.sub("", text).splitlines() if line.strip() and not line.startswith("%")]
    assert not left, f"not in the form of the other entries: {left[:5]}"
    found = []
    for kind, key, body in ENTRY.findall(text):
        names = [name for name, _ in FIELD.findall(body)]
        assert len(names) == len(set(names)), f"{key} has a field twice"
        assert all(name.islower() for name in names), f"{key}: names of fields are written small"
        found.append((key, {"type": kind, **dict(FIELD.findall(body))}))
    return found


def plain(text):
    """Letters and digits only, so that two spellings of one title are equal."""
    return "".join(re.findall(r"[a-z0-9]", re.sub(r"\\\W|\\[a-zA-Z]+", "", text).lower()))


def surnames(fields):
    # A name in print: {\"o} and {\'i} without their accents, as the package writes names.
    authors = re.sub(r"\{\\\W(\w)\}", r"\1", fields["author"]).split(" and ")
    return [author.split(",")[0] for author in authors]


def isbn_is_right(isbn):
    """Whether the last of the 13 digits is the check digit of the others."""
    digits = [int(digit) for digit in isbn if digit.isdigit()]
    form = re.fullmatch(r"97[89]-\d+-\d+-\d+-\d", isbn)
    return bool(form) and len(digits) == 13 and sum(digits[::2] + [3 * digit for digit in digits[1::2]]) % 10 == 0


def prose():
    """Markdown of the chapters and pages, by name."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        yield path.name, "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for path in sorted((ROOT / "book").glob("*.md")):
        yield path.name, path.read_text("utf-8")


def cited():
    return {(key.strip(), name) for name, text in prose() for keys in CITATION.findall(text) for key in keys.split(",")}


@cache
def named():
    """What the package's docstrings and comments say before each year in brackets, with the year and the module."""
    found = []
    for path in sorted((ROOT / "vae_tutorial").rglob("*.py")):
        text = path.read_text("utf-8")
        nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
        pieces = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, nodes)]
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        pieces += [token.string for token in tokens if token.type == tokenize.COMMENT]
        for piece in pieces:
            sentences = re.split(r"; |: |\. (?=[A-Z])", " ".join(piece.split()))
            for sentence in sentences:
                for year in YEAR.finditer(sentence):
                    found.append((sentence[: year.start()], year[1], path.name))
    return found


def is_named(fields, before, year):
    """Whether ``before`` ends with the authors of a work of that year: all up to three of them, or one and 'et al.'."""
    authors = surnames(fields)
    listed = authors[0] if len(authors) == 1 else f"{', '.join(authors[:-1])} and {authors[-1]}"
    written = [f"{authors[0]} et al."] if len(authors) > 2 else []
    written += [listed] if len(authors) < 4 else []
    # The title may stand between them and the year, after a comma.
    return year == fields["year"] and any(re.search(rf"\b{re.escape(name)}(,|\s*$)", before) for name in written)


def test_there_are_works():
    assert len(bibliography()) > 50


@pytest.mark.parametrize(("key", "fields"), bibliography(), ids=[key for key, _ in bibliography()])
def test_work_can_be_found(key, fields):
    has = fields.keys() & {"doi", "eprint", "isbn", "url"}
    assert has, "no identifier"
    if "doi" in has:
        assert DOI.fullmatch(fields["doi"]), "the number alone, without an address before it"
    if "eprint" in has:
        assert fields.get("archiveprefix") == "arXiv"
        form = ARXIV.fullmatch(fields["eprint"])
        assert form, "no number of arXiv's"
        assert len(form[3]) == (5 if form[1] >= "15" else 4), "no number of arXiv's"
        # The course's works appeared there at most three years before their venue did.
        assert 0 <= int(fields["year"]) - 2000 - int(form[1]) <= 3, "the number is of another year"
    if "isbn" in has:
        assert isbn_is_right(fields["isbn"])
    if "url" in has:
        assert URL.fullmatch(fields["url"])
    if not has & {"doi", "eprint"}:
        assert fields.get("note"), "neither DOI nor arXiv number: a note says what the address or the ISBN is"
        assert fields["type"] != "incollection", "its style shows no note"


@pytest.mark.parametrize(("key", "fields"), bibliography(), ids=[key for key, _ in bibliography()])
def test_work_is_described(key, fields):
    assert re.fullmatch(r"\d{4}", fields["year"])
    assert 1900 <= int(fields["year"]) <= date.today().year
    assert fields["year"] in key, "a key is surname, year, word of the title"
    for author in fields["author"].split(" and "):
        assert re.fullmatch(r"[^,]+, [^,]+", author), f"{author}: surname, comma, first names"
        assert "others" not in author
        assert "et al" not in author
    venue = {
        "article": {"journal"},
        "inproceedings": {"booktitle"},
        "incollection": {"booktitle", "editor", "publisher"},
        "book": {"publisher"},
        "techreport": {"institution", "number"},
        "misc": set(),
    }
    assert venue[fields["type"]] <= fields.keys()
    assert fields["type"] != "misc" or fields.keys() & {"eprint", "howpublished"}
    if "pages" in fields:
        form = re.fullmatch(r"(\d+)--(\d+)|e?\d+", fields["pages"])
        assert form
        assert form[1] is None or int(form[1]) < int(form[2])
    # The style writes titles small, apart from what is in braces.
    assert not re.search(r"[A-Z]{2}", re.sub(r"\{[^}]*\}", "", fields["title"]))


def test_no_work_stands_twice():
    for what in ("title", "doi", "eprint", "isbn", "url"):
        values = Counter(plain(fields[what]) for _, fields in bibliography() if what in fields)
        assert [value for value, times in values.items() if times > 1] == [], what
    keys = [key for key, _ in bibliography()]
    assert keys == sorted(set(keys)), "sorted by key, each once"


def test_every_citation_has_its_work():
    keys = {key for key, _ in bibliography()}
    assert [f"{name}: {key}" for key, name in sorted(cited()) if key not in keys] == []


def test_every_work_that_the_package_names_is_listed():
    missing = [
        f"{module}: {before} ({year})"
        for before, year, module in named()
        if not any(is_named(fields, before, year) for _, fields in bibliography())
    ]
    assert not missing, "\n".join(missing)


def test_every_work_is_used():
    keys = {key for key, _ in cited()}
    unused = [
        key
        for key, fields in bibliography()
        if key not in keys and not any(is_named(fields, before, year) for before, year, _ in named())
    ]
    assert not unused, f"neither cited by a chapter or page nor named in the package: {unused}"


# The tests of the tests: what they must catch.


def test_isbn():
    assert isbn_is_right("978-0-387-31073-2")
    assert not isbn_is_right("978-0-387-31073-3")
    assert not isbn_is_right("9780387310732")


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("Dempster, Laird and Rubin ", True),
        ("Dempster et al. ", True),
        ("Dempster, Laird and Rubin, Maximum likelihood, second edition ", True),
        ("Dempster and Laird ", False),
        ("Dempster ", False),
        ("Rubin ", False),
    ],
)
def test_names_are_recognized(before, found):
    fields = {"author": "Dempster, Arthur P. and Laird, Nan M. and Rubin, Donald B.", "year": "1977"}
    assert is_named(fields, before, "1977") == found
    assert not is_named(fields, before, "1978")
