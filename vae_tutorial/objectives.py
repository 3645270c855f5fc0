"""What a VAE maximises: the evidence lower bound (ELBO) and its two parts, in nats per image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from vae_tutorial import _checks
from vae_tutorial.gradients import pathwise_gradient, score_function_gradient
from vae_tutorial.importance import gradient_snr, iwae_bound
from vae_tutorial.information import gaussian_kl
from vae_tutorial.models import VAE, Autoencoder

__all__ = ["ELBO", "elbo", "gradient_snr", "iwae_bound", "pathwise_gradient", "score_function_gradient", "terms"]


class ELBO(NamedTuple):
    """For each image, ``(B,)``, nats: ``elbo = reconstruction - beta * kl``. Larger is better; -elbo is the loss.

    With free bits, ``elbo`` contains a larger KL than ``kl``, which stays the true one.
    """

    elbo: Tensor
    reconstruction: Tensor
    kl: Tensor


def elbo(
    model: VAE | Autoencoder,
    x: Tensor,
    beta: float = 1.0,
    samples: int = 1,
    free_bits: float = 0.0,
    generator: Generator | None = None,
) -> ELBO:
    """Return the ELBO of each image and its parts, as :class:`ELBO`.

    ``reconstruction`` estimates E_q[log p(x | z)] from ``samples`` draws of z ~ q(z | x) (at most 0 for black-and-white
    data); ``kl`` is KL(q(z | x) || p(z)), exact (at least 0). With ``beta`` = 1 the expected ``elbo`` is at most
    log p(x). With another beta it is the beta-VAE's objective; ``reconstruction - kl`` is the bound whatever beta is.
    ``free_bits``: nats that each latent dimension may use without a penalty, on average over the batch. A dimension
    whose mean KL is below it counts as free_bits instead, a constant without a gradient, so that nothing pushes it
    further towards the prior. An autoencoder has no KL: it is 0.
    ``x``: ``(B, C, H, W)`` in [0, 1], or rows of a table, ``(B, D)``. The caller sets the model's mode, training or
    evaluation. Raises ValueError for values outside [0, 1], wrong shapes, samples below 1, and TypeError for what is no
    tensor.
    Sources: Kingma and Welling (2014), equation 10; Higgins et al. (2017), equation 4; Kingma et al. (2016), appendix
    C.8, for the free bits.
    """
    samples, free_bits = _checks.whole("samples", samples), _checks.amount("free_bits", free_bits)
    return terms(model, _checks.images(x, model), beta, samples, free_bits, generator)


def terms(model, x, beta=1.0, samples=1, free_bits=0.0, generator=None) -> ELBO:
    """Return what :func:`elbo` returns, without checking the values of x: reading them would synchronize with a GPU."""
    parameters, mu, logvar = model(x, samples, generator)  # (S, B, C, H, W), (B, Z), (B, Z)
    reconstruction = model.likelihood.log_prob(x, parameters)  # (S, B)
    if reconstruction.ndim != 2 or reconstruction.shape[1] != len(x):
        raise ValueError(f"log_prob must return (S, {len(x)}), one number an image; got {tuple(reconstruction.shape)}")
    reconstruction = reconstruction.mean(0)  # (B,)
    if logvar is None:  # an autoencoder: its code is a point, without a prior, so its KL is 0
        return ELBO(reconstruction, reconstruction, torch.zeros_like(reconstruction))
    if free_bits > 0:
        kl_of_each = gaussian_kl(mu.unsqueeze(-1), logvar.unsqueeze(-1))  # (B, Z)
        paid = torch.where(kl_of_each.mean(0) > free_bits, kl_of_each, free_bits).sum(-1)  # (B,)
        return ELBO(reconstruction - beta * paid, reconstruction, kl_of_each.sum(-1))
    kl = gaussian_kl(mu, logvar)  # (B,)
    return ELBO(reconstruction - beta * kl, reconstruction, kl)
