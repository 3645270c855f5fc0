"""How the site presents itself: who and when, the page at its root, and the page for what is not there.

The directive ``{identity}`` is one line: names, version, date, that the course is checked on every change, licence. The
names are ``course_names`` of _config.yml, and stand in each page's head too. The date is that of the last commit.
"""

import html
import os
import re
import subprocess
import time
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
# On the page for what is not there: where a reader may have wanted to go.
DOORS = {
    "Train one now": "notebooks/00_evening_zero",
    "Explain the loss to me": "book/loss",
    "On my own data": "notebooks/16_your_own_images",
    "All of it, from the first nat": "notebooks/01_information_and_entropy",
}
MOVED = """try {
  history.replaceState(null, "", "index.html" + location.search + location.hash);
  document.querySelector("base").remove();
} catch {} // opened from a folder, where a page keeps its address"""
# Begins the search with the words of the address.
GUESS = """document.querySelector(".not-found input").value =
  location.pathname.split("/").pop().replace(/\\.\\w+$/, "").replace(/[\\d_-]+/g, " ").trim();"""


def version():
    return re.search(r'^version = "([^"]*)"', Path(ROOT, "pyproject.toml").read_text("utf-8"), re.MULTILINE)[1]


def date():
    """The day of the build that SOURCE_DATE_EPOCH names, or of the last commit; without both today."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        try:
            seconds = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):  # no git, or a folder that is no repository
            seconds = time.time()
    day = time.gmtime(int(seconds))
    return f"{day.tm_mday} {time.strftime('%B %Y', day)}"


def joined(names):
    """ "A", "A and B", "A, B and C"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


class Identity(SphinxDirective):
    """The line under the title of the first page."""

    def run(self):
        names = self.config.course_names
        said = [f"By {joined(names)}"] if names else []
        said += [f"Version {version()}", date()]
        text = " · ".join([*said, "[checked on every change](contributing.md)", "text CC BY 4.0, code MIT"])
        found = self.parse_text_to_nodes(text) if hasattr(self, "parse_text_to_nodes") else self.parsed(text)
        found[0]["classes"].append("identity")
        return found

    def parsed(self, text):
        holder = nodes.Element()
        self.state.nested_parse([text], self.content_offset, holder)
        return holder.children


def add_names(app, page, template, context, document):
    """Say who wrote it in each page's head, and the title of the first page once."""
    names = app.config.course_names
    tags = [f'<meta name="author" content="{html.escape(joined(names), quote=True)}" />'] if names else []
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])
    if page == app.config.root_doc:
        context["docstitle"] = ""  # what stands behind each other page's title


def help_the_lost(app, page, template, context, document):
    """The page for what is not there, whose links hold at any depth."""
    if page != app.config.notfound_pagename:
        return
    to = context["pathto"]
    doors = "".join(f'<li><a href="{to(place)}">{name}</a></li>\n' for name, place in DOORS.items())
    context["body"] = f"""<section class="not-found">
<h1>There is no such page</h1>
<p>It may have moved, or the address has a slip. Search for it:</p>
<form action="{to("search")}" method="get" role="search">
<input type="search" name="q" aria-label="Search the course" /> <button type="submit">Search</button>
</form>
<p>Or come in by one of the four doors:</p>
<ul>
{doors}</ul>
<p>The <a href="{to("book/concepts")}">map of concepts</a> shows how the ideas hang together,
<a href="{to("book/symptoms")}">What is wrong with my VAE?</a> begins at what you see,
and the <a href="{to("book/glossary")}">glossary</a> has each word.</p>
<p><a href="{to(app.config.root_doc)}">To the front page</a></p>
</section>
<script>{GUESS}</script>"""


def at_the_root(text, folder):
    """The text of a page of ``folder`` as it stands one level higher: the same page, not one that leads to it.

    Its address becomes that of the page in ``folder``, so that it has one; where that may not be, there is a base.
    """
    base = f'<base href="{folder}/" />\n<script>{MOVED}</script>\n'
    text = text.replace('<meta charset="utf-8" />\n', f'<meta charset="utf-8" />\n{base}', 1)
    return re.sub(r'href="#([^"]*)"', lambda found: f'href="index.html{"#" if found[1] else ""}{found[1]}"', text)


def finish(app, error):
    """Put the first page at the root, in place of Jupyter Book's, which has no title and leads on."""
    if error is None and app.builder.name == "html":
        site = Path(app.outdir)
        first = site / f"{app.config.root_doc}.html"
        Path(site, "index.html").write_text(at_the_root(first.read_text("utf-8"), first.parent.name), "utf-8")


def setup(app):
    app.add_config_value("course_names", [], "env", [list])
    app.add_directive("identity", Identity)
    app.connect("html-page-context", add_names)
    app.connect("html-page-context", help_the_lost, priority=800)  # after the extension that makes its links absolute
    app.connect("build-finished", finish, priority=870)  # after weight.py, before offline.py packs the site
    return {"parallel_read_safe": True}
