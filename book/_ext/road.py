"""The road through a page, and what stands beside it, folded: side rooms, checks, the code of figures.

A section whose heading begins "For the curious:" is a side room. Its heading stays, with its address; below it the
first paragraph becomes the summary of a ``<details>`` that holds the rest. ``_static/road.js`` opens a room that a link
leads into, and all of them on demand and on paper. The directive ``{rooms}`` lists all rooms of the book.

A check is one line: what its first line says, and what came out, which its stored output says.
"""

import ast
import re
from html import escape

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective

ROOM = "For the curious: "
# What vae_tutorial.claims prints: "entropy: 1.213 and 1.213 agree", "a and b: 2 < 3", "holds, in all 9 pairs".
CLAIM = re.compile(r"(?P<what>.+): (?P<found>\S+ and \S+ agree|\S+ < \S+|(?:agree|holds), in all [\d,]+ pairs)")


class room(nodes.Element):
    """Holds what a side room holds, its promise first."""


class promise(nodes.TextElement):
    """The first paragraph of a side room, which says what is in it."""


def sections(document):
    return [node for node in document.findall(nodes.section) if node[0].astext().startswith(ROOM)]


def make_rooms(app, document):
    """Wrap what stands below the heading of each side room, and name what else is folded."""
    for section in sections(document):
        title, first, *rest = section.children
        inside = room("", promise("", "", *first.children), *rest)
        section.children = []
        section += [title, inside]
        section["classes"].append("side-room")
    count = 0
    for cell in document.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            if cell.get("hide_mode") == "all":
                cell["prompt_show"] = cell["prompt_hide"] = f"{check_title(cell)}\n{outcome(cell)}"
            elif cell.get("hide_mode"):
                what = "set-up" if not count else "code of this figure"
                cell["prompt_show"], cell["prompt_hide"] = f"Show the {what}", f"Hide the {what}"
            count += 1


def check_title(cell):
    """A check's first line, without what makes it a comment; chapter_numbers puts numbers in place of its labels."""
    return cell[0].astext().partition("\n")[0].removeprefix("# ").replace("`", "").strip()


def outcome(cell):
    """What came out: the first claim that a check printed, with its tolerance where it is a number; how many more.

    A check that printed no claim ran to its end, or the book would not have been built: its last line, or "holds".
    """
    printed = [line for block in cell[1:] for line in block.astext().split("\n") if line.strip()]
    claims = [found for line in printed if (found := CLAIM.fullmatch(line.strip()))]
    if not claims:
        return printed[-1].strip() if printed else "holds"
    first = claims[0][0]
    if first.endswith("agree") and (within := tolerance(cell[0].astext(), claims[0]["what"])):
        first += f" within {within}"
    return first + (f"; and {len(claims) - 1} more" if claims[1:] else "")


def tolerance(code, what):
    """The number that stands as ``within=`` in the call of ``agree`` about ``what``; none where it is computed."""
    try:
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and node.args]
    except SyntaxError:  # a line that is IPython's
        return None
    for call in calls:
        if isinstance(call.args[0], ast.Constant) and call.args[0].value == what:
            within = next((word.value for word in call.keywords if word.arg == "within"), None)
            return ast.unparse(within) if isinstance(within, ast.Constant) else None
    return None


class Rooms(SphinxDirective):
    """A list of the book's side rooms, chapter by chapter: each a link, with what it promises."""

    def run(self):
        return [all_rooms()]


class all_rooms(nodes.General, nodes.Element):
    """Stands where the list of rooms comes, until all pages are read."""


def list_rooms(app, document, page):
    for place in list(document.findall(all_rooms)):
        listed = []
        for chapter in sorted(name for name in app.env.found_docs if name.startswith("notebooks/")):
            found = app.env.get_doctree(chapter)
            items = nodes.bullet_list()
            for section in sections(found):
                # The one that the heading gave it: of a section with a label, newer versions name the label first.
                own = next((nodes.make_id(name) for name in section["names"] if name.startswith(ROOM.lower())), "")
                own = own if own in section["ids"] else section["ids"][0]
                address = f"{app.builder.get_relative_uri(page, chapter)}#{own}"
                name = section[0].astext().removeprefix(ROOM)
                title = nodes.reference("", name[:1].upper() + name[1:], refuri=address, internal=True)
                said = next(section.findall(promise)).deepcopy()
                for link in list(said.findall(pending_xref)):
                    link.replace_self(link.children)
                items += nodes.list_item("", nodes.paragraph("", "", title, nodes.Text(". "), *said.children))
            if len(items):
                listed += [nodes.rubric("", app.env.titles[chapter].astext()), items]
        place.replace_self(listed)


def visit_room(self, node):
    self.body.append('<details class="room">\n')


def depart_room(self, node):
    self.body.append("</div></details>\n")


def visit_promise(self, node):
    self.body.append("<summary><p>")


def depart_promise(self, node):
    self.body.append('</p></summary>\n<div class="room-inside">\n')


def visit_fold(self, node):
    """As myst_nb's, but with a line that is its own name, and that stays as it is when it is opened."""
    self.body.append(f'<details class="admonition hide {" ".join(node["classes"])}">\n<summary>\n')
    show, _, found = node["prompt_show"].partition("\n")
    if found:
        said = f'{escape(show, quote=False)} <span class="outcome">{escape(found, quote=False)}</span>'
        self.body.append(f'<p class="admonition-title">{said}</p>\n')
    else:
        for kind, text in (("collapsed", show), ("expanded", node["prompt_hide"])):
            self.body.append(f'<p class="{kind} admonition-title">{escape(text, quote=False)}</p>\n')
    self.body.append("</summary>\n")


def depart_fold(self, node):
    self.body.append("</details>\n")


def setup(app):
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.add_node(room, html=(visit_room, depart_room))
    app.add_node(promise, html=(visit_promise, depart_promise))
    app.add_node(all_rooms)
    app.add_directive("rooms", Rooms)
    app.connect("doctree-read", make_rooms)
    app.connect("doctree-resolved", list_rooms)
    return {"parallel_read_safe": True}
