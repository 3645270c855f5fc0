"""Models whose p(x) is known: what a bound, an estimate or a network says can be held against the truth.

``LinearGaussian`` has everything in closed form, ``GridLatent`` by quadrature over a latent of one or two dimensions,
``BernoulliMixture`` by a sum over its components. All amounts of information are in nats.

Shapes: N examples (or B in a batch), D numbers in an example, Z latent dimensions, K components, G points of a grid.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from vae_tutorial.information import gaussian_kl

__all__ = [
    "BernoulliMixture",
    "GridLatent",
    "KLSplit",
    "LinearGaussian",
    "curved",
    "gaussian_log_likelihood",
    "parabola",
    "surviving_directions",
]

_LOG_2PI = math.log(2 * math.pi)
# Numbers in one piece of a long calculation: enough to keep the processor busy, little enough for its cache.
_PIECE = 2**21


def surviving_directions(eigenvalues, noise_var):
    """Return the variance that the best W gives each principal direction of the data: max(eigenvalue - noise_var, 0).

    ``eigenvalues``: of the data's covariance, any shape; ``noise_var``: broadcast against them. Returns their shape.
    A direction in which the data vary less than the noise gets nothing: the model ignores it.
    Source: Tipping and Bishop (1999), equation 7; Lucas et al. (2019).
    """
    return (eigenvalues - noise_var).clamp_min(0)


class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(x; W z + b, noise_var I): probabilistic PCA, a VAE with a linear decoder.

    ``W``: ``(D, Z)``; ``b``: ``(D,)``; ``noise_var``: a positive number or tensor of one. Kept under these names, and
    read anew by every method; results have the dtype and device of ``W``, and a gradient where these have one.
    Raises ValueError for wrong shapes, for a ``noise_var`` that is not positive, and for x of another shape or dtype.
    Source: Tipping and Bishop (1999), Probabilistic principal component analysis, sections 3.1 and 3.2.
    """

    def __init__(self, W, b, noise_var):
        if W.ndim != 2 or b.shape != W.shape[:1]:
            raise ValueError(f"W must be (D, Z) and b (D,); got {tuple(W.shape)} and {tuple(b.shape)}")
        _check_noise_var(noise_var)
        self.W, self.b, self.noise_var = W, b, noise_var

    @classmethod
    def fit(cls, x, latent_dim, noise_var=None):
        """Return the model of largest likelihood, in closed form: equations 7 and 8 of the paper, with R = I.

        ``x``: ``(N, D)``. ``latent_dim``: Z, below D, or up to D where ``noise_var`` is given. Then W is the best for
        that noise, and its columns are zero from the first direction in which x varies no more than the noise.
        Columns stand in order of falling variance; the largest entry of each is positive.
        The covariance is the mean over N of squares, not over N - 1: that is the one of largest likelihood.
        Raises ValueError for unusable arguments, and where x varies in so few directions that no maximum exists.
        """
        if x.ndim != 2 or not x.is_floating_point() or len(x) == 0:
            raise ValueError(f"x must be floating numbers of shape (N, D); got {tuple(x.shape)}, {x.dtype}")
        most = x.shape[1] - (noise_var is None)
        if not 1 <= latent_dim <= most:
            raise ValueError(
                f"latent_dim must lie between 1 and {most} for x of shape {tuple(x.shape)}; got {latent_dim}"
            )
        b = x.mean(0)
        centred = x - b
        eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(x))  # (D,) ascending, (D, D)
        eigenvalues, vectors = eigenvalues.flip(0).clamp_min(0), vectors.flip(1)[:, :latent_dim]
        if noise_var is None:
            noise_var = eigenvalues[latent_dim:].mean().item()
            if not noise_var > 10 * torch.finfo(x.dtype).eps * eigenvalues[0]:
                raise ValueError(
                    f"x varies in at most latent_dim = {latent_dim} directions, so that the likelihood grows without "
                    "end as the noise goes to 0: give noise_var, a smaller latent_dim or more examples"
                )
        else:
            _check_noise_var(noise_var)
        # An eigenvector's sign is left open by the mathematics, and differs between machines.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        return cls(vectors * surviving_directions(eigenvalues[:latent_dim], noise_var).sqrt(), b, noise_var)

    def log_prob(self, x):
        """Return log p(x) = log N(x; b, W W^T + noise_var I), ``(N,)``, for x of ``(N, D)``.

        By the matrix determinant lemma and Woodbury's identity: nothing larger than (Z, Z) is factorised.
        """
        mean, factor, noise_var = self._posterior(x)
        D, Z = self.W.shape
        log_det = 2 * factor.diagonal().log().sum() + (D - Z) * noise_var.log()
        # Woodbury's form with the posterior mean put in: a sum of squares, in which no digits cancel.
        square = (x - self.b - mean @ self.W.T).square().sum(-1) / noise_var + mean.square().sum(-1)
        return -0.5 * (D * _LOG_2PI + log_det + square)

    def posterior(self, x):
        """Return the mean ``(N, Z)`` and covariance ``(Z, Z)`` of p(z | x), for x of ``(N, D)``."""
        mean, factor, noise_var = self._posterior(x)
        return mean, noise_var * torch.cholesky_inverse(factor)

    def encoder(self):
        """Return A ``(Z, D)``, c ``(Z,)`` and logvar ``(Z,)``: q(z | x) = N(A x + c, diag exp logvar).

        Of all diagonal Gaussians it has the largest ELBO for every x: its mean is the posterior's, its variances are
        one over the diagonal of the posterior's precision (not the diagonal of its covariance, which is larger).
        Source: Bishop (2006), section 10.1.2; Lucas et al. (2019).
        """
        factor, noise_var = self._factor()
        A = torch.cholesky_solve(self.W.T, factor)
        return A, -A @ self.b, noise_var.log() - factor.square().sum(1).log()

    def elbo(self, x, mu, logvar):
        """Return the ELBO of q(z | x) = N(mu, diag exp logvar) in closed form, ``(N,)``.

        ``x``: ``(N, D)``; ``mu``: ``(N, Z)``; ``logvar``: ``(N, Z)`` or ``(Z,)``.
        """
        self._check(x)
        wanted = (len(x), self.W.shape[1])
        if mu.shape != wanted or logvar.shape not in (wanted, wanted[1:]):
            got = f"{tuple(mu.shape)} and {tuple(logvar.shape)}"
            raise ValueError(f"mu must have shape {wanted}, and logvar that or {wanted[1:]}; got {got}")
        noise_var = self._noise_var()
        # E_q |x - W z - b|^2 = |x - W mu - b|^2 + sum_j var_j |w_j|^2
        square = (x - self.b - mu @ self.W.T).square().sum(-1) + logvar.exp() @ self.W.square().sum(0)
        log_p_x_given_z = -0.5 * (len(self.b) * (_LOG_2PI + noise_var.log()) + square / noise_var)
        return log_p_x_given_z - gaussian_kl(mu, logvar)

    def best_elbo(self, x):
        """Return the largest ELBO of a diagonal Gaussian, ``(N,)``: :meth:`elbo` at :meth:`encoder`.

        It is log p(x) where W^T W is diagonal, as after :meth:`fit`; else it is less, by the same amount for every x.
        """
        return self.elbo(x, self._posterior(x)[0], self.encoder()[2])

    def directions(self):
        """Return the variance of x that each principal direction of W explains, ``(Z,)``, falling; 0 means ignored.

        These are the eigenvalues of W^T W. What is below the rounding of the largest is given as 0.
        """
        values = torch.linalg.eigvalsh(self.W.T @ self.W).flip(0)
        return values.where(values > max(self.W.shape) * torch.finfo(values.dtype).eps * values[0], 0)

    def sample(self, n, generator=None):
        """Return n draws of x, ``(n, D)``, and the z, ``(n, Z)``, that they came from."""
        options = {"generator": generator, "dtype": self.W.dtype, "device": self.W.device}
        z = torch.randn(n, self.W.shape[1], **options)
        return z @ self.W.T + self.b + self._noise_var().sqrt() * torch.randn(n, len(self.b), **options), z

    def _noise_var(self):
        return torch.as_tensor(self.noise_var, dtype=self.W.dtype, device=self.W.device)

    def _factor(self):
        # Cholesky factor of M = W^T W + noise_var I, which is noise_var times the posterior's precision
        noise_var = self._noise_var()
        identity = torch.eye(self.W.shape[1], dtype=self.W.dtype, device=self.W.device)
        return torch.linalg.cholesky(self.W.T @ self.W + noise_var * identity), noise_var

    def _posterior(self, x):
        self._check(x)
        factor, noise_var = self._factor()
        return torch.cholesky_solve(self.W.T @ (x - self.b).T, factor).T, factor, noise_var

    def _check(self, x):
        if x.ndim != 2 or x.shape[1] != len(self.b) or x.dtype != self.W.dtype:
            wanted = f"(N, {len(self.b)}) and dtype {self.W.dtype}, as W has"
            raise ValueError(f"x must have shape {wanted}; got {tuple(x.shape)}, {x.dtype}")


class KLSplit(NamedTuple):
    """Means over a data set, nats: ``expected_kl = mutual_information + aggregate_kl``.

    KL(q(z | x) || p(z)); I(x; z) under q; KL(q(z) || p(z)) with q(z) the mean of q(z | x) over the data set.
    """

    expected_kl: float
    mutual_information: float
    aggregate_kl: float


class GridLatent:
    """Any decoder with a latent of one or two dimensions under p(z) = N(0, I), by quadrature (trapezoid rule).

    ``decoder``: ``(..., Z)`` to the likelihood's parameters. ``log_likelihood(x, parameters)``: log p(x | z) summed
    over an observation, broadcast over leading axes. For a VAE: ``GridLatent(model.decode, model.likelihood.log_prob,
    latent_dim=2, points=201)``. ``points``: along each axis, from -``extent`` to ``extent``.
    ``x`` is ``(B, ...)``. The decoder is called in the dtype and on the device of x; sums are taken in ``dtype``.

    Attributes: ``z``, the grid, ``(G, Z)``, the last axis fastest, G = points^Z; ``log_p_z`` ``(G,)``; ``log_cell``
    ``(G,)``, log of each point's weight (half a cell at a border). ``spacing``, between neighbours.
    Only :meth:`elbo` and :meth:`kl_to_posterior` have a gradient, in mu and logvar.
    """

    def __init__(self, decoder, log_likelihood, latent_dim=1, points=401, extent=6.0, dtype=torch.float64):
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
        # Round each q(z | x) a grid of its own, in its standard deviations: a narrow q is as exact as a wide one.
        self._t, log_cell = _lattice(281 if latent_dim == 1 else 29, 7.0, latent_dim, dtype)
        self._log_q_t = _log_normal(self._t)
        self._weight = (self._log_q_t + log_cell).exp()

    @torch.no_grad()
    def log_joint(self, x):
        """Return log p(x, z) at each point of the grid, ``(G, B)``."""
        z = self.z.to(x.device)  # (G, Z)
        return self._log_likelihood(x, z[:, None]) + self.log_p_z.to(x.device)[:, None]

    def log_prob(self, x):
        """Return log p(x), ``(B,)``."""
        return self._integral(self.log_joint(x))

    def error(self, x):
        """Return what :meth:`log_prob` may be wrong by, ``(B,)``, nats: from the spacing and from the extent.

        Spacing: how far the sum over every second point alone is off, from whichever point one begins. A narrow
        posterior midway between two points escapes that, but not the sums over every third: where these are off by more
        than a nat, that counts, else its ninth power, to which a third of the spacing brings it for a Gaussian.
        Extent: what log p(x) would gain from outside, as a grid of twice the extent and spacing sees it.
        For smooth decoders far above the true error, for kinked ones (ReLU) of its size; blind beyond twice the extent,
        and to rounding. Costs two calls of log_prob.
        """
        joint = self.log_joint(x)
        log_p_x = self._integral(joint)
        second, third = (self._thinned(joint, log_p_x, stride) for stride in (2, 3))
        wide = GridLatent(self.decoder, self.log_likelihood, self.latent_dim, self.points, 2 * self.extent, self.dtype)
        # The cells of points within a spacing of the border reach beyond it, so they count as outside.
        outside = wide.z.abs().amax(-1).to(x.device) > self.extent - wide.spacing
        outer = wide._integral(wide.log_joint(x).masked_fill(~outside[:, None], -math.inf))
        return torch.maximum(second, third * third.clamp_max(1) ** 8) + F.softplus(outer - log_p_x)

    def log_posterior(self, x):
        """Return the log density of p(z | x) at each point of the grid, ``(G, B)``: exp(it + log_cell) sums to 1."""
        joint = self.log_joint(x)
        return joint - self._integral(joint)

    def elbo(self, x, mu, logvar):
        """Return the ELBO of q(z | x) = N(mu, diag exp logvar), ``(B,)``, for ``mu`` and ``logvar`` of ``(B, Z)``.

        E_q[log p(x | z)] is an integral over mu +- 7 standard deviations; KL(q || p(z)) is exact. The kinks of a
        ReLU network leave an error of about 0.001 nats on MNIST in two dimensions; smooth decoders none to speak of.
        """
        _, log_p_x_given_z = self._around(x, mu, logvar)
        return self._weight.to(x.device) @ log_p_x_given_z - gaussian_kl(mu, logvar)

    def kl_to_posterior(self, x, mu, logvar):
        """Return KL(q(z | x) || p(z | x)), ``(B,)``, as the integral of q (log q - log p(z | x)), not as a difference.

        Arguments as those of :meth:`elbo`.
        """
        z, log_p_x_given_z = self._around(x, mu, logvar)  # (T, B, Z), (T, B)
        log_q_z_given_x = self._log_q_t.to(x.device)[:, None] - 0.5 * logvar.sum(-1)
        log_p_z_given_x = log_p_x_given_z + _log_normal(z) - self.log_prob(x)
        return self._weight.to(x.device) @ (log_q_z_given_x - log_p_z_given_x).to(self.dtype)

    def best_gaussian(self, x, steps=200, starts=3):
        """Return the ``mu`` and ``logvar``, ``(B, Z)``, of the diagonal Gaussian of largest ELBO for each x.

        Climbs by natural gradient, at most ``steps`` times, from each of the ``starts`` highest modes of p(z | x) on
        the grid and from its mean and variance; the highest end wins (of two equally high ones, either). Stops early
        where nothing moves any more.
        Source: Khan and Rue (2023), The Bayesian learning rule.
        """
        numbers = x[:1].numel() * (starts + 1) * len(self._t)
        ends = [self._best_end(part, steps, starts) for part in x.split(max(1, 8 * _PIECE // max(1, numbers)))]
        return torch.cat([mu for mu, _ in ends]), torch.cat([logvar for _, logvar in ends])

    @torch.no_grad()
    def split_kl(self, mu, logvar):
        """Return how an encoder's KL to the prior splits over a data set, as :class:`KLSplit`.

        ``mu``, ``logvar``: ``(N, Z)``, the encoder's outputs for the data set. The expected KL is exact. I(x; z) =
        H(q(z)) - mean H(q(z | x)) and KL(q(z) || p(z)) are integrals over a grid as fine as the narrowest q(z | x) and
        as wide as the outermost need. Raises ValueError where that would take too many points.
        Source: Hoffman and Johnson (2016), ELBO surgery.
        """
        self._check(mu, mu, logvar)
        mu, sigma = mu.to(self.dtype), torch.exp(0.5 * logvar.to(self.dtype))
        extent, most = (mu.abs() + 8 * sigma).max().item(), 200_001 if self.latent_dim == 1 else 4001
        # Spacing of a quarter (in the plane, where points are dear, a half) of the narrowest standard deviation.
        points = math.ceil((8 if self.latent_dim == 1 else 4) * extent / sigma.min().item()) + 1
        if not points <= most:
            raise ValueError(
                f"q(z | x) has standard deviations down to {sigma.min().item():.2g} and reaches out to {extent:.3g}: "
                f"the grid would have {points} points along each axis; {most} are the most"
            )
        line, log_width = (v.to(mu) for v in _lattice(points, extent, 1, self.dtype))  # (points, 1), (points,)
        entropy_given_x, mass = 0.0, 0.0
        for m, s in zip(mu.split(max(1, _PIECE // points)), sigma.split(max(1, _PIECE // points)), strict=True):
            # The axes of q(z | x) are independent: its mass in a cell is a product, and the sum over x one of matrices.
            log_q = _log_normal((line - m.T[..., None, None]) / s.T[..., None, None]) - s.T[..., None].log()
            masses = (log_q + log_width).exp()  # (Z, n, points)
            entropy_given_x -= (masses * log_q).sum().item() / len(mu)
            mass = mass + (masses.sum(1)[0] if self.latent_dim == 1 else (masses[0].T @ masses[1]).flatten()) / len(mu)
        z, log_cell = (v.to(mu) for v in _lattice(points, extent, self.latent_dim, self.dtype))  # (G, Z), (G,)
        mean_log_q_z = (torch.xlogy(mass, mass) - mass * log_cell).sum().item()
        return KLSplit(
            expected_kl=gaussian_kl(mu, 2 * sigma.log()).mean().item(),
            mutual_information=-mean_log_q_z - entropy_given_x,
            aggregate_kl=mean_log_q_z - (mass * _log_normal(z)).sum().item(),
        )

    def _log_likelihood(self, x, z):
        # (T, 1 or B, Z) -> (T, B), in pieces over T
        if x.ndim < 1 or not x.is_floating_point():
            raise ValueError(f"x must be floating numbers of shape (B, ...); got {tuple(x.shape)}, {x.dtype}")
        pieces = z.to(x.dtype).split(max(1, _PIECE // max(1, x.numel())))
        values = torch.cat([self.log_likelihood(x, self.decoder(piece)) for piece in pieces])
        if values.shape != (len(z), len(x)):
            raise ValueError(
                f"log_likelihood must return one number for each z and x, ({len(z)}, {len(x)}); "
                f"got {tuple(values.shape)}: it has to sum over the axes of an observation, and over no other"
            )
        return values.to(self.dtype)

    def _around(self, x, mu, logvar):
        self._check(x, mu, logvar)
        # Else the decoder's weights, which have a gradient too, would keep the whole grid's graph in memory.
        with torch.set_grad_enabled(torch.is_grad_enabled() and (mu.requires_grad or logvar.requires_grad)):
            z = mu + torch.exp(0.5 * logvar) * self._t.to(x.device)[:, None]  # (T, B, Z)
            return z, self._log_likelihood(x, z)

    def _check(self, x, mu, logvar):
        if not mu.shape == logvar.shape == (len(x), self.latent_dim):
            wanted = (len(x), self.latent_dim)
            raise ValueError(f"mu and logvar must be {wanted}; got {tuple(mu.shape)} and {tuple(logvar.shape)}")

    def _integral(self, log_values):
        return torch.logsumexp(log_values + self.log_cell.to(log_values.device)[:, None], 0)

    def _thinned(self, joint, log_p_x, stride):
        # The largest change of log p(x) when only every stride-th point along each axis is summed, from any start
        joint = (joint + self.log_cell.to(joint.device)[:, None]).unflatten(0, (self.points,) * self.latent_dim)
        starts = torch.cartesian_prod(*[torch.arange(stride)] * self.latent_dim).view(-1, self.latent_dim).tolist()
        sums = [
            joint[tuple(slice(first, None, stride) for first in start)].flatten(0, self.latent_dim - 1).logsumexp(0)
            for start in starts
        ]
        return (torch.stack(sums) + self.latent_dim * math.log(stride) - log_p_x).abs().amax(0)

    def _best_end(self, x, steps, starts):
        mu, logvar = self._starts(x, starts)  # (S, B, Z)
        mu, logvar, elbo = self._climb(
            x.repeat(len(mu), *[1] * (x.ndim - 1)), mu.flatten(0, 1), logvar.flatten(0, 1), steps
        )
        best = elbo.view(-1, len(x)).argmax(0) * len(x) + torch.arange(len(x), device=x.device)
        return mu[best], logvar[best]

    def _starts(self, x, starts):
        grid, joint = self.z.to(x.device), self.log_joint(x)  # (G, Z), (G, B)
        shaped = joint.T.reshape(-1, 1, *[self.points] * self.latent_dim)
        pool = F.max_pool1d if self.latent_dim == 1 else F.max_pool2d
        summit = (shaped == pool(shaped, 3, 1, 1)).view(joint.T.shape).T
        height, index = joint.where(summit, -math.inf).topk(starts, dim=0)  # (starts, B)
        modes = grid[index.where(height.isfinite(), index[:1])]  # the highest once more where there are fewer
        p = (joint + self.log_cell.to(x.device)[:, None]).softmax(0)
        mean = p.T @ grid  # (B, Z)
        variance = (p.T @ grid.square() - mean.square()).clamp_min(self.spacing**2)
        # As narrow as the grid can tell: the first step sets the variance that the curvature at the mode asks for.
        narrow = torch.full_like(modes, 2 * math.log(self.spacing))
        return torch.cat([modes, mean[None]]), torch.cat([narrow, variance.log()[None]])

    def _climb(self, x, mu, logvar, steps):
        def slopes(rows, mu, logvar):
            with torch.enable_grad():
                mu, logvar = mu.detach().requires_grad_(), logvar.detach().requires_grad_()
                elbo = self.elbo(x[rows], mu, logvar)
                return elbo.detach(), *torch.autograd.grad(elbo.sum(), (mu, logvar))

        eps = torch.finfo(x.dtype).eps
        rows = torch.arange(len(x), device=x.device)  # those that still move
        elbo, slope_mu, slope_logvar = slopes(rows, mu, logvar)
        rate = torch.ones_like(mu[:, :1])
        for _ in range(steps):
            # The natural gradient: precision first, then the mean by it. The ELBO is stationary where the precision is
            # (1 - 2 slope_logvar) times what it was; at most tenfold, as that can be negative between two modes.
            change = -torch.log((1 - 2 * rate[rows] * slope_logvar[rows]).clamp(0.1, 10))
            new_logvar = logvar[rows] + change
            step = rate[rows] * new_logvar.exp() * slope_mu[rows]
            new_mu = mu[rows] + step
            new_elbo, *new_slopes = slopes(rows, new_mu, new_logvar)
            better = new_elbo >= elbo[rows] - 10 * eps * elbo[rows].abs()
            rate[rows] = (rate[rows] * torch.where(better, 1.5, 0.5)[:, None]).clamp_max(1)
            kept = rows[better]
            mu[kept], logvar[kept], elbo[kept] = new_mu[better], new_logvar[better], new_elbo[better]
            slope_mu[kept], slope_logvar[kept] = (slope[better] for slope in new_slopes)
            moved = torch.maximum(step.abs() * torch.exp(-0.5 * new_logvar), change.abs()).amax(-1)
            rows = rows[moved > eps**0.5]
            if len(rows) == 0:
                break
        return mu, logvar, elbo


def parabola(z):
    """Return the curved decoder of the course, (z / 2, z^2 - 1): ``(..., 1)`` to ``(..., 2)``.

    For z ~ N(0, 1) both outputs have mean 0, and they are uncorrelated though one z makes both. The half lets the two
    arms stand so close that noise of 0.3 can hide from which of them an x above the vertex, (0, -1), came.
    """
    return torch.cat([z / 2, z.square() - 1], -1)


def gaussian_log_likelihood(noise_std):
    """Return the function (x, mean) -> log N(x; mean, noise_std^2 I), summed over the last axis.

    ``noise_std``: a positive number, else ValueError.
    """
    if not 0 < noise_std < math.inf:
        raise ValueError(f"noise_std must be a positive number; got {noise_std}")

    def log_likelihood(x, mean):
        return -0.5 * (((x - mean) / noise_std).square() + _LOG_2PI + 2 * math.log(noise_std)).sum(-1)

    return log_likelihood


def curved(noise_std=0.3, **grid):
    """Return the course's small model: z ~ N(0, 1), x ~ N(parabola(z), noise_std^2 I), as :class:`GridLatent`.

    ``grid``: points, extent and dtype. x is ``(B, 2)``. Well above the vertex, as at (0, 0.5), both signs of z
    explain x, and p(z | x) has two modes; on an arm, as at (1, 3), one sign has it all, the narrower the further out.
    """
    return GridLatent(parabola, gaussian_log_likelihood(noise_std), latent_dim=1, **grid)


class BernoulliMixture:
    """p(x) = sum_k weight_k prod_i Bernoulli(x_i; probs_ki): black-and-white images of K kinds, z = k the kind.

    ``weights``: ``(K,)``, a distribution; ``probs``: ``(K, *image_shape)``, above 0 and below 1. ``x`` is
    ``(N, *image_shape)``, floating zeros and ones. Raises ValueError for anything else.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 9.3.3.
    """

    def __init__(self, weights, probs):
        if weights.ndim != 1 or probs.ndim < 2 or len(probs) != len(weights):
            shapes = f"{tuple(weights.shape)} and {tuple(probs.shape)}"
            raise ValueError(f"weights must be (K,) and probs (K, *image_shape); got {shapes}")
        if not ((weights >= 0).all() and abs(weights.sum().item() - 1) < 1e-4):
            raise ValueError(f"weights must be at least 0 and sum to 1; got sum {weights.sum().item()}")
        if not ((probs > 0) & (probs < 1)).all():
            raise ValueError(f"probs must lie above 0 and below 1; got {probs.min().item()} to {probs.max().item()}")
        self.weights, self.probs = weights, probs

    @classmethod
    def fit(cls, x, components, *, iterations=50, tolerance=0.005, seed=0, pseudo_count=0.5):
        """Return the mixture fitted to x by expectation maximisation (EM).

        ``components``: K; each begins halfway between the mean image and an example chosen by ``seed``. Stops after
        ``iterations``, or when the mean of log p(x) gains less than ``tolerance``. ``history``, an attribute of the
        result, holds that mean after each iteration.
        ``pseudo_count``: of imagined examples in each component that have a pixel on, and as many that have it off. One
        half is the estimate of Krichevsky and Trofimov (1981). With 0 the likelihood never falls.
        A component that no example belongs to is put on the one that the model explains worst, if that is a gain.
        Raises ValueError for unusable arguments.
        Source: Dempster, Laird and Rubin (1977); Bishop (2006), equations 9.56 to 9.60.
        """
        _check_binary(x, x.shape[1:])
        if not (isinstance(components, int) and components >= 1):
            raise ValueError(f"components must be a whole number of at least 1; got {components}")
        if not (iterations >= 1 and pseudo_count >= 0):
            raise ValueError(f"iterations must be at least 1 and pseudo_count 0; got {iterations} and {pseudo_count}")
        pixels = x.flatten(1)  # (N, D)
        generator = torch.Generator(x.device).manual_seed(seed)
        chosen = torch.randperm(len(x), generator=generator, device=x.device).repeat(-(-components // len(x)))
        probs = _inside((pixels.mean(0) + pixels[chosen[:components]]) / 2)
        model, history = cls(torch.full_like(probs[:, 0], 1 / components), probs), []
        log_p_x, responsibilities = model._expect(pixels)
        for _ in range(iterations):
            before = log_p_x.mean().item()
            step = (pixels, log_p_x, responsibilities, pseudo_count)
            refilled = model._refilled(*step)
            model = refilled or model._maximized(*step)
            log_p_x, responsibilities = model._expect(pixels)
            history.append(log_p_x.mean().item())
            if history[-1] - before < tolerance and not refilled:
                break
        fitted = cls(model.weights, model.probs.unflatten(1, x.shape[1:]))
        fitted.history = history
        return fitted

    def log_prob(self, x):
        """Return log p(x), ``(N,)``."""
        return torch.logsumexp(self.log_joint(x), 1)

    def log_joint(self, x):
        """Return log p(x, z = k) for each component, ``(N, K)``."""
        _check_binary(x, self.probs.shape[1:])
        return self._log_joint(x.flatten(1))

    def responsibilities(self, x):
        """Return p(z = k | x), ``(N, K)``."""
        return self.log_joint(x).softmax(1)

    def sample(self, n, generator=None):
        """Return n images drawn from the model, ``(n, *image_shape)``, and the components, ``(n,)``, they came from."""
        z = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        probs = self.probs[z]
        uniform = torch.rand(probs.shape, generator=generator, dtype=probs.dtype, device=probs.device)
        return (uniform < probs).to(probs.dtype), z

    def _log_joint(self, pixels):
        probs = self.probs.flatten(1)
        log_off = torch.log1p(-probs)
        # sum_i x_i log p_i + (1 - x_i) log(1 - p_i), as one product of matrices
        return torch.addmm(self.weights.log() + log_off.sum(1), pixels, (probs.log() - log_off).T)

    def _expect(self, pixels):
        # log p(x) (N,) and p(z = k | x) (N, K)
        joint = self._log_joint(pixels)
        highest = joint.amax(1, keepdim=True)
        # What is below exp(-60) changes no sum, but a product with numbers near 1e-40 takes four times as long.
        relative = F.threshold(joint - highest, -60, -math.inf).exp_()
        total = relative.sum(1, keepdim=True)
        return (highest + total.log())[:, 0], relative / total

    def _maximized(self, pixels, log_p_x, responsibilities, pseudo_count):
        count = responsibilities.sum(0)  # (K,): examples that belong to each component
        on = responsibilities.T @ pixels + pseudo_count  # (K, D)
        probs = on / (count[:, None] + 2 * pseudo_count).clamp_min(torch.finfo(on.dtype).tiny)
        return BernoulliMixture(count / count.sum(), _inside(probs))

    def _refilled(self, pixels, log_p_x, responsibilities, pseudo_count):
        # In place of a step of EM; None where no component is empty, or where nothing is gained for certain.
        N, (count, empty) = len(pixels), responsibilities.sum(0).min(0)
        if count > 1e-3 or N == 1:
            return None
        lowest, worst = log_p_x.min(0)
        probs = _inside((pixels[worst] + pseudo_count) / (1 + 2 * pseudo_count))
        log_new = torch.where(pixels[worst] == 1, probs, 1 - probs).log().sum()
        # Everybody gives 1 / N of its weight to the new component, which has p(x | z) = exp log_new for its example.
        gain = F.softplus(log_new - math.log(N) - lowest).item() + N * math.log1p(-1 / N)
        if not gain > 0.01:
            return None
        weights, all_probs = self.weights * (1 - 1 / N), self.probs.clone()
        weights[empty], all_probs[empty] = 1 / N, probs
        return BernoulliMixture(weights / weights.sum(), all_probs)


def _lattice(points, extent, dims, dtype):
    # points (points^dims, dims) and the logs of their weights in the trapezoid rule
    line = torch.linspace(-extent, extent, points, dtype=dtype)
    log_weight = torch.full_like(line, math.log(2 * extent / (points - 1)))
    log_weight[[0, -1]] -= math.log(2)
    z = torch.cartesian_prod(*[line] * dims).view(-1, dims)
    return z, torch.cartesian_prod(*[log_weight] * dims).view(-1, dims).sum(-1)


def _log_normal(z):
    return -0.5 * (z.square() + _LOG_2PI).sum(-1)


def _inside(probs):
    # As near to 0 and 1 as the logarithms stay finite. Within these limits it is still the best estimate.
    eps = torch.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def _check_noise_var(noise_var):
    if not 0 < noise_var < math.inf:
        raise ValueError(f"noise_var must be a positive number; got {noise_var}")


def _check_binary(x, shape):
    if x.ndim < 2 or x.shape[1:] != shape or len(x) == 0:
        raise ValueError(f"x must have shape ({', '.join(map(str, ['N', *shape]))}); got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x has dtype {x.dtype}; expected floating zeros and ones, as data.binarize returns")
    if not ((x == 0) | (x == 1)).all():
        raise ValueError("x holds other values than 0 and 1; expected zeros and ones, as data.binarize returns")
