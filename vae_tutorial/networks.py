"""The encoders and decoders of the models: fully connected and convolutional.

Shapes: B images in a batch, C x H x W pixels, Z latent dimensions. A decoder's image_shape is that of its output, the
likelihood's parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch.nn as nn
from torch import Tensor

from vae_tutorial import _checks

__all__ = ["ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]


class MLPEncoder(nn.Module):
    """q(z | x) = N(mu(x), diag exp logvar(x)), by fully connected layers: ``(B, C, H, W)`` to two of ``(B, Z)``."""

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (400,), image_shape: Sequence[int] = (1, 28, 28)):
        super().__init__()
        latent_dim, hidden, image_shape = sizes(latent_dim, hidden, image_shape)
        self.layers = mlp(math.prod(image_shape), *hidden, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=-1)  # (B, 2 Z) -> twice (B, Z)
        return mu, logvar


class MLPDecoder(nn.Module):
    """The parameters of p(x | z), by fully connected layers: ``(..., Z)`` to ``(..., C, H, W)``."""

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (400,), image_shape: Sequence[int] = (1, 28, 28)):
        super().__init__()
        latent_dim, hidden, self.image_shape = sizes(latent_dim, hidden, image_shape)
        self.layers = mlp(latent_dim, *hidden, math.prod(self.image_shape))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(-1, self.image_shape)


class ConvEncoder(nn.Module):
    """q(z | x) by convolutions of 4 x 4 that halve height and width: ``(B, C, H, W)`` to two of ``(B, Z)``.

    ``norm``: None or ``"group"``, which normalizes the channels of each convolution in groups. Raises ValueError for
    another, and where no pixel is left after all halvings.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: Sequence[int] = (32, 64),
        image_shape: Sequence[int] = (1, 28, 28),
        norm: str | None = None,
    ):
        super().__init__()
        latent_dim, channels, image_shape = sizes(latent_dim, channels, image_shape, "channels")
        if not channels:
            raise ValueError("channels must name at least one layer; got none")
        if min(_halvings(image_shape, len(channels))[-1]) < 1:
            raise ValueError(f"image_shape {image_shape} cannot be halved {len(channels)} times; give fewer channels")
        layers = []
        for inputs, outputs in itertools.pairwise((image_shape[0], *channels)):
            layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), *_norm(norm, outputs), nn.ReLU()]
        flat = channels[-1] * math.prod(_halvings(image_shape, len(channels))[-1])
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 2 * latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.layers(x).chunk(2, dim=-1)  # (B, 2 Z) -> twice (B, Z)
        return mu, logvar


class ConvDecoder(nn.Module):
    """The parameters of p(x | z) by transposed convolutions, the encoder's mirror: ``(..., Z)`` to ``(..., C, H, W)``.

    ``channels``: from the code to the image, so (64, 32) mirrors an encoder of (32, 64). ``norm``: as the encoder's.
    """

    def __init__(
        self,
        latent_dim: int,
        channels: Sequence[int] = (64, 32),
        image_shape: Sequence[int] = (1, 28, 28),
        norm: str | None = None,
    ):
        super().__init__()
        latent_dim, channels, image_shape = sizes(latent_dim, channels, image_shape, "channels")
        shapes = _halvings(image_shape, len(channels))[::-1]  # from the smallest to H x W
        first = channels[0], *shapes[0]
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(first)), nn.Unflatten(1, first)]
        for step, (inputs, outputs) in enumerate(itertools.pairwise((*channels, image_shape[0]))):
            odd = tuple(size % 2 for size in shapes[step + 1])  # halving dropped a row or a column of odd sizes
            up = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, output_padding=odd)
            layers += [*_norm(norm, inputs), nn.ReLU(), up]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        images = self.layers(z.reshape(-1, z.shape[-1]))  # convolutions take a single batch axis
        return images.reshape(*z.shape[:-1], *images.shape[1:])


def mlp(*widths):
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no non-linearity after the last layer: it gives means, log-variances, logits


def _norm(name, channels):
    if name not in (None, "group"):
        raise ValueError(f"norm must be None or 'group'; got {name!r}")
    if name is None:
        return []
    groups = math.gcd(8, max(1, channels // 4), channels)  # of four channels or more
    return [nn.GroupNorm(groups, channels)]


def _halvings(image_shape, times):
    """H x W before and after each of ``times`` convolutions of 4 x 4 with stride 2 and padding 1."""
    return [tuple(size >> step for size in image_shape[1:]) for step in range(times + 1)]


def sizes(latent_dim, layers, image_shape, name="hidden"):
    image_shape = _checks.sizes("image_shape", image_shape)
    if len(image_shape) == 1 and name == "channels":
        raise ValueError(f"image_shape {image_shape} is that of a vector, without height or width; use an MLPVAE")
    if len(image_shape) not in (1, 3):
        raise ValueError(f"image_shape must be (channels, height, width), or (D,) for vectors; got {image_shape}")
    return _checks.whole("latent_dim", latent_dim), _checks.sizes(name, layers), image_shape
