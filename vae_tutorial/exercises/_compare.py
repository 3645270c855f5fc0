"""What a function returned, as numbers that can be compared: of any library, and of a shape that is said in words."""

import collections.abc
import contextlib
import math
import re
from typing import NamedTuple

import numpy as np

from ._run import torch_if_loaded

UNFILLED = "Nothing is filled in yet. Write the function, and check it again."


class Bad(Exception):
    """What cannot be compared: says what it is."""


class Limits(NamedTuple):
    """How far two numbers may be apart: a share of them, that of float32; or an amount, where draws are averaged."""

    relative: float = 1e-4
    absolute: float = 0.0


EXACT = Limits()


class Result(NamedTuple):
    """What came of one case: arrays of float64 and the shapes they came in; or what failed, in words."""

    parts: tuple = ()
    shapes: tuple = ()
    fits: bool = True  # the shapes are those asked for, up to axes of length 1
    gradients: tuple = ()
    failure: str = ""


def numbers(value) -> np.ndarray:
    """Return what a function returned as an array of float64. Raises Bad, in words, for what holds no real numbers."""
    torch = torch_if_loaded()
    if value is None:
        raise Bad("Your function returns nothing: is there a return?")
    if value is ... or value is NotImplemented:
        raise Bad(UNFILLED)
    if isinstance(value, str | bytes):
        raise Bad("Your function returns a text. Return the numbers themselves, not how they are printed.")
    if isinstance(value, collections.abc.Generator | map | zip | filter):
        raise Bad(f"Your function returns a {type(value).__name__}, which has no numbers yet. Return the numbers.")
    if isinstance(value, list | tuple):
        return _stacked(value)
    if torch and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.resolve_conj().numpy() if value.is_complex() else value.double().numpy()
    if isinstance(value, collections.abc.Mapping | set) or (callable(value) and not hasattr(value, "__array__")):
        raise Bad(f"Your function returns a {type(value).__name__}, and numbers are asked for.")
    try:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            raise Bad("Your function returns complex numbers. Is there a root or a logarithm of something negative?")
        return array.astype(float)
    except (TypeError, ValueError):
        raise Bad(f"Your function returns a {type(value).__name__}, and numbers are asked for.") from None


def _stacked(values):
    arrays = [numbers(value) for value in values]
    if len({array.shape for array in arrays}) > 1:
        raise Bad("Your function returns things of several shapes together. Return numbers of one shape.")
    if isinstance(values, tuple) and arrays and arrays[0].ndim and len(arrays) < 4:
        also = " torch.max gives values and places: take the first." if hasattr(values, "indices") else ""
        raise Bad(f"Your function returns {len(arrays)} things, and one is asked for.{also}")
    return np.stack(arrays) if arrays else np.zeros(0)


def result(value, gradients=(), wanted=None, summary=None) -> Result:
    """Return a Result of what a function returned, in the shapes of ``wanted`` where only axes of length 1 differ."""
    if isinstance(value, BaseException):
        return Result(failure=f"{type(value).__name__}: {value}")
    several = isinstance(value, tuple) if wanted is None else len(wanted.parts) > 1
    try:
        if several and wanted and not isinstance(value, tuple | list):
            array = numbers(value)
            if not array.ndim or len(array) != len(wanted.parts):
                raise Bad(f"Your function returns one thing, of shape {array.shape}; asked are {len(wanted.parts)}.")
        parts = tuple(numbers(part) for part in value) if several else (numbers(value),)
        if wanted and len(parts) != len(wanted.parts):
            raise Bad(f"Your function returns {len(parts)} things; asked are {len(wanted.parts)}.")
    except Bad as bad:
        return Result(failure=str(bad))
    shapes = tuple(part.shape for part in parts)
    if wanted:
        parts = tuple(_fitted(part, shape) for part, shape in zip(parts, wanted.shapes, strict=True))
    fits = wanted is None or all(part.shape == shape for part, shape in zip(parts, wanted.shapes, strict=True))
    if summary:
        with contextlib.suppress(Exception):  # what it is not made for stays as it is
            parts = tuple(map(summary, parts))
    return Result(parts, shapes, fits, tuple(gradients))


def _fitted(part, shape):
    """An array without its additional axes of length 1, where that gives the shape: (5, 1) for (5,), (1,) for ()."""
    if part.ndim > len(shape) and [n for n in part.shape if n != 1] == [n for n in shape if n != 1]:
        return part.reshape(shape)
    return part


def _least(b, limits):
    finite = np.abs(b[np.isfinite(b)])
    return limits.absolute or 0.1 * limits.relative * finite.max(initial=0)


def equal(a, b, limits=EXACT):
    """Where two arrays of one shape hold the same, up to the limits."""
    relative = 0 if limits.absolute else limits.relative
    return np.isclose(a, b, rtol=relative, atol=_least(b, limits), equal_nan=True)


def close(a, b, limits=EXACT):
    """Whether two arrays have one shape and hold the same, up to the limits."""
    return a.shape == b.shape and bool(equal(a, b, limits).all())


def agree(a, b, limits=EXACT):
    """Whether two Results are the same: the numbers and gradients, or the failure. Shapes are for ``same_shapes``."""
    if a.failure or b.failure:
        return a.failure == b.failure
    if len(a.parts) != len(b.parts) or len(a.gradients) != len(b.gradients):
        return False
    parts = all(close(x, y, limits) for x, y in zip(a.parts, b.parts, strict=True))
    return parts and all(close(x, y, limits) for x, y in zip(a.gradients, b.gradients, strict=True))


def same_shapes(a, b):
    return a.shapes == b.shapes


def shape_of(value):
    return tuple(getattr(value, "shape", ()))


def shape_words(shape, names, case):
    """Say a shape in words: "one number for each row of log_w", by the first argument that has its sizes."""
    if not shape:
        return "one number"
    if math.prod(shape) == 1:
        return f"one number, as shape {shape}"
    for name, argument in zip(names, case, strict=False):
        there = shape_of(argument)
        if there == shape:
            return f"shape {shape}: one number for each of {name}"
        if len(shape) == 1 and there and shape[0] == there[0]:
            return f"shape {shape}: one number for each {'row' if len(there) > 1 else 'one'} of {name}"
        if len(shape) == 1 and there and shape[0] == there[-1]:
            return f"shape {shape}: one number for each column of {name}"
    return f"shape {shape}"


def case_words(names, case):
    """Say the arguments of a case shortly: shapes, and numbers as they are."""
    words = []
    for name, argument in zip(names, case, strict=False):
        if shape_of(argument):
            words.append(f"{name} of shape {shape_of(argument)}")
        elif isinstance(argument, int | float):
            words.append(f"{name} = {argument:g}")
    return ", ".join(words) or "the first input"


def shown(value, row=0, limit=12):
    """Show a value in a line or a few: of more than ``limit`` numbers, the shape and how one row begins."""
    if isinstance(value, list | tuple):
        if len({shape_of(part) for part in value}) > 1 or (value and shape_of(value[0])):
            return "\n".join(shown(part, row, limit) for part in value[:limit])
        with contextlib.suppress(TypeError, ValueError):
            value = np.asarray(value, float)
    if not isinstance(value, np.ndarray):
        text = f"{value:g}" if isinstance(value, float) else re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))
        return text if len(text) <= 200 else text[:200] + " …"
    with np.printoptions(precision=4, suppress=True):
        if value.size <= limit:
            return str(value)
        numbers = (value[row] if value.ndim > 1 else value).ravel()
        begins = " ".join(str(numbers[:limit])[1:-1].split()) + (" …" if numbers.size > limit else "")
    which = "beginning with" if value.ndim == 1 else f"of which [{row}] is" if row else "of which the first is"
    return f"shape {value.shape}, {which} [{begins}]"


def first_wrong(mine, right, limits=EXACT):
    """Return the first row in which two Results differ, 0 where none is known: the shapes differ, or a number."""
    for a, b in zip(mine.parts, right.parts, strict=False):
        if a.shape == b.shape == right.shapes[0] and a.ndim and not close(a, b, limits):
            return int(np.argwhere(~equal(a, b, limits))[0][0])
    return 0
