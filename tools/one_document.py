"""The whole built book as one HTML document, for paper: what tools/pdf.py prints.

The articles of all pages of _toc.yml, with the site's own style sheets, and pdf.css beside this file. What
is folded is open if it is text, and gone if it is a check or the code of a figure. A link to another page leads to its
place in the document, and any other link to the published site.
"""

import html
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from bs4 import BeautifulSoup

STYLE = Path(__file__).resolve().with_name("pdf.css")
NOT_ON_PAPER = "script, button, details.hide, a.headerlink, .sd-summary-state-marker, .katex-mathml"
PLAIN = "span.pre, .highlight :is(.n, .p, .w)"  # they change no look, and each would be an object in the file

# Without the theme's class for the middle of a page, whose print styles hide titles and hold tables together.
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{title}</title>
{head}<style>{style}</style></head><body><main class="bd-content">
<div class="bd-article-container"><article class="bd-article">{articles}</article></div></main></body></html>"""
IMPRINT = """<p class="pdf-imprint">{author}. Version {version}, {copyright}. The text is under CC BY 4.0, the code
under the MIT licence.<br>This is the course as one file: side rooms, solutions and replies are unfolded. On its pages
the explorers move, and cells check the equations: <a href="{url}">{url}</a></p>"""
LINE = '<p class="pdf-{level}"><a href="#{goal}"><span>{said}</span><b data-of="{goal}">000</b></a></p>'
RUNNING = "@page {id} {{ @bottom-left {{ content: {title} }} }} #{id} {{ page: {id} }}\n"


def parts(toc):
    """Return the parts of ``_toc.yml`` as (caption, names of pages); first the front page, without a caption."""

    def files(node):
        own = [node["file"]] if "file" in node else []
        return own + [name for key in ("chapters", "sections") for child in node.get(key, []) for name in files(child)]

    return [("", [toc["root"]]), *((part["caption"], files(part)) for part in toc["parts"])]


def place(name, fragment=""):
    """The id in the document of what has the id ``fragment`` in the page ``name``, or of the page itself."""
    return re.sub(r"[^\w-]", "-", name) + (f"--{fragment}" if fragment else "")


def read(site, name):
    """Return a page of the site, parsed; it ends the program if there is none."""
    path = site / f"{name}.html"
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser") if path.is_file() else None
    if soup is None or not soup.select_one("article.bd-article h1"):
        sys.exit(f"{path} is missing, or has no article: run 'make book' first")
    return soup


def article(soup, name, url):
    """Return the article of a page as paper shows it; ``url``: where the page stands."""
    body = soup.select_one("article.bd-article")
    for last in body.select(".vx-static > p:last-child"):
        last.string = "It moves on its page: "
        last.append(soup.new_tag("a", href=url, string=url))
    for node in body.select(NOT_ON_PAPER):
        node.decompose()
    for node in body.select(PLAIN):
        node.unwrap()
    for node in body.select("details"):
        node["open"] = ""
    for node in body.select(".katex-html"):
        del node["aria-hidden"]  # a PDF has no MathML to speak in its place
    for heading in body.select("section[id] > :is(h1, h2, h3, h4)"):
        # A section may begin at the foot of a page, its heading does not. Before it may stand older ids, in spans.
        heading["id"] = heading.parent.attrs.pop("id")
        for older in heading.find_previous_siblings("span"):
            heading.append(older.extract())
    body.name, body["class"], body["data-name"] = "section", "pdf-page", name
    return body


def readdress(body, name, names, site, base):
    """Give everything in a page's article its address in the document; ``names`` are the pages that are in it."""
    here, seen = urljoin(base, f"{name}.html"), set()
    for node in body.find_all(True):
        for key, value in list(node.attrs.items()):
            if key == "id" and value in seen:  # nothing can lead there
                del node["id"]
            elif key == "id":
                node["id"] = place(name, value)
                seen.add(value)
            elif key == "src":
                node["src"] = urljoin((site / f"{name}.html").as_uri(), value)
            elif key == "href":
                node["href"] = urljoin(here, value)
                page, fragment = urldefrag(node["href"])
                page = page.removeprefix(base).removesuffix(".html")
                if page in names:
                    node["href"] = "#" + place(page, unquote(fragment))
            elif "url(#" in value:
                node[key] = value.replace("url(#", f"url(#{place(name)}--")
    body["id"] = place(name)


def heads(soups, site):
    """Return the style sheets of all pages, each once, as HTML."""
    found = {}
    for name, soup in soups.items():
        for node in soup.select("head > style[data-of]"):  # a part of this sheet: book/_ext/weight.py
            address = urljoin((site / f"{name}.html").as_uri(), node["data-of"])
            found[address] = f'<link rel="stylesheet" href="{address}">'
    return "\n".join(found.values())


def make(site, toc, config, version):
    """Return the book as one HTML document, and its outline as (level, title, id); a part has level 0.

    ``toc``, ``config``: what _toc.yml and _config.yml hold. It ends the program if a page is missing, or a link's goal.
    """
    base, order = config["html"]["baseurl"], parts(toc)
    soups = {name: read(site, name) for _, pages in order for name in pages}
    head, style = heads(soups, site), STYLE.read_text("utf-8")
    outline, contents, bodies = [], [], {}
    for caption, pages in order:
        if caption:
            outline.append((0, caption, place(pages[0])))
            contents.append(f'<p class="pdf-0">{html.escape(caption)}</p>')
        for name in pages:
            body = bodies[name] = article(soups[name], name, urljoin(base, f"{name}.html"))
            readdress(body, name, soups, site, base)
            for heading in body.select("h1, h2"):
                level = int(heading.name[1])
                goal = heading["id"] if level > 1 else body["id"]
                title = heading.get_text().replace("\u200b", "")  # a formula is one letter there, or p(x)
                outline.append((level, title, goal))
                said = re.sub(r'<span id="[^"]*"></span>', "", heading.decode_contents())
                contents.append(LINE.format(level=level, goal=goal, said=said))
            style += RUNNING.format(id=body["id"], title=json.dumps(body.h1.get_text(), ensure_ascii=False))
    # The title page is what the front page says before its first section.
    front = IMPRINT.format(**config, version=version, url=base)
    front += f'<nav class="pdf-contents"><h1>Contents</h1><div>{"".join(contents)}</div></nav>'
    bodies[toc["root"]].section.section.insert_before(BeautifulSoup(front, "html.parser"))
    text = "".join(map(str, bodies.values()))
    lost = set(re.findall(r'href="#([^"]*)"', text)) - set(re.findall(r' id="([^"]*)"', text))
    if lost:
        sys.exit(f"links lead nowhere: {sorted(lost)[:9]}; build the book anew: make clean book")
    return PAGE.format(title=html.escape(config["title"]), head=head, style=style, articles=text), outline
