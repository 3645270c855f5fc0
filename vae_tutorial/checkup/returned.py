"""What somebody's pass returns, told apart: the output, mu, the encoder's second number, and z where it is there.

In a dict or an object by names; in a tuple by sizes, and z by its noise: it alone is another in each pass.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_tutorial.checkup.arguments import role_of
from vae_tutorial.checkup.subject import CheckupError

__all__ = ["Layout", "Taken", "described", "layout_of", "rebuilt", "stray", "taken"]

WANTED = "(output, mu, logvar), with z anywhere among them, or a dict or an object with these names"


class Layout(NamedTuple):
    """The keys, or places, of what a pass returns. ``second`` None: at ``mu`` is a Gaussian distribution, of both."""

    output: Any
    mu: Any
    second: Any
    z: Any = None


class Taken(NamedTuple):
    """What a pass returned. ``sources``: the tensors of the code that z was drawn from, to ask for their gradients."""

    output: Any
    mu: Tensor
    second: Tensor
    sources: tuple


def taken(returned, layout: Layout) -> Taken:
    """The output, mu, the second number (of a distribution the log-variance), and their sources."""
    found = _fields(returned)
    if layout.second is None:
        inner = _gaussian(found[layout.mu])
        return Taken(found[layout.output], inner.loc, 2 * inner.scale.log(), (inner.loc, inner.scale))
    code = found[layout.mu], found[layout.second]
    return Taken(found[layout.output], *code, code)


def rebuilt(returned, layout: Layout, output, x: Tensor, mu: Tensor, second: Tensor, z: Tensor):
    """Return a pass's result in its own form, with these in the places of its own; images that it returns become x."""
    new = {layout.output: output, layout.mu: mu, layout.second: second}
    if layout.second is None:
        new = {layout.output: output, layout.mu: _like(_fields(returned)[layout.mu], mu, second)}
    if layout.z is not None:
        new[layout.z] = z
    for key, value in _fields(returned).items():
        if key not in new and isinstance(value, Tensor) and value.shape[1:] == x.shape[1:]:
            new[key] = x
    if isinstance(returned, Mapping):
        own = copy.copy(returned)
        for key, value in new.items():
            own[key] = value
        return own
    if hasattr(returned, "_replace"):
        return returned._replace(**new)
    if isinstance(returned, tuple | list):
        return type(returned)(new.get(place, value) for place, value in enumerate(returned))
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return dataclasses.replace(returned, **new)
    own = copy.copy(returned)
    for key, value in new.items():
        setattr(own, key, value)
    return own


def layout_of(passes, x: Tensor) -> Layout:
    """The :class:`Layout` of passes of the same images x, two in evaluation mode and two in training mode.

    Raises CheckupError where it cannot be told with certainty, and says what came.
    """
    fields = [_fields(returned) for returned in passes]
    first = fields[0]
    posterior = _posterior(first)
    images = [key for key, value in first.items() if _is_image(value, x)]
    if isinstance(next(iter(first), 0), str):
        found = _by_name(first, images, posterior)
    else:
        found = _by_place(fields, images, posterior, x)
    if found is None:
        raise CheckupError(
            f"forward must return {WANTED}; yours returns {described(passes[0])}. Else give functions: encode= from x "
            "to (mu, logvar) and decode= from z to the output"
        )
    return found


def described(returned) -> str:
    """What came, in words: its kind, and the shapes or kinds of its parts."""
    found = _fields(returned)
    if list(found) == [0] and not isinstance(returned, tuple | list):
        return _word(returned)
    parts = [f"{key} {_word(value)}" if isinstance(key, str) else _word(value) for key, value in found.items()]
    return f"a {type(returned).__name__} of {', '.join(parts) or 'nothing'}"


def _word(value):
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _fields(returned) -> dict:
    if isinstance(returned, Mapping):
        return dict(returned.items())
    if hasattr(returned, "_asdict"):
        return returned._asdict()
    if isinstance(returned, tuple | list):
        return dict(enumerate(returned))
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return {one.name: getattr(returned, one.name) for one in dataclasses.fields(returned)}
    if hasattr(returned, "__dict__") and not isinstance(returned, Tensor | Distribution):
        return {name: value for name, value in vars(returned).items() if not name.startswith("_")}
    return {0: returned}


def _is_image(value, x):
    """Whether it may be an output: of an image's size, or two of them side by side, and not the image itself."""
    value = value[0] if isinstance(value, tuple | list) and value else value
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != len(x):
        return False
    return value.numel() in (x.numel(), 2 * x.numel()) and not _same(value.flatten(), x.flatten())


def _posterior(fields):
    """The key of a Gaussian that is another for each image; None where there is none, or more than one."""
    found = []
    for key, value in fields.items():
        if isinstance(value, Distribution) and _gaussian(value) is not None and value.mean.ndim > 1:
            mean, s = value.mean, value.stddev
            if (mean - mean[:1]).abs().max() > 0 or (s - s[:1]).abs().max() > 0:
                found.append(key)
    return found[0] if len(found) == 1 else None


def _gaussian(distribution):
    inner = distribution.base_dist if isinstance(distribution, Independent) else distribution
    return inner if isinstance(inner, Normal) else None


def _like(distribution, mu, second):
    """A Gaussian of the same kind as another."""
    inner = type(_gaussian(distribution))(mu, (second / 2).exp())
    if isinstance(distribution, Independent):
        return Independent(inner, distribution.reinterpreted_batch_ndims)
    return inner


def _by_name(fields, images, posterior):
    of = {role: [key for key, value in fields.items() if role_of(key) == role and isinstance(value, Tensor)]
          for role in ("output", "mu", "logvar", "z")}  # fmt: skip
    outputs = [key for key in of["output"] if key in images] or of["output"] or images
    if not outputs:
        return None
    if posterior is not None:
        mu, second, shape = posterior, None, fields[posterior].mean.shape
    elif len(of["mu"]) == len(of["logvar"]) == 1:
        (mu,), (second,) = of["mu"], of["logvar"]
        shape = fields[mu].shape
    else:
        return None
    z = [key for key in of["z"] if fields[key].shape == shape]
    return Layout(outputs[0], mu, second, z[0] if len(z) == 1 else None)


def _by_place(fields, images, posterior, x):
    first = fields[0]
    output = next(iter(images), 0)
    groups: dict[tuple, list] = {}
    for key, value in first.items():
        # An image that is returned beside its reconstruction is no code.
        if isinstance(value, Tensor) and value.ndim > 1 and key != output and not _same(value, x):
            groups.setdefault(tuple(value.shape), []).append(key)
    if posterior is not None:
        shape = tuple(first[posterior].mean.shape)
        z = groups.get(shape, [])
        return Layout(output, posterior, None, z[0] if len(z) == 1 else None)
    codes = [keys for keys in groups.values() if len(keys) > 1]
    if len(codes) != 1 or len(codes[0]) > 3 or len(first) < 3:
        return None
    (keys,) = codes
    moving = [key for key in keys if not _same(fields[0][key], fields[1][key])]
    pairs = [(a, b) for a, b in itertools.combinations(keys, 2) if _same(first[a], first[b])]
    if not moving and len(keys) == 3 and len(pairs) == 1:
        moving = [pairs[0][1]]  # z is mu: without noise, or in evaluation mode; either may be taken for the other
    if not moving:
        moving = [key for key in keys if not _same(fields[2][key], fields[3][key])]
    if len(keys) == 2:
        if len(moving) == 1:
            where = "mu" if moving == keys[:1] else "logvar"
            raise CheckupError(
                f"forward must return {WANTED}; yours returns {described(tuple(first.values()))}, and what stands "
                f"where {where} belongs is another in each pass: is it z? The KL needs mu and logvar"
            )
        return Layout(output, *keys)
    if len(moving) != 1:
        return None
    mu, second = (key for key in keys if key != moving[0])
    return Layout(output, mu, second, moving[0])


def _same(a, b):
    return a.shape == b.shape and torch.equal(a, b)


def stray(tensors: list[Tensor], code, z) -> bool:
    """Whether z and logvar are among the tensors that were returned, and mu is not."""

    def among(one):
        return any(part.shape == one.shape and torch.allclose(part, one, atol=1e-5) for part in tensors)

    if not isinstance(z, Tensor) or z.shape != code[0].shape or torch.allclose(z, code[0], atol=1e-5):
        return False
    return not among(code[0]) and among(code[1]) and among(z)
