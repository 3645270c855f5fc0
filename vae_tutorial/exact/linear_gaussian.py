"""The linear Gaussian model: a VAE with a linear decoder, of which everything is known in closed form.

Shapes: N examples, D numbers in an example, Z latent dimensions. All amounts of information are in nats.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from vae_tutorial import _checks
from vae_tutorial.information import gaussian_kl

__all__ = ["LinearGaussian", "surviving_directions"]

_LOG_2PI = math.log(2 * math.pi)


def surviving_directions(eigenvalues: Tensor, noise_var: float | Tensor) -> Tensor:
    """Return the variance that the best W gives each principal direction of the data: max(eigenvalue - noise_var, 0).

    ``eigenvalues``: of the data's covariance, any shape; ``noise_var``: broadcast against them. Returns their shape.
    A direction in which the data vary less than the noise gets nothing: the model ignores it.
    Source: Tipping and Bishop (1999), equation 7; Lucas et al. (2019).
    """
    return (eigenvalues - noise_var).clamp_min(0)


class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(x; W z + b, noise_var I): probabilistic PCA, a VAE with a linear decoder.

    ``W``: ``(D, Z)``; ``b``: ``(D,)``; ``noise_var``: a positive number or tensor of one. Kept as attributes, which
    every method reads again; results have the dtype and device of ``W``, and a gradient where these have one.
    Raises ValueError for wrong shapes, for a ``noise_var`` that is not positive, and for x of another shape or dtype.
    Source: Tipping and Bishop (1999), Probabilistic principal component analysis, sections 3.1 and 3.2.
    """

    def __init__(self, W: Tensor, b: Tensor, noise_var: float | Tensor):
        if W.ndim != 2 or b.shape != W.shape[:1]:
            raise ValueError(f"W must be (D, Z) and b (D,); got {tuple(W.shape)} and {tuple(b.shape)}")
        _check_noise_var(noise_var)
        self.W, self.b, self.noise_var = W, b, noise_var

    @classmethod
    def fit(cls, x: Tensor, latent_dim: int, noise_var: float | None = None) -> LinearGaussian:
        """Return the model of largest likelihood, in closed form: equations 7 and 8 of the paper, with R = I.

        ``x``: ``(N, D)``. ``latent_dim``: Z, below D, or up to D where ``noise_var`` is given. Then W is the best for
        that noise, and its columns are zero from the first direction in which x varies no more than the noise.
        Columns are in order of decreasing variance; the largest entry of each is positive.
        The covariance divides by N, not by N - 1: that is the one of largest likelihood.
        Raises ValueError for unusable arguments, and where x varies in so few directions that no maximum exists.
        """
        x = _checks.tensor(x)
        if x.ndim != 2 or not x.is_floating_point() or len(x) == 0:
            raise ValueError(f"x must be floating numbers of shape (N, D); got {tuple(x.shape)}, {x.dtype}")
        if not x.isfinite().all():
            raise ValueError("x has values that are NaN or infinite; leave such rows out: x[x.isfinite().all(1)]")
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
                    "bound as the noise goes to 0: give noise_var, a smaller latent_dim or more examples"
                )
        else:
            _check_noise_var(noise_var)
        # An eigenvector's sign is left open by the mathematics, and differs between machines.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        return cls(vectors * surviving_directions(eigenvalues[:latent_dim], noise_var).sqrt(), b, noise_var)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) = log N(x; b, W W^T + noise_var I), ``(N,)``, for x of ``(N, D)``.

        By the matrix determinant lemma and Woodbury's identity: nothing larger than (Z, Z) is factorised.
        """
        mean, factor, noise_var = self._posterior(x)
        D, Z = self.W.shape
        log_det = 2 * factor.diagonal().log().sum() + (D - Z) * noise_var.log()
        # Woodbury's form with the posterior mean put in: a sum of squares, in which no digits cancel.
        square = (x - self.b - mean @ self.W.T).square().sum(-1) / noise_var + mean.square().sum(-1)
        return -0.5 * (D * _LOG_2PI + log_det + square)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean ``(N, Z)`` and covariance ``(Z, Z)`` of p(z | x), for x of ``(N, D)``."""
        mean, factor, noise_var = self._posterior(x)
        return mean, noise_var * torch.cholesky_inverse(factor)

    def encoder(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A ``(Z, D)``, c ``(Z,)`` and logvar ``(Z,)``: q(z | x) = N(A x + c, diag exp logvar).

        Of all diagonal Gaussians it has the largest ELBO for every x: its mean is the posterior's, its variances are
        one over the diagonal of the posterior's precision (not the diagonal of its covariance, which is larger).
        Source: Bishop (2006), section 10.1.2; Lucas et al. (2019).
        """
        factor, noise_var = self._factor()
        A = torch.cholesky_solve(self.W.T, factor)
        return A, -A @ self.b, noise_var.log() - factor.square().sum(1).log()

    def elbo(self, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
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

    def best_elbo(self, x: Tensor) -> Tensor:
        """Return the largest ELBO of a diagonal Gaussian, ``(N,)``: :meth:`elbo` at :meth:`encoder`.

        It is log p(x) where W^T W is diagonal, as after :meth:`fit`; else it is less, by the same amount for every x.
        """
        return self.elbo(x, self._posterior(x)[0], self.encoder()[2])

    def directions(self) -> Tensor:
        """Return the variance of x that each principal direction of W explains, ``(Z,)``, decreasing; 0 means ignored.

        These are the eigenvalues of W^T W. Those below the rounding error of the largest are returned as 0.
        """
        values = torch.linalg.eigvalsh(self.W.T @ self.W).flip(0)
        return values.where(values > max(self.W.shape) * torch.finfo(values.dtype).eps * values[0], 0)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n draws of x, ``(n, D)``, and the z, ``(n, Z)``, that they came from."""
        normal = functools.partial(torch.randn, generator=generator, dtype=self.W.dtype, device=self.W.device)
        z = normal(n, self.W.shape[1])
        return z @ self.W.T + self.b + self._noise_var().sqrt() * normal(n, len(self.b)), z

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


def _check_noise_var(noise_var):
    if not 0 < noise_var < math.inf:
        raise ValueError(f"noise_var must be a positive number; got {noise_var}")
