"""A report as one picture: which gauges fired, images beside their reconstructions and samples, units and codes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import torch

from vae_tutorial.checkup.gauge import GAUGES
from vae_tutorial.plotting import COLORS, image_grid

__all__ = ["plot"]

_COLUMNS = 8


def plot(report):
    """Draw a :class:`Report`, and return the matplotlib Figure."""
    seen = report.seen
    pictures = [(name, seen[name]) for name in ("images", "reconstructions", "samples") if seen.get(name) is not None]
    figure = plt.figure(figsize=(5.2, 0.24 * len(GAUGES) + 1.2 + 2.4), layout="constrained")
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(0.24 * len(GAUGES) + 1.2, 2.4))
    _gauges(top.subplots(), report)
    left, *others = bottom.subplots(1, 1 + (seen.get("codes") is not None), squeeze=False)[0]
    _images(left, pictures, seen["shape"])
    if others:
        _codes(others[0], *seen["codes"])
    figure.suptitle(f"{report.name}: {_headline(report)}")
    return figure


def _headline(report):
    count = len(report.faults)
    looked = len(GAUGES) - len(report.not_tested)
    return f"{count} fault{'s' * (count != 1)} found" if count else f"nothing found by {looked} gauges"


def _gauges(ax, report):
    """A line for each gauge: a sign, its name, what it found."""
    fired: dict[str, list] = {}
    for one in report.found:
        fired.setdefault(one.gauge, []).append(one)
    for row, gauge in enumerate(GAUGES):
        if gauge in fired:
            sign, color = "✕", COLORS["kl"]
            words = "; ".join(dict.fromkeys(f"{one.fault.name} ({one.sure})" for one in fired[gauge]))
        elif gauge in report.not_tested:
            sign, color, words = "?", COLORS["prior"], "not tested"
        else:
            sign, color, words = "–", COLORS["entropy"], "nothing found"
        ax.text(0.0, -row, sign, color=color, ha="center", va="center", weight="bold")
        ax.text(0.03, -row, gauge, va="center", fontsize=9)
        ax.text(0.27, -row, words if len(words) < 64 else words[:62] + " …", va="center", fontsize=8, color=color)
    ax.set(xlim=(-0.02, 1), ylim=(-len(GAUGES) + 0.5, 0.7))
    ax.set_axis_off()


def _images(ax, pictures, shape):
    channels = shape[0] if shape[0] in (1, 3) else 1
    rows = []
    for _, values in pictures:
        tiles = values[:_COLUMNS].detach().cpu().float().reshape(-1, channels, *shape[1:])
        low, high = tiles.amin(), tiles.amax()
        rows.append(tiles if low >= 0 and high <= 1 else (tiles - low) / (high - low + 1e-9))
    with plt.rc_context({"image.cmap": "gray_r"}):
        image_grid(torch.cat(rows).nan_to_num(), columns=_COLUMNS, ax=ax)
    ax.set_title("rows: " + ", ".join(name for name, _ in pictures), fontsize=9)


def _codes(ax, mu, s):
    """Two units, those that vary the most: a draw for each image, and the prior's circle of two deviations."""
    first = mu.var(0).argsort(descending=True)[:2]
    z = (mu + s * torch.randn(mu.shape, generator=torch.Generator().manual_seed(0), dtype=mu.dtype))[:, first].cpu()
    ax.plot(z[:, 0], z[:, -1], ".", ms=3, color=COLORS["q"], label="z of images")
    ax.add_patch(plt.Circle((0, 0), 2, fill=False, color=COLORS["prior"], label="prior, 2 σ"))
    reach = max(3.0, z.abs().max().item() * 1.05)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title="the two most varied units")
    ax.title.set_fontsize(9)
    ax.legend(loc="lower left", fontsize=7, frameon=True)
