"""Grey levels: a logistic distribution, cut into 256 bins."""

import math

import torch
import torch.nn.functional as F

from vae_tutorial.likelihoods._base import Likelihood, log_mean_decay, uniform

_LOG_FLOOR = -8.0


class DiscretizedLogistic(Likelihood):
    """One of 256 grey levels: the mass that a logistic distribution puts on the level's bin.

    The decoder has two outputs for a pixel, first all means, then all raw log-scales, both on the scale of [0, 1]. The
    two outermost bins take what lies beyond them, so that the 256 probabilities sum to one. exp(-8), a
    twelfth of a level, is added to the scale: smaller scales would only change rounding.
    Sources: Salimans et al. (2017), section 2.1, with one component; Kingma et al. (2016), appendix C.5, has bins that
    begin at the level.
    """

    channels = 2
    discrete = True

    def pixel_log_prob(self, x, parameters):
        """Return log P of each pixel, nats: at most 0. ``x``: in [0, 1], taken as the nearest level k / 255."""
        self.expect_pixels(x, parameters)
        return log_mass((x * 255).round(), *self._mean_and_log_scale(parameters))

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
        return quantile(uniform(mean, generator), mean, log_scale)

    def _mean_and_log_scale(self, parameters):
        mean, raw = parameters.chunk(2, dim=-3)
        return mean, floored(raw)


def log_mass(level, mean, log_scale):
    """log of the mass of the levels' bins, nats; the outermost bins take what lies beyond them."""
    inverse = torch.exp(-log_scale)
    above = (level / 255 - mean + 0.5 / 255) * inverse  # the bin's upper and lower edge, in units of the scale
    below = (level / 255 - mean - 0.5 / 255) * inverse
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(-(a - b))): no difference of nearly equal numbers
    width = inverse / 255
    log_width = -log_scale - math.log(255)
    inner = F.logsigmoid(above) + F.logsigmoid(-below) + log_width + log_mean_decay(width)
    outer = torch.where(level <= 0, F.logsigmoid(above), F.logsigmoid(-below))
    return torch.where((level <= 0) | (level >= 255), outer, inner)


def quantile(u, mean, log_scale):
    x = mean + torch.exp(log_scale) * torch.logit(u)
    return (x * 255).round().clamp(0, 255) / 255


def floored(raw):
    return torch.logaddexp(raw, raw.new_full((), _LOG_FLOOR))
