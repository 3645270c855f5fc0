"""Vectors instead of images: the columns of a table, each with its own unit."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class Columns(nn.Module):
    """p(x | z) for rows of a table, ``(..., D)``, by a likelihood of pixels. A model of vectors makes it.

    A Gaussian works on standardized columns, (x - shift) / scale: a variance, its floor included, is a share of the
    column's own. ``shift`` and ``scale`` are the columns' mean and standard deviation, buffers, set once by
    ``training.fit`` or ``model.standardize``. All that comes in and goes out is in the data's own units: ``log_prob``
    subtracts log scale for each column, so that it is a log-density of x itself. A column times 1,000 costs log 1,000
    nats more. A Bernoulli takes columns of zeros and ones, a continuous Bernoulli values in [0, 1], as they are.
    Raises ValueError for a likelihood of grey levels.
    """

    shift: Tensor
    scale: Tensor

    each: Any  # a likelihood of this package, or of the reader's own

    def __init__(self, each: nn.Module, columns: int):
        super().__init__()
        if getattr(each, "discrete", False):
            raise ValueError(f"likelihood {each!r} is of grey levels, for images; for a table: 'gaussian_learned'")
        self.each, self.columns = each, columns
        self.channels, self.binary = each.channels, each.binary  # parameters of a column; zeros and ones
        self.unit = getattr(each, "unit", False)
        self.unset = not self.unit  # whether shift and scale are still to be set
        self.register_buffer("shift", torch.full((columns,), 0.0 if self.unit else math.nan))
        self.register_buffer("scale", torch.full((columns,), 1.0 if self.unit else math.nan))
        self.register_load_state_dict_post_hook(_note_units)

    def __repr__(self):
        return f"Columns({self.each!r}, {self.columns})"

    @property
    def architecture(self) -> dict | None:
        """That of the likelihood of each column: the model makes the rest."""
        return getattr(self.each, "architecture", None)

    def check(self, x: Tensor, name: str) -> None:
        """Raise ValueError for rows ``(N, D)`` that are not zeros and ones, or not in [0, 1], where they have to be."""
        if not self.unit or not x.numel():
            return
        low, high = (value.item() for value in x.detach().aminmax())
        wanted = None if low >= 0 and high <= 1 else "values in [0, 1]"
        if self.binary and not getattr(self.each, "grey", False) and not ((x == 0) | (x == 1)).all():
            wanted = "zeros and ones"
        if wanted:
            raise ValueError(
                f"{name} ranges from {low:g} to {high:g}; likelihood {self.each!r} takes columns of {wanted}. For "
                "numbers in units of their own: 'gaussian_learned'. A column of k categories becomes k columns: "
                "torch.nn.functional.one_hot"
            )

    def standardize(self, x: Tensor) -> None:
        """Set shift and scale to the mean and standard deviation of the columns of x, ``(N, D)``.

        Raises ValueError where they are set already, and names columns that are constant, or too far from 0 for the
        digits of their dtype.
        """
        if self.unit:
            raise ValueError(f"columns of likelihood {self.each!r} lie between 0 and 1 as they are; they need no scale")
        if not self.unset:
            raise ValueError(
                "shift and scale of the columns are set already, and the weights belong to them; "
                "make a new model for data in other units"
            )
        double = x.detach().cpu().double()
        shift, scale = double.mean(0), double.std(0, correction=0)
        constant = double.amax(0) == double.amin(0)
        if constant.any():
            raise ValueError(
                f"the table is constant in {named(constant)}, over {len(x)} rows; leave such columns out: "
                "they tell nothing, and their density has no bound"
            )
        step = torch.finfo(self.scale.dtype).eps * double.abs().amax(0)
        coarse = (step > 1e-3 * scale) | (scale < torch.finfo(self.scale.dtype).tiny)
        if coarse.any():
            raise ValueError(
                f"the table varies too little for {self.scale.dtype} in {named(coarse)}: it is far from 0 there, "
                "compared with its spread. Subtract a constant from such columns (a date, an offset), or use "
                "model.double()"
            )
        self.shift.copy_(shift)
        self.scale.copy_(scale)
        self.unset = False

    def standardized(self, x: Tensor) -> Tensor:
        """Return (x - shift) / scale, ``(..., D)``: what the encoder sees. Raises ValueError where none are set."""
        self._need_units()
        return (x - self.shift) / self.scale

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x | z), summed over the columns, in nats of the data in their own units.

        ``x``: ``(..., D)``; ``parameters``: ``(..., channels * D)``, or broadcast. Returns ``(...)``.
        """
        log_prob = self.each.log_prob(self.standardized(x)[..., None, None], parameters[..., None, None])
        return log_prob - self.scale.log().sum()

    def column_log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return what :meth:`log_prob` sums: log p of each column, ``(..., D)``, nats."""
        pixels = self.standardized(x)[..., None, None]
        return self.each.pixel_log_prob(pixels, parameters[..., None, None])[..., 0, 0] - self.scale.log()

    def mean(self, parameters: Tensor) -> Tensor:
        """Return E[x | z], ``(..., D)``, in the data's own units."""
        return self._own_units(self.each.mean(parameters[..., None, None]))

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return rows drawn from p(x | z), ``(..., D)``, in the data's own units."""
        return self._own_units(self.each.sample(parameters[..., None, None], generator))

    def _own_units(self, pixels):
        self._need_units()
        return pixels[..., 0, 0] * self.scale + self.shift

    def _need_units(self):
        if self.unset:
            raise ValueError(
                "the units of the columns are not known yet: training.fit takes them from its training data, or "
                "call model.standardize(train)"
            )


def _note_units(columns, _):
    columns.unset = bool(columns.scale.isnan().any())  # kept apart: reading a value would synchronize with a GPU


def named(chosen):
    places = [str(i) for i in chosen.nonzero().flatten().tolist()]
    more = f" and {len(places) - 10} more" if len(places) > 10 else ""
    return f"column{'s' * (len(places) > 1)} {', '.join(places[:10])}{more}"
