"""The static picture of an explorer, for readers without scripts: a plot as SVG in the ``src`` of an <img>."""

import html
import re
from pathlib import Path
from urllib.parse import quote

STATIC = Path(__file__).parent / "static" / "explorers"
CSS = (STATIC / "explorers.css").read_text("utf-8")
# The colours of the light theme: the first rule of the style sheet, which does not apply inside an <img>.
COLORS = dict(re.findall(r"--vx-(\w+): (#\w+);", CSS[: CSS.index("}")]))
INK = "#222222"


def italic(text, start, end):
    """Put ``start`` and ``end`` round each letter of mathematics: what stands between two asterisks."""
    return re.sub(r"\*([^*]+)\*", rf"{start}\1{end}", text)


class Plot:
    """A static plot as SVG, in the form that ``shared.js`` draws: lines are arrays of x and of y.

    No wider than a phone, so that its text is never scaled down. ``label``: its text alternative. As a string it is
    an <img>: where SVG is sanitized away (an untrusted notebook in JupyterLab) or no style sheet is loaded (nbconvert),
    picture, colours and text alternative stay.
    """

    def __init__(self, x, y, label, xlabel="", ylabel="", width=340, height=200):
        self.box, self.label = (48, 12, width - 12, height - 40), label
        (self.x, self.y), self.size, self.parts = (x, y), (width, height), []
        left, top, right, bottom = self.box
        self._text((left + right) / 2, height - 6, xlabel, size=13)
        middle = f"translate(13 {(top + bottom) / 2:.0f}) rotate(-90)"
        self._text(0, 0, ylabel, size=13, more=f" transform='{middle}'")
        self.parts.append(f"<path fill='none' stroke='{INK}' stroke-opacity='.3' d='M{left} {top}V{bottom}H{right}'/>")

    def scale(self, axis, values):
        """Add tick labels to one axis, "x" or "y", at the values."""
        for value in values:
            if axis == "x":
                self.text(value, self.y[0], f"{value:g}", dy=18)
            else:
                self._text(self.box[0] - 6, self._y(value) + 4, f"{value:g}", anchor="end")
        return self

    # Rounded first to thousandths of a pixel: at a tie of tenths, processors whose last digits differ agree.
    def _x(self, value):
        return round(self.box[0] + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.box[2] - self.box[0]), 3)

    def _y(self, value):
        return round(self.box[3] - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.box[3] - self.box[1]), 3)

    def _path(self, xs, ys):
        return "M" + "L".join(f"{self._x(float(a)):.1f} {self._y(float(b)):.1f}" for a, b in zip(xs, ys, strict=True))

    def line(self, xs, ys, name, width=2.2, opacity=1, dashes=None):
        look = f"stroke='{COLORS.get(name, INK)}' stroke-width='{width}' stroke-opacity='{opacity}'"
        dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
        self.parts.append(f"<path fill='none' {look}{dashed} d='{self._path(xs, ys)}'/>")

    def area(self, xs, ys, name, base=0.0):
        ends = f"L{self._x(float(xs[-1])):.1f} {self._y(base):.1f}L{self._x(float(xs[0])):.1f} {self._y(base):.1f}Z"
        self.parts.append(f"<path fill='{COLORS[name]}' fill-opacity='.3' d='{self._path(xs, ys)}{ends}'/>")

    def bar(self, start, end, value, name):
        place = f"x='{self._x(start):.1f}' width='{self._x(end) - self._x(start):.1f}' y='{self._y(value):.1f}'"
        height = self._y(0) - self._y(value)
        self.parts.append(f"<rect fill='{COLORS[name]}' {place} height='{height:.1f}'/>")

    def dot(self, a, b, name, r=5):
        place = f"cx='{self._x(a):.1f}' cy='{self._y(b):.1f}'"
        self.parts.append(f"<circle fill='{COLORS.get(name, INK)}' {place} r='{r}'/>")

    def dots(self, places, color, size=4):
        """Many dots of one colour, a CSS colour, as one node."""
        drawn = "".join(f"M{self._x(a):.0f} {self._y(b):.0f}h0" for a, b in places)
        self.parts.append(f"<path stroke='{color}' stroke-width='{size}' stroke-linecap='round' d='{drawn}'/>")

    def text(self, a, b, text, dy=0, anchor="middle"):
        self._text(self._x(a), self._y(b) + dy, text, anchor)

    def _text(self, x, y, text, anchor="middle", size=12, more=""):
        if text:
            shown = italic(html.escape(text.replace("-", "−")), "<tspan font-style='italic'>", "</tspan>")
            place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}'"
            self.parts.append(f"<text {place}{more}>{shown}</text>")

    def svg(self):
        """Return the SVG alone. It has no style sheet: each part names its own colour and size."""
        width, height = self.size
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
            f"height='{height}' fill='{INK}' font-family='sans-serif'>"
            f"<rect width='{width}' height='{height}' fill='#ffffff'/>{''.join(self.parts)}</svg>"
        )

    def __str__(self):
        source = quote(self.svg(), safe=" =:/;,()'")  # characters allowed in a quoted URL; the rest is percent-encoded
        width, height = self.size
        return (
            f'<img class="vx-plot" alt="{html.escape(self.label)}" width="{width}" height="{height}" '
            f'src="data:image/svg+xml,{source}">'
        )
