"""Two estimates of one gradient: of E[f(z)], z ~ N(mu, diag exp logvar), with respect to mu and logvar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from vae_tutorial import _checks

__all__ = ["pathwise_gradient", "score_function_gradient"]


def score_function_gradient(
    f: Callable[[Tensor], Tensor],
    mu: Tensor,
    logvar: Tensor,
    samples: int = 1,
    baseline: float | Tensor = 0.0,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Estimate the gradient of E[f(z)], z ~ N(mu, diag exp logvar), by (f(z) - baseline) * grad log q(z).

    ``f``: maps z of ``(S, ..., D)`` to one number for each draw, ``(S, ...)``. It is only evaluated, never
    differentiated: it may be a black box, and it may jump. ``mu``, ``logvar``: ``(..., D)``, of one floating dtype.
    ``baseline``: what is subtracted from f, a number or a tensor that broadcasts to ``(S, ...)``. It changes the
    variance and not the mean, as long as entry s is independent of draw s.
    Returns ``(grad_mu, grad_logvar)``, each ``(S, ..., D)`` and detached: one unbiased estimate for each draw, in units
    of f per unit of mu and of logvar. Their mean over S is the estimate, their spread its noise.
    Raises ValueError for samples below 1 and for wrong shapes of mu, logvar, baseline and of what f returns.
    Sources: Williams (1992), REINFORCE; Glynn (1990); Mohamed et al. (2020), section 4.
    """
    z, eps, sigma = _draws(mu, logvar, samples, generator)
    with torch.no_grad():
        value = _value(f, z)  # (S, ...)
        baseline = torch.as_tensor(baseline, dtype=z.dtype, device=z.device)
        try:
            baseline = baseline.expand(value.shape)
        except RuntimeError:
            got = tuple(baseline.shape)
            raise ValueError(f"baseline must be a number or broadcast to {tuple(value.shape)}; got {got}") from None
        weight = (value - baseline).unsqueeze(-1)  # (S, ..., 1): one reward for all D coordinates
        return weight * eps / sigma, weight * (eps.square() - 1) / 2


def pathwise_gradient(
    f: Callable[[Tensor], Tensor],
    mu: Tensor,
    logvar: Tensor,
    samples: int = 1,
    generator: Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Estimate the gradient of E[f(z)], z ~ N(mu, diag exp logvar), through z = mu + exp(logvar / 2) * eps.

    ``f``: maps z of ``(S, ..., D)`` to one number for each draw, ``(S, ...)``, by operations that autograd knows; each
    number may depend on its own draw only. ``mu``, ``logvar``: ``(..., D)``, of one floating dtype.
    Returns ``(grad_mu, grad_logvar)``, each ``(S, ..., D)`` and detached: for each draw df/dz * (1, sigma * eps / 2),
    in units of f per unit of mu and of logvar. Their mean over S is the estimate, their spread its noise.

    Unbiased for an f of moderate growth that is locally Lipschitz. It is enough that f is Lipschitz on every bounded
    region, with slopes that grow no faster than ``exp(a |z|)`` for some a; a ReLU network is such a function, and so
    is its squared error. Where f jumps it is wrong, and silently so: for a step function it is 0, because the slope
    of a step is 0 wherever it exists. An f whose graph was cut (``detach``, ``no_grad``) looks constant: 0 as well.
    Raises ValueError for samples below 1 and for wrong shapes of mu, logvar and of what f returns.
    Sources: Kingma and Welling (2014), section 2.4; Rezende et al. (2014), section 3; Mohamed et al. (2020), section 5.
    """
    z, eps, sigma = _draws(mu, logvar, samples, generator)
    with torch.enable_grad():
        z.requires_grad_()
        total = _value(f, z).sum()  # each term sees one draw only: the slope of the sum at a draw is that draw's slope
        slope = torch.autograd.grad(total, z, allow_unused=True)[0] if total.requires_grad else None
    if slope is None:  # f does not depend on z
        slope = torch.zeros_like(eps)
    return slope, slope * sigma * eps / 2


def _draws(mu, logvar, samples, generator):
    if not mu.is_floating_point() or mu.ndim < 1 or mu.shape != logvar.shape or mu.dtype != logvar.dtype:
        raise ValueError(
            f"mu and logvar must have one shape (..., D) and one floating dtype; "
            f"got {tuple(mu.shape)} {mu.dtype} and {tuple(logvar.shape)} {logvar.dtype}"
        )
    samples = _checks.whole("samples", samples)
    mu, sigma = mu.detach(), torch.exp(0.5 * logvar.detach())
    eps = torch.randn(samples, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + sigma * eps, eps, sigma  # (S, ..., D) twice, (..., D)


def _value(f, z):
    value = f(z)
    if not isinstance(value, torch.Tensor) or value.shape != z.shape[:-1]:
        got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(
            f"f must return one number for each draw, a tensor of shape {tuple(z.shape[:-1])} for z of shape "
            f"{tuple(z.shape)}; got {got}. Is a sum over the last axis missing?"
        )
    return value.to(z.dtype)
