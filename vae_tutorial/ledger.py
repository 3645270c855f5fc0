"""The ledger: how many nats each model of the course needs to describe a handwritten digit.

It is one file, ``ledger.json``. A chapter computes a row and hands it to :func:`check`, which compares it with the
file; so the file cannot say what the notebooks do not.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_tutorial import _files

__all__ = ["LedgerError", "Row", "check", "floor", "rows", "table"]

_FILE = Path(__file__).with_name("ledger.json")
_IMAGES = 10_000
_SIGNS = {"exact": "", "bound": "≤ ", "floor": "≥ "}


class LedgerError(AssertionError):
    """A number that was just computed does not agree with the ledger."""


@dataclass(frozen=True)
class Row:
    """``nats`` and ``stderr`` per image; ``kind`` "exact", or "bound" where the true number is at most this, or "floor"
    where no model of any kind is below it on average; ``tolerance``: how far a re-run may be from ``nats`` (training
    differs a little between machines)."""

    key: str
    chapter: int
    model: str
    kind: str
    nats: float
    stderr: float
    tolerance: float


def rows(chapter: int | None = None) -> list[Row]:
    """Return the ledger's rows in the order of the chapters; with ``chapter``, those up to and including it."""
    return [row for row in _file() if row.kind != "floor" and (chapter is None or row.chapter <= chapter)]


def floor() -> Row:
    """Return the row below which no model gets on average, whatever it is: the mean entropy of the binarization.

    The ledger's pixels are Bernoulli draws with known probabilities, the grey values. Conditioning on those can only
    lower the entropy: H(x) >= H(x | grey), the mean over images of the sum of the pixels' Bernoulli entropies.
    """
    return next(row for row in _file() if row.kind == "floor")


def table(chapter: int | None = None):
    """Return the ledger as a pandas DataFrame to show; with ``chapter``, as it stands at the end of that chapter."""
    import pandas as pd

    listed = rows(chapter)
    if chapter is None or floor().chapter <= chapter:
        listed.append(floor())
    return pd.DataFrame(
        {
            "chapter": [row.chapter for row in listed],
            "nats per digit": [_SIGNS[row.kind] + f"{row.nats:.1f}" for row in listed],
            "± s.e.": [f"{row.stderr:.1f}" for row in listed],
            "bits per pixel": [f"{row.nats / math.log(2) / 784:.3f}" for row in listed],
        },
        index=pd.Index([row.model for row in listed], name="model"),
    )


def check(key: str, nats: Tensor, name: str = "mnist") -> tuple[float, float]:
    """Compare what was just computed with the ledger's row; print both, and return the mean and its standard error.

    ``key``: the row. ``nats``: ``(N,)``, the nats of each test image in the order of ``data.test_binarization``.
    ``name``: the data set that was really loaded. Unless it is mnist, with all its 10,000 test images, nothing is
    compared, and the line says so.
    Raises LedgerError where the mean is off by more than the row's tolerance or the standard error by more than a
    tenth, and ValueError for an unknown key or for values that are not finite.
    With VAE_TUTORIAL_LEDGER=update in the environment the row is recorded instead (`make notebooks LEDGER=update`).
    """
    nats = torch.as_tensor(nats).detach().cpu().double()  # in this order: Apple's GPUs have no float64
    known = {row.key: row for row in _file()}
    if key not in known:
        raise ValueError(f"key must be one of {', '.join(map(repr, known))}; got {key!r}")
    if nats.ndim != 1 or len(nats) < 2 or not nats.isfinite().all():
        raise ValueError(f"nats must be finite values of shape (N,), one for each image; got {tuple(nats.shape)}")
    row, mean, stderr = known[key], nats.mean().item(), nats.std().item() / math.sqrt(len(nats))
    said = f"{row.model}: {mean:.2f} ± {stderr:.2f} nats per digit"
    if name != "mnist" or len(nats) != _IMAGES:
        print(f"{said} on {len(nats):,} images of {name} (not compared: the ledger is about all of MNIST's test set)")
        return mean, stderr
    if os.environ.get("VAE_TUTORIAL_LEDGER") == "update":
        row = _record(row, mean, stderr)
    if abs(mean - row.nats) > row.tolerance or abs(stderr - row.stderr) > 0.1 * row.stderr + 1e-6:
        raise LedgerError(f"{said}, but the ledger has {row.nats:.2f} ± {row.stderr:.2f} (tolerance {row.tolerance})")
    print(f"{said} (the ledger has {row.nats:.2f}: agrees)")
    return mean, stderr


def _file():
    return [Row(**row) for row in json.loads(_FILE.read_text(encoding="utf-8"))]


def _record(row, mean, stderr):
    new = Row(**{**asdict(row), "nats": round(mean, 4), "stderr": round(stderr, 4)})
    text = json.dumps([asdict(new if r.key == row.key else r) for r in _file()], indent=2, ensure_ascii=False) + "\n"
    _files.write(_FILE, text.encode())
    return new
