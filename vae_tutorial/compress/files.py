"""Images in a file and back: a header, a checksum of the file, and a stack of bits.

The first bits of a stack must be there before the first latent can be popped. They are a hash of the pixels: after the
last image the receiver finds them on the stack, and compares.
"""

from __future__ import annotations

import copy
import hashlib
import math
import os
import struct
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from vae_tutorial import _checks, _files, _modes
from vae_tutorial.compress.coding import Coding
from vae_tutorial.compress.integers import CompressError
from vae_tutorial.compress.stack import Stack
from vae_tutorial.compress.tables import FRACTION
from vae_tutorial.objectives import elbo

__all__ = ["Written", "read", "write"]

_MAGIC, _VERSION = b"\x93VAENATS", 1
# Magic, version, precision, whether the images were bytes, first words, images, (C, H, W), checksum of the model
_HEADER = struct.Struct("<8sBBBHI3I16s")
_DIGEST = 16  # bytes of SHA-256, over all the rest of the file
_DRAWS = 2  # of z for each image, in the ELBO that a file is compared with
_MOST_WORDS = 1 << 14


class Written(NamedTuple):
    """What a file of ``images`` images costs: ``bytes`` in all, of which ``first_bits`` bits pay for no image.

    ``negative_elbo``: of the float model on the same images, the mean of 2 draws of z, in nats per image.
    """

    bytes: int
    images: int
    first_bits: int
    negative_elbo: float

    @property
    def bits(self) -> int:
        """Return the length of the file in bits."""
        return 8 * self.bytes

    @property
    def nats(self) -> float:
        """Return the nats of the file per image, header and first bits included."""
        return self.bits * math.log(2) / self.images

    @property
    def excess(self) -> float:
        """Return by what share the file is longer than the images' negative ELBO."""
        return self.nats / self.negative_elbo - 1

    @property
    def excess_beyond_first(self) -> float:
        """Return the same without the first bits and the header."""
        return self.excess - self.first_bits * math.log(2) / self.images / self.negative_elbo

    def __str__(self):
        return (
            f"{self.bytes:,} bytes for {self.images:,} image" + "s" * (self.images > 1) + f", {self.nats:.2f} nats each"
            f": {100 * self.excess:+.2f} % against the negative ELBO of {self.negative_elbo:.2f}, "
            f"{100 * self.excess_beyond_first:+.2f} % without the first {self.first_bits} bits"
        )


def write(
    path: str | os.PathLike, model: nn.Module, images: Tensor, *, precision: int = 12, batch_size: int = 100
) -> Written:
    """Write images to a file by bits-back coding with a model, about N times the negative ELBO long.

    ``images``: ``(N, C, H, W)``, black and white for a Bernoulli likelihood, else grey levels: bytes, or multiples of
    1/255. ``model``: a ``VAE``, ``MLPVAE`` or ``ConvVAE`` with likelihood "bernoulli" or "discretized_logistic".
    ``precision``: bits of each latent, at most 14. ``batch_size``: images that the networks see at once; the file is
    the same for every one, and on every machine. Returns :class:`Written`. The file is written whole or not at all.
    A compressed file that is there is replaced, another file is not.
    Raises ValueError for images or a path that do not fit, CompressError for a model that cannot be coded, for another
    file that is there, and where the file cannot be written. Source: Townsend, Bird and Barber (2019).
    """
    path = _checks.path("path", path)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"path must be the path of a file in a folder that exists; got {str(path)!r}")
    _check_replaceable(path)
    precision, batch_size = _checks.whole("precision", precision), _checks.whole("batch_size", batch_size)
    if precision > 14:
        raise ValueError(f"precision must be at most 14 bits; got {precision}")
    coding = Coding(model, precision, batch_size)
    x, floats, were_bytes = _pixels(images, _modes.unwrapped(model), coding)
    _compare(coding, model, x[:16], floats[:16])
    stack, first = _stacked(coding, x, were_bytes)
    header = _HEADER.pack(
        _MAGIC, _VERSION, precision, were_bytes, first, len(x), *coding.image_shape, coding.checksum()
    )
    payload = stack.words().astype("<u4").tobytes()
    content = header + hashlib.sha256(header + payload).digest()[:_DIGEST] + payload
    try:
        _files.write(path, content)
    except OSError as error:
        raise CompressError(f"could not write {path} ({error}); nothing was changed") from error
    first_bits = 8 * (_HEADER.size + _DIGEST) + 32 * (first + 1)
    return Written(len(content), len(x), first_bits, _negative_elbo(model, floats, batch_size))


def read(path: str | os.PathLike, model: nn.Module, *, batch_size: int = 100) -> Tensor:
    """Return the images of a file that :func:`write` wrote with the same model, ``(N, C, H, W)``, every pixel equal.

    float32 in [0, 1], or uint8 where bytes were written; on the CPU. ``batch_size``: images that the networks see at
    once, which need not be the writer's. Raises CompressError for a file that is missing, damaged, of another model or
    version, or none of ours, and never returns other images than those written: a hash of their pixels is in the file.
    """
    path, batch_size = _checks.path("path", path), _checks.whole("batch_size", batch_size)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CompressError(f"cannot read {path} ({error})") from error
    precision, were_bytes, first, count, shape, checksum = _opened(path, content)
    coding = Coding(model, precision, batch_size)
    if checksum != coding.checksum():
        raise CompressError(
            f"{path} was written with another model: its checksum is {checksum.hex()[:8]}, "
            f"this model's {coding.checksum().hex()[:8]}"
        )
    try:
        x, words = _unstacked(coding, content[_HEADER.size + _DIGEST :], count)
    except (CompressError, ValueError, AssertionError) as error:
        raise CompressError(f"{path} does not decode ({error}); nothing was returned") from error
    if shape != coding.image_shape or not np.array_equal(words, _first_words(x, were_bytes, first)):
        raise CompressError(f"{path} decodes to pixels with another checksum than those written; nothing was returned")
    pixels = torch.from_numpy(x)
    return pixels if were_bytes else pixels.float() / (1 if coding.binary else 255)


def _check_replaceable(path):
    """Raise ValueError for a device or a pipe, and CompressError for a file that is there and not of :func:`write`."""
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"path must be the path of an ordinary file; got {str(path)!r}")
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise CompressError(f"cannot read {path} ({error})") from error
    if start not in (b"", _MAGIC):
        raise CompressError(
            f"{path} is not a file of vae_tutorial.compress. It is not overwritten: delete it, or give another name"
        )


def _opened(path, content):
    """Return what the header says. Raises CompressError unless the whole file is as it was written."""
    if content[: len(_MAGIC)] != _MAGIC:
        raise CompressError(f"{path} is not a file of vae_tutorial.compress")
    if content[len(_MAGIC) : len(_MAGIC) + 1] != bytes([_VERSION]):
        raise CompressError(f"{path} is of another version of vae_tutorial.compress, or damaged; this reads {_VERSION}")
    header, rest = content[: _HEADER.size], content[_HEADER.size :]
    digest, payload = rest[:_DIGEST], rest[_DIGEST:]
    if len(digest) < _DIGEST or hashlib.sha256(header + payload).digest()[:_DIGEST] != digest:
        raise CompressError(f"{path} is damaged or cut short: its checksum is wrong")
    _, _, precision, were_bytes, first, count, c, h, w, checksum = _HEADER.unpack(header)
    if not 1 <= precision <= 14 or were_bytes > 1 or len(payload) % 4 or not payload:
        raise CompressError(f"{path} is damaged: its header does not make sense")
    return precision, bool(were_bytes), first, count, (c, h, w), checksum


def _stacked(coding, x, were_bytes):
    """Return a stack with all images, and how many first words it needed: twice as many until they suffice."""
    first = 3 + coding.latents * (coding.precision + 1) // 32
    while first <= _MOST_WORDS:
        stack, done = Stack(_first_words(x, were_bytes, first), seal=True), 0
        try:
            while done < len(x):
                # The first group is one image; each later one is as large as the bits of those before it allow.
                size = coding.largest_group(stack)
                coding.push(stack, x[done : done + size])
                done += size
            return stack, first
        except CompressError:
            first *= 2
    raise CompressError("the stack ran out of bits: these images cost less than their latents, which no model should")


def _unstacked(coding, payload, count):
    """Return the pixels, and the words that lay on the stack before them."""
    stack = Stack(np.frombuffer(payload, dtype="<u4"))
    groups = []
    while count:
        groups.append(coding.pop(stack, count))
        count -= len(groups[-1])
    return np.concatenate(groups[::-1]), stack.words(unseal=True)


def _first_words(x, were_bytes, count):
    """A hash of the pixels, ``count`` words long."""
    described = repr((x.shape, were_bytes)).encode() + x.tobytes()
    return np.frombuffer(hashlib.shake_256(described).digest(4 * count), dtype="<u4")


def _pixels(images, model, coding):
    """Return the pixels as bytes, as the model takes them, and whether they were given as bytes."""
    tensor = _checks.tensor(images, "images")
    were_bytes = tensor.dtype == torch.uint8
    floats = _checks.images(tensor, model, "images", divide=not coding.binary)
    levels = (1 << coding.pixel_bits) - 1
    whole = (floats * levels).round()
    if (floats - whole / levels).abs().max() > 1e-6:
        if coding.binary:
            raise ValueError(
                "images must be 0 and 1 for a Bernoulli likelihood, black and white: data.binarize(images)"
            )
        raise ValueError("images must be grey levels, multiples of 1/255 or bytes; other values would be lost")
    if len(floats) >= 1 << 32:
        raise ValueError(f"a file takes fewer than 2^32 images; got {len(floats)}")
    return whole.cpu().numpy().astype(np.uint8), floats, were_bytes


def _compare(coding, model, x, floats):
    """Raise CompressError where the whole numbers are not what the model computes, as with a forward of its own."""
    exact = copy.deepcopy(_modes.unwrapped(model)).cpu().double().eval()
    with torch.no_grad():
        mu, logvar = exact.encode(floats.cpu().double())
        z = mu.clamp(-8, 8)
        parameters = exact.decode((z * 2**FRACTION).round() / 2**FRACTION)
    whole = (z * 2**FRACTION).round().long().numpy()
    pairs = {
        "encoder": (coding.encoder(x, len(x)), torch.cat((mu, logvar), 1)),
        "decoder": (coding.decoder(whole, len(x)), parameters.flatten(1)),
    }
    for name, (found, wanted) in pairs.items():
        wanted, found = (
            wanted.clamp(-4000, 4000),
            torch.from_numpy(found) / 2**FRACTION,
        )  # whole numbers are cut off there
        if (
            found.shape != wanted.shape
            or ((found.clamp(-4000, 4000) - wanted).abs() > 0.02 + 0.02 * wanted.abs()).any()
        ):
            raise CompressError(
                f"the model's {name} computes something else than its layers, one after the other, in whole numbers"
            )


def _negative_elbo(model, floats, batch_size):
    generator = Generator(floats.device).manual_seed(0)
    parts = [elbo(model, x, samples=_DRAWS, generator=generator).elbo for x in floats.split(batch_size)]
    return -torch.cat(parts).double().mean().item()
