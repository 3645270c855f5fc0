"""Figures that explain, in plotting's style: the generative story, autoencoder and VAE, the bound. Needs no model.

Tensors and numbers in, matplotlib Axes out. One unit on the Axes is one inch; figures are at most 5.2 wide.
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from vae_tutorial.plotting import COLORS

__all__ = ["autoencoder", "bound", "story", "vae"]

INK, PALE = "#444444", "#767676"  # lines and boxes; secondary text
ARROW = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
PLANE, LENS = (2.6, 1.5), (2.6, 2.72)  # the centres of the latent plane and of the lens over it


def story(
    z: Tensor,
    probabilities: Tensor,
    x: Tensor,
    prior: Tensor,
    names: list[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the generative story, a row for each draw: z from the prior, p(x | z), then x; and return the Axes.

    ``z``: ``(N,)``, indices of ``prior``, ``(K,)`` probabilities; ``names``: of the K kinds, by default their numbers.
    ``probabilities`` and ``x``: ``(N, 1, H, W)`` or ``(N, H, W)``, each pixel's p(x = 1 | z), and what was drawn.
    """
    means, draws = _pictures("probabilities", probabilities), _pictures("x", x)
    z, prior = torch.as_tensor(z).detach().cpu(), torch.as_tensor(prior).detach().cpu().double()
    _require(prior.ndim == 1 and prior.min() >= 0 and abs(prior.sum() - 1) < 1e-4, "prior must be probabilities, (K,)")
    whole = z.ndim == 1 and not z.is_floating_point() and bool(((z >= 0) & (z < len(prior))).all())
    _require(whole, f"z must be (N,) whole numbers from 0 to {len(prior) - 1}: indices of prior")
    _require(len(z) == len(means) == len(draws), "z, probabilities and x must have the same length")
    names = list(map(str, range(len(prior)) if names is None else names))
    _require(len(names) == len(prior), f"names must be {len(prior)}, one for each entry of prior; got {len(names)}")
    height = 1.12 * len(z) + 0.98
    ax, tall = _canvas(height, ax, 4.6), height - 0.37
    ax.add_patch(plt.Rectangle((0.05, 0.32), 3.08, tall, fill=False, edgecolor=PALE, linestyle="--"))
    ax.add_patch(plt.Rectangle((3.3, 0.32), 1.25, tall, facecolor=COLORS["data"], alpha=0.2, zorder=-1))
    _text(ax, 1.59, 0.16, "in the writer's mind: never seen", color=PALE)
    _text(ax, 3.925, 0.16, "on paper: seen")
    heads = (
        (0.85, "1. imagine", "$z$ from $p(z)$"),
        (2.545, "", "$p(x \\mid z)$"),
        (3.925, "2. draw", "$x$ from $p(x \\mid z)$"),
    )
    for across, title, what in heads:
        _text(ax, across, height - 0.22, title, weight="bold")
        _text(ax, across, height - 0.45, what)
    for n, (mean, draw) in enumerate(zip(means, draws, strict=True)):
        middle = height - 1.15 - 1.12 * n
        _bars(ax, 0.13, middle - 0.42, prior.tolist(), names, int(z[n]))
        for start, picture in ((1.66, mean), (3.04, draw)):
            ax.annotate("", (start + 0.4, middle), (start, middle), arrowprops=ARROW)
            _picture(ax, start + 0.885, middle, picture, 0.92)
    return ax


def autoencoder(x: Tensor, mean: Tensor, z: Tensor, reconstruction: float, ax: Axes | None = None) -> Axes:
    """Draw an autoencoder at work on one image, and what its objective leaves out; return the Axes. See :func:`vae`.

    ``x`` and ``mean``: ``(1, H, W)`` or ``(H, W)``, the image and each pixel's probability at the code ``z``, ``(2,)``.
    ``reconstruction``: log p(x | z), nats.
    """
    z = _point("z", z)
    ax, scale = _networks(x, mean, z, ax)
    ax.plot(*_to_inches(z, scale), "o", color="black", markersize=3)
    ax.plot(*LENS, "o", color="black", markersize=5)
    _text(ax, 2.05, LENS[1], "$z = f(x)$,\nmagnified", ha="right")
    _text(ax, 3.15, LENS[1], "a point,\nwithout noise", ha="left")
    _write_sum(ax, ("objective", reconstruction, "black"), ("price of $z$", None, PALE), reconstruction)
    return ax


def vae(
    x: Tensor,
    mean: Tensor,
    mu: Tensor,
    logvar: Tensor,
    z: Tensor,
    reconstruction: float,
    kl: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw a VAE at work on one image: the cloud q(z | x), the noise, the prior and the costs; return the Axes.

    As :func:`autoencoder`, with ``mu``, ``logvar`` and a draw ``z`` of q(z | x), ``(2,)`` each, and its ``kl``, nats.
    The cloud is the ellipse of two standard deviations, the prior the circles of one and of two.
    """
    mu, logvar, z = _point("mu", mu), _point("logvar", logvar), _point("z", z)
    _require(kl >= 0, f"kl must be at least 0; got {kl}")
    ax, scale = _networks(x, mean, mu, ax)
    for radius in (scale, 2 * scale):
        ax.add_patch(plt.Circle(PLANE, radius, fill=False, edgecolor=COLORS["prior"], linestyle=":", linewidth=1.5))
    _text(ax, 3.22, 0.95, "prior", color=COLORS["prior"], ha="right")
    turn = torch.linspace(0, 2 * math.pi, 100)
    ring = 2 * torch.exp(0.5 * logvar) * torch.stack([turn.cos(), turn.sin()], -1)
    closer = 0.34 / max(ring.abs().max().item(), (z - mu).norm().item())  # in the lens: inches for one unit of z
    for outline in (_to_inches((mu + ring).T, scale), _to_inches(ring.T, closer, LENS)):
        ax.fill(*outline, facecolor=COLORS["q"], edgecolor="black", linewidth=0.8)
    ax.plot(*LENS, "+", color="black", markersize=7)
    ax.annotate("", _to_inches(z - mu, closer, LENS), LENS, arrowprops=ARROW | {"color": "black"})
    _text(ax, 2.05, LENS[1], f"$q(z \\mid x)$,\n{closer / scale:.0f} times as large", ha="right")
    _text(ax, 3.15, LENS[1], "arrow: noise,\n$z = \\mu + \\sigma \\odot \\varepsilon$", ha="left")
    _write_sum(ax, ("ELBO", reconstruction - kl, "black"), ("$-$KL to the prior", -kl, COLORS["kl"]), reconstruction)
    return ax


def bound(log_p: float, reconstruction: float, kl: float, ax: Axes | None = None) -> Axes:
    """Draw one image's log p(x) and its ELBO as costs, to scale, split in two ways; and return the Axes.

    ``log_p``: log p(x); ``reconstruction`` and ``kl``: the two parts of the ELBO, nats. Lengths are what costs:
    -log p(x) and the gap, and below them -reconstruction and KL. Raises ValueError where one of them is negative (a
    density may exceed 1, but then it has no length).
    """
    log_p, reconstruction, kl = float(log_p), float(reconstruction), float(kl)
    elbo = reconstruction - kl
    for name, value in (("-log_p", -log_p), ("-reconstruction", -reconstruction), ("kl", kl)):
        _require(value > 0, f"{name} must be positive to be drawn as a length; got {value}")
    _require(elbo <= log_p, f"reconstruction - kl, the ELBO, must not exceed log_p; got {elbo} and {log_p}")
    ax, unit = _canvas(3.05, ax), 5.0 / -elbo  # inches for one nat
    upper = ("$-\\log p(x)$", -log_p, "data"), ("gap: KL to posterior", log_p - elbo, "highlight")
    lower = ("$-$reconstruction", -reconstruction, "reconstruction"), ("KL to prior", kl, "kl")
    for bottom, outside, parts in ((1.98, 1.84, upper), (0.7, 1.34, lower)):
        start = 0.1
        for (name, nats, color), side in zip(parts, ("left", "right"), strict=True):
            box = plt.Rectangle((start, bottom), unit * nats, 0.5, facecolor=COLORS[color], alpha=0.4, edgecolor=INK)
            ax.add_patch(box)
            label = _text(ax, start + unit * nats / 2, bottom + 0.25, f"{name}\n{nats:.2f} nats")
            if label.get_window_extent().width / ax.figure.dpi > unit * nats - 0.05:  # does not fit into its box
                label.set(x={"left": 0.1, "right": 5.1}[side], y=outside, ha=side, text=f"{name} {nats:.2f} nats")
            start += unit * nats
    ax.annotate("", (5.1, 1.59), (0.1, 1.59), arrowprops=ARROW | {"arrowstyle": "<|-|>"})
    _text(ax, 1.7, 1.59, f"$-$ELBO {-elbo:.2f} nats", backgroundcolor="white")
    edge, inner = 0.1 - unit * log_p, 0.1 - unit * reconstruction
    _text(ax, min(max(edge, 1.6), 3.6), 2.88, "only the decoder moves this edge")
    _text(ax, 3.7, 0.17, "encoder and decoder move these")
    for tail, head in (((edge, 2.76), (edge, 2.5)), ((4.2, 0.29), (5.1, 0.68)), ((4.2, 0.29), (inner, 0.68))):
        ax.annotate("", head, tail, arrowprops=ARROW)
    return ax


def _require(holds, message):
    if not holds:
        raise ValueError(message)


def _pictures(name, value):
    """The images as (N, H, W), on the CPU."""
    found = torch.as_tensor(value).detach().cpu().float()
    found = found[:, 0] if found.ndim == 4 and found.shape[1] == 1 else found
    fits = found.ndim == 3 and len(found) > 0
    _require(fits, f"{name} must have shape (N, 1, H, W) or (N, H, W), N >= 1; got {tuple(found.shape)}")
    _require(found.min() >= 0 and found.max() <= 1, f"{name} must be in [0, 1]")
    return found


def _point(name, value):
    value = torch.as_tensor(value).detach().cpu()
    _require(value.shape == (2,), f"{name} must have shape (2,); got {tuple(value.shape)}")
    return value


def _canvas(height, ax, width=5.2):
    ax = ax or plt.figure(figsize=(width, height)).gca()
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.set_axis_off()
    return ax


def _text(ax, x, y, text, **how):
    return ax.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 11, **how})


def _picture(ax, x, y, image, side):
    box = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    ax.imshow(image.numpy(), vmin=0, vmax=1, cmap="gray_r", extent=box, interpolation="nearest")
    ax.add_patch(plt.Rectangle((box[0], box[2]), side, side, fill=False, edgecolor=INK))


def _bars(ax, x, y, prior, names, drawn):
    step, tall = 1.45 / len(prior), 0.62 / max(prior)
    for k, (p, name) in enumerate(zip(prior, names, strict=True)):
        at, alpha = x + (k + 0.5) * step, 1 if k == drawn else 0.3
        corner = (at - 0.4 * step, y + 0.14)
        ax.add_patch(plt.Rectangle(corner, 0.8 * step, tall * p, color=COLORS["prior"], alpha=alpha))
        _text(ax, at, y + 0.03, name, weight="bold" if k == drawn else "normal")
    ax.plot(x + (drawn + 0.5) * step, y + 0.22 + tall * prior[drawn], "v", color="black", markersize=5)


def _networks(x, mean, code, ax):
    """Draw the common parts: image, networks, output, latent plane with a lens. Return also inches per unit of z."""
    ax, scale = _canvas(3.2, ax), 0.66 / max(2.6, 1.2 * code.abs().max().item())
    for across, name, value, label in ((0.51, "x", x, "$x$"), (4.69, "mean", mean, "$p(x \\mid z)$")):
        value = torch.as_tensor(value)
        one = value.ndim == 2 or (value.ndim == 3 and len(value) == 1)
        _require(one, f"{name} must have shape (1, H, W) or (H, W); got {tuple(value.shape)}")
        _picture(ax, across, PLANE[1], _pictures(name, value[None])[0], 0.86)
        _text(ax, across, 0.92, label)
    for start, left, right, name in ((1.1, 0.43, 0.2, "encoder"), (3.42, 0.2, 0.43, "decoder")):
        sides = [(start, 1.5 - left), (start, 1.5 + left), (start + 0.68, 1.5 + right), (start + 0.68, 1.5 - right)]
        ax.add_patch(plt.Polygon(sides, facecolor=COLORS["data"], alpha=0.35, edgecolor=INK))
        _text(ax, start + 0.34, 1.5, name)
    for start in (0.95, 1.79, 3.27, 4.11):
        ax.annotate("", (start + 0.14, 1.5), (start, 1.5), arrowprops=ARROW)
    ax.add_patch(plt.Rectangle((PLANE[0] - 0.66, PLANE[1] - 0.66), 1.32, 1.32, facecolor="white", edgecolor=INK))
    ax.plot([1.94, 3.26, None, 2.6, 2.6], [1.5, 1.5, None, 0.84, 2.16], color=INK, linewidth=0.6)
    for side in (-0.36, 0.36):
        ax.plot(*zip((LENS[0] + side, LENS[1] - 0.2), _to_inches(code, scale), strict=True), color=PALE, linewidth=0.8)
    ax.add_patch(plt.Circle(LENS, 0.41, facecolor="white", edgecolor=PALE, zorder=0.9))
    return ax, scale


def _to_inches(z, scale, centre=PLANE):
    return centre[0] + scale * z[0], centre[1] + scale * z[1]


def _write_sum(ax, whole, middle, reconstruction):
    """Write the objective as a sum, each part below the part of the drawing that it is computed from."""
    cells = whole, middle, ("reconstruction", reconstruction, COLORS["reconstruction"])
    for across, (title, nats, color) in zip((0.6, 2.6, 4.5), cells, strict=True):
        _text(ax, across, 0.4, title, color=color)
        value = "left out" if nats is None else f"{float(nats):.1f} nats".replace("-", "\N{MINUS SIGN}")
        _text(ax, across, 0.17, value, color=color)
        if across > 1:
            ax.plot([across, across], [0.52, 0.78], color=color, linewidth=1.5)
    _text(ax, 1.5, 0.28, "=")
    _text(ax, 3.6, 0.28, "+")
