"""A figure of a notebook stands in its page as text: SVG in the page's face and in the colours of its theme.

The stored notebook holds a PNG for wherever else it is opened; notebooks/figures/ has the drawing for the page
(tools/plots.py). One that is missing, or that belongs to another PNG, is a warning, which fails the build.
"""

import hashlib
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks" / "figures"
PAGES = {"fig-ledger": ROOT / "book" / "_static" / "ledger.svg"}  # figures of other pages
logger = logging.getLogger(__name__)


def draw(app, document, page):
    """Put drawings in place of the pictures of a notebook's figures."""
    if app.builder.format != "html":
        return
    for figure in document.findall(nodes.figure):
        for image in list(figure.findall(nodes.image)):
            path = PAGES.get(figure["ids"][0])
            if not path and page.startswith("notebooks/"):
                path = FOLDER / f"{figure['ids'][0]}.svg"
            if not path:
                continue
            text = path.read_text("utf-8") if path.exists() else ""
            if path.parent == FOLDER and f'data-of="{mark(Path(app.srcdir, image["uri"]))}"' not in text:
                say = "is not a drawing of the stored figure" if text else "is missing"
                logger.warning(f"notebooks/figures/{path.name} {say}: run make notebooks", location=page)
                continue
            said = f'<svg role="img" aria-label="{escape(image["alt"])}"'
            image.replace_self(nodes.raw("", text.replace("<svg", said, 1), format="html"))


def mark(png):
    return hashlib.sha256(png.read_bytes()).hexdigest()[:16]


def setup(app):
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
