"""The importance-weighted bound on log p(x), in nats; and how noisy its gradient for the encoder is."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint

from vae_tutorial import _checks, _modes
from vae_tutorial.likelihoods._kinds import refuse_grey
from vae_tutorial.models import VAE, Autoencoder, reparameterize

__all__ = ["GradientSNR", "gradient_snr", "iwae_bound"]

PIECE = 2**23  # pixels that are decoded at a time: 50 draws for each of 200 digits of 28 x 28 fit in
_BLOCKS = 10  # of repetitions, for the error of a signal-to-noise ratio


def iwae_bound(
    model: VAE,
    x: Tensor,
    samples: int,
    generator: Generator | None = None,
    gradient: Literal["plain", "dreg"] = "plain",
) -> Tensor:
    """Return for each image the log of the mean of ``samples`` importance weights, ``(B,)``, nats, differentiable.

    The weights are p(x, z) / q(z | x) with z ~ q(z | x). Its expectation is at most log p(x), rises with samples, and
    for one sample is the ELBO, here with a sampled KL. ``x``: ``(B, C, H, W)`` in [0, 1], and black and white for a
    Bernoulli likelihood.
    ``gradient``: of the encoder. "plain" is the bound's own; "dreg", doubly reparameterized, has the same expectation
    and less noise: each draw's slope d log w / dz counts with the square of its share of the weights, and the density
    of q moves with z alone. The value and the decoder's gradient are the same for both.
    Memory is bounded: no more than 2**23 pixels are decoded at a time, and where there are more, the backward pass
    decodes each piece again instead of keeping it, for a third more time.
    The caller sets the model's mode. Raises TypeError and ValueError as ``objectives.elbo`` does, ValueError for an
    unknown gradient and for an autoencoder.
    Sources: Burda, Grosse and Salakhutdinov (2016), equation 8; Tucker et al. (2019), equation 8, for "dreg".
    """
    return bound(model, _checked(x, model), samples, generator, gradient)


def bound(model, x, samples, generator=None, gradient="plain") -> Tensor:
    """Return what :func:`iwae_bound` returns, without checking the values of x, which would synchronize with a GPU."""
    samples = _checks.whole("samples", samples)
    if gradient not in ("plain", "dreg"):
        raise ValueError(f"gradient must be 'plain' or 'dreg'; got {gradient!r}")
    mu, logvar = model.encode(x)
    z = reparameterize(mu, logvar, samples, generator)  # (S, B, Z)
    scored = (mu.detach(), logvar.detach()) if gradient == "dreg" else (mu, logvar)
    pieces = z.split(max(1, PIECE // x.numel()))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        logs = [_log_weights(model, x, piece, *scored) for piece in pieces]
    else:
        logs = [checkpoint(_log_weights, model, x, piece, *scored, use_reentrant=False) for piece in pieces]
    log_w = torch.cat(logs)  # (S, B)
    if gradient == "dreg" and z.requires_grad:
        # logsumexp gives each draw's slope its share of the weights once. This is the second time.
        share = log_w.detach().softmax(0).unsqueeze(-1)  # (S, B, 1)
        z.register_hook(lambda slope: share * slope)
    return log_w.logsumexp(0) - math.log(samples)


def _checked(x, model):
    if isinstance(model, Autoencoder):
        raise ValueError("model is an autoencoder, which has no q(z | x) to draw from and no bound; give a VAE")
    x = _checks.images(x, model)
    if getattr(model.likelihood, "binary", False):
        refuse_grey(x, "x")
    return x


def _log_weights(model, x, z, mu, logvar):
    """log p(x | z) + log p(z) - log q(z), (S, B); log 2 pi cancels."""
    log_p_x_given_z = model.likelihood.log_prob(x, model.decode(z))
    if log_p_x_given_z.shape != z.shape[:-1]:
        got = tuple(log_p_x_given_z.shape)
        raise ValueError(f"log_prob must return {tuple(z.shape[:-1])}, one number for each draw and image; got {got}")
    return log_p_x_given_z + 0.5 * ((z - mu).square() * torch.exp(-logvar) + logvar - z.square()).sum(-1)


class GradientSNR(NamedTuple):
    """``value``: the norm of the gradient's mean over the root of its total variance. ``stderr``: by the jackknife."""

    value: float
    stderr: float

    def __str__(self):
        return f"{self.value:.3g} ± {self.stderr:.1g}"


def gradient_snr(
    model: VAE,
    x: Tensor,
    samples: int,
    repeats: int = 200,
    gradient: Literal["plain", "dreg"] = "plain",
    generator: Generator | None = None,
) -> GradientSNR:
    """Return the signal-to-noise ratio of the gradient of :func:`iwae_bound` in the encoder's weights.

    The gradient is that of the mean over the images ``x``, ``(B, C, H, W)``, with new draws of z in each of the
    ``repeats``, at least 20. The signal is its mean's norm, corrected for what the noise adds to it (and 0 where the
    noise hides it), the noise the root of the sum of all weights' variances. For large ``samples`` k the plain
    gradient's ratio falls as 1 / sqrt(k), and the doubly reparameterized one's rises as sqrt(k): a tighter bound may
    teach an encoder less. The model is in evaluation mode meanwhile, and does not change.
    Raises ValueError where no weight of ``model.encoder`` has a gradient, and as :func:`iwae_bound` does.
    Sources: Rainforth et al. (2018), section 3; Tucker et al. (2019), section 4.
    """
    x, repeats = _checked(x, model), _checks.whole("repeats", repeats, 2 * _BLOCKS)
    weights = [p for p in model.encoder.parameters() if p.requires_grad]
    if not weights:
        raise ValueError("model.encoder has no weight with a gradient: call model.encoder.requires_grad_()")
    size = sum(p.numel() for p in weights)
    sums = torch.zeros(_BLOCKS, size, dtype=torch.float64)  # of the gradients of each block of repetitions
    squares, counts = torch.zeros(_BLOCKS, dtype=torch.float64), torch.zeros(_BLOCKS, dtype=torch.float64)
    with torch.inference_mode(False), torch.enable_grad(), _modes.mode(model, training=False):
        for repeat in range(repeats):
            slopes = torch.autograd.grad(bound(model, x, samples, generator, gradient).mean(), weights)
            slope = torch.cat([s.flatten() for s in slopes]).cpu().double()
            block = repeat % _BLOCKS
            sums[block] += slope
            squares[block] += slope.square().sum()
            counts[block] += 1
    value = _ratio(sums.sum(0), squares.sum(), counts.sum())
    others = torch.stack(
        [_ratio(sums.sum(0) - sums[b], squares.sum() - squares[b], counts.sum() - counts[b]) for b in range(_BLOCKS)]
    )
    variance = (_BLOCKS - 1) / _BLOCKS * (others - others.mean()).square().sum()
    return GradientSNR(value.item(), variance.sqrt().item())


def _ratio(total, squares, n):
    noise = (squares - total.square().sum() / n) / (n - 1)  # the sum of all weights' variances
    signal = (total / n).square().sum() - noise / n  # the mean of n gradients has that much noise left
    return (signal.clamp_min(0) / noise).sqrt()
