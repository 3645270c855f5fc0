"""What all explorers share: their JavaScript, their state, and how they stand in a page that has no kernel."""

import base64
import html
import json
import re
import sys
from pathlib import Path

import anywidget
import traitlets

STATIC = Path(__file__).parent / "static" / "explorers"


def script(name):
    """Return an explorer's module as one text, the shared one written in: widgets know no relative imports."""
    shared = re.sub(r"^export ", "", (STATIC / "shared.js").read_text("utf-8"), flags=re.MULTILINE)
    return shared + re.sub(r"^import .*shared\.js\";\n", "", (STATIC / f"{name}.js").read_text("utf-8"))


class Explorer(anywidget.AnyWidget):
    """A widget that the reader moves: in a page without a kernel, in Jupyter and in Colab.

    A subclass has a ``module``, the name of its JavaScript; values to move, traits tagged ``sync``; :meth:`numbers`,
    what the module shows for them, computed here by the package; and :meth:`picture`, for where no script runs.
    """

    title = traitlets.Unicode().tag(sync=True)
    # Before the first move: a question, choices with the reply to each, and what to do in between.
    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List().tag(sync=True)
    task = traitlets.Unicode().tag(sync=True)
    # Of the table: key, label and decimals of each number.
    rows = traitlets.List().tag(sync=True)

    _css = (STATIC / "explorers.css").read_text("utf-8")

    def __init_subclass__(cls, **named):
        if "module" in cls.__dict__:  # not in the classes that traitlets makes on the way
            cls._esm = script(cls.module)
        super().__init_subclass__(**named)

    def __repr__(self):
        return f"{type(self).__name__}()"  # no address, which would differ from run to run

    def numbers(self):
        """Return what the explorer's table shows, by key; amounts in nats unless the row says otherwise."""
        raise NotImplementedError

    def picture(self):
        """Return a static picture of the state as HTML, with its text alternative."""
        raise NotImplementedError

    def state(self):
        """Return the values that travel to the page, as JSON knows them; bytes as base64."""
        own = [
            name for name in self.trait_names(sync=True) if not hasattr(anywidget.AnyWidget, name) and name[0] != "_"
        ]
        values = {name: getattr(self, name) for name in sorted(own)}
        return {
            name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
            for name, value in values.items()
        }

    def _repr_mimebundle_(self, **named):
        bundle, metadata = super()._repr_mimebundle_(**named)
        if "google.colab" not in sys.modules:  # Colab would take the HTML, and has a kernel for the widget
            bundle["text/html"] = self._page()
        return bundle, metadata

    def _page(self):
        numbers = self.numbers()
        state = json.dumps(self.state(), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        rows = "".join(
            f'<tr><th scope="row">{html.escape(label)}</th><td>{_shown(numbers[key], *digits)}</td></tr>'
            for key, label, *digits in self.rows
        )
        return (
            f'<div data-explorer="{self.module}"><script type="application/json">{state}</script>'
            f'<div class="vx vx-static"><p class="vx-title">{html.escape(self.title)}</p>{self.picture()}'
            f'<table class="vx-numbers"><tbody>{rows}</tbody></table>'
            "<p>Nothing moves here without scripts: this is how the explorer begins.</p></div></div>"
        )


def _shown(value, digits=3):
    return html.escape(value) if isinstance(value, str) else f"{value:.{digits}f}".replace("-", "−")


class Plot:
    """A static plot as SVG, in the form that ``shared.js`` draws: lines are arrays of x and of y.

    No wider than a phone, so that its text has its size everywhere.
    """

    def __init__(self, x, y, label, xlabel="", ylabel="", width=340, height=200):
        self.box, self.label = (48, 12, width - 12, height - 40), label
        (self.x, self.y), self.size = (x, y), (width, height)
        left, top, right, bottom = self.box
        self.parts = [
            f'<text x="{(left + right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{html.escape(xlabel)}</text>',
            f'<text transform="translate(13 {(top + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
            f"{html.escape(ylabel)}</text>",
            f'<path class="vx-grid" fill="none" d="M{left} {top}V{bottom}H{right}"/>',
        ]
        for value in x:
            self.text(value, y[0], f"{value:g}", dy=16)
        for value in y:
            shown, height = f"{value:g}".replace("-", "−"), f"{self._y(value) + 4:.1f}"
            self.parts.append(f'<text class="vx-tick" x="{left - 6}" y="{height}" text-anchor="end">{shown}</text>')

    def _x(self, value):
        return self.box[0] + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.box[2] - self.box[0])

    def _y(self, value):
        return self.box[3] - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.box[3] - self.box[1])

    def _path(self, xs, ys):
        return "M" + "L".join(f"{self._x(float(a)):.1f} {self._y(float(b)):.1f}" for a, b in zip(xs, ys, strict=True))

    def line(self, xs, ys, name):
        self.parts.append(f'<path class="vx-line vx-{name}" d="{self._path(xs, ys)}"/>')

    def area(self, xs, ys, name, base=0.0):
        ends = f"L{self._x(float(xs[-1])):.1f} {self._y(base):.1f}L{self._x(float(xs[0])):.1f} {self._y(base):.1f}Z"
        self.parts.append(f'<path class="vx-area vx-{name}" d="{self._path(xs, ys)}{ends}"/>')

    def bar(self, start, end, value, name, base=0.0):
        top, height = max(value, base), abs(self._y(value) - self._y(base))
        self.parts.append(
            f'<rect class="vx-bar vx-{name}" x="{self._x(start):.1f}" width="{self._x(end) - self._x(start):.1f}" '
            f'y="{self._y(top):.1f}" height="{height:.1f}"/>'
        )

    def dot(self, a, b, name, r=5):
        self.parts.append(f'<circle class="vx-dot vx-{name}" cx="{self._x(a):.1f}" cy="{self._y(b):.1f}" r="{r}"/>')

    def text(self, a, b, text, dy=0, anchor="middle"):
        self.parts.append(
            f'<text class="vx-tick" x="{self._x(a):.1f}" y="{self._y(b) + dy:.1f}" text-anchor="{anchor}">'
            f"{html.escape(text.replace('-', '−'))}</text>"
        )

    def __str__(self):
        width, height = self.size
        return (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" style="max-width: 100%" font-size="13" '
            f'fill="currentColor" aria-label="{html.escape(self.label)}">{"".join(self.parts)}</svg>'
        )
