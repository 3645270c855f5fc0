"""Tables of whole numbers in place of exp, erf and tanh, whose last bit differs between machines.

A number v is held as the whole number nearest to ``2**FRACTION * v``, a probability as that nearest to ``ONE * p``. The
tables come from Python's ``decimal``, whose results are defined to the last digit, and are read by additions,
products and shifts of int64, which have no rounding that a machine could choose.
"""

import functools
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np

__all__ = ["FRACTION", "INVERSE", "ONE", "inverse_scales", "logistic", "normal", "normal_quantiles", "tanh"]

FRACTION = 16  # bits behind the point of a number
INVERSE = 24  # bits behind the point of 1 / scale, which may be small
ONE = 1 << 36  # the probability 1
_STEP = 8  # a table has 2**8 entries for each unit of its argument
_REACH_NORMAL, _REACH_LOGISTIC = 8, 24  # where the tables end; the tails beyond hold less than 3 of ONE
_LOG_RANGE = 16  # of log-scales and log-variances
_PI = Decimal("3.141592653589793238462643383279502884197")


def normal(t: np.ndarray) -> np.ndarray:
    """Return P(Z <= t) of a standard normal Z, times ONE, for whole numbers t with FRACTION bits; int64."""
    return _interpolate(_normal_table(), t)


def logistic(t: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-t)), times ONE, for whole numbers t with FRACTION bits; int64."""
    return _interpolate(_logistic_table(), t)


def tanh(t: np.ndarray) -> np.ndarray:
    """Return tanh(t) with FRACTION bits, for whole numbers t with FRACTION bits; int64."""
    return (2 * logistic(2 * t) - ONE) >> (36 - FRACTION)


def normal_quantiles(masses: np.ndarray) -> np.ndarray:
    """Return t with FRACTION bits such that P(Z <= t) is ``masses / ONE``; the inverse of :func:`normal`."""
    table = _normal_table()
    left = np.clip(np.searchsorted(table, masses, side="right") - 1, 0, len(table) - 2)
    inside = ((masses - table[left]) << (FRACTION - _STEP)) // np.maximum(table[left + 1] - table[left], 1)
    return ((left - (_REACH_NORMAL << _STEP)) << (FRACTION - _STEP)) + inside


def inverse_scales(log_scale: np.ndarray, kind: str) -> np.ndarray:
    """Return 1 / scale with INVERSE bits, for the raw outputs of a network with FRACTION bits; int64.

    ``kind``: "deviation", where the raw output is a log-variance and the scale exp(raw / 2), or "levels", where it is
    a raw log-scale of ``likelihoods.DiscretizedLogistic`` and the scale 255 (exp(raw) + exp(-8)), in grey levels.
    """
    shift = FRACTION - _STEP
    nearest = (log_scale + (1 << (shift - 1))) >> shift
    reach = _LOG_RANGE << _STEP
    return _inverse_table(kind)[np.clip(nearest, -reach, reach) + reach]


def _interpolate(table, t):
    """Read a table of 2**_STEP entries a unit, symmetric about 0, on the straight line between two entries."""
    shift = FRACTION - _STEP
    middle = len(table) // 2
    t = np.clip(t, -(middle << shift), (middle << shift) - 1) + (middle << shift)
    left, inside = t >> shift, t & ((1 << shift) - 1)
    return table[left] + (((table[left + 1] - table[left]) * inside) >> shift)


@functools.cache
def _normal_table():
    with localcontext() as context:
        context.prec = 40
        root = (2 * _PI).sqrt()

        def above_half(t):
            # P(0 < Z < t) = density(t) (t + t^3 / 3 + t^5 / (3 5) + ...). Source: Marsaglia (2004).
            term = total = t
            odd = 1
            while term > Decimal("1e-20") * total:
                odd += 2
                term = term * t * t / odd
                total += term
            return total * (-t * t / 2).exp() / root

        return _symmetric(above_half, _REACH_NORMAL)


@functools.cache
def _logistic_table():
    with localcontext() as context:
        context.prec = 40
        return _symmetric(lambda t: 1 / (1 + (-t).exp()) - Decimal("0.5"), _REACH_LOGISTIC)


def _symmetric(above_half: Callable[[Decimal], Decimal], reach):
    """The whole table of a symmetric distribution from P(0 < Z < t) for t > 0."""
    upper = [_whole(ONE * above_half(Decimal(i) / (1 << _STEP))) for i in range(1, (reach << _STEP) + 1)]
    half = ONE // 2
    return np.array([half - v for v in reversed(upper)] + [half] + [half + v for v in upper], dtype=np.int64)


@functools.cache
def _inverse_table(kind):
    with localcontext() as context:
        context.prec = 40
        floor = Decimal(-8).exp()
        scale = {"deviation": lambda v: (v / 2).exp(), "levels": lambda v: 255 * (v.exp() + floor)}[kind]
        reach = _LOG_RANGE << _STEP
        values = [_whole((1 << INVERSE) / scale(Decimal(i) / (1 << _STEP))) for i in range(-reach, reach + 1)]
        return np.array(values, dtype=np.int64)


def _whole(value):
    return int(value.to_integral_value())
