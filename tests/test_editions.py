"""The editions for running, as hosts render them: the page's numbers, nothing of MyST, and no solution in sight.

Their Markdown goes through marked, which JupyterLab and Colab use, and their formulas through MathJax without the
book's own macros. The pages of the same build say what must be there. Run "make book" first.
"""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import yaml
from browser import serve

from vae_tutorial.exercises import catalogue

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
SITE, REPOSITORY = CONFIG["html"]["baseurl"], CONFIG["repository"]["url"]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARKED = ROOT / "tests" / "vendor" / "marked" / "marked.umd.js"
MATHJAX = ROOT / "tests" / "vendor" / "mathjax" / "tex-chtml.js"
SPEC = importlib.util.spec_from_file_location("plain", ROOT / "book" / "_ext" / "plain.py")
plain = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plain)

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
with_book = pytest.mark.usefixtures("built")

# What JupyterLab does with a Markdown cell: put formulas aside, parse, put them back, set them. Answered for each cell:
# what is seen before anything is unfolded, what is folded, formulas with TeX's errors, headings, addresses.
RENDER = r"""cells => cells.map(text => {
  const formulas = [];
  const aside = text.replace(/(`+)(?!`)[^]+?(?<!`)\1(?!`)|\$\$[^]+?\$\$|\$[^$]+\$/g, found => {
    if (found[0] === "`") return found;
    formulas.push(found);
    return `@@${formulas.length - 1}@@`;
  });
  const box = document.createElement("div");
  box.innerHTML = marked.parse(aside);
  const wrong = formulas.flatMap(formula => {
    const mml = MathJax.tex2mml(formula.replace(/^\$+|\$+$/g, ""), { display: formula.startsWith("$$") });
    const error = /<merror[^>]*?data-mjx-error="([^"]*)"/.exec(mml);
    return error ? [`${error[1]}: ${formula}`] : mml.includes("<merror") ? [formula] : [];
  });
  const tags = formulas.flatMap(formula => [...formula.matchAll(/\\tag\{([^}]*)\}/g)].map(found => found[1]));
  const set = formulas.filter((_, i) => box.textContent.includes(`@@${i}@@`)).length;
  const links = [...box.querySelectorAll("a")].map(a => a.getAttribute("href"));
  const headings = [...box.querySelectorAll("h1, h2, h3")].map(h => h.textContent);
  for (const code of box.querySelectorAll("code:not(.language-text)")) code.remove();
  const folded = [...box.querySelectorAll("details")].map(details => {
    const text = details.textContent.replace(details.querySelector("summary").textContent, "");
    return [details.open, text];
  });
  for (const details of box.querySelectorAll("details")) details.replaceWith(details.querySelector("summary"));
  return { seen: box.textContent, folded, formulas: formulas.length, set, tags, wrong, headings, links };
})"""


def edition(path):
    return json.loads((HTML / "running" / path.name).read_text("utf-8"))


def text(cell):
    return "".join(cell["source"])


def solved(path):
    """The code cells of a chapter's source that belong to solutions."""
    inside, found = False, []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code" and inside:
            found.append(cell)
        for mark in re.findall(r"\{solution-(start|end)\}", text(cell)) if cell["cell_type"] == "markdown" else ():
            inside = mark == "start"
    assert not inside
    return found


def page(path):
    """The article of the page of the same chapter."""
    found = (HTML / "notebooks" / f"{path.stem}.html").read_text("utf-8")
    return found[found.index("<article") : found.index("</article>")]


def without_tags(html):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", html))).strip()


@pytest.fixture(scope="module")
def host(built, chromium):
    """A page with marked and MathJax, which other hosts have, that renders a list of Markdown cells."""
    blank = '<!doctype html><script>MathJax = { tex: { packages: { "[-]": ["noundefined"] } } }</script><body>'
    with serve(built, "/") as site:
        tab = chromium.new_page()
        tab.route(f"{site}blank.html", lambda route: route.fulfill(body=blank, content_type="text/html"))
        tab.goto(f"{site}blank.html")
        tab.add_script_tag(path=str(MARKED))
        tab.add_script_tag(path=str(MATHJAX))
        tab.evaluate("async () => { await MathJax.startup.promise }")
        yield lambda cells: tab.evaluate(RENDER, [text(cell) for cell in cells])
        tab.close()


@with_book
@each_chapter
def test_an_edition_shows_what_its_page_shows(host, path):
    cells = [cell for cell in edition(path)["cells"] if cell["cell_type"] == "markdown"]
    rendered, there = host(cells), page(path)
    everything = [part for cell in rendered for part in (cell["seen"], *(text for _, text in cell["folded"]))]

    # Nothing of MyST, and no TeX outside formulas.
    for part in everything:
        left = re.search(r"\{[\w:-]+\}`|`{3}|:::|\((?:eq|fig|ex)-[\w-]+\)|\[\^|</?\w+>|\$|\\[a-zA-Z]{2,}|\*\*", part)
        assert not left, part[max(left.start() - 60, 0) : left.end() + 60]
    assert not [wrong for cell in rendered for wrong in cell["wrong"]]
    assert all(cell["set"] == cell["formulas"] for cell in rendered), "a formula was lost on the way"

    # Numbers: equations, figures, exercises, in order; formulas and citations, counted.
    numbers = re.findall(r'class="eqno">\((\w+\.\d+)\)', there)
    assert [tag for cell in rendered for tag in cell["tags"]] == numbers
    figures = re.findall(r'class="caption-number">(Figure \w+\.\d+)', there)
    assert re.findall(r"^(Figure \w+\.\d+)\. ", "\n".join(everything), re.MULTILINE) == figures
    exercises = re.findall(
        r'<p class="admonition-title"><span class="caption-number">(Exercise \w+\.\d+) ?</span>', there
    )
    headings = [heading for cell in rendered for heading in cell["headings"]]
    assert [h.partition(". ")[0] for h in headings if h.startswith("Exercise ")] == exercises
    assert exercises
    assert figures
    titles = [html[: html.index("</p>")] for html in there.split('<div class="solution')[1:]]
    again = sum(title.count('class="math') for title in titles)  # where it repeats its exercise's formula
    assert sum(cell["formulas"] for cell in rendered) == there.count('class="math notranslate') - again
    cited = [link for cell in rendered for link in cell["links"] if "/book/bibliography.html#" in link]
    assert len(cited) == len(re.findall(r'href="\.\./book/bibliography\.html#', there))


@with_book
@each_chapter
def test_no_solution_is_seen_before_it_is_opened(host, path):
    new = {cell["id"]: cell for cell in edition(path)["cells"]}
    rendered = host([cell for cell in new.values() if cell["cell_type"] == "markdown"])
    assert not [text for cell in rendered for is_open, text in cell["folded"] if is_open]
    seen = re.sub(r"@@\d+@@|\W", "", "".join(cell["seen"] for cell in rendered))
    shown = page(path).split('<div class="solution')[1:]
    assert shown
    for html in shown:
        # Some stretches of plain words of the page's solution may stand elsewhere too, but not all.
        parts = re.split(r"<[^>]*>", html[html.index("</p>") : html.index("</div>")])
        stretches = [re.sub(r"\W", "", unescape(part)) for part in parts]
        hidden = [words not in seen for words in stretches if len(words) > 12]
        assert any(hidden) or not hidden, stretches
    # Their code is folded with them, as VS Code and "Run all" unfold what is in a code cell.
    folded = "".join(text for cell in rendered for _, text in cell["folded"])
    for cell in solved(path):
        assert cell["id"] not in new
        for output in cell["outputs"]:
            assert "text" not in output or "".join(output["text"]).rstrip() in folded


@with_book
@each_chapter
def test_code_is_the_source_s_and_what_is_folded_there_is_folded_here(path):
    book, old = edition(path), json.loads(path.read_text("utf-8"))["cells"]
    folded = [cell["id"] for cell in solved(path)]
    source = {cell["id"]: cell for cell in old if cell["cell_type"] == "code" and cell["id"] not in folded}
    code = {cell["id"]: cell for cell in book["cells"] if cell["cell_type"] == "code"}
    added = [code.pop(name) for name in set(code) - set(source)]
    assert list(code) == list(source)
    exercises = "".join(text(cell) for cell in old if cell["cell_type"] == "markdown")
    labels = re.findall(r"^```\{exercise\}.*\n:label: (.*)$", exercises, re.MULTILINE)
    several = re.findall(r"^```\{solution-start\} (.*)$", exercises, re.MULTILINE)
    numbers = {label: catalogue.number(label) for label in labels}
    boxes = re.findall(r"^:class: predict\n:name: (.*)$", exercises, re.MULTILINE)
    numbers |= {name: name for name in boxes}
    asked = {f'ask("{number}")' for label, number in numbers.items() if catalogue.fields(label)}
    checked = {label: catalogue.entries(label, "code") for label in several}
    assert {text(cell).splitlines()[-1] for cell in added if "import ask" in text(cell)} == asked
    stubs = {tuple(re.findall(r"^check\(.*\)$", text(cell), re.M)) for cell in added if "import check" in text(cell)}
    assert stubs == {
        tuple(f'check("{numbers[k]}", {e["name"]})' for e in found) for k, found in checked.items() if found
    }
    assert len(added) == len(asked) + len(several)
    for cell in added:
        ast.parse(text(cell))
    for name, cell in code.items():
        assert cell["metadata"]["id"] == name  # what Colab calls a cell
        assert cell["outputs"] == source[name]["outputs"]
        was, is_check = text(source[name]), text(source[name]).startswith("# Check")
        body = text(cell)
        if "cellView" in source[name]["metadata"]:
            title, _, body = body.partition("\n")
            assert title.startswith("#@title Check" if is_check else "#@title ")
            assert cell["metadata"]["cellView"] == "form"
            hidden = {"source_hidden": True} | ({"outputs_hidden": True} if is_check else {})
            assert cell["metadata"]["jupyter"] == hidden
        else:
            assert "#@title" not in body
            assert set(cell["metadata"]) == {"id"}
        was = was.partition("\n")[2] if is_check else was
        numbered = re.sub(r"\\\(eq\\-.*?\\\)", r"\\(\\w+\\.\\d+\\)", re.escape(was))
        assert re.fullmatch(numbered, body)
    rooms = [cell["id"] for cell in book["cells"] if re.match(r"#+ For the curious: ", text(cell))]
    assert book["metadata"]["colab"]["collapsed_sections"] == rooms
    for cell in book["cells"]:
        assert cell["metadata"].get("jp-MarkdownHeadingCollapsed", False) == (cell["id"] in rooms)
    assert text(book["cells"][0]).startswith("# ")
    assert f"{SITE}notebooks/{path.stem}.html" in text(book["cells"][0])


@with_book
def test_links_of_the_editions_lead_to_pages_and_places_that_exist():
    places = {}
    for path in CHAPTERS:
        for cell in edition(path)["cells"]:
            if cell["cell_type"] != "markdown":
                continue
            words = re.sub(r"```.*?```|`[^`]*`", "", text(cell), flags=re.DOTALL)
            for url in re.findall(r"\]\(([^)\s]+)\)", words):
                if url.startswith("data:image/png;base64,"):
                    continue
                if not url.startswith(SITE):
                    assert re.match(r"https?://[\w.-]+/", url), url
                    continue
                file, _, anchor = url.removeprefix(SITE).partition("#")
                where = HTML / (file or "index.html")
                assert where.is_file(), f"{path.name}: {url}"
                if where not in places:
                    places[where] = set(re.findall(r'id="([^"]+)"', where.read_text("utf-8")))
                assert not anchor or anchor in places[where], f"{path.name}: {url}"
    assert len(places) > len(CHAPTERS)


# The doors


@with_book
@pytest.mark.parametrize("path", [CHAPTERS[0], CHAPTERS[8], CHAPTERS[-1]], ids=lambda path: path.stem)
def test_every_button_of_a_chapter_leads_to_its_edition(chromium, path):
    """Other hosts are stubs, which answer with what GitHub's branch would give them."""
    slug = REPOSITORY.removeprefix("https://github.com/")
    opened = []

    def stub(route):
        url = route.request.url
        found = re.search(rf"{slug}/(?:blob/)?running(?:/|\?urlpath=lab/tree/)([\w.]+)$", url)
        opened.append((url.split("/")[2], found and (HTML / "running" / found[1]).is_file()))
        route.fulfill(body="a host's page")

    with serve(HTML, "/") as site:
        context = chromium.new_context(accept_downloads=True)
        context.route(re.compile(r"https://"), stub)
        tab = context.new_page()
        tab.goto(f"{site}notebooks/{path.stem}.html")
        for name in ("Binder", "Colab"):
            tab.get_by_label("Launch interactive content").click()
            with context.expect_page() as other:
                tab.locator(f"a.dropdown-item:has-text('{name}')").click()
            other.value.close()
        tab.get_by_label("Download this page").click()
        with tab.expect_download() as download:
            tab.locator("a.dropdown-item:has-text('notebook')").click()
        assert json.loads(Path(download.value.path()).read_text("utf-8")) == edition(path)
        context.close()
    assert opened == [("mybinder.org", True), ("colab.research.google.com", True)]


@with_book
def test_no_page_leads_to_the_source_of_a_chapter():
    for file in HTML.rglob("*.html"):
        found = re.findall(r'href="([^"]*notebooks/[\w-]+\.ipynb[^"]*)"', file.read_text("utf-8"))
        assert not found, f"{file.relative_to(HTML)}: {found}"
    assert not (HTML / "_sources").exists() or not list((HTML / "_sources" / "notebooks").glob("*"))


CODER = 'constriction>=0.4; platform_machine != "aarch64"'  # which chapter 15 asks for


@with_book
def test_the_folder_says_how_to_run_and_installs_what_the_first_cell_installs():
    folder = HTML / "running"
    package = re.search(r'pip install -q "(.+)"', text(edition(CHAPTERS[0])["cells"][1]))[1]
    assert (folder / "requirements.txt").read_text("utf-8").splitlines() == [
        package,
        "jupyterlab>=4",
        CODER,
    ]
    environment = yaml.safe_load((folder / "environment.yml").read_text("utf-8"))
    assert environment["dependencies"][-1] == {"pip": [package, CODER]}
    assert {path.name for path in folder.glob("*.ipynb")} == {path.name for path in CHAPTERS}
    for name in re.findall(r"\]\((\w+\.ipynb)\)", (folder / "README.md").read_text("utf-8")):
        assert (folder / name).is_file()
    assert (folder / "constraints.txt").read_text("utf-8") == (ROOT / "constraints.txt").read_text("utf-8")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_branch_gets_what_changed_and_nothing_else(tmp_path):
    git = lambda *command: subprocess.run(["git", *command], check=True, capture_output=True, text=True).stdout  # noqa: E731
    folder, remote = tmp_path / "running", tmp_path / "remote"
    folder.mkdir()
    git("init", "--quiet", "--bare", str(remote))
    publish = ["bash", ROOT / ".ci" / "publish", folder, remote.as_uri()]
    refused = subprocess.run(publish, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "has no notebooks" in refused.stderr
    for number, names in enumerate((["a.ipynb", "README.md"], ["a.ipynb", "README.md"], ["b.ipynb"]), 1):
        shutil.rmtree(folder)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
        said = subprocess.run(publish, check=True, capture_output=True, text=True).stdout
        assert ("already" in said) == (number == 2)
        assert git("-C", str(remote), "ls-tree", "--name-only", "running").split() == sorted(names)
    assert len(git("-C", str(remote), "log", "--format=%h", "running").split()) == 2


# Bad input


class Look:
    """A build that knows one equation, one figure, one exercise, one page and one entry."""

    fields = False

    def one(self, known, label):
        if label != known:
            raise plain.PlainError(f"nothing has the label {label!r}")
        page = type("Place", (), {"page": "notebooks/09_x", "number": "9.1", "address": "https://page/#here"})
        return page

    def equation(self, label):
        return self.one("eq-a", label)

    def figure(self, label):
        return self.one("fig-a", label)

    def exercise(self, label):
        return self.one("ex-a", label)

    def address(self, target, page):
        return self.one("09_x.ipynb#there", target).address

    def heading(self, page, slug):
        return self.one("for-the-curious-why", slug) and "For the curious: why?"

    def citation(self, key, in_text):
        return "[A (2001)](https://page/)" if self.one("a2001", key) and in_text else "[A, 2001](https://page/)"

    def asks(self, label):
        return label == "ex-a" and self.fields

    def stub(self, label):
        return "check(f)\n" if self.fields else ""

    def macros(self, formula):
        return formula.replace("\\KL", "\\operatorname{KL}")

    def author_year(self, key):
        return key

    def entry(self, key):
        return "A. The title. 2001."

    def head(self, page):
        return "*To run.*\n"


def convert(*texts, fields=False):
    """The edition of a notebook of these Markdown cells; a text that begins with "!" is code."""
    cells = [{"cell_type": "markdown", "id": "08-00", "metadata": {}, "source": ["# 8. A title\n"]}]
    for number, source in enumerate(texts, 1):
        kind = "code" if source.startswith("!") else "markdown"
        cell = {"cell_type": kind, "id": f"08-0{number}", "metadata": {}, "source": source.removeprefix("!")}
        cells.append(cell | ({"outputs": [{"output_type": "stream", "text": ["2\n"]}]} if kind == "code" else {}))
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    look = Look()
    look.fields = fields
    return plain.Edition("notebooks/08_mlp_vae", look).notebook(notebook)["cells"][1:]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("See {eq}`eq-a`.", "See [(9.1)](https://page/#here)."),
        ("See {numref}`fig-a` and {numref}`%s <ex-a>`.", "See [Figure 9.1](https://page/#here) and [9.1](https://page/#here)."),
        ("$$\n\\KL(q)\n$$ (eq-a)", "$$\n\\operatorname{KL}(q)\n\\tag{9.1}\n$$"),
        ("Costs $\\KL$, `$x$ {eq}` and `` a`b ``.", "Costs $\\operatorname{KL}$, `$x$ {eq}` and `` a`b ``."),
        ("(old-name)=\n\nText", "Text"),
        ("So ([proof](#for-the-curious-why)).", "So (proof: *why?*, for the curious)."),
        ("The side room [why](#for-the-curious-why) too.", "The side room *why?* too."),
        ("[there](09_x.ipynb#there)", "[there](https://page/#here)"),
        ("One.[^why]\n\n[^why]: Because.", "One.<sup>1</sup>\n\n<sup>1</sup> Because."),
        ("```python\nx = \"{eq}`a`\"  # {tag}\n```", "```python\nx = \"{eq}`a`\"  # {tag}\n```"),
        (
            "````{admonition} Predict\n:class: predict\nWhich?\n\n"
            "$$\na\n$$ (eq-a)\n\n```{dropdown} One\nNo.\n```\n````",
            "> **Predict**\n>\n> Which?\n>\n> $$a \\tag{9.1}$$\n>\n"
            "> <details><summary><b>One</b></summary>\n>\n> No.\n>\n> </details>",
        ),
        (
            "```{exercise} Count\n:label: ex-a\n\nHow many?\n```\n\n```{solution} ex-a\n:class: dropdown\n\nTwo.\n```",
            "### Exercise 9.1. Count\n\nHow many?\n\n"
            "<details><summary><b>Solution 9.1</b></summary>\n\nTwo.\n\n</details>",
        ),
    ],
)  # fmt: skip
def test_each_form_has_a_plain_one(source, written):
    assert text(convert(source)[0]) == written


def test_citations_are_listed_at_the_end():
    cells = convert("{cite:t}`a2001` and {cite:p}`a2001`.")
    assert text(cells[0]) == "[A (2001)](https://page/) and ([A, 2001](https://page/))."
    assert text(cells[-1]) == "**Cited in this chapter**\n\n- A. The title. 2001."


def test_a_solution_of_several_cells_is_folded_into_one():
    start = "```{exercise} Count\n:label: ex-a\n\nHow?\n```\n\n```{solution-start} ex-a\n:class: dropdown\n```\nFirst."
    cells = convert(start, "!print(2)\n", "So.\n\n```{solution-end}\n```\n\n## Summary")
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "markdown"]
    assert text(cells[0]).endswith("How?")
    assert text(cells[1]) == "# Exercise 9.1: your code here"
    inside = "First.\n\n```python\nprint(2)\n```\n\nIt prints\n\n```text\n2\n```\n\nSo."
    assert text(cells[2]) == f"<details><summary><b>Solution 9.1</b></summary>\n\n{inside}\n\n</details>\n\n## Summary"


def test_a_question_with_a_field_has_a_cell_for_it():
    cells = convert("```{admonition} Predict\n:class: predict\n:name: ex-a\nWhich?\n```\n\nSo.", fields=True)
    assert [text(cell) for cell in cells] == [
        "> **Predict**\n>\n> Which?",
        '#@title Predict: type your answers here\nfrom vae_tutorial.exercises import ask\n\nask("ex-a")',
        "So.",
    ]


def test_an_exercise_with_fields_has_a_cell_for_them_and_one_for_code():
    source = "```{exercise} Count\n:label: ex-a\n\nHow?\n```\n\n```{solution-start} ex-a\n```\n"
    cells = convert(source, "```{solution-end}\n```", fields=True)
    assert [text(cell) for cell in cells[:3]] == [
        "### Exercise 9.1. Count\n\nHow?",
        '#@title Exercise 9.1: type your answers here\nfrom vae_tutorial.exercises import ask\n\nask("9.1")',
        "check(f)",
    ]
    assert cells[1]["metadata"] == {"cellView": "form", "jupyter": {"source_hidden": True}, "id": "08-01-1"}
    assert len({cell["id"] for cell in cells}) == 4


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Text\n\n```{epigraph}\nText\n```", r"line 4: the directive \{epigraph\} has no plain form"),
        ("Text\nand {term}`nat`", r"line 2: the role \{term\} has no plain form"),
        ("Text\n\nand\n{eq}`eq-none`", r"line 4: nothing has the label 'eq-none'"),
        ("````{admonition} A\n:class: tip\nText\n\n```{dropdown} B\nsee {eq}`eq-none`\n```\n````", "line 6: nothing"),
        ("$$\nx\n$$ (eq-none)", "line 1: nothing has the label 'eq-none'"),
        ("{numref}`fig-none`", "line 1: nothing has the label 'fig-none'"),
        ("{cite:p}`a2001,b2002`", "line 1: nothing has the label 'b2002'"),
        ("a\n[proof](#for-the-curious-no)", "line 2: nothing has the label 'for-the-curious-no'"),
        ("[there](nowhere.ipynb)", "line 1: nothing has the label 'nowhere.ipynb'"),
        ("```{solution} ex-none\n:class: dropdown\nText\n```", "nothing has the label 'ex-none'"),
        ("```{exercise} Without a label\nText\n```", r"the directive \{exercise\} has no label"),
        ("Text\n```{admonition} A\nText", r"line 2: the fence '```\{admonition\} A' has no end"),
        ("!# Check (eq-none): a\nassert 1\n", "nothing has the label 'eq-none'"),
    ],
)
def test_a_fault_is_told_with_its_notebook_cell_and_line(source, said):
    with pytest.raises(plain.PlainError, match=rf"notebooks/08_mlp_vae\.ipynb, cell 2 \(08-01\), .*{said}"):
        convert(source)


def test_a_solution_without_an_end_is_told():
    with pytest.raises(plain.PlainError, match=r"the solution of exercise 9\.1 has no end"):
        convert("```{solution-start} ex-a\n```\n")


@with_book
@pytest.mark.process
def test_a_fault_in_a_source_leaves_good_editions_as_they_are(tmp_path):
    """The command itself, on a book of two pages."""
    for folder in ("book/_ext", "book/_static", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    for path in (ROOT / "book" / "_ext").glob("*.py"):
        shutil.copy(path, tmp_path / "book" / "_ext")
    for name in ("book/references.bib", "_config.yml", "environment.yml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/00_evening_zero\n"
    )
    (tmp_path / "book" / "index.md").write_text("# Book\n\n```{bibliography}\n```\n")
    cells = json.loads(CHAPTERS[0].read_text("utf-8"))["cells"][:2]
    cells[0]["source"] = "# 0. A title\n\n**A question?** By {cite:t}`kingma2014auto`.\n"
    book = {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    file = tmp_path / "notebooks" / "00_evening_zero.ipynb"
    command = [Path(sys.executable).with_name("jupyter-book"), "build", tmp_path, "--builder", "custom"]
    command += ["--custom-builder", "editions", "--keep-going"]
    made = tmp_path / "_build" / "editions" / "running" / file.name
    good = None
    for added, told in (("", ""), ("{cite:p}`nobody1999`", "the bibliography has no entry 'nobody1999'")):
        cells[0]["source"] += added
        file.write_text(json.dumps(book))
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        output = done.stdout + done.stderr
        if good is None:
            assert done.returncode == 0, output
            good = made.read_bytes()
        assert (done.returncode != 0) == bool(told)
        assert (
            f"no edition was written: notebooks/00_evening_zero.ipynb, cell 1 (00-00), line 4: {told}" in output
            or not told
        )
    assert made.read_bytes() == good
