"""log p(x) of a trained VAE, nats, without the encoder: on a grid, and by annealed importance sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vae_tutorial import _checks, _modes, marginal
from vae_tutorial.models import VAE
from vae_tutorial.proposals import LOG_2PI, check_arguments, check_number, log_joint_of_pairs

__all__ = ["GridMarginal", "log_marginal_annealed", "log_marginal_grid"]


class GridMarginal(NamedTuple):
    """For each image, ``(B,)``, in float64: log p(x) in nats, and an estimate of its error."""

    value: torch.Tensor
    error: torch.Tensor


@_modes.measuring
def log_marginal_grid(
    model: VAE, images: Tensor, points: int = 300, extent: float = 6.0, batch_size: int = 50
) -> GridMarginal:
    """Return log p(x) of each image by the midpoint rule in z, as :class:`GridMarginal`: for Z of 1 or 2 only.

    ``points`` cells along each axis, from -``extent`` to ``extent`` (standard deviations of the prior), each with
    the value at its centre; the up to 200 largest for an image are subdivided into four along each axis. ``error`` is
    the change by the last halving, plus the error where coarse and fine cells meet, plus the mass of the outermost
    cells. No noise, no proposal.
    ``images``: as for ``log_marginal``. Time grows with B * points^Z.
    Raises ValueError for a latent of more dimensions, for unusable points and extent, and as ``log_marginal`` does.
    """
    images = check_arguments(model, images, 1, None)
    if model.latent_dim not in (1, 2):
        raise ValueError(f"model has {model.latent_dim} latent dimensions; a grid of more than 2 is too large")
    if not (isinstance(points, int) and points >= 9):
        raise ValueError(f"points must be a whole number of at least 9; got {points!r}")
    if not 0 < extent < math.inf:
        raise ValueError(f"extent must be a positive number; got {extent!r}")
    width = 2 * extent / points
    middles = _middles(points, model.latent_dim).to(images) * 2 * extent  # (G, Z)
    border = middles.abs().amax(-1) > extent - width
    parts = [_on_the_grid(model, x, middles, width, border) for x in images.split(batch_size)]
    return GridMarginal(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _middles(n, dims):
    """The middles of n^dims cells that make up the cube from -1/2 to 1/2, (n^dims, dims)."""
    line = (torch.arange(n) + 0.5) / n - 0.5
    return torch.cartesian_prod(*[line] * dims).view(-1, dims)


def _on_the_grid(model, x, middles, width, border):
    joint = _checks.double(torch.cat([log_joint_of_pairs(model, x, z) for z in middles.split(4096)]))  # (G, B)
    best = joint.topk(min(200, len(middles)), dim=0).indices  # (M, B)
    volume = model.latent_dim * math.log(width)
    outside = joint[border.to(joint.device)].logsumexp(0)
    # The cells that are not subdivided, then the others, in chunks.
    uncut = joint.scatter(0, best, -math.inf).logsumexp(0)
    totals = [uncut, uncut]
    for cells in best.split(10):  # (m, B)
        for level, cuts in enumerate((2, 4)):
            offsets = (_middles(cuts, model.latent_dim) * width).to(x)  # (c, Z)
            z = middles[cells] + offsets[:, None, None]  # (c, m, B, Z)
            fine = model.likelihood.log_prob(x, model.decode(z)) - 0.5 * (z.square() + LOG_2PI).sum(-1)
            piece = _checks.double(fine).flatten(0, 1).logsumexp(0) - math.log(len(offsets))
            totals[level] = torch.logaddexp(totals[level], piece)
    # The midpoint rule errs by width^2 / 24 times the surface integral of the slope. Where coarse and fine cells meet,
    # the two do not cancel: if the 200 cells leave out a share s of a Gaussian, that is 0.003 s (log s)^2.
    log_share = (uncut - totals[1]).clamp(-100, 0)
    error = (totals[1] - totals[0]).abs() + 0.003 * log_share.exp() * (1 - log_share).square()
    # A logarithm moves by log(1 + share) when a share of the mass is added.
    error = error + torch.nn.functional.softplus(outside - totals[1])
    return check_number(totals[1] + volume), error


@_modes.measuring
def log_marginal_annealed(
    model: VAE,
    images: Tensor,
    temperatures: int = 300,
    chains: int = 16,
    leapfrog: int = 8,
    generator: torch.Generator | None = None,
    batch_size: int = 50,
    *,
    z: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> marginal.LogMarginal:
    """Estimate log p(x) by annealed importance sampling with Hamiltonian Monte Carlo, as ``marginal.LogMarginal``.

    Each of the ``chains`` goes from a draw of the prior through p(z) p(x | z)^b, b rising from 0 to 1 over so many
    ``temperatures``, by one transition of ``leapfrog`` steps at each; the encoder is not used. Step sizes are tuned
    for each image and temperature by a pilot run of four chains (acceptance rate about two thirds) and then fixed, so
    that the weights are unbiased. ``ess``, ``half`` and ``stderr`` are those of the chains' weights.
    ``z``: ``(B, Z)``, for images that were drawn from the model itself: the z that each was drawn from. That is an
    exact draw from p(z | x), and the chains run backwards from it: the estimate is then too *high* on average, and on
    average the truth lies between the two (bidirectional Monte Carlo). These chains share their start, so that
    ``stderr`` is too small.
    ``images``: as for ``log_marginal``. Time grows with B * chains * temperatures * leapfrog. ``progress``: called
    with the number of images done, after each batch.
    Raises ValueError, with the argument's name, for unusable arguments and where log p(x, z) is not a number.
    Sources: Neal (2001); Wu et al. (2017); Grosse, Ghahramani and Adams (2015) for ``z``.
    """
    images = check_arguments(model, images, chains, generator, "chains")
    for name, number in (("temperatures", temperatures), ("leapfrog", leapfrog)):
        if not (isinstance(number, int) and number >= 1):
            raise ValueError(f"{name} must be a whole number of at least 1; got {number!r}")
    if z is not None and z.shape != (len(images), model.latent_dim):
        wanted = (len(images), model.latent_dim)
        raise ValueError(f"z must have shape {wanted}, one for each image; got {tuple(z.shape)}")
    rows = []
    for first in range(0, len(images), batch_size):
        x = images[first : first + batch_size]
        sizes = _Annealing(model, x, temperatures, leapfrog, generator).pilot()
        annealing = _Annealing(model, x, temperatures, leapfrog, generator, sizes)
        if z is None:
            found = marginal.averaged(annealing.forward(chains))
        else:  # the mean of 1 / w is 1 / p(x)
            value, *others, half = marginal.averaged(-annealing.backward(z[first : first + batch_size], chains))
            found = (-value, *others, -half)
        rows.append((*found, torch.zeros(len(x), dtype=torch.bool, device=found[0].device)))
        if progress is not None:
            progress(first + len(x))
    return marginal.LogMarginal(*(torch.cat(column) for column in zip(*rows, strict=True)), chains, z is not None)


class _Annealing:
    """Chains (K, B, Z) from the prior to the posterior of each image, or back."""

    def __init__(self, model, x, temperatures, leapfrog, generator, sizes=None):
        self.model, self.x, self.leapfrog, self.generator = model, x, leapfrog, generator
        # Dense at both ends, where the distribution changes most: a logistic curve, as in Wu et al.
        curve = torch.sigmoid(torch.linspace(-4, 4, temperatures + 1, dtype=torch.float64))
        self.heat = ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()
        # (T + 1, B): step sizes at each temperature
        self.sizes: Tensor = torch.empty(0) if sizes is None else sizes

    def pilot(self):
        """Step sizes for each temperature and image: tuned towards an acceptance rate of two thirds."""
        self.sizes = torch.full((len(self.heat), len(self.x)), 0.3, dtype=self.x.dtype, device=self.x.device)
        self.forward(4, adapt=True)
        return self.sizes

    def forward(self, chains, adapt=False):
        """The log weights (K, B) of chains from the prior."""
        state, logs = self._start(self._normal(chains, len(self.x), self.model.latent_dim)), 0.0
        for step in range(1, len(self.heat)):
            logs = logs + (self.heat[step] - self.heat[step - 1]) * _checks.double(state[1])
            state, accepted = self._transition(state, step)
            if adapt:
                self.sizes[step:] *= torch.exp(0.5 * (accepted.mean(0) - 0.65))  # the later ones start from this
        return logs

    def backward(self, z, chains):
        """The log weights (K, B) of chains that end at z, (B, Z): the same path in reverse."""
        state, logs = self._start(z.expand(chains, *z.shape)), 0.0
        for step in reversed(range(1, len(self.heat))):
            state, _ = self._transition(state, step)
            logs = logs + (self.heat[step] - self.heat[step - 1]) * _checks.double(state[1])
        return logs

    def _transition(self, state, step):
        # Hamiltonian Monte Carlo: it leaves p(z) p(x | z)^b invariant. Source: Neal (2011), section 3.2.
        (z, log_likelihood, slope), heat = state, self.heat[step]
        size = self.sizes[step][:, None]
        momentum = self._normal(*z.shape)
        before = heat * log_likelihood - 0.5 * (z.square() + momentum.square()).sum(-1)
        new = state
        momentum = momentum + 0.5 * size * (heat * slope - z)
        for i in range(self.leapfrog):
            there = new[0] + size * momentum
            new = (there, *self._likelihood(there))
            momentum = momentum + (0.5 if i == self.leapfrog - 1 else 1.0) * size * (heat * new[2] - there)
        after = heat * new[1] - 0.5 * (new[0].square() + momentum.square()).sum(-1)
        accept = torch.exp((after - before).clamp_max(0)).nan_to_num(0.0)  # (K, B); a step to NaN is rejected
        uniform = torch.rand(accept.shape, generator=self.generator, dtype=accept.dtype, device=accept.device)
        taken = uniform < accept
        kept = (new[0].where(taken[..., None], z), new[1].where(taken, log_likelihood))
        return (*kept, new[2].where(taken[..., None], slope)), accept

    def _start(self, z):
        value, slope = self._likelihood(z)
        return z, check_number(value), slope

    def _likelihood(self, z):
        # log p(x | z), (K, B), and its slope in z, (K, B, Z)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.model.likelihood.log_prob(self.x, self.model.decode(z))
            slope = torch.autograd.grad(value.sum(), z)[0]
        return value.detach(), slope

    def _normal(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=self.x.dtype, device=self.x.device)
