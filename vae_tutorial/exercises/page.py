"""The answer fields of an exercise as HTML, for a page of the book and for a notebook; no kernel is asked."""

import html
import json
from importlib import resources

from vae_tutorial.exercises import catalogue

__all__ = ["Fields", "ask", "markup"]


def markup(exercise: str) -> str:
    """Return the place of an exercise's fields, with what their script needs; empty where nothing can be typed."""
    wanted = catalogue.label(exercise)
    found = catalogue.fields(wanted)
    if not found:
        return ""
    data = json.dumps(found, ensure_ascii=False).replace("</", "<\\/")
    script = f'<script type="application/json">{data}</script>'
    return f'<div class="answers" data-answers="{html.escape(wanted)}">{script}</div>'


class Fields:
    """The answer fields of an exercise, as a notebook shows them."""

    def __init__(self, exercise: str):
        self.exercise, self._markup = catalogue.number(exercise), markup(exercise)
        if not self._markup:
            raise ValueError(f"exercise {exercise!r} has no answer to type; see check for its code")

    def __repr__(self):
        return f"<the answer fields of exercise {self.exercise}: they need a notebook>"

    def _repr_html_(self):
        static = resources.files("vae_tutorial") / "answers" / "static" / "answers"
        style, script = ((static / name).read_text("utf-8") for name in ("answers.css", "answers.js"))
        return f"<style>{style}</style>{self._markup}<script>{script}</script>"


def ask(exercise: str) -> Fields:
    """Return the fields of an exercise such as "8.1". As a cell's last line they appear, and say whether you are right.

    Nothing that you type leaves your browser. Raises ValueError for what is no exercise, or has no field.
    """
    return Fields(exercise)
