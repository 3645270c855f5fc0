"""What stands above and behind each page: a sentence about it, and the link to its source.

The sentence is for search engines and for sites that show a link. A page of ``book/`` brings its own, as
``og:description`` at its top. A chapter's is its question. What would be made of the first lines otherwise breaks off
in the middle of a word and has formulas as TeX in it.
"""

import html
import re

from docutils import nodes

COURSE = "a free course on variational autoencoders: equations are checked by cells, and models measured in nats"


def describe(app, page, template, context, doctree):
    """Put the page's description in place of the one that was made of its first lines."""
    text = app.env.metadata.get(page, {}).get("og:description")
    chapter = re.search(r"/(?:0*(\d+)|appendix_([a-z]))_", page)
    if chapter and doctree:
        question = next(doctree.findall(nodes.strong)).astext().replace("\\", "").strip()
        which = f"Chapter {chapter[1]}" if chapter[1] else f"Appendix {chapter[2].upper()}"
        text = f"{question} {which} of {COURSE}."
    if text:
        tags = re.sub(r'<meta (?:name|property)="(?:og:)?description"[^>]*>\s*', "", context.get("metatags", ""))
        said = html.escape(text, quote=True)
        tags += f'\n<meta name="description" content="{said}" />\n<meta property="og:description" content="{said}" />\n'
        context["metatags"] = tags


def show_notebooks(app, page, template, context, doctree):
    """Let the button "source" lead to the notebook as GitHub shows it; the theme asks for its bare JSON."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("url", "").endswith(".ipynb?plain=1"):
                button["url"] = button["url"].removesuffix("?plain=1")


def setup(app):
    # After the extensions that write the first lines and the buttons.
    app.connect("html-page-context", describe, priority=900)
    app.connect("html-page-context", show_notebooks, priority=900)
    return {"parallel_read_safe": True}
