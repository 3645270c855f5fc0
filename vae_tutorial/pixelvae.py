"""A VAE whose pixels also look at their neighbours: the course's model with the lowest log p(x) of binarized MNIST.

In the other models the pixels are independent given z, so z must say everything, down to the last pixel of an edge.
Here a pixel may also look at the few pixels before it, which the receiver has already. They know how a stroke goes on;
z keeps what they cannot know, the shape of the digit. Sources: Gulrajani et al. (2017), PixelVAE; van den Oord et al.
(2016), for the masked convolution; He et al. (2016), for the residual blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vae_tutorial import _checks, _saved, models, networks
from vae_tutorial.likelihoods._base import Likelihood, uniform
from vae_tutorial.likelihoods._kinds import refuse_grey

__all__ = ["AutoregressiveBernoulli", "PixelVAE"]


class AutoregressiveBernoulli(Likelihood):
    """Black-and-white pixels in reading order, each given z and neighbours: log p(x | z) = sum log p(x_i | x_<i, z).

    The decoder gives ``features`` numbers for each pixel. To them is added what a masked convolution sees of the pixels
    before it: ``reach`` rows above and ``reach`` columns to either side. Two layers of 1 x 1 make the sum a logit.
    For images ``(..., 1, H, W)``. In training mode the arithmetic is in bfloat16, in evaluation mode as the weights.
    Source: van den Oord et al. (2016), sections 3.3 and 3.4.
    """

    binary = True
    sees_pixels = True  # grey ones, too, which a decoder does not

    def __init__(self, features: int = 32, reach: int = 3):
        super().__init__()
        self.channels = _checks.whole("features", features)
        self.reach = _checks.whole("reach", reach)
        self.look = _Masked(self.channels, self.reach)
        hidden = nn.Conv2d(self.channels, self.channels, kernel_size=1)
        self.logit = nn.Sequential(nn.ReLU(), hidden, nn.ReLU(), nn.Conv2d(self.channels, 1, kernel_size=1))

    def extra_repr(self):
        return f"features={self.channels}, reach={self.reach}"

    def check(self, x, name):
        """Raise ValueError for floating images that are not zeros and ones."""
        refuse_grey(x, name)

    def pixel_log_prob(self, x, parameters):
        """Return log p(x_i | x_<i, z) of each pixel, ``(..., 1, H, W)``, nats: at most 0. ``x``: zeros and ones.

        Grey values are not taken as probabilities: as neighbours they would be seen.
        """
        self.expect_pixels(x, parameters)
        with _in_half_precision(self, parameters):
            r = self.reach
            seen = self.look(F.pad(x, (r, r, r, 0)).reshape(-1, 1, x.shape[-2] + r, x.shape[-1] + 2 * r))
            h = parameters + seen.reshape(*x.shape[:-3], *seen.shape[1:])  # (..., features, H, W)
            logits = self.logit(h.reshape(-1, *h.shape[-3:])).reshape(*h.shape[:-3], 1, *h.shape[-2:])
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        return x * logits - F.softplus(logits)

    def mean(self, parameters):
        """Raise NotImplementedError: E[x | z] has no formula here, since a pixel depends on those drawn before it."""
        raise NotImplementedError("E[x | z] of an autoregressive likelihood has no formula; average sample(parameters)")

    def sample(self, parameters, generator=None):
        """Return images drawn from p(x | z), pixel by pixel: zeros and ones, ``(..., 1, H, W)``."""
        features = parameters.reshape(-1, *parameters.shape[-3:])
        r, (height, width) = self.reach, features.shape[-2:]
        x = features.new_zeros(len(features), 1, height + r, width + 2 * r)  # with a border of zeros
        chance = uniform(features[:, :1], generator)
        for i in range(height):
            for j in range(width):
                seen = self.look(x[..., i : i + r + 1, j : j + 2 * r + 1])
                p = torch.sigmoid(self.logit(features[..., i : i + 1, j : j + 1] + seen))
                x[..., i + r, j + r] = (chance[..., i, j] < p[..., 0, 0]).to(x.dtype)
        return x[..., r:, r:-r].reshape(*parameters.shape[:-3], 1, height, width)


class _Masked(nn.Conv2d):
    """A convolution that sees ``reach`` rows above its pixel and what lies to the left, but not the pixel itself."""

    mask: Tensor

    def __init__(self, outputs, reach):
        super().__init__(1, outputs, kernel_size=(reach + 1, 2 * reach + 1))
        mask = torch.ones(self.kernel_size)
        mask[-1, reach:] = 0  # the pixel, and those after it in its row
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input):
        return F.conv2d(input, self.weight * self.mask, self.bias)


class PixelVAE(models.VAE):
    """A VAE of residual convolutions with an :class:`AutoregressiveBernoulli` likelihood.

    ``channels``: of the layers at half and at a quarter of the image's height and width, which must be multiples of 4.
    ``features`` and ``reach``: the likelihood's. Encoder and decoder, too, train in bfloat16, with weights in float32.
    Raises ValueError for other sizes. Source: Gulrajani et al. (2017).
    """

    def __init__(
        self,
        latent_dim: int = 32,
        channels: Sequence[int] = (32, 64),
        features: int = 32,
        reach: int = 3,
        image_shape: Sequence[int] = (1, 28, 28),
    ):
        latent_dim, channels, image_shape = networks.sizes(latent_dim, channels, image_shape, "channels")
        if len(channels) != 2:
            raise ValueError(f"channels must be two numbers; got {channels}")
        if image_shape[0] != 1 or image_shape[1] % 4 or image_shape[2] % 4:
            raise ValueError(f"image_shape must be (1, H, W) with H and W multiples of 4; got {image_shape}")
        likelihood = AutoregressiveBernoulli(features, reach)
        small = (channels[1], image_shape[1] // 4, image_shape[2] // 4)
        encoder, decoder = _Encoder(latent_dim, *channels, small), _Decoder(latent_dim, *channels, small, features)
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)
        made = {"latent_dim": latent_dim, "channels": list(channels), "features": features, "reach": reach}
        self._made = {"class": "PixelVAE", "arguments": {**made, "image_shape": list(image_shape)}}, repr(self)
        self.to(memory_format=torch.channels_last)


class _Encoder(nn.Module):
    def __init__(self, latent_dim, wide, narrow, small):
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),  # 1 x 28 x 28 to 4 x 14 x 14
            nn.Conv2d(4, wide, kernel_size=3, padding=1),
            _Residual(wide),
            nn.ReLU(),
            nn.Conv2d(wide, narrow, kernel_size=4, stride=2, padding=1),  # to 7 x 7
            _Residual(narrow),
            _Residual(narrow),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(small), 2 * latent_dim),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with _in_half_precision(self, x):
            mu, logvar = self.layers(x.contiguous(memory_format=torch.channels_last)).to(x.dtype).chunk(2, dim=-1)
        return mu, logvar


class _Decoder(nn.Module):
    def __init__(self, latent_dim, wide, narrow, small, features):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, math.prod(small)),
            nn.Unflatten(1, small),
            _Residual(narrow),
            _Residual(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, 4 * wide, kernel_size=1),
            nn.PixelShuffle(2),  # to 14 x 14
            _Residual(wide),
            nn.ReLU(),
            nn.Conv2d(wide, 4 * features, kernel_size=3, padding=1),
            nn.PixelShuffle(2),  # to 28 x 28
        )

    def forward(self, z: Tensor) -> Tensor:
        with _in_half_precision(self, z):
            found = self.layers(z.reshape(-1, z.shape[-1]))
        return found.reshape(*z.shape[:-1], *found.shape[1:])


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x):
        return x + self.second(F.relu(self.first(F.relu(x))))


def _in_half_precision(module, like):
    """In training mode, compute in bfloat16: nearly twice as fast where the processor has instructions for it."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=module.training)


_saved.CLASSES["PixelVAE"] = PixelVAE
