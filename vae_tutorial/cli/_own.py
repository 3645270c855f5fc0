"""What a command works on: a data set, a folder of images or a table; and how a likelihood takes it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_tutorial import _bars, data, likelihoods
from vae_tutorial.cli import _options, _tables
from vae_tutorial.models import Autoencoder

_VALUES = 2**20  # in one batch: a thousand images of 28 x 28, 85 of 3 x 64 x 64


class Found(NamedTuple):
    """``train``: ``data.Images``; ``test``: images of the same shape. To measure a model, both are all there is.

    ``columns``: names, of a table. ``likelihood``: a name, and ``why`` it was chosen where nobody named one.
    """

    train: Any
    test: Any
    columns: tuple[str, ...] = ()
    likelihood: str = ""
    why: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image, or of one row."""
        return tuple(self.train.images.shape[1:])


def describe(p):
    """Add the options that say how a training reads images or a table of the reader's own."""
    p.add_argument("--size", type=int, help="of --images: the height and width that they get (default: 64)")
    p.add_argument("--grey", action="store_true", help="of --images: one channel; colours become grey")
    p.add_argument(
        "--cache",
        type=_options.path,
        metavar="FILE",
        help="of --images: decode them once into this file, and train from there",
    )
    p.add_argument("--split", type=float, help="of --images and --table: the share to test on (default: 0.1)")


def check(arguments) -> None:
    """Raise ValueError for options that do not belong together, before anything is read."""
    given = {"--size": arguments.size is not None, "--grey": arguments.grey, "--cache": arguments.cache is not None}
    for name in (name for name, there in given.items() if there and arguments.images is None):
        raise ValueError(f"{name} is for --images FOLDER")
    if arguments.split is not None and arguments.images is arguments.table:
        raise ValueError("--split is for --images FOLDER and --table FILE; a data set has its own test images")
    if arguments.split is not None and not 0 < arguments.split < 1:
        raise ValueError(f"--split must be a share between 0 and 1, such as 0.1; got {arguments.split}")


def for_training(arguments, device) -> Found:
    """Return what to train on and to test with, and the likelihood: the one asked for, or what fits the data."""
    split, columns = arguments.split or 0.1, ()
    if arguments.images is not None:
        size = 64 if arguments.size is None else arguments.size
        train, test = data.from_folder(arguments.images, size, 1 if arguments.grey else 3, split, cache=arguments.cache)
    elif arguments.table is not None:
        (train, test), columns = _rows(arguments.table, split)
    else:
        likelihood = arguments.likelihood or "bernoulli"
        where = {"root": arguments.root, "device": device, "strict": arguments.strict}
        test, _ = _options.test_images(arguments, likelihoods.get(likelihood), device)
        return Found(data.load(arguments.dataset, **where), test, likelihood=likelihood)
    if test is None or len(test) < 2 or len(train) < 2:  # neither a standard error nor a landmark
        raise ValueError(
            f"two and more are needed to train on and to test on; there are {len(train)} and {len(test or ())}. "
            "See --split"
        )
    if arguments.likelihood is not None:
        return Found(train, test.images, columns, arguments.likelihood)
    suggested = likelihoods.suggest(train)
    return Found(train, test.images, columns, suggested.name, str(suggested))


def to_measure(arguments, model) -> Found:
    """Return all images of a folder at the model's own size, all rows of a table, or a data set's test images."""
    what, shape = arguments.what, tuple(model.image_shape)
    if len(shape) == 1:
        if arguments.table is None:
            raise ValueError(f"{what} is a model of tables with {shape[0]} columns; give --table FILE")
        (whole, _), columns = _rows(arguments.table, 0)
        known = getattr(model, "columns", columns)
        if columns != known or len(columns) != shape[0]:
            raise ValueError(
                f"{arguments.table} has the columns {_said(columns)}; {what} has {shape[0]}: {_said(known)}"
            )
        return Found(whole, whole.images, columns)
    if arguments.table is not None:
        raise ValueError(f"{what} is a model of images {shape}, not of tables; give --images FOLDER")
    if arguments.images is not None:
        whole, _ = data.from_folder(arguments.images, size=shape[1:], channels=shape[0], split=0)
        return Found(whole, whole.images)
    if shape != (1, 28, 28):
        raise ValueError(f"{what} is a model of images {shape}; give --images FOLDER")
    loaded = data.load(arguments.dataset, "test", root=arguments.root, strict=arguments.strict)
    return Found(loaded, loaded.images)


def _rows(path, split):
    frame = _tables.read(path)
    pair = data.from_arrays(frame, split=split)
    return [part and dataclasses.replace(part, name=path.name) for part in pair], tuple(frame.columns)


def _said(columns):
    return f"{', '.join(columns[:6])}{f' and {len(columns) - 6} more' if len(columns) > 6 else ''}"


def spread(total: int, most: int) -> Tensor:
    """Return the places of at most ``most`` of ``total`` images, evenly spaced: a folder may be sorted by class."""
    return torch.linspace(0, total - 1, min(total, most), dtype=torch.float64).long()


def at_once(images) -> int:
    """Return how many images go through a network together, so that memory stays small."""
    return max(1, min(1000, _VALUES // math.prod(images.shape[1:])))


def batches(images, unit=None):
    """Return the images in batches, with a progress bar where there is a unit to name."""
    size = at_once(images)
    parts = images.split(size)
    return parts if unit is None else _bars.bar(parts, unit, total=-(-len(images) // size))


def columns_of(model) -> tuple[str, ...]:
    """Return the names of a model's columns: those of the table that it was trained on, else numbers."""
    return getattr(model, "columns", tuple(map(str, range(model.image_shape[0]))))


def between_0_and_1(images: Tensor, model) -> Tensor:
    """Return bytes as grey values from 0 to 1, and other values as they are, in the dtype of the model's weights."""
    like = next(model.parameters())
    images = images.to(like.device)
    return (images / 255 if images.dtype == torch.uint8 else images).to(like.dtype)


def as_taken(images: Tensor, model, generator: torch.Generator) -> Tensor:
    """Return bytes as the model's likelihood takes them: binarized, or grey values from 0 to 1."""
    if images.dtype == torch.uint8 and model.likelihood.binary:
        images = data.binarize(images.to(generator.device), generator)
    return between_0_and_1(images, model)


@torch.no_grad()
def reconstructed(model, x: Tensor) -> Tensor:
    """Return E[x | z] at the mean of q(z | x), or at an autoencoder's code: the shape of x, ``(B, ...)``."""
    code = model.encode(x)
    return model.likelihood.mean(model.decode(code if isinstance(model, Autoencoder) else code[0]))


@torch.no_grad()
def prior_means(model, n: int, generator: torch.Generator) -> Tensor:
    """Return E[x | z] for n draws of z from the prior: samples without the noise of p(x | z)."""
    like = next(model.parameters())
    z = torch.randn(n, model.latent_dim, generator=generator, dtype=like.dtype, device=like.device)
    return model.likelihood.mean(model.decode(z))
