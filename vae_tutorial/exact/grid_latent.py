"""Any decoder with a latent of one or two dimensions, by quadrature.

Shapes: B examples, Z latent dimensions (1 or 2), G points of the grid. All amounts of information are in nats.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial.exact._ascent import ascend
from vae_tutorial.information import gaussian_kl

__all__ = ["GridLatent", "KLSplit"]

_LOG_2PI = math.log(2 * math.pi)
_PIECE = 2**21  # numbers in one chunk of a long calculation, which fits into the CPU cache


class KLSplit(NamedTuple):
    """Means over a data set, nats: ``expected_kl = mutual_information + aggregate_kl``.

    KL(q(z | x) || p(z)); I(x; z) under q; KL(q(z) || p(z)) with q(z) the mean of q(z | x) over the data set.
    """

    expected_kl: Any  # float, by quadrature; evaluation.Mean, by draws
    mutual_information: Any
    aggregate_kl: Any


class GridLatent:
    """Any decoder with a latent of one or two dimensions under p(z) = N(0, I), by quadrature (trapezoid rule).

    ``decoder``: ``(..., Z)`` to the likelihood's parameters. ``log_likelihood(x, parameters)``: log p(x | z) summed
    over an observation, broadcast over leading axes. For a VAE: ``GridLatent(model.decode, model.likelihood.log_prob,
    latent_dim=2, points=201)``. ``points``: along each axis, from -``extent`` to ``extent``.
    ``x`` is ``(B, ...)``. The decoder is called in the dtype and on the device of x; sums are taken in ``dtype`` on the
    CPU (Apple's GPUs have no float64), and results stay there.

    Attributes: ``z``, the grid, ``(G, Z)``, the last axis fastest, G = points^Z; ``log_p_z`` ``(G,)``; ``log_cell``
    ``(G,)``, log of each point's weight (half a cell at a border). ``spacing``, between neighbours.
    Only :meth:`elbo` and :meth:`kl_to_posterior` have a gradient, in mu and logvar.
    """

    def __init__(
        self,
        decoder: Callable[[Tensor], Tensor],
        log_likelihood: Callable[[Tensor, Tensor], Tensor],
        latent_dim: int = 1,
        points: int = 401,
        extent: float = 6.0,
        dtype: torch.dtype = torch.float64,
    ):
        if latent_dim not in (1, 2):
            raise ValueError(f"latent_dim must be 1 or 2: a grid of more dimensions is too large; got {latent_dim}")
        if not (isinstance(points, int) and points >= 9):
            raise ValueError(f"points must be a whole number of at least 9; got {points}")
        if not 0 < extent < math.inf:
            raise ValueError(f"extent must be a positive number, in standard deviations of the prior; got {extent}")
        self.decoder, self.log_likelihood = decoder, log_likelihood
        self.latent_dim, self.points, self.extent, self.dtype = latent_dim, points, float(extent), dtype
        self.spacing = 2 * self.extent / (points - 1)
        self.z, self.log_cell = _lattice(points, self.extent, latent_dim, dtype)
        self.log_p_z = _log_normal(self.z)
        # A second grid, in standard deviations round the mean of each q(z | x): a narrow q is as exact as a wide one.
        self._t, log_cell = _lattice(281 if latent_dim == 1 else 29, 7.0, latent_dim, dtype)
        self._log_q_t = _log_normal(self._t)
        self._weight = (self._log_q_t + log_cell).exp()

    @torch.no_grad()
    def log_joint(self, x: Tensor) -> Tensor:
        """Return log p(x, z) at each point of the grid, ``(G, B)``."""
        return self._log_likelihood(x, self.z[:, None]) + self.log_p_z[:, None]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), ``(B,)``."""
        return self._integral(self.log_joint(x))

    def error(self, x: Tensor) -> Tensor:
        """Return an estimate of the error of :meth:`log_prob`, ``(B,)``, nats: from the spacing and from the extent.

        Spacing: the largest change when only every second point is summed, from either start. It misses a narrow
        posterior midway between two points, but the sums over every third point do not. A change of theirs above one
        nat counts as it is; below, its ninth power counts, since for a Gaussian a third of the spacing raises the error
        to the ninth power. Extent: what log p(x) gains from outside, on a grid of twice the extent and spacing.
        For smooth decoders it is far above the true error, for ReLU decoders, with their kinks, of the same size. It
        does not see beyond twice the extent, nor rounding errors. Costs two calls of log_prob.
        """
        joint = self.log_joint(x)
        log_p_x = self._integral(joint)
        second, third = (self._change_by_thinning(joint, log_p_x, stride) for stride in (2, 3))
        wide = GridLatent(self.decoder, self.log_likelihood, self.latent_dim, self.points, 2 * self.extent, self.dtype)
        # The cells of points within a spacing of the border reach beyond it, so they count as outside.
        outside = wide.z.abs().amax(-1) > self.extent - wide.spacing
        outer = wide._integral(wide.log_joint(x).masked_fill(~outside[:, None], -math.inf))
        return torch.maximum(second, third * third.clamp_max(1) ** 8) + F.softplus(outer - log_p_x)

    def log_posterior(self, x: Tensor) -> Tensor:
        """Return the log density of p(z | x) at each point of the grid, ``(G, B)``: exp(it + log_cell) sums to 1."""
        joint = self.log_joint(x)
        return joint - self._integral(joint)

    def elbo(self, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """Return the ELBO of q(z | x) = N(mu, diag exp logvar), ``(B,)``, for ``mu`` and ``logvar`` of ``(B, Z)``.

        E_q[log p(x | z)] is an integral over mu +- 7 standard deviations; KL(q || p(z)) is exact. The kinks of a
        ReLU network leave an error of about 0.001 nats on MNIST in two dimensions; smooth decoders a negligible one.
        """
        mu, logvar = self._check(x, mu, logvar)
        _, log_p_x_given_z = self._around(x, mu, logvar)
        return self._weight @ log_p_x_given_z - gaussian_kl(mu, logvar)

    def kl_to_posterior(self, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
        """Return KL(q(z | x) || p(z | x)), ``(B,)``, as the integral of q (log q - log p(z | x)), not as a difference.

        Arguments as those of :meth:`elbo`.
        """
        mu, logvar = self._check(x, mu, logvar)
        z, log_p_x_given_z = self._around(x, mu, logvar)  # (T, B, Z), (T, B)
        log_q_z_given_x = self._log_q_t[:, None] - 0.5 * logvar.sum(-1)
        log_p_z_given_x = log_p_x_given_z + _log_normal(z) - self.log_prob(x)
        return self._weight @ (log_q_z_given_x - log_p_z_given_x).to(self.dtype)

    def best_gaussian(self, x: Tensor, steps: int = 200, starts: int = 3) -> tuple[Tensor, Tensor]:
        """Return the ``mu`` and ``logvar``, ``(B, Z)``, of the diagonal Gaussian of largest ELBO for each x.

        Ascends by natural gradient, at most ``steps`` times, from each of the ``starts`` highest modes of p(z | x) on
        the grid and from its mean and variance; the best result is returned (of two equally good ones, either). Stops
        early on convergence.
        Source: Khan and Rue (2023), The Bayesian learning rule.
        """
        numbers = x[:1].numel() * (starts + 1) * len(self._t)
        ends = [self._best_end(part, steps, starts) for part in x.split(max(1, 8 * _PIECE // max(1, numbers)))]
        return torch.cat([mu for mu, _ in ends]), torch.cat([logvar for _, logvar in ends])

    @torch.no_grad()
    def split_kl(self, mu: Tensor, logvar: Tensor) -> KLSplit:
        """Return how an encoder's KL to the prior splits over a data set, as :class:`KLSplit`.

        ``mu``, ``logvar``: ``(N, Z)``, the encoder's outputs for the data set. The expected KL is exact. I(x; z) =
        H(q(z)) - mean H(q(z | x)) and KL(q(z) || p(z)) are integrals over a grid as fine as the narrowest q(z | x) and
        as wide as the outermost need. Raises ValueError where that would take too many points.
        Source: Hoffman and Johnson (2016), ELBO surgery.
        """
        mu, logvar = self._check(mu, mu, logvar)
        mu, sigma = mu.to(self.dtype), torch.exp(0.5 * logvar.to(self.dtype))
        extent, most = (mu.abs() + 8 * sigma).max().item(), 200_001 if self.latent_dim == 1 else 4001
        # The spacing is a quarter of the narrowest standard deviation; a half in two dimensions, to limit the points.
        points = math.ceil((8 if self.latent_dim == 1 else 4) * extent / sigma.min().item()) + 1
        if not points <= most:
            raise ValueError(
                f"q(z | x) has standard deviations down to {sigma.min().item():.2g} and reaches out to {extent:.3g}: "
                f"the grid would have {points} points along each axis; at most {most} are allowed"
            )
        line, log_width = _lattice(points, extent, 1, self.dtype)  # (points, 1), (points,)
        entropy_given_x, mass = 0.0, torch.zeros(points**self.latent_dim, dtype=self.dtype)
        for m, s in zip(mu.split(max(1, _PIECE // points)), sigma.split(max(1, _PIECE // points)), strict=True):
            # The axes of q(z | x) are independent: its mass in a cell is a product, and the sum over x one of matrices.
            log_q = _log_normal((line - m.T[..., None, None]) / s.T[..., None, None]) - s.T[..., None].log()
            masses = (log_q + log_width).exp()  # (Z, n, points)
            entropy_given_x -= (masses * log_q).sum().item() / len(mu)
            mass = mass + (masses.sum(1)[0] if self.latent_dim == 1 else (masses[0].T @ masses[1]).flatten()) / len(mu)
        z, log_cell = _lattice(points, extent, self.latent_dim, self.dtype)  # (G, Z), (G,)
        mean_log_q_z = (torch.xlogy(mass, mass) - mass * log_cell).sum().item()
        return KLSplit(
            expected_kl=gaussian_kl(mu, 2 * sigma.log()).mean().item(),
            mutual_information=-mean_log_q_z - entropy_given_x,
            aggregate_kl=mean_log_q_z - (mass * _log_normal(z)).sum().item(),
        )

    def _log_likelihood(self, x, z):
        # (T, 1 or B, Z) -> (T, B) on the CPU, in chunks over T
        if x.ndim < 1 or not x.is_floating_point():
            raise ValueError(f"x must be floating numbers of shape (B, ...); got {tuple(x.shape)}, {x.dtype}")
        pieces = z.to(x.dtype).split(max(1, _PIECE // max(1, x.numel())))
        values = torch.cat([self.log_likelihood(x, self.decoder(piece.to(x.device))) for piece in pieces])
        if values.shape != (len(z), len(x)):
            raise ValueError(
                f"log_likelihood must return one number for each z and x, ({len(z)}, {len(x)}); "
                f"got {tuple(values.shape)}: it has to sum over the axes of an observation, and over no other"
            )
        return values.cpu().to(self.dtype)  # in this order: Apple's GPUs have no float64

    def _around(self, x, mu, logvar):
        # Otherwise autograd would keep the graph of the whole grid in memory for the decoder's weights.
        with torch.set_grad_enabled(torch.is_grad_enabled() and (mu.requires_grad or logvar.requires_grad)):
            z = mu + torch.exp(0.5 * logvar) * self._t[:, None]  # (T, B, Z)
            return z, self._log_likelihood(x, z)

    def _check(self, x, mu, logvar):
        if not mu.shape == logvar.shape == (len(x), self.latent_dim):
            wanted = (len(x), self.latent_dim)
            raise ValueError(f"mu and logvar must be {wanted}; got {tuple(mu.shape)} and {tuple(logvar.shape)}")
        return mu.cpu(), logvar.cpu()

    def _integral(self, log_values):
        return torch.logsumexp(log_values + self.log_cell[:, None], 0)

    def _change_by_thinning(self, joint, log_p_x, stride):
        # The largest change of log p(x) when only every stride-th point along each axis is summed, from any start
        joint = (joint + self.log_cell[:, None]).unflatten(0, (self.points,) * self.latent_dim)
        starts = torch.cartesian_prod(*[torch.arange(stride)] * self.latent_dim).view(-1, self.latent_dim).tolist()
        sums = [
            joint[tuple(slice(first, None, stride) for first in start)].flatten(0, self.latent_dim - 1).logsumexp(0)
            for start in starts
        ]
        return (torch.stack(sums) + self.latent_dim * math.log(stride) - log_p_x).abs().amax(0)

    def _best_end(self, x, steps, starts):
        mu, logvar = self._starts(x, starts)  # (S, B, Z)
        repeated = x.repeat(len(mu), *[1] * (x.ndim - 1))  # (S * B, ...)
        mu, logvar, elbo = ascend(self.elbo, repeated, mu.flatten(0, 1), logvar.flatten(0, 1), steps)
        best = elbo.view(-1, len(x)).argmax(0) * len(x) + torch.arange(len(x))
        return mu[best], logvar[best]

    def _starts(self, x, starts):
        joint = self.log_joint(x)  # (G, B)
        shaped = joint.T.reshape(-1, 1, *[self.points] * self.latent_dim)
        pool = F.max_pool1d if self.latent_dim == 1 else F.max_pool2d
        summit = (shaped == pool(shaped, 3, 1, 1)).view(joint.T.shape).T
        height, index = joint.where(summit, -math.inf).topk(starts, dim=0)  # (starts, B)
        modes = self.z[index.where(height.isfinite(), index[:1])]  # where there are fewer, the highest is repeated
        p = (joint + self.log_cell[:, None]).softmax(0)
        mean = p.T @ self.z  # (B, Z)
        variance = (p.T @ self.z.square() - mean.square()).clamp_min(self.spacing**2)
        # Start as narrow as the spacing: the first step sets the variance by the curvature at the mode.
        narrow = torch.full_like(modes, 2 * math.log(self.spacing))
        return torch.cat([modes, mean[None]]), torch.cat([narrow, variance.log()[None]])


def _lattice(points, extent, dims, dtype):
    # points (points^dims, dims) and the logs of their weights in the trapezoid rule
    line = torch.linspace(-extent, extent, points, dtype=dtype)
    log_weight = torch.full_like(line, math.log(2 * extent / (points - 1)))
    log_weight[[0, -1]] -= math.log(2)
    z = torch.cartesian_prod(*[line] * dims).view(-1, dims)
    return z, torch.cartesian_prod(*[log_weight] * dims).view(-1, dims).sum(-1)


def _log_normal(z):
    return -0.5 * (z.square() + _LOG_2PI).sum(-1)
