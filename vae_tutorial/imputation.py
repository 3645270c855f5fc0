"""Missing columns of a table, filled in from the columns that are there: p(missing | observed) of a VAE.

p(x_m | x_o) is the mean of p(x_m | z) over the posterior p(z | x_o), since the columns are independent given z. The
encoder does not know that posterior: it was trained on whole rows. So z is drawn from a proposal and weighted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from vae_tutorial import _checks, _modes
from vae_tutorial.marginal import averaged
from vae_tutorial.models import VAE
from vae_tutorial.proposals import LOG_2PI, PIECE, Mixture, check_number, gaussians

__all__ = ["Imputed", "impute"]

_FROM_PRIOR = 0.1  # the share of draws of z from the prior: no weight exceeds ten times p(x_o | z)


class Imputed(NamedTuple):
    """Rows filled in. What was observed is as it was, in the data's own units.

    ``mean``: E[x_m | x_o] in the missing places, ``(B, D)``; ``draws``: rows drawn from p(x_m | x_o), ``(n, B, D)``,
    whose spread says how sure that is; ``ess``: the effective sample size for each row, ``(B,)``, of ``samples`` (as in
    ``marginal.LogMarginal``): where it is a handful, the answer means little; ``log_prob``: log p(x_o), ``(B,)``, nats,
    a density in the units of the observed columns.
    """

    mean: Tensor
    draws: Tensor
    ess: Tensor
    log_prob: Tensor


@_modes.measuring
def impute(
    model: VAE,
    x: Tensor,
    missing: Tensor | None = None,
    *,
    samples: int = 1000,
    draws: int = 100,
    rounds: int = 3,
    generator: Generator | None = None,
    batch_size: int = 100,
) -> Imputed:
    """Fill in missing columns by self-normalized importance sampling, as :class:`Imputed`.

    ``x``: ``(B, D)``, as the model takes them. ``missing``: which values are missing, bool, ``(B, D)``, or ``(D,)`` for
    the same columns in every row; without it, those that are NaN. What x holds there is not used.
    The proposal begins as the encoder's q, given the column's mean where a value is missing. In each of ``rounds`` it
    moves to the mean and covariance of its weighted draws (to which the encoder's variance is added, so that it is
    rather too wide), and missing values to their expectation. One draw in ten is from the prior. The ``samples``
    of the last round are the answer; ``draws`` rows are drawn from them by weight.
    Raises ValueError for a model of images, for wrong shapes, a row in which nothing is observed, observed values
    that are not finite, and masked arrays (give ``x.filled(numpy.nan)``).
    Sources: Rezende, Mohamed and Wierstra (2014), appendix F, and Mattei and Frellsen (2018), section 3, who fill in by
    Markov chains; Mattei and Frellsen (2019), MIWAE, for self-normalized importance sampling.
    """
    samples, rounds = _checks.whole("samples", samples, 2), _checks.whole("rounds", rounds)
    draws, batch_size = _checks.whole("draws", draws), _checks.whole("batch_size", batch_size)
    x, missing = _filled(model, x, missing)
    parts = [
        _impute(model, rows, holes, samples, draws, rounds, generator)
        for rows, holes in zip(x.split(batch_size), missing.split(batch_size), strict=True)
    ]
    mean, drawn, ess, log_prob = zip(*parts, strict=True)
    return Imputed(torch.cat(mean), torch.cat(drawn, 1), torch.cat(ess), torch.cat(log_prob))


def _filled(model, x, missing):
    """The rows, with a column's typical value for what is missing, and where that is: both (B, D), checked."""
    if not (isinstance(model, VAE) and _checks.of_vectors(model)):
        shape = getattr(model, "image_shape", None)
        raise ValueError(f"model must be a VAE of vectors, (D,); got a {type(model).__name__} with image_shape {shape}")
    x = _checks.tensor(x, "x")
    _checks.shape(x, model, "x")
    missing = x.isnan() if missing is None else _checks.tensor(missing, "missing")
    if missing.dtype != torch.bool or missing.shape not in (x.shape, x.shape[1:]):
        wanted = f"bool of shape {tuple(x.shape)} or {tuple(x.shape[1:])}"
        raise ValueError(f"missing must be {wanted}; got {missing.dtype}, {tuple(missing.shape)}")
    missing = missing.to(x.device).expand_as(x)
    if missing.all(1).any():
        rows = int(missing.all(1).sum())
        raise ValueError(f"{rows} of {len(x)} rows have nothing observed; model.sample draws rows from nothing")
    typical = torch.zeros_like(x[:1]) + (0 if model.likelihood.unit else model.likelihood.shift)
    return _checks.images(torch.where(missing, typical.to(x.dtype), x), model, "x"), missing


def _impute(model, x, missing, samples, draws, rounds, generator):
    proposal = Mixture.of(*gaussians(model.encode, x, model)).with_prior(0.5)
    for _ in range(rounds):
        z, logs = _weighted(model, x, missing, proposal, samples, generator)
        weights = logs.softmax(0).to(x.dtype)  # (S, B)
        pieces = zip(z.split(_most(x)), weights.split(_most(x)), strict=True)
        expected = sum((w[..., None] * model.likelihood.mean(model.decode(part))).sum(0) for part, w in pieces)
        filled = torch.where(missing, expected.round() if model.likelihood.binary else expected, x)
        proposal = _fitted(z, weights, gaussians(model.encode, filled, model)[1]).with_prior(_FROM_PRIOR)
    chosen = torch.multinomial(weights.T, draws, replacement=True, generator=generator).T  # (n, B)
    z = z.gather(0, chosen[..., None].expand(-1, -1, z.shape[-1]))
    drawn = torch.where(missing, model.likelihood.sample(model.decode(z), generator), x)
    log_prob, _, ess, _ = averaged(logs)
    return torch.where(missing, expected, x), drawn, ess, log_prob


def _weighted(model, x, missing, proposal, samples, generator):
    """Draws of z, (S, B, Z), and the logarithms of their weights p(x_o | z) p(z) / proposal(z), (S, B), in float64."""
    z, logs = proposal.sample(samples, generator), []
    for part in z.split(_most(x)):
        each = model.likelihood.column_log_prob(x, model.decode(part))  # (s, B, D)
        observed = check_number(each.masked_fill(missing, 0).sum(-1))
        log_prior = -0.5 * (part.square().sum(-1) + part.shape[-1] * LOG_2PI)
        logs.append(observed + log_prior - proposal.log_prob(part))
    return z, _checks.double(torch.cat(logs))


def _fitted(z, weights, logvar):
    """A Gaussian for each row with the mean and the covariance of weighted draws, and the encoder's variances added."""
    centre = (weights[..., None] * z).sum(0)  # (B, Z)
    away = z - centre
    covariance = torch.einsum("sb,sbi,sbj->bij", weights, away, away) + logvar.exp().diag_embed()
    return Mixture(centre[None], torch.linalg.cholesky(covariance)[None], torch.ones_like(centre[None, :, 0]))


def _most(x):
    return max(1, PIECE // x.numel())  # draws at a time: all of them at once might not fit in memory
