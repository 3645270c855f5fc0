"""Bits-back coding: a VAE's posterior and likelihood as tables of whole numbers, and groups of images on a stack.

An image x costs log 1/p(x | z) + log 1/p(z) for the z that goes with it. That z is popped from the stack by the
posterior q(z | x), which gives log 1/q(z | x) back: together the negative ELBO. The receiver pops z and x, and pushes z
again by q(z | x), which only then is known: these are the bits that come back.
Source: Townsend, Bird and Barber (2019), practical lossless compression with latent variables using bits back coding.

The latents of an image are whole numbers: bins of [-inf, inf] to which the prior gives equal probabilities.
"""

from __future__ import annotations

import hashlib

import numpy as np
from torch import nn

from vae_tutorial import _modes, likelihoods, models
from vae_tutorial.compress import tables
from vae_tutorial.compress.integers import CompressError, IntegerNetwork
from vae_tutorial.compress.stack import Stack
from vae_tutorial.compress.tables import FRACTION, INVERSE, ONE

__all__ = ["Coding"]

GROUP = 16  # bits for the number of images in a group
_PIXELS = 1 << 20  # about as many in a group at most, which bounds the memory
_LEAK = 16  # of ONE, for each symbol: so that none is impossible


class Coding:
    """A model in whole numbers, and how its images go onto a stack and come back.

    ``precision``: the prior's bins for each latent are ``2**precision``. ``batch_size``: images that the networks see
    at once, which changes no bit. Raises CompressError for a model that cannot be coded.
    """

    def __init__(self, model: nn.Module, precision: int, batch_size: int):
        model = _modes.unwrapped(model)
        _check(model)
        self.precision, self.batch_size, self.latents = precision, batch_size, model.latent_dim
        self.image_shape, self.binary = tuple(model.image_shape), model.likelihood.binary
        self.pixel_bits = 1 if self.binary else 8
        self.pixels = int(np.prod(self.image_shape))
        bins = np.arange((1 << precision) + 1, dtype=np.int64)
        self.edges = tables.normal_quantiles(bins * (ONE >> precision))
        self.centres = tables.normal_quantiles(bins[:-1] * (ONE >> precision) + (ONE >> precision) // 2)
        levels = (1 << self.pixel_bits) - 1
        self.encoder = IntegerNetwork(model.encoder, "encoder", levels, 0, levels)
        self.decoder = IntegerNetwork(model.decoder, "decoder", 8 << FRACTION, FRACTION)

    def checksum(self) -> bytes:
        """Return 16 bytes that tell this model from others, by all whole numbers that decide the coding."""
        described = repr((self.image_shape, self.binary, self.latents)).encode()
        return hashlib.sha256(described + self.encoder.checksum() + self.decoder.checksum()).digest()[:16]

    def posterior(self, x: np.ndarray):
        """Return the cdf of q(z | x) over bins, for pixels ``(B, C, H, W)``; the latents of all images in a row."""
        outputs = self.encoder(x, self.batch_size)
        if outputs.shape[1] != 2 * self.latents:
            raise CompressError(f"the encoder must give 2 x {self.latents} numbers; got {outputs.shape[1]}")
        mu, logvar = (part.ravel() for part in np.split(outputs, 2, axis=1))
        inverse = tables.inverse_scales(logvar, "deviation")

        def cdf(edge):
            distance = np.clip(self.edges[edge] - mu, -(1 << 26), 1 << 26)
            inside = tables.normal((distance * inverse) >> INVERSE)
            return _weight(edge, inside, 1 << self.precision)

        return cdf

    def likelihood(self, bins: np.ndarray):
        """Return the cdf of p(x | z) over grey levels, for bins ``(B * Z,)``; the pixels of all images in a row."""
        outputs = self.decoder(self.centres[bins].reshape(-1, self.latents), self.batch_size)
        if self.binary:
            off = ONE - tables.logistic(outputs.ravel())
            return lambda edge: _weight(edge, off, 2)
        mean, raw = (part.ravel() for part in np.split(outputs, 2, axis=1))
        inverse = tables.inverse_scales(raw, "levels")

        def cdf(edge):
            distance = np.clip(((2 * edge - 1) << (FRACTION - 1)) - 255 * mean, -(1 << 30), 1 << 30)
            return _weight(edge, tables.logistic((distance * inverse) >> INVERSE), 256)

        return cdf

    def largest_group(self, stack: Stack) -> int:
        """Return how many images may go together: their latents' bits must be on the stack already."""
        enough = (stack.bits - 96) // (self.latents * (self.precision + 1))
        return int(max(1, min(enough, _PIXELS // self.pixels, (1 << GROUP) - 1)))

    def push(self, stack: Stack, x: np.ndarray) -> None:
        """Put a group of images ``(B, C, H, W)``, uint8, onto the stack; CompressError where that runs out."""
        z = stack.pop(len(x) * self.latents, self.precision, self.posterior(x))
        if stack.ran_out:
            raise CompressError("the stack ran out of bits")
        stack.push(x.ravel().astype(np.int64), self.pixel_bits, self.likelihood(z))
        stack.push_uniform(z, self.precision)
        stack.push_uniform(np.array([len(x)]), GROUP)

    def pop(self, stack: Stack, most: int) -> np.ndarray:
        """Take the last group of at most ``most`` images back: the inverse of :meth:`push`."""
        count = int(stack.pop_uniform(1, GROUP)[0])
        if not 1 <= count <= min(most, max(1, _PIXELS // self.pixels)):
            raise CompressError(f"a group of {count} images")
        z = stack.pop_uniform(count * self.latents, self.precision)
        pixels = stack.pop(count * self.pixels, self.pixel_bits, self.likelihood(z))
        x = pixels.astype(np.uint8).reshape(count, *self.image_shape)
        if stack.ran_out:
            raise CompressError("the stack ran out of bits")
        stack.push(z, self.precision, self.posterior(x))
        return x


def _weight(edge, inside, symbols):
    """The weight below an edge: 0 and ONE at the ends, a distribution function in between, and a leak everywhere."""
    return np.where(edge <= 0, 0, np.where(edge >= symbols, ONE, inside)) + _LEAK * edge


def _check(model):
    # A subclass may have another prior, or do more than its layers do.
    if type(model) not in (models.VAE, models.MLPVAE, models.ConvVAE):
        kinds = "models.VAE, MLPVAE and ConvVAE, whose prior is N(0, I)"
        raise CompressError(f"only {kinds}, can be coded; got a {type(model).__name__}")
    if type(model.likelihood) not in (likelihoods.Bernoulli, likelihoods.DiscretizedLogistic):
        raise CompressError(
            "the likelihood must give probabilities, not densities: 'bernoulli' or 'discretized_logistic'; "
            f"got {model.likelihood}"
        )
    if len(model.image_shape) != 3:
        raise CompressError(f"image_shape must be (channels, height, width); got {tuple(model.image_shape)}")
