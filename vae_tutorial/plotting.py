"""The course's one style of figure: tensors in, matplotlib Axes out. Needs no model.

Figures are at most 5.2 inches wide with 11-point text, so that they can be read on a phone, on a white background. The
book's pages have their own drawing of each, in the colours of their theme (tools/plots.py). The colours are those of
Okabe and Ito, which colour-blind readers can tell apart; the same quantity has the same colour in all chapters.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from torch import Tensor

from vae_tutorial import _checks

__all__ = ["COLORS", "curves", "flow", "image_grid", "use_style"]

COLORS = {
    "elbo": "#000000",
    "reconstruction": "#0072B2",
    "kl": "#D55E00",
    "entropy": "#009E73",
    "p": "#0072B2",
    "q": "#E69F00",
    "prior": "#777777",
    "data": "#56B4E9",
    "highlight": "#CC79A7",
}


def use_style() -> None:
    """Set matplotlib's defaults to the course's style, for this process, and let a notebook show its figures.

    In a Jupyter kernel, MPLBACKEND=Agg in the environment would make all figures vanish silently. There the
    inline backend takes over, unless the notebook has chosen an interactive one (%matplotlib widget).
    """
    _show_figures()
    plt.rcParams.update(
        {
            "figure.figsize": (5.2, 3.2),
            "figure.dpi": 160,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "lines.linewidth": 2,
            "legend.frameon": False,
            "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"]),
            "image.cmap": "gray_r",  # ink on paper: 0 is white, 1 is black
            "image.interpolation": "nearest",
        }
    )


def _show_figures():
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    environment = os.environ.get("MPLBACKEND", "")
    if shell is None or not hasattr(shell, "kernel") or "inline" in environment:
        return
    # Only for the environment's backend or its fall-back: %matplotlib in a cell is the reader's own choice.
    silent = {environment.lower(), "agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
    if environment and matplotlib.get_backend().lower() in silent:
        shell.run_line_magic("matplotlib", "inline")


def image_grid(
    images: Tensor,
    columns: int | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    clip: bool = False,
) -> Axes:
    """Draw images as one grid, in rows from the top left, and return the Axes.

    ``images``: grey, ``(N, 1, H, W)`` or ``(N, H, W)``, or in colour, ``(N, 3, H, W)``; in [0, 1], uint8 or bool; a
    NumPy array, a list of pictures or what ``data.load`` returns will do. ``columns``: images in a row, by default so
    that the grid is about square. A last row that is not full is filled with white. ``clip``: clip values to [0, 1].
    Samples of a Gaussian go beyond, a little: values from -0.5 to 1.5 are clipped in any case, unless a tenth of them
    lies below -0.25 or above 1.25.
    Raises ValueError for other shapes and for one that has two readings, ``(3, H, W)``, for integers that are not
    bytes, NaN, and values far outside [0, 1] without clip.
    """
    tiles = _tiles(images, clip)  # (N, C, H, W), C of 1 or 3
    columns = math.ceil(math.sqrt(len(tiles))) if columns is None else _checks.whole("columns", columns)
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    paper = 0.0 if tiles.shape[1] == 1 else 1.0  # white: grey images are drawn as ink
    tiles = F.pad(tiles, (1, 1, 1, 1, 0, 0, 0, rows * columns - len(tiles)), value=paper)  # a pixel round each image
    picture = tiles.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    ax = ax or plt.figure(figsize=(min(5.2, 0.6 * columns), min(5.2, 0.6 * columns) * rows / columns)).gca()
    ax.imshow(picture.squeeze(-1).numpy(), vmin=0, vmax=1)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def _tiles(images, clip):
    tiles = _checks.tensor(images, "images").detach().cpu()
    mend = _mend(tiles.shape)
    if tiles.ndim == 3 and not mend:
        tiles = tiles.unsqueeze(1)
    if mend or tiles.ndim != 4 or tiles.numel() == 0 or tiles.shape[1] not in (1, 3):
        raise ValueError(
            "images must have shape (N, 1, H, W), (N, H, W) or (N, 3, H, W), N >= 1; "
            f"got ({_checks.joined(tiles.shape)})" + (mend and f". {mend}")
        )
    _checks.grey_levels(tiles, "images")
    if tiles.dtype == torch.uint8:
        return tiles / 255
    if tiles.dtype != torch.bool and not tiles.is_floating_point():
        raise ValueError(f"images has dtype {tiles.dtype}; expected values in [0, 1], or bytes: images.to(torch.uint8)")
    tiles = tiles.float()
    low, high = (value.item() for value in tiles.aminmax())
    if not tiles.isfinite().all():
        bad = tiles.isfinite().flatten(1).all(1).logical_not().nonzero().flatten().tolist()
        raise ValueError(
            f"images ranges from {low:g} to {high:g}: what is NaN or infinite, in image {_checks.joined(bad[:5])}, "
            "cannot be drawn"
        )
    far = ((tiles < -0.25) | (tiles > 1.25)).float().mean()
    if not (low >= -0.5 and high <= 1.5 and far < 0.1) and not clip:
        raise ValueError(
            f"images ranges from {low:g} to {high:g}; pixels must lie in [0, 1]. Divide bytes by 255, undo a "
            "normalization, draw likelihood.mean(parameters) in place of a decoder's parameters, or clip the values "
            "with clip=True"
        )
    return tiles.clamp(0, 1)


def _mend(shape):
    """What to do about images of a shape that cannot be drawn, or of one that can be read in two ways."""
    shape = tuple(shape)
    channels = shape[1] if len(shape) == 4 else 1
    if len(shape) == 2:
        return "One image: images[None]. Flat pixels: images.reshape(-1, 1, H, W). Rows of a table are no images"
    if len(shape) == 3 and shape[0] == 3:
        return "One image in colour: images[None]. Three grey ones: images[:, None]"
    if len(shape) == 3 and ((shape[2] in (1, 4) and shape[0] == shape[1] > shape[2]) or min(shape[:2]) > shape[2] == 3):
        return f"The channels come first here: images{'[..., :3]' * (shape[-1] == 4)}.permute(2, 0, 1)[None]"
    if len(shape) == 4 and channels not in (1, 3) and shape[-1] in (1, 3):
        return "The channels come first here: images.permute(0, 3, 1, 2)"
    if len(shape) == 4 and channels == 4:
        return "Red, green, blue and opacity: images[:, :3]. A decoder's parameters: likelihood.mean(parameters)"
    if len(shape) == 4 and channels not in (1, 3):
        return f"{channels} channels are no picture. A decoder's parameters: likelihood.mean(parameters)"
    if len(shape) == 5:
        return "Several draws of each image: images.flatten(0, 1)"
    return ""


def curves(
    steps: Sequence, lines: dict, ax: Axes | None = None, xlabel: str = "epoch", ylabel: str = "nats per image"
) -> Axes:
    """Draw one line for each entry of ``lines`` over ``steps``, and return the Axes.

    ``lines``: a mapping from a label to values. A label's first word picks its colour from ``COLORS``; a label that
    ends in "(test)" is dashed.
    """
    ax = ax or plt.figure().gca()
    for label, values in lines.items():
        style = "--" if label.endswith("(test)") else "-"
        values = values.detach().cpu() if isinstance(values, Tensor) else np.asanyarray(values)  # masked stay so
        ax.plot(steps, values, style, color=COLORS.get(label.split()[0].lower()), label=label)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above: it never hides a line
    return ax


def flow(rows: Sequence, labels: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw a network as boxes and arrows, to the right in the first row and back in the next, and return the Axes.

    ``rows``: for each row its boxes from left to right, as pairs (title, shape). Arrows run to the right in even rows
    and to the left in odd ones, and down at the turns. ``labels``: a name for each row.
    """
    ax = ax or plt.figure(figsize=(5.2, 1.4 * len(rows))).gca()
    arrow = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 1.5}
    for r, (boxes, label) in enumerate(zip(rows, labels, strict=True)):
        color = [COLORS["data"], COLORS["q"]][r % 2]
        for c, (title, shape) in enumerate(boxes):
            ax.add_patch(plt.Rectangle((2 * c, -1.5 * r), 1.4, 0.8, facecolor=color, alpha=0.35, edgecolor="#444444"))
            ax.text(2 * c + 0.7, -1.5 * r + 0.55, title, ha="center", va="center", fontsize=10)
            ax.text(2 * c + 0.7, -1.5 * r + 0.22, shape, ha="center", va="center", fontsize=10, family="monospace")
            if c > 0:
                ends = [(2 * c - 0.6, -1.5 * r + 0.4), (2 * c, -1.5 * r + 0.4)]
                tail, head = ends if r % 2 == 0 else ends[::-1]
                ax.annotate("", head, tail, arrowprops=arrow)
        ax.text(-0.15, -1.5 * r + 0.4, label, rotation=90, ha="right", va="center")
        if r > 0:
            turn = 2 * (len(boxes) - 1) + 0.7 if r % 2 == 1 else 0.7
            ax.annotate("", (turn, -1.5 * r + 0.8), (turn, -1.5 * (r - 1)), arrowprops=arrow)
    ax.set(xlim=(-0.6, 2 * max(map(len, rows)) - 0.5), ylim=(-1.5 * (len(rows) - 1) - 0.1, 0.9))
    ax.set_axis_off()
    return ax
