"""What is wrong with a result that is like no known mistake: only what holds on all inputs is said."""

import functools
import itertools
import math

import numpy as np

from ._compare import EXACT, case_words, close, equal, shape_of, shape_words

_BITS = "These are bits: leave the logarithm natural."
_LOG10 = "These are logarithms to base 10: leave the logarithm natural."
_LOG2 = "There is a log 2 too much: nats need no conversion."
_TWICE, _HALF = (
    "Twice what is asked: look at the factors ½ and 2.",
    "Half of what is asked: look at the factors ½ and 2.",
)
_SIGN = "The sign is turned round."
_HIDDEN = "Yours is finite where infinity belongs. A mask, a clamp or a small number hides it."
FACTORS: list[tuple[float, str]] = [(1, ""), (-1, _SIGN)]
for _factor, _words in (
    (1 / math.log(2), _BITS),
    (1 / math.log(10), _LOG10),
    (math.log(2), _LOG2),
    (2, _TWICE),
    (0.5, _HALF),
):
    FACTORS += [(_factor, _words), (-_factor, f"{_SIGN} {_words}")]


@np.errstate(all="ignore")
def general(names, cases, got, asked, limits=EXACT, otherwise=lambda: None):
    """Say what turns the asked Results into those that came, or else for which case they differ.

    names: of the arguments. None of ``got`` and ``asked`` is a failure. ``otherwise()`` may say more by trying more.
    """
    for place in range(len(asked[0].parts)):
        mine = [result.parts[place] for result in got]
        right = [result.parts[place] for result in asked]
        if all(r.fits and close(a, b, limits) for r, a, b in zip(got, mine, right, strict=True)):
            continue
        which = f"Number {place + 1} of {len(asked[0].parts)}: " if len(asked[0].parts) > 1 else ""
        if not all(result.fits for result in got):
            return which + (_reduced(mine, right, limits) or _shape(names, cases, got, asked, place))
        for told in (_scaled, _not_finite, _shifted):
            if found := told(names, cases, mine, right, limits):
                return which + found
        return which + (otherwise() or _differs(names, cases, got, asked, place, limits))
    return _gradients(names, cases, got, asked)


def _all(change, a, b, limits):
    """Whether a change makes every one of ``a`` the one of ``b``."""
    try:
        return all(close(np.asarray(change(x)), y, limits) for x, y in zip(a, b, strict=True))
    except (ValueError, IndexError):  # no such axis
        return False


def _reduced(mine, right, limits):
    """A sum or mean that is left to do or was done too much, a transpose, another shape of the same numbers."""
    for factor, words in FACTORS:
        turned = [array / factor for array in mine]
        if found := _rearranged(turned, right, limits):
            return f"{found} {words}".strip()
    return None


def _rearranged(mine, right, limits):
    if _all(np.transpose, mine, right, limits):
        return "Your result is transposed: rows and columns are exchanged."
    for one, other in itertools.combinations(range(mine[0].ndim), 2):
        if _all(lambda array, one=one, other=other: np.swapaxes(array, one, other), mine, right, limits):
            return f"Your numbers are right, with axes {one} and {other} exchanged."
    for word, reduce in (("sum", np.sum), ("mean", np.mean)):
        if _all(reduce, mine, right, limits):
            return f"One number is asked for: the {word} of yours."
        if _all(reduce, right, mine, limits):
            return f"You took the {word} of the numbers that are asked for. Leave them apart."
        for axis in range(max(array.ndim for array in [*mine, *right])):
            along = functools.partial(reduce, axis=axis)
            if _all(along, mine, right, limits):
                return f"The {word} along axis {axis} is left to do."
            if _all(along, right, mine, limits):
                return f"You took the {word} along axis {axis} of what is asked for. Leave these numbers apart."
    if _all(np.ravel, mine, map(np.ravel, right), limits):
        return "The numbers are there, in another shape: " + f"yours is {mine[0].shape}, asked is {right[0].shape}."
    return None


def _shape(names, cases, got, asked, place):
    shapes = [(a.shapes[place], b.shapes[place], case) for a, b, case in zip(got, asked, cases, strict=True)]
    came, wanted, case = next(found for found in shapes if found[0] != found[1])
    text = f"You returned shape {came}; asked is {shape_words(wanted, names, case)}."
    if len(wanted) == 1 and came == 2 * wanted:
        text += " Such a square comes of a column and a row that meet: look for keepdim, or [:, None]."
    return text


def _not_finite(names, cases, mine, right, limits):
    """Right but for infinity and NaN, or NaN."""
    pairs = list(zip(mine, right, strict=True))
    known = [np.isfinite(a) & np.isfinite(b) for a, b in pairs]
    hidden = any((np.isfinite(a) & ~np.isfinite(b)).any() for a, b in pairs)
    for factor, words in FACTORS if any(k.any() for k in known) else ():
        if not all(close(a[k] / factor, b[k], limits) for (a, b), k in zip(pairs, known, strict=True)):
            continue
        broken = [a[~np.isfinite(a) & (a / factor != b)] for a, b in pairs]
        word = "NaN" if any(np.isnan(a).any() for a in broken) else "infinite"
        if any(a.size for a in broken) and not hidden:
            first = words or "Right wherever your result is a number."
            return f"{first} And some of it is {word}. Look for log 0, 0 / 0 or ∞ - ∞."
        if hidden and not any(a.size for a in broken):
            return f"{words} {_HIDDEN}".strip()
    for case, (a, b) in zip(cases, pairs, strict=True):
        wrong = ~np.isfinite(a) & (a != b)
        if wrong.any():
            where, word = case_words(names, case), "NaN" if np.isnan(a[wrong]).any() else "Infinite"
            if (wrong & (a == -b)).any():
                return f"Infinite as it should be, but with the other sign, for {where}. Look at the signs."
            return f"{word} in {wrong.sum()} of {wrong.size} numbers, for {where}. Look for log 0, 0 / 0 or ∞ - ∞."
    return None


def _sizes(names, cases):
    """The sizes of axes of arguments, a list over cases each, with words for them."""
    found = {}
    for place, name in enumerate(names[: len(cases[0])]):
        for axis in range(min(len(shape_of(case[place])) for case in cases)):
            sizes = tuple(shape_of(case[place])[axis] for case in cases)
            found.setdefault(sizes, f"the size of axis {axis} of {name}")
        rows = tuple(math.prod(shape_of(case[place])[1:]) for case in cases)
        found.setdefault(rows, f"how many numbers a row of {name} has")
    return {sizes: words for sizes, words in found.items() if min(sizes) > 2}


def _scaled(names, cases, mine, right, limits):
    """The same times a factor, on all cases."""

    def times(factors):
        return all(close(a, f * b, limits) for a, b, f in zip(mine, right, factors, strict=True))

    sizes = [((1,) * len(cases), ""), *_sizes(names, cases).items()]
    for factor, words in FACTORS:
        for size, axis in sizes:
            if times([factor * n for n in size]):
                large = (
                    axis and f"Too large by a factor, {axis}: is a sum where a mean should be, or a division missing?"
                )
                return f"{words} {large}".strip()
            if times([factor / n for n in size]):
                return f"{words} Too small by a factor, {axis}: is there one division too many?".strip()
        if limits.absolute:
            sizes = sizes[:1]  # so many pairs would meet draws by chance
    ratio = mine[0].ravel()[:1] / right[0].ravel()[:1]
    if not limits.absolute and np.isfinite(ratio).all() and ratio.all() and times([*ratio] * len(cases)):
        return "Your result is the right one times one factor, the same everywhere. Look at the factors."
    return None


def _shifted(names, cases, mine, right, limits):
    """The same plus a constant, on all cases."""

    def plus(amounts):
        return all(close(a, b + c, limits) for a, b, c in zip(mine, right, amounts, strict=True))

    for sizes, words in _sizes(names, cases).items():
        if plus([math.log(size) for size in sizes]):
            return f"Too high by the logarithm of {words}. Is one division missing?"
        if plus([-math.log(size) for size in sizes]):
            return f"Too low by the logarithm of {words}. Is there one division too many?"
        if plus([2 * math.log(size) for size in sizes]) or plus([-2 * math.log(size) for size in sizes]):
            return f"The logarithm of {words} has the wrong sign: added where it is to be taken off, or the reverse."
    amount = (mine[0].ravel()[:1] - right[0].ravel()[:1]).tolist()
    if not limits.absolute and amount and math.isfinite(amount[0]) and plus(amount * len(cases)):
        way = "high" if amount[0] > 0 else "low"
        return f"Too {way} by the same amount everywhere: a constant is missing or too much."
    if not limits.absolute and all(a.size > 1 for a in mine):
        amounts = [(a - b).ravel()[0] for a, b in zip(mine, right, strict=True)]
        if np.isfinite(amounts).all() and plus(amounts):
            return "Off by an amount that is the same for all numbers of an input, and differs from input to input."
    return None


def _differs(names, cases, got, asked, place, limits):
    """For which case, and for how many of its numbers."""
    for mine, right, case in zip(got, asked, cases, strict=True):
        a, b = mine.parts[place], right.parts[place]
        if not close(a, b, limits):
            different = ~equal(a, b, limits)
            where = case_words(names, case)
            if a.shape != right.shapes[place]:
                return f"Not yet: over many draws, yours are not distributed as those that are asked for ({where})."
            many = f", in {different.sum()} of {different.size} numbers" if a.size > 1 else ""
            return f"Not yet: it differs from what is asked for {where}{many}."
    return "Not yet: it differs from what is asked."


def _gradients(names, cases, got, asked):
    for case, mine, right in zip(cases, got, asked, strict=True):
        leaves = [n for n, a in zip(names, case, strict=False) if getattr(a, "requires_grad", False)]
        for name, a, b in zip(leaves, mine.gradients, right.gradients, strict=False):
            if not close(a, b):
                if not a.any():
                    return f"The numbers are right, but no gradient gets through to {name}: something cut the graph."
                return f"The numbers are right, but the gradient by {name} is not."
    return "Not yet: it differs from what is asked."
