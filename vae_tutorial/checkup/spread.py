"""How wide the draws of a VAE are, as a function of the encoder's second number: measured, from many draws."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from vae_tutorial.checkup.form import BATCH, CONVENTIONS, form_of, probe_of
from vae_tutorial.checkup.subject import NotTested, Subject, latent_of

__all__ = ["MEAN", "Spread", "code", "draws", "off_centre_of", "spread_of", "spreads_of", "turned"]

MEAN = 0.7  # of the codes that are tried
_NUMBERS = 20_000  # are drawn for each value: a standard deviation is known to half a per cent
_TRIED = (-1.0, -0.3, 0.2, 0.8, 1.6)


class Spread(NamedTuple):
    """``convention``: of ``form.CONVENTIONS``, "fixed" for a constant, None for none; ``factor``: times it."""

    convention: str | None
    factor: float
    measured: dict


def code(subject: Subject, rows: int, value: float):
    """The codes of ``rows`` images, all the same: mu is ``MEAN``, the second number ``value``; ``(rows, Z)`` each."""
    with torch.no_grad(), subject.weights.mode(False):
        mu, logvar = subject.encode(subject.batch(2))
    pairs = ((mu, MEAN), (logvar, value))
    return (torch.full((rows, *like.shape[1:]), v, dtype=like.dtype, device=like.device) for like, v in pairs)


def draws(subject: Subject, value: float, rows: int | None = None) -> torch.Tensor:
    """Draws of z less their mean, ``(rows, Z)``, in training mode; rows enough for a precise standard deviation."""
    one = next(code(subject, 1, value))
    mu, logvar = code(subject, rows or max(64, math.ceil(_NUMBERS / one.numel())), value)
    asked = mu.clone()
    with torch.no_grad(), subject.weights.mode(True):
        z = subject.drawn(mu, logvar)
    subject.memo["overwritten"] = not torch.equal(mu, asked)  # as by mu.add_(...)
    return (z - asked).flatten(1)


def spreads_of(subject: Subject, values) -> list[float]:
    """The standard deviation of the draws for each value of the encoder's second number."""
    known = subject.memo.setdefault("spreads", {})
    for value in values:
        if value not in known:
            known[value] = draws(subject, value).double().std().item()
    return [known[value] for value in values]


def spread_of(subject: Subject) -> Spread:
    """Return which standard deviation the draws have, read once. Raises NotTested where they cannot be seen."""
    measured = dict(zip(_TRIED, spreads_of(subject, _TRIED), strict=True))
    if max(measured.values()) < 1e-6:
        raise NotTested("there is no noise")
    some = draws(subject, 1.6, 64)
    if min(some.std(0).max(), some.std(1).max() if some.shape[1] > 1 else 1.0) < 1e-6:
        raise NotTested("the noise is shared, so that its spread cannot be measured")
    best = Spread(None, math.nan, measured)
    least = 0.04
    for name, of in {"fixed": torch.ones_like, **CONVENTIONS}.items():
        logs = []
        for value, s in measured.items():
            asked = of(torch.tensor(value)).item()
            if asked > 0 and s > 0:  # a negative number is no standard deviation
                logs.append(math.log(s / asked))
        if len(logs) >= 3 and max(logs) - min(logs) < least:
            least, best = max(logs) - min(logs), Spread(name, math.exp(sum(logs) / len(logs)), measured)
    return best


def turned(subject: Subject) -> bool:
    """Whether the draws are centred on the encoder's second number, and not on mu."""
    if "turned" not in subject.memo:
        centres = [draws(subject, value).double().mean().item() + MEAN for value in _TRIED]
        subject.memo["turned"] = all(abs(c - value) < 0.1 for c, value in zip(centres, _TRIED, strict=True))
    return subject.memo["turned"]


def off_centre_of(subject):
    """By how many nats the KL of each dimension differs between codes on both sides of 0; 0.0 where it does not."""
    form, probe = form_of(subject), probe_of(subject)
    outputs, x = probe.made(0)
    right, left = (probe.ask(outputs, x, mean, sign=1) for mean in (2.0, -2.0))
    difference = (right - left) / (form.kl * BATCH * latent_of(subject))
    return difference if abs(difference) > 0.02 else 0.0
