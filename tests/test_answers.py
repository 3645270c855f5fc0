"""The catalogue of answers to exercises: a wrong answer is one that a mistake gives; its reply names the mistake.

``vae_tutorial/answers/NN.json`` is data: what is asked, the right answer, wrong ones, and what to say to each.
"""

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "vae_tutorial" / "answers").glob("[0-9ab]*.json"))
ENTRIES = [(path.stem, entry) for path in FILES for entry in json.loads(path.read_text("utf-8"))]
FIELDS = {
    "number": {"exercise", "kind", "ask", "unit", "answer", "wrong"},
    "choice": {"exercise", "kind", "ask", "choices"},
    "code": {"exercise", "kind", "ask", "name", "cases", "right", "wrong"},
}

# Questions "Predict" without choices that have no field, with the reason. A box is known by how its text begins.
NOT_ASKED = {}


def title(pair):
    return f"{pair[0]}-{pair[1]['exercise']}-{pair[1]['ask']}"


def of(kind):
    found = [(chapter, entry) for chapter, entry in ENTRIES if entry["kind"] == kind]
    return pytest.mark.parametrize(("chapter", "entry"), found, ids=map(title, found))


def cells(chapter):
    pattern = f"{chapter}_*.ipynb" if chapter.isdigit() else f"appendix_{chapter}_*.ipynb"
    path = next((ROOT / "notebooks").glob(pattern))
    return json.loads(path.read_text("utf-8"))["cells"]


def notebook(chapter):
    return "\n\n".join("".join(cell["source"]) for cell in cells(chapter))


def shown_after(chapter, name):
    """What a chapter says and prints after the box of this name, up to its exercises."""
    parts = [
        part
        for cell in cells(chapter)
        for part in (cell["source"] if cell["cell_type"] == "markdown" else [], *printed(cell))
    ]
    after = "\n".join("".join(part) for part in parts).split(f":name: {name}\n")[1]
    return after.split("```\n", 1)[1].split("\n## Exercises\n")[0]


def printed(cell):
    return [output["text"] for output in cell.get("outputs", ()) if "text" in output]


def open_questions(chapter):
    """The name and the text of each box "Predict" that has no choices of its own; the name may be empty."""
    box = re.compile(
        r"^(`{3,}|:{3,})\{admonition\}.*\n:class: predict\n(?::name: (\S+)\n)?((?s:.)*?)^\1$", re.MULTILINE
    )
    return [(name or "", text) for _, name, text in box.findall(notebook(chapter)) if "{dropdown}" not in text]


def value(expression):
    """What an answer is worth: an expression in numbers and functions of ``math``, which shows where it comes from."""
    return float(eval(expression, {name: getattr(math, name) for name in dir(math)}))


def near(a, b):
    return abs(a - b) <= 0.01 * abs(b)


def numbers(text):
    text = text.replace("−", "-").replace("{,}", "").replace(r"\,", "")
    return [float(found.replace(",", "")) for found in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


def replies_of(entry):
    """What an entry of the catalogue says to wrong answers and to choices, once its form was looked at."""
    replies = [part["reply"] for part in entry.get("wrong", entry.get("choices"))]
    assert len(set(replies)) == len(replies)
    for reply in replies:
        assert reply[0].isupper(), reply
        assert reply[-1] in ".?", reply
        assert len(reply.split()) <= 40, reply
    return replies


@pytest.mark.parametrize(("chapter", "entry"), ENTRIES, ids=map(title, ENTRIES))
def test_an_entry_is_whole(chapter, entry):
    assert set(entry) == FIELDS[entry["kind"]]
    mark = "name" if entry["exercise"].startswith("predict-") else "label"
    assert f":{mark}: {entry['exercise']}\n" in notebook(chapter), "no such exercise or question in the chapter"
    assert replies_of(entry)


@of("number")
def test_wrong_numbers_are_wrong_and_tell_mistakes_apart(chapter, entry):
    right, wrong = value(entry["answer"]), [value(part["answer"]) for part in entry["wrong"]]
    assert wrong
    count = not entry["unit"] and right.is_integer() and right >= 100  # which must be given exactly
    for a, b in itertools.combinations([right, *wrong], 2):
        assert a != b if count else not near(a, b) and not near(b, a), f"{a} and {b} cannot be told apart"
    for part in entry["wrong"]:
        assert not any(near(n, right) for n in numbers(part["reply"])), f"it gives the answer away: {part['reply']}"
    if entry["exercise"].startswith("predict-"):
        solution = shown_after(chapter, entry["exercise"])
    else:
        solution = notebook(chapter).split(f"}} {entry['exercise']}\n")[1].split("{exercise}")[0]
    assert any(near(abs(n), abs(right)) or n == round(right, 2) for n in numbers(solution)), (
        "not what the solution says"
    )


@of("choice")
def test_of_the_choices_one_is_right(chapter, entry):
    assert 2 <= len(entry["choices"]) <= 5
    assert all(set(choice) == {"says", "right", "reply"} for choice in entry["choices"])
    assert sum(choice["right"] for choice in entry["choices"]) == 1
    assert len({choice["says"] for choice in entry["choices"]}) == len(entry["choices"])


def test_each_open_question_has_a_field_or_a_reason():
    chapters = sorted(path.stem for path in FILES)
    found = [(chapter, *question) for chapter in chapters for question in open_questions(chapter)]
    assert len(found) >= 46
    names = [name for _, name, _ in found if name]
    assert len(set(names)) == len(names)
    asked = {(chapter, entry["exercise"]) for chapter, entry in ENTRIES if entry["exercise"].startswith("predict-")}
    assert asked == {(chapter, name) for chapter, name, _ in found if name}
    assert all(re.fullmatch(r"predict(-[a-z0-9]+)+", name) for name in names)
    left_out = [(chapter, text) for chapter, name, text in found if not name]
    assert all(any(text.startswith(begin) for begin in NOT_ASKED) for _, text in left_out), left_out
    assert len(left_out) == len(NOT_ASKED), "a reason for a question that is asked, or is not there"


def test_the_right_reply_to_a_prediction_says_why():
    for _, entry in ENTRIES:
        for choice in entry.get("choices", ()) if entry["exercise"].startswith("predict-") else ():
            assert choice["reply"].startswith("Yes") == choice["right"], choice["reply"]


def gradients(parts, case):
    """The gradients of what a function returned, by the arguments that ask for one; zeros where there is none."""
    leaves = [argument for argument in case if isinstance(argument, torch.Tensor) and argument.requires_grad]
    sums = [part.sum() for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]
    if not sums or not leaves:
        return [torch.zeros_like(leaf).double() for leaf in leaves]
    found = torch.autograd.grad(sum(sums), leaves, allow_unused=True, materialize_grads=True)
    return [gradient.double() for gradient in found]


def results(source, entry, scope):
    """What a function returns for each case, and its gradients, as float64 tensors; of an exception, its name."""
    exec(source, scope)
    found = []
    for case in scope["cases"]:
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            with np.errstate(all="ignore"):
                result = scope[entry["name"]](*case)
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
            found.append(type(error).__name__)
            continue
        parts = result if isinstance(result, tuple) else (result,)
        found += [torch.as_tensor(part).detach().double() for part in parts] + gradients(parts, case)
    return found


def same(a, b):
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True)


@of("code")
def test_wrong_functions_are_told_apart_by_their_results(chapter, entry):
    # Chapters 0 to 5 are checked where there may be no PyTorch, the others with it.
    arrays = {"math": math, "np": np, "special": special}
    scope = arrays if chapter <= "05" else {"torch": torch, "math": math, "F": F, "nn": nn}
    torch.manual_seed(0)
    exec(entry["cases"], scope)
    assert len(scope["cases"]) >= 2
    found = {"right": results(entry["right"], entry, dict(scope))}
    assert not any(isinstance(part, str) for part in found["right"])
    for part in entry["wrong"]:
        assert set(part) == {"code", "reply"}
        found[part["reply"]] = results(part["code"], entry, dict(scope))
    assert len(found) >= 3
    for (one, a), (other, b) in itertools.combinations(found.items(), 2):
        equal = len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        assert not equal, f"{one!r} and {other!r} give the same"


def test_every_chapter_has_answers_in_the_catalogue():
    chapters = {path.stem.removeprefix("appendix_").split("_")[0] for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in FILES} == chapters
    for chapter in chapters:
        kinds = {entry["kind"] for name, entry in ENTRIES if name == chapter}
        assert "number" in kinds or "choice" in kinds, chapter
        assert "code" in kinds or not chapter.isdigit(), chapter
    assert sum(len(entry.get("wrong", ())) for _, entry in ENTRIES) >= 120
