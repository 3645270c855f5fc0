"""The editions for running: each chapter once more as a notebook of plain Markdown, in ``running/`` of the site.

The page is read, the edition is run: in Colab, JupyterLab, VS Code or Binder. Both come from one source and one build,
which knows the numbers; ``plain.py`` says what becomes of each form. Beside the notebooks stands what they need to run.
``make editions`` makes the folder alone. All is made before the first file is written, so that a fault leaves a good
folder as it is.
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from plain import Edition, PlainError
from sphinx.builders import Builder
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # what builds the book does not install the package
from vae_tutorial.exercises import catalogue  # noqa: E402

PACKAGE = re.compile(r"(vae-tutorial @ git\+https://[\w./-]+)@\w[\w.]*")  # in the first code cell
COLAB = "https://colab.research.google.com/github"
BRANCH = "running"  # of the repository: the Pages workflow puts the folder there, where Colab and Binder can open it
HEAD = """*This is the chapter to run and to change; [its page]({page}) has the same text. Run it cell by cell from the
first one, with Shift and Enter. Where a cell shows only a title, its code is folded: a check, or the code of a figure.
Sections that begin "For the curious" may be skipped.*
"""
README = """# Variational autoencoders, in nats: the notebooks to run

Begin with [0. Evening zero](00_evening_zero.ipynb). Each notebook opens in Colab (nothing to install), in JupyterLab
and in VS Code, without an extension. Change in it what you like. Run it cell by cell: the first one loads what the
others use, and the first notebook that you run downloads the digits (11 MB).

On your machine you need Python 3.10 to 3.13 and git:

```bash
git clone --branch {branch} --single-branch {repository} vae-notebooks
cd vae-notebooks
python3 -m venv .venv
.venv/bin/pip install -c constraints.txt -r requirements.txt
.venv/bin/jupyter lab
```

On Windows write `py` for `python3` and `.venv\\Scripts\\` for `.venv/bin/`.

| notebook | page | |
|---|---|---|
{list}

They are made from the sources of [the course]({site}) on each change of it: send corrections there, not here.
"""


class Place(NamedTuple):
    """Where something numbered stands: its page, its number, and its address on the site."""

    page: str
    number: str
    address: str


class Look:
    """What a build knows: numbers, addresses, and the bibliography."""

    def __init__(self, app):
        self.app, self.env = app, app.env
        self.site = app.config.html_baseurl
        self.entries = {citation.key: citation for citation in self.env.get_domain("cite").citations}
        self.tex = app.config.formula_macros

    def url(self, page, anchor=""):
        return f"{self.site}{page}.html" + (f"#{anchor}" if anchor else "")

    def numbered(self, page, kind, anchor):
        number = self.env.toc_fignumbers[page][kind][anchor]
        return Place(page, ".".join(map(str, number)), self.url(page, anchor))

    def equation(self, label):
        if label not in self.env.get_domain("math").equations:
            raise PlainError(f"no equation has the label {label!r}")
        page, _ = self.env.get_domain("math").equations[label]
        return self.numbered(page, "displaymath", f"equation-{label}")

    def figure(self, label):
        return self.labelled(label, "figure")

    def exercise(self, label):
        return self.labelled(label, "exercise")

    def labelled(self, label, kind):
        page, anchor = self.env.get_domain("std").anonlabels.get(label, ("", ""))[:2]
        if anchor not in self.env.toc_fignumbers.get(page, {}).get(kind, {}):
            raise PlainError(f"no {kind} has the label {label!r}")
        return self.numbered(page, kind, anchor)

    def asks(self, label):
        """Whether an exercise has a number to type or a choice to press."""
        return bool(catalogue.fields(label))

    def stub(self, label):
        """What a reader fills in where code is asked for, with its check; empty where the catalogue has no code."""
        entries = catalogue.entries(label, "code")
        heads = [
            re.search(r"^def .*?\)(?: -> [^:]+)?:$", entry["right"], re.MULTILINE | re.DOTALL)[0] for entry in entries
        ]
        number = catalogue.number(label)
        written = [f"{head}\n    ...  # exercise {number}: your code here\n" for head in heads]
        checks = [f'check("{number}", {entry["name"]})' for entry in entries]
        return (
            "\n\n".join(["from vae_tutorial.exercises import check\n", *written, "\n".join(checks)]) if entries else ""
        )

    def address(self, target, page):
        """The address on the site of a link's target, as a notebook writes it."""
        if re.match(r"\w+:", target):
            return target
        file, _, anchor = target.partition("#")
        if file:
            path = (ROOT / page).parent.joinpath(file).resolve()
            page = path.relative_to(ROOT).with_suffix("").as_posix() if path.is_relative_to(ROOT) else file
            if page not in self.env.found_docs:
                raise PlainError(f"the link {target!r} leads to no page of the book")
        if not anchor:
            return self.url(page)
        slugs = self.env.metadata[page].get("myst_slugs", {})
        names = self.env.get_domain("std").anonlabels
        if anchor in slugs:
            return self.url(page, slugs[anchor][1])
        if anchor in names and names[anchor][0] == page:
            return self.url(page, names[anchor][1])
        raise PlainError(f"the link {target!r} leads to no heading and no label of {page}")

    def heading(self, page, slug):
        """The text of a heading of a page, by its address there."""
        slugs = self.env.metadata[page].get("myst_slugs", {})
        if slug not in slugs:
            raise PlainError(f"{page} has no heading {slug!r}")
        return slugs[slug][2]

    def macros(self, formula):
        """The formula without the book's own macros, which other hosts do not know."""
        for name, text in self.tex.items():
            formula = re.sub(rf"\\{name}(?![a-zA-Z])", lambda _, text=text: text, formula)
        return formula

    def author_year(self, key):
        return self.names(key), self.entry_of(key).fields.get("year", "")

    def names(self, key):
        people = [" ".join([*p.prelast_names, *p.last_names]) for p in self.entry_of(key).persons["author"]]
        return f"{people[0]} et al." if len(people) > 2 else " and ".join(people)

    def entry_of(self, key):
        if key not in self.entries:
            raise PlainError(f"the bibliography has no entry {key!r}")
        return self.entries[key].entry

    def citation(self, key, in_text):
        names, year = self.author_year(key)
        said = f"{names} ({year})" if in_text else f"{names}, {year}"
        home = self.entries[key]
        return f"[{said}]({self.url(home.bibliography_key.docname, home.citation_id)})"

    def entry(self, key):
        return self.entries[key].formatted_entry.text.render_as("markdown").replace("\n", " ")

    def head(self, page):
        """What stands below the title of an edition."""
        return HEAD.format(page=self.url(page))


def name(page):
    return f"{Path(page).name}.ipynb"


def show_doors(app, page, template, context, doctree):
    """Let a chapter's buttons lead to its edition: Colab, Binder, download. None leads to the source of a page."""
    branch = app.config.html_theme_options["repository_branch"]
    chapter = page.startswith("notebooks/")
    leads = {
        f"/blob/{branch}/{page}.ipynb": f"/blob/{BRANCH}/{name(page)}",
        f"/{branch}?urlpath=lab/tree/{page}.ipynb": f"/{BRANCH}?urlpath=lab/tree/{name(page)}",
    }
    for group in context["header_buttons"]:
        for button in list(group.get("buttons", [])):
            source, download = (button.get("label") == f"{what}-button" for what in ("source-file", "download-source"))
            if (source and chapter) or (download and not chapter):
                group["buttons"].remove(button)
            elif download:
                button |= {"url": context["pathto"](f"running/{name(page)}", resource=True), "text": "notebook"}
                button |= {"tooltip": "Download the notebook to run"}
            elif chapter and "url" in button:
                for old, new in leads.items():
                    button["url"] = button["url"].replace(old, new)


def make(app):
    """Return the files of the folder: name to text. Raises PlainError for what has no plain form."""
    look, files, lines = Look(app), {}, []
    slug = app.config.html_theme_options["repository_url"].removeprefix("https://github.com/")
    revision = os.environ.get("EDITIONS_REVISION")  # of the package that they install: the one they were made with
    for page in sorted(page for page in app.env.found_docs if page.startswith("notebooks/")):
        source = json.loads(Path(app.env.doc2path(page)).read_text("utf-8"))
        edition = Edition(page, look).notebook(source)
        text = json.dumps(edition, indent=1, ensure_ascii=False) + "\n"
        files[name(page)] = PACKAGE.sub(rf"\1@{revision}", text) if revision else text
        title, colab = app.env.titles[page].astext(), f"{COLAB}/{slug}/blob/{BRANCH}/{name(page)}"
        lines.append(f"| [{title}]({name(page)}) | [read]({look.url(page)}) | [Colab]({colab}) |")
    return files | surroundings(app, look, files, lines)


CODER = 'constriction>=0.4; platform_machine != "aarch64"'  # for chapter 15; none is built for Linux on ARM


def surroundings(app, look, notebooks, lines):
    """What the notebooks need to run: for pip, for conda and Binder, and a page that says so."""
    package = PACKAGE.search(next(iter(notebooks.values())))[0]
    repository = app.config.html_theme_options["repository_url"]
    environment = re.sub(r"^#.*\n", "", (ROOT / "environment.yml").read_text("utf-8"), flags=re.MULTILINE)
    return {
        "README.md": README.format(repository=repository, site=look.site, branch=BRANCH, list="\n".join(lines)),
        "requirements.txt": f"{package}\njupyterlab>=4\n{CODER}\n",
        "constraints.txt": (ROOT / "constraints.txt").read_text("utf-8"),
        "environment.yml": environment.replace("- -e .", f'- "{package}"'),
    }


def write(app, folder):
    """Make all editions, then put them into ``folder``; it has nothing else afterwards."""
    try:
        files = make(app)
    except PlainError as error:
        raise ExtensionError(f"no edition was written: {error}") from None
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for file, text in files.items():
        (part / file).write_text(text, "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


class EditionsBuilder(Builder):
    """``make editions``: the pages are read, which numbers everything, and only the editions are written."""

    name = "editions"

    def get_outdated_docs(self):
        return []

    def get_target_uri(self, page, kind=None):
        return f"{page}.html"

    def write(self, *pages, **how):
        """Nothing: what is wanted is written when the build is finished."""


def finish(app, error):
    if error is None and app.builder.name in ("html", "editions"):
        write(app, Path(app.outdir, "running"))


def setup(app):
    app.add_builder(EditionsBuilder)
    app.connect("html-page-context", show_doors, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", finish, priority=800)  # before offline.py packs the site
    return {"parallel_read_safe": True}
