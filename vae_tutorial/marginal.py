"""log p(x) of a trained VAE, nats, by importance sampling, with diagnostics of the estimate.

Importance sampling is as good as its proposal. The encoder's q is often too narrow, and then the estimate is far too
low while its error bar is small. So there is a proposal that is refined image by image, and a summary that says when
not to trust the number. Module ``witnesses`` has two more ways, which do not use q at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vae_tutorial import _checks, _decoding, _modes
from vae_tutorial.models import VAE
from vae_tutorial.proposals import (
    LOG_2PI,
    PIECE,
    Diagonal,
    check_arguments,
    check_number,
    check_steps,
    gaussians,
    refined_mixture,
)

__all__ = ["LogMarginal", "MarginalSummary", "log_marginal"]

FEW = 10  # an effective sample size below this (of 50 samples or more) says that the estimate cannot be trusted


class MarginalSummary(NamedTuple):
    """The mean of log p(x) over images, its standard error over images, both nats, and diagnostics.

    ``ess``: the median effective sample size, of ``samples``; ``low``: the share of images where it is below 10, or
    below a fifth of samples where these are fewer than 50; ``change``: how much the mean rises from half of the draws
    to all, nats: about what is still missing for light-tailed weights, and much less than that for heavy-tailed ones;
    ``fallbacks``: images whose refined proposal was not used; ``upper``: whether the estimate is too high on average.
    """

    value: float
    stderr: float
    ess: float
    low: float
    change: float
    samples: int
    fallbacks: int
    upper: bool = False

    @property
    def trusted(self) -> bool:
        """Whether fewer than one image in twenty has a low ESS, and half of the draws agree within 0.2 nats."""
        return self.low < 0.05 and abs(self.change) < 0.2

    def __str__(self):
        few = min(FEW, self.samples / 5)
        doubt = "" if self.trusted else f"; TOO {'HIGH' if self.upper else 'LOW'}, do not trust it"
        fallen = f"; {self.fallbacks} images fell back to the encoder's q" if self.fallbacks else ""
        return (
            f"{self.value:.2f} ± {self.stderr:.2f} nats (median ESS {self.ess:.0f} of {self.samples}, "
            f"below {few:g} for {100 * self.low:.0f} % of images; {self.change:+.2f} from half of the draws"
            f"{fallen}{doubt})"
        )


class LogMarginal(NamedTuple):
    """For each image, ``(B,)``: an estimate of log p(x) in nats, its standard error, and the effective sample size.

    All in float64, on the images' device, unless that has none (Apple's): then on the CPU. The estimate is too low on
    average, by about stderr**2 / 2 where stderr is small. ``ess`` is (sum w)^2 / sum w^2, between 1 and the number of
    samples; where it is a handful, neither the estimate nor its error means much. A high ess does not prove that no
    part of the posterior was missed. ``half``: the mean of the estimates from either half of the draws (nan where there
    is one draw). ``fallback``: whether the refined proposal diverged and the encoder's q was used. ``samples``: how
    many draws, an int. ``upper``: whether it is too high on average instead, as reverse annealing is.
    """

    value: torch.Tensor
    stderr: torch.Tensor
    ess: torch.Tensor
    half: torch.Tensor
    fallback: torch.Tensor
    samples: int
    upper: bool = False

    def summary(self) -> MarginalSummary:
        """Return the mean over the images with its diagnostics, as :class:`MarginalSummary`."""
        value, n = self.value.double(), len(self.value)
        return MarginalSummary(
            value=value.mean().item(),
            stderr=(value.std() / n**0.5).item() if n > 1 else math.nan,
            ess=self.ess.median().item(),
            low=(self.ess < min(FEW, self.samples / 5)).double().mean().item(),
            change=(value - self.half).mean().item(),
            samples=self.samples,
            fallbacks=int(self.fallback.sum()),
            upper=self.upper,
        )


@_modes.measuring
def log_marginal(
    model: VAE,
    images: Tensor,
    samples: int = 500,
    generator: torch.Generator | None = None,
    batch_size: int = 100,
    *,
    proposal: str | Callable = "encoder",
    steps: int = 300,
    widen: float | None = None,
    prior_weight: float | None = None,
) -> LogMarginal:
    """Estimate log p(x) of each image by importance sampling, as :class:`LogMarginal`.

    The estimate is log of the mean over ``samples`` draws of the weights w = p(x | z) p(z) / q(z). With one sample it
    is an ELBO, and it grows with samples, on average, towards log p(x).
    ``images``: ``(B, C, H, W)`` in [0, 1], and black and white for a Bernoulli likelihood, on the model's device.
    ``proposal``: ``"encoder"``, q(z | x) as it is; ``"refined"``, ``proposals.refine`` with ``steps`` of ascent for
    each image and a full covariance, 1.15 times as wide, one draw in twenty from the prior, so that no weight exceeds
    20 p(x | z); or a callable from images ``(B, C, H, W)`` to mu and logvar, ``(B, Z)`` each. ``widen``: factor of the
    standard deviations; ``prior_weight``: share of draws from the prior, in [0, 1); for all but "refined" 1 and 0
    unless given.
    Time grows with B * (samples + 3 * steps); memory is bounded. The same generator gives the same numbers.
    Raises ValueError, with the argument's name, for unusable arguments and where log p(x, z) is not a number.
    Sources: Burda, Grosse and Salakhutdinov (2016), equation 8; Cremer, Li and Duvenaud (2018) for the refinement;
    Owen (2013), chapter 9, for the mixture with the prior.
    """
    images = check_arguments(model, images, samples, generator)
    if not (callable(proposal) or proposal in ("encoder", "refined")):
        raise ValueError(f"proposal must be 'encoder', 'refined' or a callable; got {proposal!r}")
    check_steps(steps)
    refined = proposal == "refined"
    widen = (1.15 if refined else 1.0) if widen is None else widen
    prior_weight = (0.05 if refined else 0.0) if prior_weight is None else prior_weight
    if not 0 < widen < math.inf:
        raise ValueError(f"widen must be a positive number; got {widen}")
    if not 0 <= prior_weight < 1:
        raise ValueError(f"prior_weight must be in [0, 1); got {prior_weight}")
    rows = []
    for x in images.split(batch_size):
        diverged = torch.zeros(len(x), dtype=torch.bool)
        if refined:
            q, diverged = refined_mixture(model, x, steps, 0.05, generator, full=True)
        else:
            mu, logvar = gaussians(proposal if callable(proposal) else model.encode, x, model)
            q = Diagonal(mu, torch.exp(0.5 * logvar))
        q = q.widened(widen)
        if prior_weight > 0:
            q = q.with_prior(prior_weight)
        logs, most = [], max(1, PIECE // x.numel())  # log weights, in chunks of samples
        for first in range(0, samples, most):
            z = q.sample(min(most, samples - first), generator)  # (S, B, Z)
            log_p_x_given_z = check_number(_decoding.log_likelihood(model, x, z))
            log_prior = -0.5 * (z.square().sum(-1) + z.shape[-1] * LOG_2PI)
            logs.append(log_p_x_given_z + log_prior - q.log_prob(z))
        logs = _checks.double(torch.cat(logs))
        rows.append((*averaged(logs), diverged.to(logs.device)))
    value, stderr, ess, half, fallback = (torch.cat(column) for column in zip(*rows, strict=True))
    return LogMarginal(value, stderr, ess, half, fallback, samples)


def averaged(logs):
    """From log weights (S, B): the log of their mean, its error, the effective sample size, the mean of both halves."""
    samples = len(logs)
    log_sum, log_sum_squares = logs.logsumexp(0), (2 * logs).logsumexp(0)
    ess = (2 * log_sum - log_sum_squares).exp()
    # The relative variance of the mean weight; its square root is the error of the logarithm, by the delta method.
    relative = (1 / ess - 1 / samples).clamp_min(0) * samples / max(samples - 1, 1)
    halves = [half.logsumexp(0) - math.log(max(len(half), 1)) for half in logs.tensor_split(2)]
    half = sum(halves) / 2 if samples > 1 else torch.full_like(log_sum, math.nan)
    return log_sum - math.log(samples), relative.sqrt(), ess, half
