"""p(x | z) for one pixel at a time: the decoder's parameters in; log-probability, mean and samples out.

``channels`` says how many parameters a likelihood needs for each pixel channel, ``binary`` whether its data are black
and white. Parameters are ``(..., channels * C, H, W)``, images ``(..., C, H, W)``. The pixels of an image are
independent given z. A likelihood is a module because one of them, the Gaussian, may have a variance to learn.
For the rows of a table see :class:`Columns`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn

from vae_tutorial.likelihoods._base import Likelihood
from vae_tutorial.likelihoods.advice import Suggestion, suggest
from vae_tutorial.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from vae_tutorial.likelihoods.columns import Columns
from vae_tutorial.likelihoods.gaussian import Gaussian
from vae_tutorial.likelihoods.logistic import DiscretizedLogistic
from vae_tutorial.likelihoods.mixture import MixtureOfLogistics

__all__ = [
    "Bernoulli",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Likelihood",
    "MixtureOfLogistics",
    "Suggestion",
    "get",
    "output_shape",
    "suggest",
]

_ALL = (Bernoulli, ContinuousBernoulli, Gaussian, DiscretizedLogistic, MixtureOfLogistics)
_CLASSES = {kind.__name__: kind for kind in _ALL}
_KNOWN = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,  # variance 1: half the squared error and a constant
    "gaussian_shared": functools.partial(Gaussian, "shared"),
    "gaussian_learned": functools.partial(Gaussian, "learned"),
    "gaussian_per_pixel": functools.partial(Gaussian, "per_pixel"),
    "discretized_logistic": DiscretizedLogistic,
    "mixture_of_logistics": MixtureOfLogistics,
}
NAMES = tuple(_KNOWN)


def get(name: str | dict | nn.Module, image_shape: Sequence[int] | None = None):
    """Return the likelihood of that name, or the likelihood itself, for images of a shape.

    Names: bernoulli, continuous_bernoulli, gaussian (its variance is 1), gaussian_shared, gaussian_learned,
    gaussian_per_pixel, discretized_logistic, mixture_of_logistics. ``name`` may also be a likelihood's
    ``architecture``, a dict.
    ``image_shape``: (C, H, W), or (D,) for the rows of a table, whose likelihood is then made into :class:`Columns`.
    Raises ValueError for an unknown name, and for a likelihood that does not fit the shape; TypeError for what is none.
    """
    found = _made(name)
    if image_shape is None:
        return found
    if isinstance(found, Columns):
        if (found.columns,) != tuple(image_shape):
            raise ValueError(f"likelihood is of {found.columns} columns; image_shape is {tuple(image_shape)}")
        return found
    if isinstance(found, Gaussian):
        found = found.of_shape(image_shape)
    return Columns(found, image_shape[0]) if len(image_shape) == 1 else found


def output_shape(image_shape: Sequence[int], likelihood: Any) -> tuple[int, ...]:
    """Return the shape of the decoder's answer: that of an image, with as many channels as the likelihood needs."""
    outputs = getattr(likelihood, "outputs", None)  # a likelihood of the reader's own may have ``channels`` alone
    return (outputs(image_shape[0]) if outputs else likelihood.channels * image_shape[0], *image_shape[1:])


def _made(name):
    if isinstance(name, str):
        if name not in _KNOWN:
            raise ValueError(f"likelihood must be one of {', '.join(map(repr, _KNOWN))}; got {name!r}")
        return _KNOWN[name]()
    if isinstance(name, dict):
        if set(name) != {"class", "arguments"} or name["class"] not in _CLASSES:
            known = ", ".join(_CLASSES)
            raise ValueError(f"likelihood must be {{'class': one of {known}, 'arguments': {{...}}}}; got {name!r}")
        return _CLASSES[name["class"]](**name["arguments"])
    if isinstance(name, type) or not hasattr(name, "log_prob"):
        raise TypeError(f"likelihood must be a name or an object, such as Gaussian(); got {name!r}")
    return name
