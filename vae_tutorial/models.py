"""Autoencoder and variational autoencoder: the models. Their encoders and decoders are in ``networks``.

Shapes: B images in a batch, C x H x W pixels, Z latent dimensions, S samples of z for each image. A decoder gives a
likelihood's parameters, of which there are ``channels`` for each of the C channels: ``(..., channels * C, H, W)``.
The rows of a table are vectors ``(B, D)``: ``image_shape=(D,)``, and ``D`` stands wherever ``C, H, W`` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Generator, Tensor

from vae_tutorial import _checks, _modes, _saved, likelihoods, networks
from vae_tutorial._described import Described, expect
from vae_tutorial._saved import ModelFileError, load, save
from vae_tutorial.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

__all__ = [
    "MLPVAE",
    "VAE",
    "Autoencoder",
    "ConvDecoder",
    "ConvEncoder",
    "ConvVAE",
    "MLPDecoder",
    "MLPEncoder",
    "ModelFileError",
    "load",
    "reparameterize",
    "save",
]


def reparameterize(mu: Tensor, logvar: Tensor, samples: int = 1, generator: Generator | None = None) -> Tensor:
    """Return differentiable draws of q(z | x): z = mu + exp(logvar / 2) * eps with eps ~ N(0, I).

    ``mu``, ``logvar``: ``(B, Z)``. Returns ``(S, B, Z)``.
    Source: Kingma and Welling (2014), section 2.4.
    """
    eps = torch.randn(samples, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


class _EncoderDecoder(Described):
    """What a VAE and an autoencoder share: the decoder and the input checks."""

    def __init__(self, encoder, decoder, latent_dim, image_shape, likelihood):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, _, self.image_shape = networks.sizes(latent_dim, (), image_shape)
        self.likelihood = likelihoods.get(likelihood, self.image_shape)

    def decode(self, z: Tensor) -> Tensor:
        """Return the parameters of p(x | z) (for Bernoulli: logits), ``(..., C, H, W)``, for z of ``(..., Z)``.

        Raises ValueError for a wrong shape of z, and where the decoder returns another shape.
        """
        if z.ndim < 1 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape (..., {self.latent_dim}); got ({_checks.joined(z.shape)})")
        parameters = self.decoder(z)
        expect("decoder", parameters, z.shape[:-1] + likelihoods.output_shape(self.image_shape, self.likelihood))
        return parameters

    def _check(self, x):
        _checks.shape(x, self)
        _checks.device(x, self)
        if not x.is_floating_point() or (x.device.type == "cpu" and not torch.compiler.is_compiling()):
            _checks.values(x, self)  # on a GPU, reading the values would force a synchronization
        return self.likelihood.standardized(x) if isinstance(self.likelihood, likelihoods.Columns) else x


class VAE(_EncoderDecoder):
    """Prior p(z) = N(0, I), decoder and likelihood p(x | z), encoder q(z | x).

    ``encoder``: images ``(B, C, H, W)`` to ``(mu, logvar)``, each ``(B, Z)``. ``decoder``: ``(..., Z)`` to the
    likelihood's parameters, ``(..., channels * C, H, W)``. ``likelihood``: a name or an object of ``likelihoods``.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        image_shape: Sequence[int] = (1, 28, 28),
        likelihood: str | nn.Module = "bernoulli",
    ):
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log-variance of q(z | x), each ``(B, Z)``.

        Raises ValueError for a wrong shape, dtype or device of x, on the CPU for values outside [0, 1] (in a table:
        that are not finite), and where the encoder returns another shape.
        """
        mu, logvar = self.encoder(self._check(x))
        for part in (mu, logvar):
            expect("encoder", part, (len(x), self.latent_dim))
        return mu, logvar

    def forward(self, x: Tensor, samples: int = 1, generator: Generator | None = None):
        """Encode, draw z ~ q(z | x), decode: return the parameters ``(S, B, C, H, W)``, mu and logvar ``(B, Z)``."""
        mu, logvar = self.encode(x)
        return self.decode(reparameterize(mu, logvar, samples, generator)), mu, logvar

    @_modes.measuring
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Return n images, ``(n, C, H, W)``: z from the prior, then x from p(x | z), all in evaluation mode."""
        like = next(self.parameters())
        z = torch.randn(n, self.latent_dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.likelihood.sample(self.decode(z), generator)


class MLPVAE(VAE):
    """A VAE of fully connected layers; the decoder mirrors the encoder. By default 784-400-20-400-784.

    ``image_shape``: (C, H, W), or (D,) for a table, such as
    ``MLPVAE(2, (64,), likelihood="gaussian_learned", image_shape=(13,))``; see ``likelihoods.Columns`` for its units.
    Source: Kingma and Welling (2014), appendix C, with ReLU in place of tanh.
    """

    def __init__(
        self,
        latent_dim: int = 20,
        hidden: Sequence[int] = (400,),
        likelihood: str | nn.Module = "bernoulli",
        image_shape: Sequence[int] = (1, 28, 28),
    ):
        latent_dim, hidden, image_shape = networks.sizes(latent_dim, hidden, image_shape)
        likelihood = likelihoods.get(likelihood, image_shape)
        encoder = MLPEncoder(latent_dim, hidden, image_shape)
        decoder = MLPDecoder(latent_dim, hidden[::-1], likelihoods.output_shape(image_shape, likelihood))
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)
        self._made_as(MLPVAE, latent_dim=latent_dim, hidden=hidden, image_shape=image_shape)


class ConvVAE(VAE):
    """A VAE of convolutions, each of which halves height and width; the decoder mirrors the encoder.

    By default 1 x 28 x 28, 32 x 14 x 14, 64 x 7 x 7, 20 and back. ``image_shape`` may be odd, as long as a pixel is
    left after all halvings. ``norm="group"``: group normalization, a gain for larger images in colour
    (``stored.load("decoders")``), the same in training and in evaluation mode. Source: Wu and He (2018).
    """

    def __init__(
        self,
        latent_dim: int = 20,
        channels: Sequence[int] = (32, 64),
        likelihood: str | nn.Module = "bernoulli",
        image_shape: Sequence[int] = (1, 28, 28),
        norm: str | None = None,
    ):
        latent_dim, channels, image_shape = networks.sizes(latent_dim, channels, image_shape, "channels")
        likelihood = likelihoods.get(likelihood, image_shape)
        encoder = ConvEncoder(latent_dim, channels, image_shape, norm)
        decoder = ConvDecoder(latent_dim, channels[::-1], likelihoods.output_shape(image_shape, likelihood), norm)
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)
        self._made_as(ConvVAE, latent_dim=latent_dim, channels=channels, image_shape=image_shape, norm=norm)
        self.to(memory_format=torch.channels_last)  # convolutions are faster in this memory order


class Autoencoder(_EncoderDecoder):
    """Fully connected encoder to one point z for each image, and decoder back. It has no prior, so no ``sample``.

    By default 784-400-2-400-784. Trained by ``training.fit`` as a VAE is, to maximise log p(x | z) alone: its KL is 0.
    Source: Rumelhart, Hinton and Williams (1986); Hinton and Salakhutdinov (2006).
    """

    def __init__(
        self,
        latent_dim: int = 2,
        hidden: Sequence[int] = (400,),
        likelihood: str | nn.Module = "bernoulli",
        image_shape: Sequence[int] = (1, 28, 28),
    ):
        latent_dim, hidden, image_shape = networks.sizes(latent_dim, hidden, image_shape)
        likelihood = likelihoods.get(likelihood, image_shape)
        encoder = nn.Sequential(nn.Flatten(), networks.mlp(math.prod(image_shape), *hidden, latent_dim))
        decoder = MLPDecoder(latent_dim, hidden[::-1], likelihoods.output_shape(image_shape, likelihood))
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)
        self._made_as(Autoencoder, latent_dim=latent_dim, hidden=hidden, image_shape=image_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the code z, ``(B, Z)``. Raises ValueError as ``VAE.encode`` does."""
        z = self.encoder(self._check(x))
        expect("encoder", z, (len(x), self.latent_dim))
        return z

    def forward(self, x: Tensor, samples: int = 1, generator: Generator | None = None):
        """Encode and decode: return the parameters ``(1, B, C, H, W)``, z ``(B, Z)``, and None for a log-variance.

        Same signature as ``VAE.forward``. There is no noise: ``samples`` and ``generator`` change nothing.
        """
        z = self.encode(x)
        return self.decode(z).unsqueeze(0), z, None


_saved.CLASSES.update({kind.__name__: kind for kind in (MLPVAE, ConvVAE, Autoencoder)})
