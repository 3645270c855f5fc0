"""A sentence about each page, in its head.

The sentence is for search engines and for sites that show a link. A page of ``book/`` brings its own, as
``og:description`` at its top. A chapter's is its question. What would be made of the first lines otherwise breaks off
in the middle of a word and has formulas as TeX in it.
"""

import html
import re

from docutils import nodes

CODE = (nodes.literal, nodes.literal_block)
COURSE = "a free course on variational autoencoders: equations are checked by cells, and models measured in nats"


def describe(app, page, template, context, doctree):
    """Put the page's description in place of the one that was made of its first lines."""
    text = app.env.metadata.get(page, {}).get("og:description")
    chapter = re.search(r"/(?:0*(\d+)|appendix_([a-z]))_", page)
    if chapter and doctree:
        question = next(doctree.findall(nodes.strong)).astext().replace("\\", "").strip()
        which = f"Chapter {chapter[1]}" if chapter[1] else f"Appendix {chapter[2].upper()}"
        text = f"{question} {which} of {COURSE}."
    # Asked for before the style sheets are read, the faces of text and code are there for the first paint.
    code = doctree is None or next(doctree.findall(lambda node: isinstance(node, CODE)), None)
    for face in (*(["code"] if code else []), "text-italic", "text"):
        address = context["pathto"](f"_static/fonts/{face}.woff2", resource=True)
        link = f'<link rel="preload" href="{address}" as="font" type="font/woff2" crossorigin />\n'
        context["metatags"] = link + context.get("metatags", "")
    if text:
        tags = re.sub(r'<meta (?:name|property)="(?:og:)?description"[^>]*>\s*', "", context.get("metatags", ""))
        said = html.escape(text, quote=True)
        tags += f'\n<meta name="description" content="{said}" />\n<meta property="og:description" content="{said}" />\n'
        context["metatags"] = tags


def setup(app):
    # After the extension that writes the first lines.
    app.connect("html-page-context", describe, priority=900)
    return {"parallel_read_safe": True}
