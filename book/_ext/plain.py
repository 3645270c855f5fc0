"""A notebook of MyST, written again in the Markdown that any notebook host renders: no roles, no directives, no labels.

What is numbered or lies elsewhere comes from a ``look``, which asks the build of the book (see ``editions.py``); so the
two cannot disagree. What is folded in the page is folded in each host in its own way: ``cellView`` and ``#@title`` are
Colab's, ``jupyter.source_hidden`` is JupyterLab's. VS Code folds no cell on opening, and "Run all" shows what a folded
cell gives. So a solution is one ``<details>``, which all of them fold, with its code and what that gave as text in it.
"""

import copy
import re
from typing import NamedTuple

FENCE = re.compile(r"(`{3,}|:{3,})(?:\{([\w:-]+)\}[ ]*(.*)|\w*)$")
OPTION = re.compile(r":([\w-]+):[ ]*(.*)$")
INLINE = re.compile(
    r"""\{(?P<role>[\w:-]+)\}`(?P<of>[^`]+)`
    |(?P<code>(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))
    |\$\$(?P<display>.+?)\$\$(?:[ ]*\((?P<label>[\w-]+)\))?
    |(?P<math>\$[^$]+\$)
    |\[(?P<said>[^][]+)\]\(\#(?P<room>for-the-curious-[\w-]+)\)
    |\]\((?P<target>[^)\s]+)\)
    |\[\^(?P<note>[\w-]+)\](?P<defined>:[ ]*)?
    |^\((?P<anchor>[\w-]+)\)=$\n*""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
ROOM = re.compile(r"#{2,3} For the curious: ")
CHECK = re.compile(r"# Check\b")
CELL = "\0"  # a mark: what follows, up to the next, is a code cell
ASK = """#@title {1}: type your answers here
from vae_tutorial.exercises import ask

ask("{0}")
"""
YOURS = "# Exercise {0}: your code here\n"


class PlainError(ValueError):
    """Something in a notebook that cannot be written in plain Markdown; it names notebook, cell and line."""


class Block(NamedTuple):
    """A piece of Markdown: text, code, or a directive with its argument and options; ``line`` is where it begins."""

    name: str
    argument: str
    options: dict
    body: str
    line: int


def blocks(text, line):
    """Cut Markdown at its fences; raise PlainError where a fence has no end."""
    found, lines, i = [], text.split("\n"), 0
    pending = []
    while i < len(lines):
        fence = FENCE.match(lines[i])
        if not fence:
            pending.append((i, lines[i]))
            i += 1
            continue
        end = next((j for j in range(i + 1, len(lines)) if lines[j].rstrip() == fence[1]), None)
        if end is None:
            raise PlainError(f"line {line + i}: the fence {lines[i]!r} has no end")
        if fence[2] is None:
            pending += list(enumerate(lines))[i : end + 1]  # code stays as it is
        else:
            if pending:
                found.append(text_block(pending, line))
            body, options = lines[i + 1 : end], {}
            while body and (option := OPTION.match(body[0])):
                options[option[1]] = option[2]
                body = body[1:]
            start = line + i + 1 + len(options)
            found.append(Block(fence[2], (fence[3] or "").strip(), options, "\n".join(body), start))
            pending = []
        i = end + 1
    return found + ([text_block(pending, line)] if pending else [])


def text_block(numbered, line):
    return Block("", "", {}, "\n".join(text for _, text in numbered), line + numbered[0][0])


class Edition:
    """One notebook on its way to plain Markdown. ``look`` answers for what is numbered, named, or lies elsewhere."""

    def __init__(self, page, look):
        self.page, self.look = page, look
        self.notes, self.cited = {}, []
        self.solution = None  # the number of an exercise whose solution goes through several cells
        self.pieces = []  # of that solution, so far

    def notebook(self, source):
        """Return a new notebook, of the same cells in the same order; raise PlainError for what has no plain form."""
        new = {key: value for key, value in source.items() if key not in ("cells", "metadata")}
        new["cells"] = []
        for number, cell in enumerate(source["cells"], 1):
            try:
                new["cells"] += self.cell(copy.deepcopy(cell), number)
            except PlainError as error:
                raise PlainError(f"{self.page}.ipynb, cell {number} ({cell['id']}), {error}") from None
        if self.solution:
            raise PlainError(f"{self.page}.ipynb: the solution of exercise {self.solution} has no end")
        if self.cited:
            entries = "\n".join(f"- {self.look.entry(key)}" for key in sorted(self.cited, key=self.look.author_year))
            new["cells"].append(markdown("cited", f"**Cited in this chapter**\n\n{entries}"))
        rooms = [cell["id"] for cell in new["cells"] if cell["metadata"].get("jp-MarkdownHeadingCollapsed")]
        colab = {"provenance": [], "toc_visible": True, "collapsed_sections": rooms}
        new["metadata"] = source["metadata"] | {"colab": colab}
        for cell in new["cells"]:
            cell["metadata"]["id"] = cell["id"]  # Colab has its own place for it
        return new

    def cell(self, cell, number):
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            return self.code(cell, text)
        plain = self.markdown(text)
        if number == 1:
            title, _, rest = plain.partition("\n")
            plain = f"{title}\n\n{self.look.head(self.page)}\n{rest}"
        kept = {"jp-MarkdownHeadingCollapsed": True} if ROOM.match(plain) else {}
        cells = []
        # Between two marks stands the code of a cell of its own.
        for i, part in enumerate(part.strip("\n") for part in plain.split(CELL)):
            name = cell["id"] + (f"-{i}" if i else "")
            if part:
                cells.append(markdown(name, part, kept) if i % 2 == 0 else code(name, part))
        return cells

    def code(self, cell, text):
        """A code cell: its labels as numbers, its title for Colab, and below a figure its caption."""
        old, new = cell["metadata"], {}
        figure = old.get("mystnb", {}).get("figure")
        text = re.sub(r"\((eq-[\w-]+)\)", lambda found: f"({self.look.equation(found[1]).number})", text)
        number = f"Figure {self.look.figure(figure['name']).number}" if figure else ""
        caption = f"**{number}.** {self.inline(figure['caption'], 1)}" if figure else ""
        if self.solution:
            self.pieces += [*told(cell, text), *([caption] if caption else [])]
            return []
        if old.get("cellView"):
            title, hidden = "Set-up: run this cell first", {"source_hidden": True}
            if CHECK.match(text):
                first, _, text = text.partition("\n")
                title, hidden["outputs_hidden"] = first.removeprefix("# "), True
            elif figure:
                title = f"The code of {number.replace('F', 'f', 1)}"
            text, new = f"#@title {title}\n{text}", {"cellView": "form", "jupyter": hidden}
        cell["metadata"], cell["source"] = new, text.splitlines(keepends=True)
        return [cell] + ([markdown(f"{cell['id']}-caption", caption)] if caption else [])

    def markdown(self, text, line=1, quoted=False):
        """Write a cell's text, or a part that begins at ``line``, in plain Markdown.

        What stands between {solution-start} and {solution-end}, also in other cells, is written at its end.
        """
        written = []
        for block in blocks(text, line):
            if block.name == "solution-end":
                written.append(self.folded(f"Solution {self.solution}", "\n\n".join(self.pieces)))
                self.solution, self.pieces = None, []
            elif self.solution and not quoted:
                self.pieces.append(self.block(block, True).strip("\n"))
            else:
                written.append(self.block(block, quoted))
        return "\n\n".join(part for part in (part.strip("\n") for part in written) if part)

    def block(self, block, quoted):
        if not block.name:
            return self.inline(block.body, block.line, quoted)
        write = getattr(self, "write_" + re.sub(r"\W", "_", block.name), None)
        if write is None:
            raise PlainError(f"line {block.line}: the directive {{{block.name}}} has no plain form")
        return write(block)

    def write_admonition(self, block):
        title = self.inline(block.argument, block.line, True)
        body = self.markdown(block.body, block.line, True)
        quote = "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *body.split("\n")])
        name = block.options.get("name")
        return quote + (f"{CELL}{ASK.format(name, title)}{CELL}" if name and self.look.asks(name) else "")

    def write_dropdown(self, block):
        body = self.markdown(block.body, block.line, True)
        return self.folded(self.inline(block.argument, block.line, True), body)

    def write_exercise(self, block):
        label = self.label(block, block.options.get("label"))
        title = self.inline(block.argument, block.line, True)
        number = self.look.exercise(label).number
        fields = f"{CELL}{ASK.format(number, f'Exercise {number}')}{CELL}" if self.look.asks(label) else ""
        return f"### Exercise {number}. {title}\n\n{self.markdown(block.body, block.line)}{fields}"

    def write_solution(self, block):
        number = self.look.exercise(self.label(block, block.argument)).number
        return self.folded(f"Solution {number}", self.markdown(block.body, block.line, True))

    def write_solution_start(self, block):
        self.solution = self.look.exercise(self.label(block, block.argument)).number
        return f"{CELL}{self.look.stub(block.argument) or YOURS.format(self.solution)}{CELL}"

    def label(self, block, label):
        if not label:
            raise PlainError(f"line {block.line}: the directive {{{block.name}}} has no label")
        return label

    def folded(self, title, body):
        """HTML that every host folds; the empty lines let Markdown begin again inside."""
        inside = body.strip("\n")  # not spaces: an indented line may be code
        return f"<details><summary><b>{title}</b></summary>\n\n{inside}\n\n</details>"

    def inline(self, text, line, quoted=False):
        """Write roles, labels, links and footnotes of a text without directives in plain Markdown."""

        def write(found):
            try:
                return self.write(found, quoted)
            except PlainError as error:
                raise PlainError(f"line {line + text.count(chr(10), 0, found.start())}: {error}") from None

        return INLINE.sub(write, text)

    def write(self, found, quoted):
        if found["role"]:
            return self.role(found["role"], found["of"])
        if found["display"]:
            return self.display(found["display"], found["label"], quoted)
        if found["math"]:
            return self.look.macros(found["math"]).replace("\n", " ")
        if found["room"]:  # of this notebook, where no link leads in every host
            title = f"*{self.look.heading(self.page, found['room']).partition(': ')[2]}*"
            return f"proof: {title}, for the curious" if found["said"] == "proof" else title
        if found["target"]:
            return f"]({self.look.address(found['target'], self.page)})"
        if found["note"]:
            number = self.notes.setdefault(found["note"], len(self.notes) + 1)
            return f"<sup>{number}</sup>" + (" " if found["defined"] else "")
        return found["code"] or ""  # code stays, and a heading's old name goes

    def display(self, formula, label, quoted):
        """A display formula with its number; in a quote it stands in one line, or the quote's marks would be in it."""
        tag = f"\\tag{{{self.look.equation(label).number}}}" if label else ""
        lines = [*self.look.macros(formula).strip().split("\n"), *([tag] if tag else [])]
        return f"$${' '.join(map(str.strip, lines))}$$" if quoted else "\n".join(["$$", *lines, "$$"])

    def role(self, role, of):
        if role == "eq":
            return self.pointer(self.look.equation(of), "({})")
        if role == "numref":
            form, _, label = of.removesuffix(">").rpartition("<")
            find, default = (
                (self.look.exercise, "exercise") if label.startswith("ex-") else (self.look.figure, "Figure")
            )
            return self.pointer(find(label), form.strip().replace("%s", "{}") or f"{default} {{}}")
        if role in ("cite:p", "cite:t"):
            keys = [key.strip() for key in of.split(",")]
            self.cited += [key for key in keys if key not in self.cited]
            links = [self.look.citation(key, role == "cite:t") for key in keys]
            return ", ".join(links) if role == "cite:t" else f"({'; '.join(links)})"
        raise PlainError(f"the role {{{role}}} has no plain form")

    def pointer(self, place, form):
        """What a reader sees of a reference: the number here, a link to the page where it is in another chapter."""
        said = form.format(place.number)
        return said if place.page == self.page else f"[{said}]({place.address})"


def told(cell, text):
    """The code of a solution and what it gave, as Markdown. A picture is part of the text, as with Colab's own."""
    pieces = [f"```python\n{text.strip()}\n```"]
    for output in cell["outputs"]:
        given = output.get("data", {})
        if "image/png" in given:
            alt = cell["metadata"]["mystnb"]["image"]["alt"]
            pieces.append(f"![{alt}](data:image/png;base64,{''.join(given['image/png']).strip()})")
        else:
            printed = "".join(output.get("text") or given["text/plain"]).rstrip()
            pieces.append(f"It prints\n\n```text\n{printed}\n```")
    return pieces


def markdown(name, text, metadata=None):
    source = text.splitlines(keepends=True)
    return {"cell_type": "markdown", "id": name, "metadata": metadata or {}, "source": source}


def code(name, text):
    metadata = {"cellView": "form", "jupyter": {"source_hidden": True}} if text.startswith("#@title") else {}
    new = {"cell_type": "code", "id": name, "metadata": metadata, "source": text.splitlines(keepends=True)}
    return new | {"outputs": [], "execution_count": None}
