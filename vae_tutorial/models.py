"""The variational autoencoder: an encoder q(z | x), a decoder p(x | z), and the two joined.

Shapes: B images in a batch, C x H x W pixels, Z latent dimensions, S samples of z for each image.
"""

import itertools
import math

import torch
import torch.nn as nn

from vae_tutorial import likelihoods

__all__ = ["MLPVAE", "VAE", "MLPDecoder", "MLPEncoder", "reparameterize"]


def reparameterize(mu, logvar, samples=1, generator=None):
    """Return draws z = mu + exp(logvar / 2) * eps with eps ~ N(0, I): q(z | x), in a form that has a gradient.

    ``mu``, ``logvar``: ``(B, Z)``. Returns ``(S, B, Z)``.
    Source: Kingma and Welling (2014), section 2.4.
    """
    eps = torch.randn(samples, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


class MLPEncoder(nn.Module):
    """q(z | x) = N(mu(x), diag exp logvar(x)), by fully connected layers: ``(B, C, H, W)`` to two of ``(B, Z)``."""

    def __init__(self, latent_dim, hidden=(400,), image_shape=(1, 28, 28)):
        super().__init__()
        self.layers = _mlp(math.prod(image_shape), *hidden, 2 * latent_dim)

    def forward(self, x):
        mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=-1)  # (B, 2 Z) -> twice (B, Z)
        return mu, logvar


class MLPDecoder(nn.Module):
    """The parameters of p(x | z), by fully connected layers: ``(..., Z)`` to ``(..., C, H, W)``."""

    def __init__(self, latent_dim, hidden=(400,), image_shape=(1, 28, 28)):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.layers = _mlp(latent_dim, *hidden, math.prod(image_shape))

    def forward(self, z):
        return self.layers(z).unflatten(-1, self.image_shape)


class VAE(nn.Module):
    """Prior p(z) = N(0, I), decoder and likelihood p(x | z), encoder q(z | x).

    ``encoder``: images ``(B, C, H, W)`` to ``(mu, logvar)``, each ``(B, Z)``. ``decoder``: ``(..., Z)`` to the
    likelihood's parameters, ``(..., C, H, W)``. ``likelihood``: a name or an object of ``likelihoods``.
    """

    def __init__(self, encoder, decoder, latent_dim, image_shape=(1, 28, 28), likelihood="bernoulli"):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, self.image_shape = latent_dim, tuple(image_shape)
        self.likelihood = likelihoods.get(likelihood)

    def encode(self, x):
        """Return the mean and log-variance of q(z | x), each ``(B, Z)``. Raises ValueError for a wrong shape of x."""
        if x.ndim != 1 + len(self.image_shape) or x.shape[1:] != self.image_shape:
            raise ValueError(f"x must be images of shape (B, {_joined(self.image_shape)}); got ({_joined(x.shape)})")
        if not x.is_floating_point():
            raise ValueError(f"x has dtype {x.dtype}; expected floating values in [0, 1], as data.binarize returns")
        return self.encoder(x)

    def decode(self, z):
        """Return the parameters of p(x | z) (for Bernoulli: logits), ``(..., C, H, W)``, for z of ``(..., Z)``."""
        if z.ndim < 1 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape (..., {self.latent_dim}); got ({_joined(z.shape)})")
        return self.decoder(z)

    def forward(self, x, samples=1, generator=None):
        """Encode, draw z ~ q(z | x), decode: return the parameters ``(S, B, C, H, W)``, mu and logvar ``(B, Z)``."""
        mu, logvar = self.encode(x)
        return self.decode(reparameterize(mu, logvar, samples, generator)), mu, logvar

    @torch.no_grad()
    def sample(self, n, generator=None):
        """Return n images drawn from the model, ``(n, C, H, W)``: z from the prior, then x from p(x | z)."""
        like = next(self.parameters())
        z = torch.randn(n, self.latent_dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.likelihood.sample(self.decode(z), generator)


class MLPVAE(VAE):
    """A VAE of fully connected layers; the decoder mirrors the encoder. By default 784-400-20-400-784.

    Source: Kingma and Welling (2014), appendix C, with ReLU in place of tanh.
    """

    def __init__(self, latent_dim=20, hidden=(400,), likelihood="bernoulli", image_shape=(1, 28, 28)):
        hidden = tuple(hidden)
        for name, sizes in (("latent_dim", (latent_dim,)), ("hidden", hidden), ("image_shape", tuple(image_shape))):
            if not all(isinstance(size, int) and size >= 1 for size in sizes):
                raise ValueError(f"{name} must be made of whole numbers of at least 1; got {_joined(sizes)}")
        encoder = MLPEncoder(latent_dim, hidden, image_shape)
        decoder = MLPDecoder(latent_dim, hidden[::-1], image_shape)
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)


def _mlp(*sizes):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no non-linearity after the last layer: it gives means, log-variances, logits


def _joined(sizes):
    return ", ".join(map(str, sizes))
