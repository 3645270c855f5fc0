"""The yardstick: what an image, or a row of a table, costs under models that know little. A VAE must beat them.

There are three kinds of nats, and each row says which likelihoods it compares with: probabilities of black-and-white
pixels, probabilities of 256 levels, and densities. A number of one kind says nothing about a number of another.
"""

from __future__ import annotations

import html
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial import _checks, _naive
from vae_tutorial._naive import Landmark

__all__ = ["Landmark", "Landmarks", "landmarks"]

_VALUES = 2**27  # so many pixel values are read of images that lie on disk


@dataclass(frozen=True)
class Landmarks:
    """The ``rows``, each a :class:`Landmark`, and what they are ``about``: printed as one table of Markdown."""

    rows: tuple[Landmark, ...]
    about: str

    def __getitem__(self, model: str) -> Landmark:
        """Return the row of that name: ``found["PNG"]``. Raises KeyError for a name that is not there."""
        for row in self.rows:
            if row.model == model:
                return row
        raise KeyError(f"no landmark {model!r}; there are {', '.join(repr(row.model) for row in self.rows)}")

    def to_frame(self):
        """Return the table as a pandas DataFrame, one row a model."""
        import pandas as pd

        columns = ["model", "nats", "± s.e.", "bits per dimension", "compare with"]
        return pd.DataFrame(list(map(tuple, self.rows)), columns=columns).set_index("model")

    def __str__(self):
        cells = [("model", "nats", "± s.e.", "bits/dim", "compare with")]
        for row in self.rows:
            cells.append((row.model, *row.said(), row.compare_with))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, tuple("-" * (width - 1) + end for width, end in zip(widths, "-:::-", strict=True)))
        lines = [
            " | ".join(f"{text:{side}{width}}" for text, side, width in zip(line, "<>>><", widths, strict=True))
            for line in cells
        ]
        return "\n".join([self.about, "", *(f"| {line} |" for line in lines)])

    __repr__ = __str__  # what print, a notebook and a log show

    def _repr_html_(self):
        """The same in a notebook, with a heading above the rows that may be compared with each other."""
        left = 'style="text-align: left"'
        lines = ["<thead><tr><th></th><th>nats</th><th>± s.e.</th><th>bits/dim</th></tr></thead>"]
        for compare_with, rows in itertools.groupby(self.rows, lambda row: row.compare_with):
            lines.append(f'<tr><th colspan="4" {left}>compare with {html.escape(compare_with)}</th></tr>')
            for row in rows:
                cells = (html.escape(row.model), *row.said())
                first, *numbers = (f"{cell}</td>" for cell in cells)
                lines.append(f"<tr><td {left}>{first}" + "".join(f"<td>{number}" for number in numbers) + "</tr>")
        return f'<p>{html.escape(self.about)}</p><table class="dataframe">{"".join(lines)}</table>'


def landmarks(images, test=None) -> Landmarks:
    """Return what an image, or a row, costs under models that know little, as :class:`Landmarks`, a printable table.

    The models are fitted on ``images`` and measured on ``test``; without it on ``images`` again, and the table says
    "in sample". Both: images ``(N, C, H, W)``, bytes or floating in [0, 1], or a table ``(N, D)``, floating, with N >=
    2, or what ``data.load``, ``data.from_folder`` and ``data.from_arrays`` return. What is measured decides the rows:

    - zeros and ones: uniform, Bernoullis, PNG of 1 bit, xz. Nats of black-and-white pixels.
    - other images: uniform, histograms, a mean image, PNG, WebP, xz. Nats of 256 levels; floats count as the nearest.
      Then Gaussians: nats of densities on [0, 1]. A model of levels "as a density" is constant within each level: less
      D log 255 nats. A Gaussian cannot follow it where pixels pile up at one level, such as a white background. For
      one channel also the Bernoullis, in expectation over the binarization.
    - a table: a Gaussian for each column, and one with all covariances. Nats of densities in the table's own units.

    "Untrained" is a likelihood whose parameters are all 0, nearly what a new decoder gives: the first loss without its
    KL. Probabilities are smoothed by half a count for each outcome. Raises TypeError and ValueError for fewer than two
    images, NaN, masked values, values outside [0, 1], other shapes, and constant columns of a table.
    Source: Krichevsky and Trofimov (1981) for the half.
    """
    fit, count = _taken(images, "images")
    x, measured = (fit, count) if test is None else _taken(test, "test")
    if fit.shape[1:] != x.shape[1:]:
        raise ValueError(f"test must be of the shape of images, {_shape(fit)} each; got {_shape(x)}")
    what = "row" if x.ndim == 2 else "image"
    about = f"Nats per {what} of {_shape(x)}, D = {x[0].numel():,}; mean over {measured} {what}s, "
    about += "in sample: measured on what was fitted, so too good" if test is None else f"fitted on {count}"
    if x.ndim == 4 and len(x) > _naive.FILES:
        about += f"; files of {_naive.FILES:,} of them"
    return Landmarks(tuple(_rows(fit, x)), about + ".")


def _rows(fit, x):
    if _naive.zeros_and_ones(x) and (x.ndim == 4 or _naive.zeros_and_ones(fit)):
        fit, x = (v.reshape(len(v), 1, 1, -1) if v.ndim == 2 else v for v in (fit, x))
        return _naive.black_and_white(fit, x)
    if _naive.zeros_and_ones(fit):
        raise ValueError("images holds only zeros and ones, but test does not; give both in one form")
    if x.ndim == 2:
        return _naive.table(fit, x)
    rows = [*_naive.levels(fit, x), *_naive.densities(fit, x)]
    rows += [_naive.as_density(row, x) for row in rows if row.model in ("a histogram for each pixel", "PNG")]
    return rows + (_naive.black_and_white(fit, x) if x.shape[1] == 1 else [])


def _taken(x, name):
    """Return the images or the table as a tensor on the CPU, and, in words, how many they are."""
    x = x if isinstance(x, Tensor) else getattr(x, "images", x)
    count = None
    if not isinstance(x, Tensor) and hasattr(x, "index_select"):  # on disk, perhaps more than fits in memory
        count, some = f"{len(x):,}", _naive.spread(len(x), max(2, _VALUES // math.prod(x.shape[1:])))
        count = count if len(some) == len(x) else f"{len(some):,} of {count}"
        x = x.index_select(0, some)
    x = _checks.tensor(x, name).detach().cpu()
    if x.ndim not in (2, 4) or len(x) < 2 or x[0].numel() == 0:
        mend = f"; the channel axis is missing: {name}.unsqueeze(1)" if x.ndim == 3 else ""
        wanted = "(N, C, H, W), or (N, D) for a table, with N >= 2"
        raise ValueError(f"{name} must have shape {wanted}; got ({_checks.joined(x.shape)}){mend}")
    if x.ndim == 4:
        return _checks.images(x, name=name, keep_bytes=True), count or f"{len(x):,}"
    x = x.float() if x.dtype == torch.bool else x
    if not x.is_floating_point():
        raise ValueError(f"{name} has dtype {x.dtype}; a table must be floating: {name}.float()")
    if not x.isfinite().all():
        columns = x.isfinite().all(0).logical_not().nonzero().flatten().tolist()
        raise ValueError(f"{name} holds NaN or infinity in column {_checks.joined(columns[:5])}; fill or drop them")
    return x, count or f"{len(x):,}"


def _shape(x):
    return " x ".join(map(str, x.shape[1:]))
