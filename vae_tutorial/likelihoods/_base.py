"""What all likelihoods share: the sum over pixels, the number of outputs that they need, how they were made."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from vae_tutorial import _checks

PIXELS = (-3, -2, -1)


class Likelihood(nn.Module):
    """p(x | z) for images ``(..., C, H, W)``, whose pixels are independent given z.

    ``channels``: parameters for each pixel channel; ``binary``: whether its data are black and white; ``unit``: whether
    they lie in [0, 1]; ``discrete``: whether they are grey levels.
    """

    channels: int = 1
    binary = discrete = False
    unit = True
    _made_of: tuple[str, ...] = ()  # the names of the arguments, kept as attributes

    def outputs(self, channels: int) -> int:
        """Return how many channels the decoder must give for images of that many."""
        return self.channels * channels

    @property
    def architecture(self) -> dict | None:
        """How this was made, of JSON types: ``{"class": ..., "arguments": {...}}``, which :func:`get` takes.

        None for a class that is not of this package, such as a subclass of your own.
        """
        if not type(self).__module__.startswith("vae_tutorial.likelihoods"):
            return None
        return {
            "class": type(self).__name__,
            "arguments": {name: _plain(getattr(self, name)) for name in self._made_of},
        }

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x | z), summed over the pixels of an image, in nats.

        ``x``: ``(..., C, H, W)``; ``parameters``: ``(..., channels * C, H, W)``, or broadcast over the leading axes.
        Returns ``(...)``, in the dtype of the parameters. Raises ValueError for other shapes, for integers (a Bernoulli
        takes zeros and ones of any dtype), and on the CPU for values outside [0, 1] where ``unit``.
        """
        return self.pixel_log_prob(x, parameters).sum(PIXELS)

    def pixel_log_prob(self, x: Tensor, parameters: Tensor, /) -> Tensor:
        """Return what :meth:`log_prob` sums: log p of each pixel, ``(..., C, H, W)``, nats."""
        raise NotImplementedError

    def mean(self, parameters: Tensor, /) -> Tensor:
        """Return E[x | z], ``(..., C, H, W)``."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, /, generator: Generator | None = None) -> Tensor:
        """Return images drawn from p(x | z), ``(..., C, H, W)``."""
        raise NotImplementedError

    def check(self, x: Tensor, name: str) -> None:
        """Raise ValueError for training images, ``(N, C, H, W)``, that this likelihood does not fit."""

    def expect_pixels(self, x, parameters):
        # On a GPU, reading the values would force a synchronization.
        read = self.unit and x.device.type == "cpu" and not torch.compiler.is_compiling()
        if read or not x.is_floating_point():
            _checks.unit_interval(x.float() if self.binary else x)
        # Broadcast over images and draws, never over pixels: one channel for three would be counted three times.
        wanted = (self.outputs(x.shape[-3]), *x.shape[-2:]) if x.ndim >= 3 else None
        if parameters.shape[-3:] != wanted:
            shape = "(..., channels * C, H, W)" if wanted is None else f"(..., {', '.join(map(str, wanted))})"
            raise ValueError(
                f"parameters must be {shape} for x of (..., C, H, W); "
                f"got {tuple(parameters.shape)} for x of {tuple(x.shape)}"
            )


def uniform(like, generator):
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def log_mean_decay(rate):
    """log((1 - exp(-rate)) / rate), the log of the mean of exp(-rate t) over t in [0, 1]; for rates of 0 and more."""
    small = rate < 0.3  # there the gradient would be a difference of two numbers near 1 / rate
    near, large = rate.clamp_max(0.3), torch.where(small, 1.0, rate)  # neither branch may overflow where it is not used
    series = -near / 2 + near.square() / 24 - near**4 / 2880
    return torch.where(small, series, torch.log(-torch.expm1(-large)) - torch.log(large))


def _plain(value):
    if value is None or isinstance(value, str | bool | int):
        return value
    return [int(size) for size in value] if isinstance(value, tuple | list) else float(value)
