"""p(x | z) for one pixel value at a time: the decoder's parameters in; log-probability, mean and samples out.

``channels`` says how many parameters a likelihood needs for each pixel channel, ``binary`` whether its data are black
and white. Parameters are ``(..., channels * C, H, W)``, images ``(..., C, H, W)``. The pixels of an image are
independent given z. A likelihood is a module because one of them, the Gaussian, may have a variance to learn.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Bernoulli", "ContinuousBernoulli", "DiscretizedLogistic", "Gaussian", "get"]

_PIXELS = (-3, -2, -1)


class Bernoulli(nn.Module):
    """Black-and-white pixels, each on with probability sigmoid(logit), independently given z."""

    channels = 1
    binary = True

    def log_prob(self, x, logits):
        """Return log p(x | z), summed over the pixels of an image, in nats.

        ``x``: ``(..., C, H, W)``, zeros and ones; ``logits``: the same shape, or broadcast. Returns ``(...)``,
        in the dtype of the logits.
        From logits, never from sigmoids: log(sigmoid(-100)) is -100, but log(1 - sigmoid(100)) is minus infinity.
        Grey values are taken too, as expected log-probability under pixels drawn from them, not as a density.
        """
        _expect_pixels(x, logits)
        x = x.to(logits.dtype)
        return (x * logits - F.softplus(logits)).sum(_PIXELS)

    def mean(self, logits):
        """Return E[x | z], the probability that each pixel is on; same shape, in [0, 1]."""
        return torch.sigmoid(logits)

    def sample(self, logits, generator=None):
        """Return images drawn from p(x | z): zeros and ones, same shape. The mean is not such a draw."""
        return (_uniform(logits, generator) < torch.sigmoid(logits)).to(logits.dtype)


class ContinuousBernoulli(nn.Module):
    """Grey values in [0, 1] with the density p(x) = C(l) exp(l x), l the logit: cross-entropy, normalized.

    Source: Loaiza-Ganem and Cunningham (2019). In logits, their constant is C(l) = l / (exp(l) - 1).
    """

    channels = 1
    binary = False

    def log_prob(self, x, logits):
        """Return log p(x | z), summed over the pixels of an image, in nats: a log-density, which may be positive.

        ``x``: ``(..., C, H, W)`` in [0, 1]; ``logits``: the same shape, or broadcast. Returns ``(...)``.
        """
        _expect_pixels(x, logits)
        # log C(l) = -log of the mean of exp(l t) over t in [0, 1]; for l > 0, exp(l) is taken out of that mean first.
        return (x * logits - logits.clamp_min(0) - _log_mean_decay(logits.abs())).sum(_PIXELS)

    def mean(self, logits):
        """Return E[x | z]; same shape, in [0, 1]. It is nearer to 1/2 than sigmoid(logits)."""
        small = logits.abs() < 0.3
        near, large = logits.clamp(-0.3, 0.3), torch.where(small, 1.0, logits)
        series = 0.5 + near / 12 - near**3 / 720 + near**5 / 30240
        return torch.where(small, series, -1 / torch.expm1(-large) - 1 / large)

    def sample(self, logits, generator=None):
        """Return images drawn from p(x | z), by the inverse of the distribution function; same shape, in [0, 1]."""
        u, rate = _uniform(logits, generator), logits.abs()
        small = rate < 1e-3
        safe = torch.where(small, 1.0, rate)
        decayed = torch.where(small, u - rate * u * (1 - u) / 2, -torch.log1p(u * torch.expm1(-safe)) / safe)
        return torch.where(logits > 0, 1 - decayed, decayed).clamp(0, 1)


class Gaussian(nn.Module):
    """Grey values with normal noise round a mean: N(x; mean, variance).

    ``variance``: a fixed number; ``"shared"``, one for all pixels and images, learned; ``"per_pixel"``,
    given by the decoder, which then has two outputs for a pixel, first all means, then all raw log-variances.
    ``floor``: what is added to a learned variance. Its default is the square of one grey level. Without it the density
    of a pixel that is always black grows without bound, and the loss falls without bound.
    Sources: Kingma and Welling (2014), appendix C.2; Rybkin et al. (2021) for the shared variance.
    """

    binary = False

    def __init__(self, variance=1.0, floor=1 / 255**2):
        super().__init__()
        if isinstance(variance, str) and variance not in ("shared", "per_pixel"):
            raise ValueError(f"variance must be a positive number, 'shared' or 'per_pixel'; got {variance!r}")
        for name, value in (("variance", variance), ("floor", floor)):
            if not isinstance(value, str) and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive number; got {value!r}")
        self.variance, self.floor = variance, floor
        self.channels = 2 if variance == "per_pixel" else 1
        if variance == "shared":
            # Adam moves a parameter by about lr a step: stored as a tenth, the log-variance moves ten times as fast.
            self.tenth_of_logvar = nn.Parameter(torch.zeros(()))

    def extra_repr(self):
        return f"variance={self.variance!r}, floor={self.floor!r}"

    def moments(self, parameters):
        """Return the mean and the log-variance of every pixel; the latter may have to be broadcast."""
        if self.variance == "per_pixel":
            mean, raw = parameters.chunk(2, dim=-3)  # (..., 2 C, H, W) -> twice (..., C, H, W)
            return mean, self._floored(raw)
        if self.variance == "shared":
            return parameters, self._floored(10 * self.tenth_of_logvar)
        return parameters, parameters.new_full((), math.log(self.variance))

    def log_prob(self, x, parameters):
        """Return log p(x | z), summed over the pixels of an image, in nats: a log-density, which may be positive.

        ``x``: ``(..., C, H, W)``; ``parameters``: ``(..., channels * C, H, W)``, or broadcast. Returns ``(...)``.
        """
        _expect_pixels(x, parameters, self.channels)
        mean, logvar = self.moments(parameters)
        return -0.5 * ((x - mean).square() * torch.exp(-logvar) + logvar + math.log(2 * math.pi)).sum(_PIXELS)

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


class DiscretizedLogistic(nn.Module):
    """One of 256 grey levels: the mass that a logistic distribution puts on the level's bin.

    The decoder has two outputs for a pixel, first all means, then all raw log-scales, both on the scale of [0, 1]. The
    two outermost bins take what lies beyond them, so that the 256 probabilities sum to one. exp(-8), a
    twelfth of a level, is added to the scale: smaller scales would only change rounding.
    Sources: Salimans et al. (2017), section 2.1, with one component; Kingma et al. (2016), appendix C.5, has bins that
    begin at the level.
    """

    channels = 2
    binary = False
    _log_floor = -8.0

    def log_prob(self, x, parameters):
        """Return log P(x | z), summed over the pixels of an image, in nats: at most 0.

        ``x``: ``(..., C, H, W)`` in [0, 1], taken as the nearest of the levels 0, 1/255, ..., 1;
        ``parameters``: ``(..., 2 C, H, W)``, or broadcast. Returns ``(...)``.
        """
        _expect_pixels(x, parameters, self.channels)
        mean, log_scale = self._mean_and_log_scale(parameters)
        level = (x * 255).round()
        inverse = torch.exp(-log_scale)
        above = (level / 255 - mean + 0.5 / 255) * inverse  # the bin's upper and lower edge, in units of the scale
        below = (level / 255 - mean - 0.5 / 255) * inverse
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(-(a - b))): no difference of nearly equal numbers
        width = inverse / 255
        log_width = -log_scale - math.log(255)
        inner = F.logsigmoid(above) + F.logsigmoid(-below) + log_width + _log_mean_decay(width)
        outer = torch.where(level <= 0, F.logsigmoid(above), F.logsigmoid(-below))
        return torch.where((level <= 0) | (level >= 255), outer, inner).sum(_PIXELS)

    def mean(self, parameters):
        """Return E[x | z], ``(..., C, H, W)`` in [0, 1]: over the 256 levels, 1/255 times the sum of P(x > level)."""
        mean, log_scale = self._mean_and_log_scale(parameters)
        inverse, total = torch.exp(-log_scale), torch.zeros_like(mean)
        for level in range(255):
            total = total + torch.sigmoid((mean - (level + 0.5) / 255) * inverse)
        return total / 255

    def sample(self, parameters, generator=None):
        """Return images drawn from P(x | z), ``(..., C, H, W)``: multiples of 1/255 in [0, 1]."""
        mean, log_scale = self._mean_and_log_scale(parameters)
        x = mean + torch.exp(log_scale) * torch.logit(_uniform(mean, generator))
        return (x * 255).round().clamp(0, 255) / 255

    def _mean_and_log_scale(self, parameters):
        mean, raw = parameters.chunk(2, dim=-3)
        return mean, torch.logaddexp(raw, raw.new_full((), self._log_floor))


def _expect_pixels(x, parameters, channels=1):
    # Broadcast over images and draws, never over pixels: one channel for three would be counted three times.
    wanted = (channels * x.shape[-3], *x.shape[-2:]) if x.ndim >= 3 else None
    if parameters.shape[-3:] != wanted:
        raise ValueError(
            f"parameters must be (..., {channels} C, H, W) for x of (..., C, H, W); "
            f"got {tuple(parameters.shape)} for x of {tuple(x.shape)}"
        )


def _uniform(like, generator):
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _log_mean_decay(rate):
    """log((1 - exp(-rate)) / rate), the log of the mean of exp(-rate t) over t in [0, 1]; for rates of 0 and more."""
    small = rate < 0.3  # there the gradient would be a difference of two numbers near 1 / rate
    near, large = rate.clamp_max(0.3), torch.where(small, 1.0, rate)  # neither branch may overflow where it is not used
    series = -near / 2 + near.square() / 24 - near**4 / 2880
    return torch.where(small, series, torch.log(-torch.expm1(-large)) - torch.log(large))


Likelihood = Bernoulli | ContinuousBernoulli | Gaussian | DiscretizedLogistic

_KNOWN = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,  # variance 1: half the squared error and a constant
    "gaussian_shared": functools.partial(Gaussian, "shared"),
    "gaussian_per_pixel": functools.partial(Gaussian, "per_pixel"),
    "discretized_logistic": DiscretizedLogistic,
}
NAMES = tuple(_KNOWN)


def get(name):
    """Return the likelihood of that name, or the likelihood itself. Raises ValueError for an unknown name.

    Names: bernoulli, continuous_bernoulli, gaussian (its variance is 1), gaussian_shared, gaussian_per_pixel,
    discretized_logistic.
    """
    if isinstance(name, str):
        if name not in _KNOWN:
            raise ValueError(f"likelihood must be one of {', '.join(map(repr, _KNOWN))}; got {name!r}")
        return _KNOWN[name]()
    return name
