"""The small curved model of chapters 3 to 6: one latent dimension, two numbers in x, posteriors with two modes."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_tutorial.exact.grid_latent import GridLatent

__all__ = ["curved", "gaussian_log_likelihood", "parabola"]

_LOG_2PI = math.log(2 * math.pi)


def parabola(z: Tensor) -> Tensor:
    """Return the curved decoder of the course, (z / 2, z^2 - 1): ``(..., 1)`` to ``(..., 2)``.

    For z ~ N(0, 1) both outputs have mean 0, and they are uncorrelated though one z makes both. With z / 2 the two arms
    are so close that noise of 0.3 can hide from which of them an x above the vertex, (0, -1), came.
    """
    return torch.cat([z / 2, z.square() - 1], -1)


def gaussian_log_likelihood(noise_std: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function (x, mean) -> log N(x; mean, noise_std^2 I), summed over the last axis.

    ``noise_std``: a positive number, else ValueError. The function raises ValueError for last axes of unequal lengths.
    """
    if not 0 < noise_std < math.inf:
        raise ValueError(f"noise_std must be a positive number; got {noise_std}")

    def log_likelihood(x, mean):
        if x.shape[-1:] != mean.shape[-1:]:
            raise ValueError(
                f"x must have {mean.shape[-1]} numbers in its last axis, as mean has; got {tuple(x.shape)}"
            )
        return -0.5 * (((x - mean) / noise_std).square() + _LOG_2PI + 2 * math.log(noise_std)).sum(-1)

    return log_likelihood


def curved(noise_std: float = 0.3, **grid) -> GridLatent:
    """Return the course's small model: z ~ N(0, 1), x ~ N(parabola(z), noise_std^2 I), as :class:`GridLatent`.

    ``grid``: points, extent and dtype. x is ``(B, 2)``. Well above the vertex, as at (0, 0.5), both signs of z
    explain x, and p(z | x) has two modes; on an arm, as at (1, 3), only one sign does; p(z | x) narrows outwards.
    """
    return GridLatent(parabola, gaussian_log_likelihood(noise_std), latent_dim=1, **grid)
