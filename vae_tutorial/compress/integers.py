"""Networks in whole numbers: the same answer to the last bit on every machine, in every order of summation.

A sum of floating-point numbers depends on its order, which changes with machine, threads and batch size. Whole numbers
below 2^53 are exact in float64, so weights and activations are rounded to whole numbers, and kept so small that no
partial sum can be larger. Source: Balle, Johnston and Minnen (2019), integer networks.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vae_tutorial.compress import tables
from vae_tutorial.compress.tables import FRACTION

__all__ = ["CompressError", "IntegerNetwork"]

_LIMIT = 1 << 51  # of any partial sum, a quarter of what float64 holds exactly
_LARGEST = 1 << 28  # of an activation, which is 4096 with FRACTION bits: larger ones are cut off
_WEIGHT_BITS = range(24, 7, -1)  # behind the point of the weights: as many as the limit allows
_KNOWN = "Linear, Conv2d, ConvTranspose2d, ReLU, Tanh, Flatten, Unflatten"


class CompressError(RuntimeError):
    """A file is damaged, foreign or of another model, or a model or its images cannot be coded."""


class IntegerNetwork:
    """A network of a VAE in whole numbers: ``(B, ...)`` whole numbers to ``(B, outputs)``, with FRACTION bits.

    ``network``: an encoder or decoder with ``layers``, an ``nn.Sequential``. ``largest``: of an input's magnitude.
    ``fraction``: bits behind the point of the inputs. ``divisor``: what the inputs are divided by, such as 255.
    Raises CompressError for other layers and for weights that are too large or not finite.
    """

    def __init__(self, network: nn.Module, name: str, largest: int, fraction: int, divisor: int = 1):
        layers = getattr(network, "layers", None)
        if not isinstance(layers, nn.Sequential):
            raise CompressError(f"the {name} must have layers, an nn.Sequential of {_KNOWN}; {_kind(network)} has none")
        self.name, self.largest, self.fraction, self.divisor = name, largest, fraction, divisor
        self.before = largest, fraction, divisor
        parameter = next(layers.parameters(), torch.zeros(0))
        self.device = torch.device("cpu") if parameter.device.type == "mps" else parameter.device
        self.steps = [self._step(layer) for layer in _flat(layers)]
        self.form = [_form(layer) for layer in _flat(layers)]

    @torch.no_grad()
    def __call__(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the outputs ``(B, outputs)``, int64, for ``x``, ``(B, ...)`` of whole numbers."""
        parts = [self._apply(torch.from_numpy(x[i : i + batch_size])) for i in range(0, len(x), batch_size)]
        return np.concatenate(parts)

    def checksum(self) -> bytes:
        """Return the SHA-256 of all that decides the network's answers: the layers' form and every whole number."""
        digest = hashlib.sha256(repr((self.before, self.form)).encode())
        for step in self.steps:
            if isinstance(step, _Weighted):
                digest.update(repr(step.shift).encode())
                for whole in step.wholes:
                    digest.update(whole.cpu().numpy().astype("<i8").tobytes())
        return digest.digest()

    def _apply(self, x):
        x = x.to(self.device, torch.float64)
        for step in self.steps:
            x = step(x)
        return x.flatten(1).cpu().numpy().astype(np.int64)

    def _step(self, layer):
        """Return a function that does what the layer does; the inputs' bound and fraction are then its outputs'."""
        if isinstance(layer, nn.ReLU):
            return lambda x: x.clamp_min(0)
        if isinstance(layer, nn.Flatten | nn.Unflatten | nn.Identity):
            return layer
        if isinstance(layer, nn.Tanh):
            self.largest = 1 << FRACTION
            return _tanh
        kinds = {nn.Linear: _linear, nn.Conv2d: _convolution, nn.ConvTranspose2d: _transposed}
        if type(layer) not in kinds or getattr(layer, "groups", 1) != 1:
            raise CompressError(f"the {self.name} must be made of {_KNOWN}, without groups; it has {_kind(layer)}")
        if getattr(layer, "padding_mode", "zeros") != "zeros" or isinstance(getattr(layer, "padding", 0), str):
            raise CompressError(f"a convolution of the {self.name} must be padded with a number of zeros")
        step = _Weighted(kinds[type(layer)], layer, self)
        self.largest, self.fraction, self.divisor = step.largest, FRACTION, 1
        return step


class _Weighted:
    """A layer with weights: exact sums of products, rounded back to FRACTION bits."""

    def __init__(self, product, layer, before):
        self.product, self.layer = product, layer
        weight = layer.weight.detach().cpu().double().contiguous() / before.divisor
        bias = torch.zeros(1) if layer.bias is None else layer.bias.detach().cpu()
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise CompressError(f"the {before.name} has weights that are not finite")
        outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0  # the axis of the weights
        for bits in _WEIGHT_BITS:
            shift = before.fraction + bits - FRACTION
            if shift < 0 or _too_large(weight, bits) or _too_large(bias.double(), before.fraction + bits):
                continue
            whole, offset = (weight * 2.0**bits).round(), (bias.double() * 2.0 ** (before.fraction + bits)).round()
            sums = whole.transpose(0, outputs).flatten(1).abs().long().sum(1)
            largest = int(sums.max()) * before.largest + int(offset.abs().max())
            if largest <= _LIMIT:
                break
        else:
            raise CompressError(f"the weights of the {before.name} are too large for exact sums")
        self.shift, self.largest = shift, min((largest >> shift) + 1, _LARGEST)
        self.wholes = (whole.to(before.device), offset.to(before.device))

    def __call__(self, x):
        x = self.product(x, *self.wholes, self.layer)
        x = ((x + 2.0**self.shift // 2) * 2.0**-self.shift).floor()  # to the nearest; all three steps are exact
        return x.clamp(-_LARGEST, _LARGEST)


def _linear(x, weight, bias, _):
    return x.flatten(1) @ weight.T + bias


# Convolutions as matrix products: a library's own may go through a Fourier transform, which rounds.
def _convolution(x, weight, bias, layer):
    size = [_reach(n, layer, axis) for axis, n in enumerate(x.shape[2:])]
    patches = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (B, in k k, places)
    return (weight.flatten(1) @ patches + bias.view(-1, 1)).unflatten(2, size)


def _transposed(x, weight, bias, layer):
    height, width = (
        (n - 1) * layer.stride[axis]
        - 2 * layer.padding[axis]
        + layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        + layer.output_padding[axis]
        + 1
        for axis, n in enumerate(x.shape[2:])
    )
    patches = weight.flatten(1).T @ x.flatten(2)  # (B, out k k, places)
    images = F.fold(patches, (height, width), layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return images + bias.view(-1, 1, 1)


def _reach(size, layer, axis):
    extent = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
    return (size + 2 * layer.padding[axis] - extent) // layer.stride[axis] + 1


def _tanh(x):
    return torch.from_numpy(tables.tanh(x.cpu().numpy().astype(np.int64))).to(x)


def _too_large(values, bits):
    return values.numel() > 0 and math.ldexp(values.abs().max().item(), bits) > _LIMIT


def _flat(layers):
    for layer in layers:
        yield from _flat(layer) if isinstance(layer, nn.Sequential) else [layer]


def _form(layer):
    names = ("kernel_size", "stride", "padding", "dilation", "output_padding", "unflattened_size")
    found = [getattr(layer, name, None) for name in names]
    return _kind(layer), [None if value is None else tuple(value) for value in found]


def _kind(module):
    return type(module).__name__
