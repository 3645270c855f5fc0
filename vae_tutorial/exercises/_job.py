"""A code entry of the catalogue, computed: its cases, what is right for them, and what each known mistake gives."""

import inspect
import math
import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import catalogue
from ._compare import Limits, result
from ._run import call, seeds_kept


class Job(NamedTuple):
    """A code entry, computed: its cases, what is right for them, and what each known mistake gives."""

    title: str
    names: tuple  # of the arguments
    cases: list
    lent: dict  # names that the exercise takes as there
    torch: bool  # whether the entry itself needs PyTorch
    function: object  # the right one
    right: list  # its results
    wrong: list  # (reply, results, limits)
    limits: Limits
    summary: object


def _scope(entry):
    """What the code of an entry may use: NumPy and SciPy, or PyTorch where it speaks of it."""
    source = entry["cases"] + entry["right"]
    if not re.search(r"\b(torch|nn\.|F\.)", source):
        from scipy import special

        return {"np": np, "math": math, "special": special}, False
    import torch
    import torch.nn.functional as F

    torch.default_generator.manual_seed(0)
    return {"torch": torch, "math": math, "F": F, "nn": torch.nn}, True


@lru_cache(maxsize=16)
def job(label, name, grad):
    """Compute an entry; once for each mode of gradients."""
    entry = next(entry for entry in catalogue.entries(label, "code") if entry["name"] == name)
    with seeds_kept(), np.errstate(all="ignore"):
        scope, needs_torch = _scope(entry)
        before = set(scope)
        exec(entry["cases"], scope)
        cases, summary = scope["cases"], scope.get("summary")
        sources = [entry["right"], *(part["code"] for part in entry["wrong"])]
        functions = [_made(source, name, scope) for source in sources]
        used = {word for function in functions for word in function.__code__.co_names}
        lent = {word: scope[word] for word in used & (set(scope) - before) if not word.startswith("_")}
        right = results_of(functions[0], cases, summary=summary)
        if failed := [one.failure for one in right if one.failure]:
            raise RuntimeError(f"the checker of {label} {name} does not work here: {failed[0]}")
        limits = Limits(scope.get("precision", 1e-4), scope.get("tolerance", 0.0))
        wrong = [
            (part["reply"], *_mistaken(function, cases, right, summary, limits))
            for part, function in zip(entry["wrong"], functions[1:], strict=True)
        ]
    names = tuple(inspect.signature(functions[0]).parameters)
    return Job(name, names, cases, lent, needs_torch, functions[0], right, wrong, limits, summary)


def _mistaken(function, cases, right, summary, limits):
    """The results of a mistake, and the limits for them: wider, where other draws change them more."""
    found = results_of(function, cases, right, summary)
    if limits.absolute:
        spread = 0.0
        for number in (1, 2):
            other = results_of(function, cases, right, summary, number)
            for a, b in zip(found, other, strict=True):
                spread = max([spread, *(np.abs(x - y).max(initial=0) for x, y in zip(a.parts, b.parts, strict=True))])
        limits = limits._replace(absolute=max(limits.absolute, 3 * spread))
    return found, limits


def _made(source, name, scope):
    scope = dict(scope)
    exec(source, scope)
    return scope[name]


def results_of(function, cases, wanted=None, summary=None, number=0):
    """The Results of a function of the catalogue."""
    found = []
    for place, case in enumerate(cases):
        asked = wanted[place] if wanted else None
        try:
            value, gradients, _ = call(function, case, number=number)
        except Exception as error:
            value, gradients = error, []
        found.append(result(value, gradients, asked, summary))
    return found
