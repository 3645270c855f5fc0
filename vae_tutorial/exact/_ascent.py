"""Gradient ascent to the diagonal Gaussian of largest ELBO, from several starting points at once."""

import torch


def ascend(elbo, x, mu, logvar, steps):
    """Return mu, logvar ``(B, Z)`` and their ELBO ``(B,)`` after at most ``steps`` steps of natural gradient.

    ``elbo``: the function (x, mu, logvar) to ELBOs. A step that lowers a row's ELBO is undone, and its rate halved.
    Source: Khan and Rue (2023), The Bayesian learning rule.
    """

    def slopes(rows, mu, logvar):
        with torch.enable_grad():
            mu, logvar = mu.detach().requires_grad_(), logvar.detach().requires_grad_()
            value = elbo(x[rows], mu, logvar)
            return value.detach(), *torch.autograd.grad(value.sum(), (mu, logvar))

    eps = torch.finfo(x.dtype).eps
    rows = torch.arange(len(x))  # those that have not converged
    height, slope_mu, slope_logvar = slopes(rows, mu, logvar)
    rate = torch.ones_like(mu[:, :1])
    for _ in range(steps):
        # The natural gradient multiplies the precision by 1 - 2 slope_logvar, clamped because that can be negative
        # between two modes; then it moves the mean by the new variance times slope_mu.
        change = -torch.log((1 - 2 * rate[rows] * slope_logvar[rows]).clamp(0.1, 10))
        new_logvar = logvar[rows] + change
        step = rate[rows] * new_logvar.exp() * slope_mu[rows]
        new_mu = mu[rows] + step
        new_height, *new_slopes = slopes(rows, new_mu, new_logvar)
        better = new_height >= height[rows] - 10 * eps * height[rows].abs()
        rate[rows] = (rate[rows] * torch.where(better, 1.5, 0.5)[:, None]).clamp_max(1)
        kept = rows[better]
        mu[kept], logvar[kept], height[kept] = new_mu[better], new_logvar[better], new_height[better]
        slope_mu[kept], slope_logvar[kept] = (slope[better] for slope in new_slopes)
        moved = torch.maximum(step.abs() * torch.exp(-0.5 * new_logvar), change.abs()).amax(-1)
        rows = rows[moved > eps**0.5]
        if len(rows) == 0:
            break
    return mu, logvar, height
