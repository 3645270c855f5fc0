"""Pixels that are black or white, and grey values on [0, 1], from one logit for each."""

import torch
import torch.nn.functional as F

from vae_tutorial.likelihoods._base import Likelihood, log_mean_decay, uniform
from vae_tutorial.likelihoods._kinds import refuse_colours_and_photographs


class Bernoulli(Likelihood):
    """Black-and-white pixels, each on with probability sigmoid(logit), independently given z.

    ``grey``: take any bytes or values in [0, 1] as probabilities. Without it ``training.fit`` refuses colours, which
    would be binarized channel by channel, and grey photographs, whose values are no probabilities; not MNIST.
    """

    binary = True
    _made_of = ("grey",)

    def __init__(self, grey: bool = False):
        super().__init__()
        if not isinstance(grey, bool):
            raise ValueError(f"grey must be True or False; got {grey!r}")
        self.grey = grey

    def extra_repr(self):
        return "grey=True" if self.grey else ""

    def check(self, x, name):
        """Raise ValueError for colours and for grey photographs, unless ``grey``; the error names what fits them."""
        if not self.grey:
            refuse_colours_and_photographs(x, name)

    def pixel_log_prob(self, x, logits):
        """Return log p of each pixel, nats: at most 0. ``x``: zeros and ones.

        From logits, never from sigmoids: log(sigmoid(-100)) is -100, but log(1 - sigmoid(100)) is minus infinity.
        Grey values are taken too, as expected log-probability under pixels drawn from them, not as a density.
        """
        self.expect_pixels(x, logits)
        x = x.to(logits.dtype)
        return x * logits - F.softplus(logits)

    def mean(self, logits):
        """Return E[x | z], the probability that each pixel is on; same shape, in [0, 1]."""
        return torch.sigmoid(logits)

    def sample(self, logits, generator=None):
        """Return images drawn from p(x | z): zeros and ones, same shape. The mean is not such a draw."""
        return (uniform(logits, generator) < torch.sigmoid(logits)).to(logits.dtype)


class ContinuousBernoulli(Likelihood):
    """Grey values in [0, 1] with the density p(x) = C(l) exp(l x), l the logit: cross-entropy, normalized.

    Source: Loaiza-Ganem and Cunningham (2019). In logits, their constant is C(l) = l / (exp(l) - 1).
    """

    def pixel_log_prob(self, x, logits):
        """Return the log-density of each pixel, nats; it may be positive. ``x``: in [0, 1]."""
        self.expect_pixels(x, logits)
        # log C(l) = -log of the mean of exp(l t) over t in [0, 1]; for l > 0, exp(l) is taken out of that mean first.
        return x * logits - logits.clamp_min(0) - log_mean_decay(logits.abs())

    def mean(self, logits):
        """Return E[x | z]; same shape, in [0, 1]. It is nearer to 1/2 than sigmoid(logits)."""
        small = logits.abs() < 0.3
        near, large = logits.clamp(-0.3, 0.3), torch.where(small, 1.0, logits)
        series = 0.5 + near / 12 - near**3 / 720 + near**5 / 30240
        return torch.where(small, series, -1 / torch.expm1(-large) - 1 / large)

    def sample(self, logits, generator=None):
        """Return images drawn from p(x | z), by the inverse of the distribution function; same shape, in [0, 1]."""
        u, rate = uniform(logits, generator), logits.abs()
        small = rate < 1e-3
        safe = torch.where(small, 1.0, rate)
        decayed = torch.where(small, u - rate * u * (1 - u) / 2, -torch.log1p(u * torch.expm1(-safe)) / safe)
        return torch.where(logits > 0, 1 - decayed, decayed).clamp(0, 1)
