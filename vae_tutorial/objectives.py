"""What a VAE maximises: the evidence lower bound (ELBO) and its two parts, in nats per image."""

from typing import NamedTuple

import torch

from vae_tutorial.data import check_unit_interval
from vae_tutorial.information import gaussian_kl

__all__ = ["ELBO", "elbo", "terms"]


class ELBO(NamedTuple):
    """For each image, ``(B,)``, nats: ``elbo = reconstruction - beta * kl``. Larger is better; -elbo is the loss."""

    elbo: torch.Tensor
    reconstruction: torch.Tensor
    kl: torch.Tensor


def elbo(model, x, beta=1.0, samples=1, generator=None):
    """Return the ELBO of each image and its parts, as :class:`ELBO`.

    ``reconstruction`` estimates E_q[log p(x | z)] from ``samples`` draws of z ~ q(z | x) (at most 0 for black-and-white
    data); ``kl`` is KL(q(z | x) || p(z)), exact (at least 0). With ``beta`` = 1 the expected ``elbo`` is at most
    log p(x). With another beta it is the beta-VAE's objective; ``reconstruction - kl`` is the bound whatever beta is.
    ``x``: ``(B, C, H, W)`` in [0, 1]. Raises ValueError for values outside [0, 1], wrong shapes, samples below 1.
    Sources: Kingma and Welling (2014), equation 10; Higgins et al. (2017), equation 4.
    """
    check_unit_interval(x)
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}")
    return terms(model, x, beta, samples, generator)


def terms(model, x, beta=1.0, samples=1, generator=None):
    """Return what :func:`elbo` returns, without looking at the values of x: to look is to wait for a GPU."""
    likelihood = model.likelihood
    parameters, mu, logvar = model(x, samples, generator)  # (S, B, C, H, W), (B, Z), (B, Z)
    reconstruction = likelihood.log_prob(x, parameters).mean(0)  # (S, B) -> (B,)
    kl = gaussian_kl(mu, logvar)  # (B,)
    return ELBO(reconstruction - beta * kl, reconstruction, kl)
