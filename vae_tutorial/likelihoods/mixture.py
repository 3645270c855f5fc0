"""Colours: a mixture of discretized logistics, shared by the channels of a pixel."""

import math

import torch
import torch.nn.functional as F

from vae_tutorial import _checks
from vae_tutorial.likelihoods._base import Likelihood, uniform
from vae_tutorial.likelihoods.logistic import floored, quantile

_POINTS = 256
_SCALE = 0.15  # of a component whose outputs are 0: then colours cost about the same


class MixtureOfLogistics(Likelihood):
    """One of 256^C colours: a mixture of discretized logistics, shared by the C channels of a pixel.

    The decoder gives, for each of ``components``, the logit of its weight, C means, C raw log-scales and a raw
    coefficient for each pair of channels: 3 outputs for a grey pixel, 10 for three colours. Within a component green's
    mean moves with red: by tanh(coefficient) times what red lies above its own mean; blue's with red and green. So one
    component can say that a pixel is darker than foretold in all its channels. What the decoder gives is added to means
    and scales spread over [0, 1]: outputs of 0 cost about log 256 nats for each channel.
    The probabilities of a pixel sum to one over all 256^C colours.
    Source: Salimans et al. (2017), PixelCNN++, sections 2.1 and 2.2; there the coefficient multiplies red itself.
    """

    discrete = True
    _made_of = ("components",)

    def __init__(self, components: int = 5):
        super().__init__()
        self.components = _checks.whole("components", components)
        self.channels = 3 * self.components  # for a grey image; see outputs

    def extra_repr(self):
        return f"components={self.components}"

    def outputs(self, channels):
        """Return how many channels the decoder must give for images of that many: 3 K for grey, 10 K for colours."""
        return self.components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def pixel_log_prob(self, x, parameters):
        """Return log P of each pixel, all its channels, ``(..., 1, H, W)``, nats: at most 0.

        ``x``: ``(..., C, H, W)`` in [0, 1], taken as the nearest of the levels 0, 1/255, ..., 1.
        """
        self.expect_pixels(x, parameters)
        log_weights, means, log_scales, coefficients = self._parts(parameters)
        levels = (x * 255).round().unsqueeze(-3).unbind(-4)  # C of (..., 1, H, W): the same for all components
        total, above = log_weights, []  # how far each channel lies above its component's mean
        for channel, (level, mean, log_scale) in enumerate(zip(levels, means, log_scales, strict=True)):
            total = total + _log_mass(level, _moved(mean, coefficients[channel], above), log_scale)
            above.append(level / 255 - mean)
        return torch.logsumexp(total, dim=-3, keepdim=True)

    def mean(self, parameters):
        """Return E[x | z], ``(..., C, H, W)`` in [0, 1], to within a grey level.

        Green and blue depend on the channels before them: 256 points of a Sobol sequence stand for all colours.
        """
        log_weights, means, log_scales, coefficients = self._parts(parameters)
        scales, totals = [log_scale.exp() for log_scale in log_scales], [0.0] * len(means)
        points = torch.quasirandom.SobolEngine(len(means)).draw(_POINTS) + 0.5 / _POINTS
        for point in torch.logit(points).tolist():
            above = []
            for channel, (mean, scale, reach) in enumerate(zip(means, scales, point, strict=True)):
                value = (_moved(mean, coefficients[channel], above) + scale * reach).clamp(0, 1)
                totals[channel] = totals[channel] + value
                above.append(value - mean)
        parts = [(log_weights.exp() * total).sum(-3, keepdim=True) for total in totals]
        return (torch.cat(parts, -3) / _POINTS).clamp(0, 1)

    def sample(self, parameters, generator=None):
        """Return images drawn from P(x | z), ``(..., C, H, W)``: multiples of 1/255 in [0, 1]."""
        log_weights, means, log_scales, coefficients = self._parts(parameters)
        gumbel = -torch.log(-torch.log(uniform(log_weights, generator)))
        chosen = (log_weights + gumbel).argmax(-3, keepdim=True)  # (..., 1, H, W)
        above, drawn = [], []
        for channel, (mean, log_scale) in enumerate(zip(means, log_scales, strict=True)):
            mean, log_scale = mean.gather(-3, chosen), log_scale.gather(-3, chosen)
            here = _moved(mean, [c.gather(-3, chosen) for c in coefficients[channel]], above)
            drawn.append(quantile(uniform(mean, generator), here, log_scale))
            above.append(drawn[-1] - mean)
        return torch.cat(drawn, -3)

    def _parts(self, parameters):
        """Log-weights, (..., K, H, W), and for each channel such means, log-scales and lists of coefficients."""
        K = self.components
        channels = next((c for c in range(1, 99) if self.outputs(c) == parameters.shape[-3]), None)
        if channels is None:
            raise ValueError(
                f"parameters must have {self.outputs(1)} channels for grey images, {self.outputs(3)} for colours; "
                f"got {parameters.shape[-3]}"
            )
        logits, *rest = parameters.unflatten(-3, (-1, K)).unbind(-4)
        at = (torch.arange(K, dtype=parameters.dtype, device=parameters.device) + 0.5).view(K, 1, 1) / K
        means = [mean + at for mean in rest[:channels]]
        log_scales = [floored(raw + math.log(_SCALE)).clamp_max(10) for raw in rest[channels : 2 * channels]]
        pairs = iter(rest[2 * channels :])
        coefficients = [[torch.tanh(next(pairs)) for _ in range(channel)] for channel in range(channels)]
        return torch.log_softmax(logits, -3), means, log_scales, coefficients


def _log_mass(level, mean, log_scale):
    """What ``logistic.log_mass`` returns, in half the time, for log-scales of at most 10."""
    inverse = torch.exp(-log_scale)
    centre, half = (level / 255 - mean) * inverse, inverse / 510
    low, high = (level > 0).to(mean.dtype), (level < 255).to(mean.dtype)  # 0 where the outermost bins have no edge
    width = torch.log(-torch.expm1(-2 * half))
    return high * F.logsigmoid(centre + half) + low * F.logsigmoid(half - centre) + low * high * width


def _moved(mean, coefficients, above):
    for coefficient, distance in zip(coefficients, above, strict=True):
        mean = mean + coefficient * distance
    return mean
