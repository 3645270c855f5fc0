"""How long the road of a chapter takes to read, evening by evening, and what of a notebook stands on it.

    python tools/clock.py          a line for each notebook, and the sum
    python tools/clock.py 05       one

A notebook holds a road, which everybody reads, and beside it: side rooms (sections "For the curious: ..."), checks
(folded cells that assert), and exercises with their solutions. An evening is the part of the road up to a box "You may
stop here". The clock counts 140 words a minute, a minute for a displayed equation, 4 seconds for a line of visible
code, and multiplies by what readers took on top to predict and to read again.
"""

import argparse
import itertools
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ROOM = re.compile(r"(#+) For the curious: (.+)")
FACTORS = {"05": 1.5}  # where a reader was lost most; 1.2 in all others
LIMIT = 45  # printed minutes, of an evening


class Cell(NamedTuple):
    """A cell, or the part of it on one side of a heading. ``kind``: "first", "text", "code", "figure" or "check".

    ``room``: the heading of the side room it stands in, or "". ``exercise``: whether it stands under "Exercises".
    ``evening``: 0, 1, ..., the evening whose box is the next; what comes after the last box belongs to the last one.
    """

    id: str
    kind: str
    source: str
    room: str
    exercise: bool
    evening: int

    @property
    def on_the_road(self):
        return not self.room and not self.exercise and self.kind != "check"


def kind(cell, first):
    """What a cell of a notebook is for."""
    if cell["cell_type"] == "markdown":
        return "text"
    source = "".join(cell["source"])
    if source.startswith("# Check") and "ledger." not in source:  # what the ledger is told is the chapter's answer
        return "check"
    return "first" if first else "figure" if "figure" in cell["metadata"].get("mystnb", {}) else "code"


def headings(text):
    """The positions and levels of the headings in Markdown, without those in fenced code and boxes."""
    fence = None
    for line in re.finditer(r".*\n?", text):
        mark = re.match(r"`{3,}|:{3,}", line[0])
        if mark and fence is None:
            fence = mark[0]
        elif mark and line[0].strip() == fence:
            fence = None
        elif fence is None and (found := re.match(r"(#+) ", line[0])):
            yield line.start(), len(found[1])


def parts(cell):
    """A cell's text, cut where the exercises begin and end."""
    text = "".join(cell["source"])
    cuts = [at for at, _ in headings(text) if re.match(r"## (Exercises|Summary)\b", text[at:])]
    bounds = [0, *cuts, len(text)] if cell["cell_type"] == "markdown" else [0, len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds) if a < b or not text]


@cache
def cells(path):
    """Read a notebook into a list of Cell."""
    found, room, level, exercise, evening, seen = [], "", 0, False, 0, False
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        what = kind(cell, not seen)
        seen |= cell["cell_type"] == "code"
        for text in parts(cell):
            if what == "text" and (start := re.match(r"(?:\([\w-]+\)=\n+)*(#+) ", text)):
                own = ROOM.match(text, start.start(1))
                if own:
                    if not room or len(own[1]) <= level:
                        room, level = own[2], len(own[1])
                elif room and len(start[1]) <= level:
                    room = ""
                if len(start[1]) <= 2:
                    exercise = text.startswith("## Exercises")
            found.append(Cell(cell["id"], what, text, room, exercise, evening))
            evening += ":class: evening" in text
    last = max(evening - 1, 0)
    return [cell._replace(evening=min(cell.evening, last)) for cell in found]


def minutes(cells):
    """Minutes to read some cells, once, from top to bottom."""
    words = equations = lines = 0
    for cell in cells:
        text = cell.source
        if cell.kind == "text":
            text, n = re.subn(r"\$\$.*?\$\$( \(\S+\))?", " ", text, flags=re.DOTALL)
            equations += n
            words += len(re.sub(r"(?m)^(`{3,}|:{3,}|:\w+:).*$", " ", text).split())
        elif cell.kind == "code":
            lines += sum(bool(line.strip()) for line in text.splitlines())
    return words / 140 + equations + lines / 15


def words(cells):
    """The words of some cells, formulas included."""
    return sum(len(cell.source.split()) for cell in cells if cell.kind == "text")


def evenings(path):
    """The cells of the road, a list for each evening."""
    road = [cell for cell in cells(path) if cell.on_the_road]
    return [[cell for cell in road if cell.evening == i] for i in range(road[-1].evening + 1)]


def number(path):
    """A chapter's number as it is printed: 8, or A for an appendix."""
    return re.match(r"(?:appendix_)?0*([0-9a-z]+?)_", path.name)[1].upper()


def slug(heading):
    """The address of a heading in its page."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(path, anchor):
    """The cells of the road below a heading, up to the next of its level or a higher one; none where it is missing."""
    found, level = [], 0
    for cell in (cell for cell in cells(path) if cell.on_the_road):
        heads = list(headings(cell.source)) if cell.kind == "text" else []
        bounds = [0, *(at for at, _ in heads), len(cell.source)]
        levels = [0, *(depth for _, depth in heads)]
        for (start, end), depth in zip(itertools.pairwise(bounds), levels, strict=True):
            text = cell.source[start:end]
            if depth and depth <= level:
                level = 0
            if depth and slug(text.split("\n")[0].lstrip("# ")) == anchor:
                level = depth
            if level and (text or cell.kind != "text"):
                found.append(cell._replace(source=text))
    return found


def factor(path):
    """What the minutes of a chapter are multiplied by."""
    return FACTORS.get(path.name[:2], 1.2)


def printed(path):
    """The minutes of each evening as they are printed: rounded up to 5."""
    return [5 * math.ceil(factor(path) * minutes(evening) / 5) for evening in evenings(path)]


def notebooks(numbers=()):
    """Paths of the chapters and then the appendices, or of those with a number such as 5, 05 or A."""
    wanted = {str(n).upper().lstrip("0") or "0" for n in numbers}
    return [path for path in sorted(FOLDER.glob("*.ipynb")) if not wanted or (number(path) in wanted)]


def head(minutes_of_evenings):
    """The evenings as a chapter's head says them."""
    total = sum(minutes_of_evenings)
    if len(minutes_of_evenings) == 1:
        return f"about {total} minutes"
    count = {2: "two", 3: "three", 4: "four"}[len(minutes_of_evenings)]
    *most, last = map(str, minutes_of_evenings)
    return f"about {total} minutes, in {count} evenings of {', '.join(most)} and {last}"


def main(numbers):
    total = 0
    for path in notebooks(numbers):
        each, road = printed(path), [cell for cell in cells(path) if cell.on_the_road]
        rooms = [cell for cell in cells(path) if cell.room]
        names = dict.fromkeys(cell.room for cell in rooms)
        total += sum(each) if number(path).isdigit() else 0
        exact = " + ".join(f"{minutes(evening):.1f}" for evening in evenings(path))
        print(f"{number(path):>2}  {' + '.join(map(str, each)):12} printed ({exact} counted)", end="; ")
        print(f"{words(road):,} words on the road, {words(rooms):,} in {len(names)} rooms", flush=True)
    print(f"    {total} minutes: {total / 60:.1f} hours without appendices, rooms and exercises")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*")
    sys.exit(main(parser.parse_args().numbers))
