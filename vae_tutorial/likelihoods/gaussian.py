"""Real values with normal noise round a mean."""

import math

import torch
from torch import nn

from vae_tutorial import _checks
from vae_tutorial.likelihoods._base import Likelihood

LEARNED = ("shared", "learned", "per_pixel")


class Gaussian(Likelihood):
    """Grey values with normal noise round a mean: N(x; mean, variance).

    ``variance``: a fixed number; ``"shared"``, one for all pixels and images, learned; ``"learned"``, one for each
    pixel, or column of a table, the same for all images; ``"per_pixel"``, given by the decoder, which then has two
    outputs for a pixel, first all means, then all raw log-variances.
    ``floor``: what is added to a learned variance. Its default is the square of one grey level. Without it the density
    of a pixel that is always black grows without bound, and the loss falls without bound.
    ``shape``: of an image, (C, H, W), or (D,) for a table; for ``"learned"`` alone. A model fills it in.
    Sources: Kingma and Welling (2014), appendix C.2; Rybkin et al. (2021) for the shared variance.
    """

    unit = False
    _made_of = ("variance", "floor", "shape")

    def __init__(self, variance=1.0, floor=1 / 255**2, shape=None):
        super().__init__()
        if isinstance(variance, str) and variance not in LEARNED:
            known = ", ".join(map(repr, LEARNED[:-1]))
            raise ValueError(f"variance must be a positive number, {known} or {LEARNED[-1]!r}; got {variance!r}")
        for name, value in (("variance", variance), ("floor", floor)):
            if not isinstance(value, str) and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number; got {value!r}")
        if shape is not None and variance != "learned":
            raise ValueError(f"shape is for variance='learned' alone; got {shape!r} with variance={variance!r}")
        self.variance, self.floor = variance, floor
        self.shape = None if shape is None else _checks.sizes("shape", shape)
        self.channels = 2 if variance == "per_pixel" else 1
        # Adam moves a parameter by about lr a step: stored as a tenth, the log-variance moves ten times as fast.
        if variance == "shared":
            self.tenth_of_logvar = nn.Parameter(torch.zeros(()))
        elif self.shape is not None:
            self.tenth_of_logvar = nn.Parameter(torch.zeros((*self.shape, 1, 1)[:3]))

    def extra_repr(self):
        shape = "" if self.shape is None else f", shape={self.shape}"
        return f"variance={self.variance!r}, floor={self.floor!r}{shape}"

    def of_shape(self, shape):
        """Return this likelihood for events of one shape: itself, unless its variances have yet to learn how many."""
        if self.variance != "learned" or self.shape == tuple(shape):
            return self
        if self.shape is not None:
            raise ValueError(f"likelihood has a variance for each of {self.shape}; image_shape is {tuple(shape)}")
        if type(self) is not Gaussian:
            raise ValueError(f"{type(self).__name__} with variance='learned' needs its shape, {tuple(shape)}")
        return Gaussian("learned", self.floor, shape)

    def moments(self, parameters):
        """Return the mean and the log-variance of every pixel; the latter may have to be broadcast."""
        if self.variance == "per_pixel":
            mean, raw = parameters.chunk(2, dim=-3)  # (..., 2 C, H, W) -> twice (..., C, H, W)
            return mean, self._floored(raw)
        if self.variance in ("shared", "learned"):
            if self.variance == "learned" and self.shape is None:
                raise ValueError("variance='learned' has one for each pixel: Gaussian('learned', shape=(C, H, W))")
            return parameters, self._floored(10 * self.tenth_of_logvar)
        return parameters, parameters.new_full((), math.log(self.variance))

    def pixel_log_prob(self, x, parameters):
        """Return the log-density of each pixel, nats; it may be positive."""
        self.expect_pixels(x, parameters)
        mean, logvar = self.moments(parameters)
        return -0.5 * ((x - mean).square() * torch.exp(-logvar) + logvar + math.log(2 * math.pi))

    def mean(self, parameters):
        """Return E[x | z], ``(..., C, H, W)``. Nothing keeps it in [0, 1]."""
        return self.moments(parameters)[0]

    def sample(self, parameters, generator=None):
        """Return images drawn from p(x | z), ``(..., C, H, W)``: the mean and noise, some of it outside [0, 1]."""
        mean, logvar = self.moments(parameters)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return mean + torch.exp(0.5 * logvar) * noise

    def _floored(self, raw):
        return torch.logaddexp(raw, raw.new_full((), math.log(self.floor)))  # log(exp(raw) + floor)
