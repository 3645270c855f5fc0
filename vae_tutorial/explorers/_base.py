"""What all explorers share: their JavaScript, their state, and how they are shown in a page without a kernel."""

import base64
import html
import json
import math
import re
import sys
from numbers import Real
from typing import ClassVar

import anywidget
import traitlets

from vae_tutorial.explorers._svg import CSS, STATIC, Plot, italic

__all__ = ["Explorer", "Number", "Numbers", "Plot", "Whole", "script"]


def script(name):
    """Return an explorer's module with shared.js inlined: a widget's module cannot import relative paths."""
    shared = re.sub(r"^export ", "", (STATIC / "shared.js").read_text("utf-8"), flags=re.MULTILINE)
    return shared + re.sub(r"^import [^;]*shared\.js\";\n", "", (STATIC / f"{name}.js").read_text("utf-8"))


class Number(traitlets.Float):
    """A finite number, of Python, NumPy or torch. NaN is refused: it would pass min and max."""

    def validate(self, obj, value):
        return _finite(self.name, super().validate(obj, _plain(value)))


class Whole(traitlets.Int):
    """A whole number, of Python, NumPy or torch."""

    def validate(self, obj, value):
        return _finite(self.name, super().validate(obj, _plain(value)))


def _plain(value):
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    return str(value) if isinstance(value, bool) else value  # traitlets would accept True as 1


def _finite(name, value):
    if not math.isfinite(value):
        raise traitlets.TraitError(f"{name} must be a finite number; got {value}")
    return value


class Numbers(traitlets.TraitType):
    """Finite numbers, from a list, an array or a tensor; as many as the tag ``count`` says, else at least one.

    Stored as a tuple: a change inside a list would notify no observer.
    """

    def validate(self, obj, value):
        values = value.tolist() if hasattr(value, "tolist") else value
        numbers = tuple(values) if isinstance(values, list | tuple) else ()
        sound = all(isinstance(v, Real) and math.isfinite(v) for v in numbers)
        count = self.metadata.get("count")
        if not sound or len(numbers) != (count or max(1, len(numbers))):
            raise traitlets.TraitError(f"{self.name} must be {count or 'some'} numbers, all finite; got {value!r}")
        return tuple(map(float, numbers))


class Explorer(anywidget.AnyWidget):
    """A widget that the reader moves: in a page without a kernel, in Jupyter and in Colab.

    A subclass has a ``module``, the name of its JavaScript; ``words``; values to move, traits tagged ``sync``;
    :meth:`numbers`, what the module shows for them, computed here by the package; and :meth:`picture`, for where no
    script runs. What it computes itself is a trait that is ``read_only``.

    An unknown keyword raises TypeError, setting an unknown name AttributeError, an invalid value TraitError.
    """

    # title; before the first move a question, choices with the reply to each, and the task in between; rows of the
    # table: key, label, decimals; their unit, where it is one. *x* is a letter of mathematics, ~q~ a subscript.
    words: ClassVar[dict] = {}
    module: ClassVar[str]
    files: ClassVar[dict] = {}  # values that a page loads from a file, which many pages share: names of _packed.files()
    title = traitlets.Unicode().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List().tag(sync=True)
    task = traitlets.Unicode().tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    rows = traitlets.List().tag(sync=True)

    _css = CSS

    def __init_subclass__(cls, **named):
        if "module" in cls.__dict__:  # not in the subclasses that add_traits makes
            cls._esm = script(cls.module)
        super().__init_subclass__(**named)

    def __init__(self, **values):
        for name in values:
            if not self.has_trait(name):
                raise TypeError(f"{type(self).__name__} has no {name!r}; {self._settable()}")
        super().__init__(**{**self.words, **values})

    def __setattr__(self, name, value):
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name!r} to set; {self._settable()}")
        super().__setattr__(name, value)

    def __repr__(self):
        return f"{type(self).__name__}()"  # no address, which would differ from run to run

    def numbers(self):
        """Return what the explorer's table shows, by key; amounts in nats unless the row says otherwise."""
        raise NotImplementedError

    def picture(self):
        """Return a static picture of the state as HTML, with its text alternative."""
        raise NotImplementedError

    def state(self):
        """Return the values that are sent to the page, as JSON types; bytes as base64."""
        values = {name: getattr(self, name) for name in self._own()}
        return {
            name: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
            for name, value in values.items()
        }

    def _own(self):
        names = self.trait_names(sync=True)
        return sorted(name for name in names if not hasattr(anywidget.AnyWidget, name) and name[0] != "_")

    def _settable(self):
        return f"it has {', '.join(name for name in self._own() if not self.traits()[name].read_only)}"

    def _repr_mimebundle_(self, **named):
        bundle, metadata = super()._repr_mimebundle_(**named) or ({}, {})
        if "google.colab" not in sys.modules:  # Colab would show the HTML, not the widget
            bundle["text/html"] = self._page()
        return bundle, metadata

    def _page(self):
        numbers = self.numbers()
        state = self.state() | {key: {"file": name} for key, name in self.files.items()}
        state = json.dumps(state, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        rows = "".join(
            f'<tr><th scope="row">{_typeset(label)}</th><td>{_shown(numbers[key], *digits)}</td></tr>'
            for key, label, *digits in self.rows
        )
        head = f"<thead><tr><td>{html.escape(self.unit)}</td></tr></thead>" if self.unit else ""
        return (
            f'<div id="explorer-{self.module.replace("_", "-")}" data-explorer="{self.module}">'
            f'<script type="application/json">{state}</script>'
            f'<div class="vx vx-static"><p class="vx-title">{_typeset(self.title)}</p>{self.picture()}'
            f'<table class="vx-numbers">{head}<tbody>{rows}</tbody></table>'
            "<p>This is how the explorer begins. In a notebook, run this cell and it moves; in a page, scripts must "
            "be allowed.</p>"
            "</div></div>"
        )


def _typeset(text):
    return italic(re.sub("~([^~]+)~", r"<sub>\1</sub>", html.escape(text)), "<i>", "</i>")


def _shown(value, digits=3):
    return html.escape(value) if isinstance(value, str) else f"{value:.{digits}f}".replace("-", "−")
