"""Proposals for importance sampling of z: one Gaussian or several for each image, and how to refine them.

A Gaussian is its mean ``(B, Z)`` and a lower triangular matrix ``(B, Z, Z)``, which times its own transpose is the
covariance. Mixtures of K have one more axis in front, ``(K, B, Z)`` and ``(K, B, Z, Z)``, and weights ``(K, B)``.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vae_tutorial import _checks, _modes
from vae_tutorial.likelihoods import Bernoulli
from vae_tutorial.likelihoods._kinds import refuse_grey
from vae_tutorial.models import VAE, Autoencoder

__all__ = ["Mixture", "Refined", "refine"]

LOG_2PI = math.log(2 * math.pi)
PIECE = 2**22  # pixels in one chunk of a calculation: all samples of all images at once would not fit in memory


class Refined(NamedTuple):
    """A Gaussian for each image: ``mu`` ``(B, Z)``, ``tril`` ``(B, Z, Z)``; ``diverged`` ``(B,)``: it is the encoder's.

    ``logvar``: the log-variances, ``(B, Z)``, where the covariance is diagonal.
    """

    mu: torch.Tensor
    tril: torch.Tensor
    diverged: torch.Tensor

    @property
    def logvar(self) -> Tensor:
        """The logarithm of the squared diagonal of ``tril``, ``(B, Z)``."""
        return 2 * self.tril.diagonal(dim1=-2, dim2=-1).log()


@_modes.measuring
def refine(
    model: VAE,
    images: Tensor,
    steps: int = 300,
    lr: float = 0.05,
    generator: torch.Generator | None = None,
    covariance: Literal["diagonal", "full"] = "diagonal",
) -> Refined:
    """Return for each image the Gaussian q(z | x) after gradient ascent on its ELBO, as :class:`Refined`.

    ``steps`` of Adam with two draws of z each; the learning rate falls from ``lr`` to 0 along a cosine, and the decoder
    stays as it is. ``covariance``: "diagonal", as the encoder's, or "full". An encoder's mean may be far from the mode:
    where the best of 1,000 draws from the prior has a higher log p(x, z) than the encoder's mean, the ascent begins
    there too, and the better result is returned. Where none is finite and as good as the encoder's Gaussian (to a nat:
    both are means of 20 draws), the latter is returned, and ``diverged`` is true.
    ``images``: ``(B, C, H, W)``. Raises ValueError for unusable arguments and for weights that are nan.
    Source: Cremer, Li and Duvenaud (2018), who measure the amortization gap by it.
    """
    images = check_arguments(model, images, 1, generator, grey=True)
    check_steps(steps)
    if covariance not in ("diagonal", "full"):
        raise ValueError(f"covariance must be 'diagonal' or 'full'; got {covariance!r}")
    ends, diverged = refined_mixture(model, images, steps, lr, generator, covariance == "full")
    best, every = ends.share.argmax(0), torch.arange(len(images), device=images.device)
    return Refined(ends.mu[best, every], ends.tril[best, every], diverged)


class Diagonal(NamedTuple):
    """One Gaussian for each image with independent coordinates: ``mu`` and standard deviations ``scale``, ``(B, Z)``.

    What :class:`Mixture` does, without its matrices: the same draws in a tenth of the time.
    """

    mu: torch.Tensor
    scale: torch.Tensor

    def widened(self, factor):
        """Return the Gaussian with all standard deviations times ``factor``."""
        return self._replace(scale=self.scale * factor)

    def with_prior(self, weight):
        """Return the mixture in which a share ``weight`` belongs to the prior, N(0, I)."""
        return Mixture.of(self.mu, 2 * self.scale.log()).with_prior(weight)

    def sample(self, n, generator=None):
        """Return n draws of z for each image, ``(n, B, Z)``."""
        eps = torch.randn(n, *self.mu.shape, generator=generator, dtype=self.mu.dtype, device=self.mu.device)
        return torch.addcmul(self.mu, self.scale, eps)

    def log_prob(self, z):
        """Return log q(z), ``(n, B)``, for z of ``(n, B, Z)``."""
        constant = self.scale.log().sum(-1) + 0.5 * z.shape[-1] * LOG_2PI
        return -0.5 * (z - self.mu).mul_(1 / self.scale).square_().sum(-1) - constant


class Mixture(NamedTuple):
    """K Gaussians for each image: ``mu`` ``(K, B, Z)``, ``tril`` ``(K, B, Z, Z)``, and their ``share`` ``(K, B)``."""

    mu: torch.Tensor
    tril: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, mu, logvar):
        """Return the mixture of one Gaussian, N(mu, diag exp logvar), for ``mu`` and ``logvar`` of ``(B, Z)``."""
        return cls(mu[None], torch.exp(0.5 * logvar).diag_embed()[None], torch.ones_like(mu[None, :, 0]))

    def widened(self, factor):
        """Return the mixture with all standard deviations times ``factor``."""
        return self._replace(tril=self.tril * factor)

    def with_prior(self, weight):
        """Return the mixture in which a share ``weight`` belongs to the prior, N(0, I)."""
        eye = torch.eye(self.mu.shape[-1], dtype=self.mu.dtype, device=self.mu.device).expand_as(self.tril[:1])
        share = torch.cat([self.share * (1 - weight), torch.full_like(self.share[:1], weight)])
        return Mixture(torch.cat([self.mu, torch.zeros_like(self.mu[:1])]), torch.cat([self.tril, eye]), share)

    def sample(self, n, generator=None):
        """Return n draws of z for each image, ``(n, B, Z)``."""
        eps = torch.randn(n, *self.mu.shape[1:], generator=generator, dtype=self.mu.dtype, device=self.mu.device)
        if len(self.mu) == 1:
            return self.mu[0] + (self.tril[0] @ eps[..., None]).squeeze(-1)
        u = torch.rand(eps.shape[:-1], generator=generator, dtype=eps.dtype, device=eps.device)
        k = (u > self.share.cumsum(0)[:-1, None]).sum(0)  # (n, B): from which Gaussian
        all_z = self.mu + (self.tril @ eps.unsqueeze(1)[..., None]).squeeze(-1)  # (n, K, B, Z)
        return all_z.gather(1, k[:, None, :, None].expand(-1, -1, -1, eps.shape[-1])).squeeze(1)

    def log_prob(self, z):
        """Return log q(z), ``(n, B)``, for z of ``(n, B, Z)``."""
        away = (z[:, None] - self.mu).permute(1, 2, 3, 0)  # (K, B, Z, n)
        square = torch.linalg.solve_triangular(self.tril, away, upper=False).square().sum(-2)  # (K, B, n)
        log_det = self.tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = self.share.log() - log_det - 0.5 * z.shape[-1] * LOG_2PI
        return (constant[..., None] - 0.5 * square).logsumexp(0).T


@torch.no_grad()
def refined_mixture(model, images, steps, lr, generator, full):
    """The results of the ascents from the encoder and, if any, from a better start, as :class:`Mixture` of two."""
    mu, logvar = gaussians(model.encode, images, model)
    place, elsewhere = _better_place(model, images, mu, generator)
    own, other = torch.arange(len(mu), device=mu.device), elsewhere.nonzero().squeeze(1)
    which = torch.cat([own, other])  # the image of each ascent
    start = Mixture.of(mu, logvar)
    narrow = Mixture.of(place[other], torch.full_like(place[other], math.log(0.01)))
    begin = (torch.cat([start.mu[0], narrow.mu[0]]), torch.cat([start.tril[0], narrow.tril[0]]))
    end = _ascend(model, images[which], *begin, steps, lr, generator, full)
    eps = torch.randn(20, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)  # common to all
    finite = torch.isfinite(end[0]).all(-1) & torch.isfinite(end[1]).flatten(1).all(-1)
    end = (end[0].where(finite[:, None], begin[0]), end[1].where(finite[:, None, None], begin[1]))
    elbo = _elbo(model, images[which], *end, eps[:, which]).masked_fill(~finite, -math.inf)
    heights = elbo.new_full((2, len(mu)), -math.inf)
    heights[0], heights[1, other] = elbo[: len(mu)], elbo[len(mu) :]
    diverged = heights.amax(0) < _elbo(model, images, start.mu[0], start.tril[0], eps) - 1
    # A softmax of the ELBOs, but each finite one gets at least 1/12: an ELBO underestimates its mode's mass.
    share = (heights.masked_fill(diverged, 0.0).softmax(0) + 0.1) * heights.isfinite()
    share[0, diverged], share[1, diverged] = 1.0, 0.0
    ends = []
    for old, new in zip((start.mu[0], start.tril[0]), end, strict=True):
        shape = (-1, *[1] * (old.ndim - 1))
        ends.append(torch.stack([old.where(diverged.view(shape), new[: len(mu)]), old]))
        ends[-1][1, other] = new[len(mu) :]
    return Mixture(*ends, share / share.sum(0)), diverged


def _ascend(model, x, mu, tril, steps, lr, generator, full):
    # tril = diag(exp(scale)) (1 + below): in units of the standard deviations, so that one learning rate suits all.
    mu, scale = mu.clone().requires_grad_(), tril.diagonal(dim1=-2, dim2=-1).log().requires_grad_()
    below = torch.zeros_like(tril).requires_grad_()
    moved = [mu, scale, below] if full else [mu, scale]
    optimizer = torch.optim.Adam(moved, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    identity = torch.eye(mu.shape[-1], dtype=mu.dtype, device=mu.device)

    def matrix():
        return scale.exp()[..., None] * (identity + below.tril(-1))

    with torch.enable_grad():
        for _ in range(steps):
            eps = torch.randn(2, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
            loss = -_elbo(model, x, mu, matrix(), eps).sum()
            for parameter, slope in zip(moved, torch.autograd.grad(loss, moved), strict=True):
                parameter.grad = slope
            optimizer.step()
            schedule.step()
    return mu.detach(), matrix().detach()


def _elbo(model, x, mu, tril, eps):
    """The ELBO of each image, (B,), with draws from eps, (S, B, Z)."""
    pieces = [mu + (tril @ part[..., None]).squeeze(-1) for part in eps.split(max(1, PIECE // x.numel()))]
    log_p_x_given_z = torch.cat([model.likelihood.log_prob(x, model.decode(z)) for z in pieces]).mean(0)
    log_det = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    kl = 0.5 * (tril.square().sum((-2, -1)) + mu.square().sum(-1) - mu.shape[-1]) - log_det
    return log_p_x_given_z - kl


def _better_place(model, x, mu, generator, draws=1000):
    """For each image the draw from the prior of highest log p(x, z), (B, Z); and where that beats the mean's, (B,)."""
    z = torch.randn(draws, mu.shape[1], generator=generator, dtype=mu.dtype, device=mu.device)
    best = log_joint_of_pairs(model, x, z).max(0)
    own = model.likelihood.log_prob(x, model.decode(mu)) - 0.5 * (mu.square() + LOG_2PI).sum(-1)
    return z[best.indices], best.values > own


def log_joint_of_pairs(model, x, z):
    """log p(x, z) for all pairs of G points, (G, Z), and B images, (G, B)."""
    pieces = []
    for part in z.split(max(1, PIECE // x[0].numel())):
        if isinstance(model.likelihood, Bernoulli):
            # The sum of x l - log(1 + exp l) over pixels: for all pairs a product of two matrices.
            logits = model.decode(part).flatten(1)  # (g, C H W)
            value = logits @ x.flatten(1).T - torch.nn.functional.softplus(logits).sum(-1, keepdim=True)
        else:
            few = part.split(max(1, PIECE // x.numel()))
            value = torch.cat([model.likelihood.log_prob(x, model.decode(z[:, None])) for z in few])
        pieces.append(check_number(value) - 0.5 * (part.square() + LOG_2PI).sum(-1, keepdim=True))
    return torch.cat(pieces)


def gaussians(proposal, x, model):
    """The mu and logvar that a proposal returns for the images x, checked."""
    found = proposal(x)
    wanted = (len(x), model.latent_dim)
    try:
        mu, logvar = found
        shapes = tuple(mu.shape), tuple(logvar.shape)
    except (TypeError, ValueError, AttributeError):
        raise ValueError(f"proposal must return mu and logvar; got {type(found).__name__}") from None
    if shapes != (wanted, wanted):
        raise ValueError(f"proposal must return mu and logvar of shape {wanted}; got {shapes[0]} and {shapes[1]}")
    if not (torch.isfinite(mu).all() and torch.isfinite(logvar).all()):
        raise ValueError("proposal returned mu or logvar that is not finite: are the encoder's weights nan?")
    return mu, logvar


def check_number(log_likelihood):
    """Return the argument. Raises ValueError where it is NaN."""
    if torch.isnan(log_likelihood).any():
        raise ValueError("model gives a log p(x | z) that is not a number: are weights of its decoder nan or infinite?")
    return log_likelihood


def check_steps(steps):
    """Raise ValueError unless ``steps`` is a whole number of at least 0."""
    if not (isinstance(steps, int) and steps >= 0):
        raise ValueError(f"steps must be a whole number of at least 0; got {steps!r}")


def check_arguments(model, images, samples, generator, name="samples", grey=False):
    """Return the images as a tensor. Raises ValueError or TypeError for what no estimate of log p(x) can use."""
    if not (isinstance(samples, int) and samples >= 1):
        raise ValueError(f"{name} must be a whole number of at least 1; got {samples!r}")
    if isinstance(model, Autoencoder):
        raise ValueError("model is an autoencoder, which has no prior and so no log p(x); give a VAE")
    images = _checks.images(images, model, "images")
    if not grey and getattr(model.likelihood, "binary", False):
        refuse_grey(images, "images")
    device = next(model.parameters()).device
    if generator is not None and generator.device.type != device.type:
        raise ValueError(f"generator is on {generator.device}, the model on {device}: use torch.Generator('{device}')")
    return images
