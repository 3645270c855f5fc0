"""The course's one style of figure: tensors in, matplotlib Axes out. Knows no model.

Figures are at most 5.2 inches wide with 11-point text, so that they can be read on a phone, and stand on white, which
the book keeps as a card in dark mode. The colours are those of Okabe and Ito, which colour-blind readers can tell
apart; the same quantity has the same colour in all chapters.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["COLORS", "curves", "flow", "image_grid", "staircase", "use_style"]

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


def use_style():
    """Set matplotlib's defaults to the course's style, for this process."""
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


def image_grid(images, columns=None, ax=None, title=None):
    """Draw grey images as one grid, in rows from the top left, and return the Axes.

    ``images``: ``(N, 1, H, W)`` or ``(N, H, W)``, in [0, 1] or uint8. ``columns``: images in a row, by default so that
    the grid is about square. A last row that is not full is filled with white.
    """
    tiles = torch.as_tensor(images).detach().cpu()
    if tiles.ndim not in (3, 4) or len(tiles) == 0 or (tiles.ndim == 4 and tiles.shape[1] != 1):
        raise ValueError(f"images must have shape (N, 1, H, W) or (N, H, W), N >= 1; got {tuple(tiles.shape)}")
    tiles = tiles.reshape(len(tiles), *tiles.shape[-2:])
    tiles = tiles / 255 if tiles.dtype == torch.uint8 else tiles.float()
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    rows = math.ceil(len(tiles) / columns)
    tiles = F.pad(tiles, (1, 1, 1, 1, 0, rows * columns - len(tiles)))  # a pixel of paper round each image
    height, width = tiles.shape[1:]
    picture = tiles.reshape(rows, columns, height, width).permute(0, 2, 1, 3).reshape(rows * height, columns * width)
    ax = ax or plt.figure(figsize=(min(5.2, 0.6 * columns), min(5.2, 0.6 * columns) * rows / columns)).gca()
    ax.imshow(picture.numpy(), vmin=0, vmax=1)
    ax.set_axis_off()
    if title:
        ax.set_title(title)
    return ax


def curves(steps, lines, ax=None, xlabel="epoch", ylabel="nats per image"):
    """Draw one line for each entry of ``lines`` over ``steps``, and return the Axes.

    ``lines``: a mapping from a label to values. A label's first word picks its colour from ``COLORS``; a label that
    ends in "(test)" is dashed.
    """
    ax = ax or plt.figure().gca()
    for label, values in lines.items():
        style = "--" if label.endswith("(test)") else "-"
        ax.plot(steps, np.asarray(values), style, color=COLORS.get(label.split()[0].lower()), label=label)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above: it never hides a line
    return ax


def flow(rows, labels, ax=None):
    """Draw a network as boxes and arrows, forth in the first row and back in the next, and return the Axes.

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


def staircase(labels, values, ax=None):
    """Draw falling values as the steps of a staircase with their labels, and return the Axes: the ledger as a picture.

    ``labels``: one text for each step, from the top; ``values``: nats.
    """
    ax = ax or plt.figure(figsize=(5.2, 0.9 + 0.45 * len(values))).gca()
    rows = range(len(values))
    ax.barh(rows, values, height=0.72, color=COLORS["data"], alpha=0.6)
    for row, label, value in zip(rows, labels, values, strict=True):
        inside = value > max(values) / 2  # a text across the end of its bar is hard to read
        ax.text(8 if inside else value + 8, row, f"{value:.0f} nats: {label}", va="center")
    ax.set(ylim=(len(values) - 0.4, -0.6), xlim=(0, 1.02 * max(values)), xlabel="nats per digit")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    return ax
