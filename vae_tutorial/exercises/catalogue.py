"""What is asked in the exercises, right and wrong answers, and what to say to each: data in ``vae_tutorial/answers``.

An exercise has a number in the book, "8.3", and a label that stays where numbers move, "ex-units-awake". Needs neither
PyTorch nor NumPy.
"""

import difflib
import json
import math
from functools import cache
from importlib import resources

__all__ = ["entries", "fields", "label", "number"]


@cache
def _read(name):
    return json.loads((resources.files("vae_tutorial") / "answers" / name).read_text("utf-8"))


def label(exercise: str) -> str:
    """Return the label of an exercise, given as "8.3" or by its label.

    Raises ValueError for what is not in the book, with what comes near.
    """
    numbers, wanted = _read("numbers.json"), str(exercise).strip()
    if wanted.upper() in numbers:
        return numbers[wanted.upper()]
    if wanted in numbers.values() or _file(wanted):
        return wanted
    chapter = wanted.upper().partition(".")[0]
    there = [key for key in numbers if key.partition(".")[0] == chapter]
    near = there or difflib.get_close_matches(wanted, [*numbers, *numbers.values()], 3) or ["8.1", "ex-count"]
    raise ValueError(f"there is no exercise {exercise!r}; try one of {', '.join(near)}")


def number(exercise: str) -> str:
    """Return the number of an exercise in the book, such as "8.3"; of a question elsewhere its label."""
    wanted = label(exercise)
    return next((key for key, name in _read("numbers.json").items() if name == wanted), wanted)


def entries(exercise: str, kind: str | None = None) -> list[dict]:
    """Return what the catalogue has for an exercise, or of one kind: "number", "choice" or "code". May be empty."""
    wanted = label(exercise)
    found = [entry for entry in _file(wanted) if kind in (None, entry["kind"])]
    return json.loads(json.dumps(found))  # a copy, so that nobody changes what is remembered


def fields(exercise: str) -> list[dict]:
    """Return what the script of the answer fields needs of an exercise: its numbers, computed, and its choices.

    Each has ``ask``; a number ``unit``, ``answer`` and ``wrong`` as (value, reply); a choice ``choices`` as (what it
    says, whether it is right, reply).
    """
    found = []
    for entry in entries(exercise):
        if entry["kind"] == "number":
            wrong = [(_value(part["answer"]), part["reply"]) for part in entry["wrong"]]
            found.append(
                {"ask": entry["ask"], "unit": entry["unit"], "answer": _value(entry["answer"]), "wrong": wrong}
            )
        elif entry["kind"] == "choice":
            choices = [(choice["says"], choice["right"], choice["reply"]) for choice in entry["choices"]]
            found.append({"ask": entry["ask"], "choices": choices})
    return found


def _value(expression):
    """An answer's number: the catalogue writes it as an expression, which shows where it comes from."""
    value = float(eval(expression, {"__builtins__": {"abs": abs}, **vars(math)}))
    return int(value) if value.is_integer() else value


@cache
def _file(wanted):
    """The entries of a label, from whichever file has them."""
    folder = resources.files("vae_tutorial") / "answers"
    names = sorted(
        path.name for path in folder.iterdir() if path.name.endswith(".json") and path.name != "numbers.json"
    )
    return [entry for name in names for entry in _read(name) if entry["exercise"] == wanted]
