"""What a check says: two numbers agree, or one is below the other. It prints the claim, or raises with both numbers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["agree", "below"]


def agree(what: str, a: Tensor | float, b: Tensor | float, *, within: Tensor | float) -> None:
    """Claim that two numbers, or each pair of two tensors, differ by at most ``within``; print the claim in one line.

    ``what``: the claim in words. ``a``, ``b``, ``within``: numbers, or tensors whose shapes broadcast, in one unit.
    Two infinities of one sign agree.
    Raises AssertionError with both numbers where they are further apart or one of them is not a number, and ValueError
    where ``within`` is not a positive number, or where there is nothing to compare.
    """
    a, b, within = _doubles(a, b, within)
    if not a.numel() or not bool(((within > 0) & within.isfinite()).all()):
        raise ValueError(f"agree({what!r}): within must be positive, with something to compare; got {within.tolist()}")
    distance = torch.where(a == b, 0.0, (a - b).abs())
    _claim(what, a, b, distance <= within, "and", "agree", distance - within)


def below(what: str, a: Tensor | float, b: Tensor | float, *, by: Tensor | float = 0.0) -> None:
    """Claim that ``a`` is below ``b``, each entry of it, by more than ``by``; print the claim in one line.

    Arguments and errors as :func:`agree`; ``by`` may be any number that is finite.
    """
    a, b, by = _doubles(a, b, by)
    if not a.numel() or not bool(by.isfinite().all()):
        raise ValueError(f"below({what!r}): by must be finite, with something to compare; got {by.tolist()}")
    _claim(what, a, b, a < b - by, "<", "holds", a - b + by)


def _doubles(*numbers):
    tensors = (n.detach().cpu() if isinstance(n, Tensor) else n for n in numbers)
    return torch.broadcast_tensors(*(torch.as_tensor(n, dtype=torch.float64) for n in tensors))


def _claim(what, a, b, holds, between, verb, excess):
    if not bool(holds.all()):
        excess = torch.where(holds, -torch.inf, excess.nan_to_num(torch.inf, torch.inf, torch.inf))
        worst = int(excess.flatten().argmax())  # a pair that fails, by most
        first, second = a.flatten()[worst].item(), b.flatten()[worst].item()
        where = f" (pair {worst} of {a.numel():,}; {int((~holds).sum()):,} fail)" if a.numel() > 1 else ""
        raise AssertionError(f"{what}: not so: {first:.6g} {between} {second:.6g}{where}")
    if a.numel() == 1:
        print(f"{what}: {a.item():.4g} {between} {b.item():.4g}" + (" agree" if verb == "agree" else ""))
    else:
        print(f"{what}: {verb}, in all {a.numel():,} pairs")
