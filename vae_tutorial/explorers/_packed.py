"""Networks of 7 or 8 bits a weight, small enough for a page: what is sent, and the same network in PyTorch.

Of each linear layer, in this order: its scales, float32 ``(out,)``; its weights, int8 ``(out, in)`` row by row (int16
where a layer has more than 8 bits); its bias, float32 ``(out,)``; all little-endian. A weight is its row's scale times
its whole number. ``shared.js`` reads it (``unpackLayers``) and computes what it says (``forward``).

What it costs, for the network of chapter 11: the ELBO of the 10,000 test images, from 10 draws each, the same ones
before and after, falls from -136.68 to -136.91, by 0.23 nats (standard error 0.04 over the images). In the encoder the
two small layers have 16 bits: with 8 their rounding moves the mean of q by more than its deviation, which costs 4.7.
"""

import copy

import numpy as np
import torch

from vae_tutorial import pretrained
from vae_tutorial.explorers import _trainer
from vae_tutorial.explorers._svg import STATIC

FILES = STATIC / "files"  # what page.js loads where a state names a file, once for all pages
ENCODER_BITS, DECODER_BITS = (8, 16, 16), (8, 8, 7)  # of each layer's weights
SHIFT = 80


def vae():
    """Return ``pretrained.load("mlp-2d")`` as pages have it, in double precision."""
    model = pretrained.load("mlp-2d").double()
    model.encoder, model.decoder = rounded(model.encoder, ENCODER_BITS), rounded(model.decoder, DECODER_BITS)
    return model


def linear(module):
    """Return the linear layers of a module, in their order."""
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]


def sizes(layers):
    """Return how many numbers go into the first layer, and come out of each."""
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def packed(layers, bits=8):
    """Return linear layers as bytes; ``bits``: at most 16, for all or for each. Between them a page computes ReLUs."""
    return b"".join(
        part.tobytes()
        for layer, width in zip(layers, _each(bits, layers), strict=True)
        for part in (*_whole_numbers(layer, width), layer.bias.detach().cpu().numpy().astype("<f4"))
    )


def rounded(module, bits=8):
    """Return a copy of a module, in double precision on the CPU, whose linear layers are those that are sent."""
    module = copy.deepcopy(module).cpu().double()
    with torch.no_grad():
        for layer, width in zip(linear(module), _each(bits, linear(module)), strict=True):
            scale, weight = _whole_numbers(layer, width)
            layer.weight.copy_(torch.from_numpy(scale.astype("f8")[:, None] * weight))
            layer.bias.copy_(layer.bias.float())
    return module


def files():
    """Return the scripts that bring the network of chapter 11, and small digits, into pages, by their names."""
    model = pretrained.load("mlp-2d")
    return {
        "mlp-2d-encoder": script("mlp-2d-encoder", packed(linear(model.encoder), ENCODER_BITS)),
        "mlp-2d-decoder": script("mlp-2d-decoder", packed(linear(model.decoder), DECODER_BITS)),
        "digits14": script("digits14", _trainer.sent()),
    }


def script(name, content):
    """Return the text of a script that brings bytes into a page, where page.js finds them by this name.

    Each byte is a letter, so that gzip sees which are frequent; those of small numbers are ASCII.
    """
    letters = [(byte + SHIFT) % 256 for byte in content]
    text = "".join(chr(at if 32 <= at < 127 and chr(at) not in '"\\' else at + 256) for at in letters)
    # A loop, since Uint8Array.from takes ten times as long.
    return (
        f'(window.explorerFiles ??= {{}})["{name}"] = ((text) => {{\n  const bytes = new Uint8Array(text.length);\n'
        f"  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i) - {SHIFT};\n  return bytes;\n"
        f'}})(\n  "{text}",\n);\n'
    )


def _each(bits, layers):
    return [bits] * len(layers) if isinstance(bits, int) else bits


def _whole_numbers(layer, bits):
    """A layer's scales, float32 ``(out,)``, and its weights as multiples of them, whole numbers ``(out, in)``."""
    weight = layer.weight.detach().cpu().double().numpy()
    most = 2 ** (bits - 1) - 1
    scale = (np.abs(weight).max(1) / most).astype("<f4")
    scale[scale == 0] = 1  # a row of zeros
    return scale, np.rint(weight / scale.astype("f8")[:, None]).clip(-most, most).astype("<i2" if bits > 8 else "i1")
