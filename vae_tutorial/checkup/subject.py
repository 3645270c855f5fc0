"""What is examined, in one form whatever the code looks like: encode, draw, decode, loss, and the pass of a training.

Shapes: B images in a batch, Z latent dimensions. ``logvar`` is what the encoder gives second, whatever it may mean.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vae_tutorial.checkup.weights import Weights

__all__ = ["ALONE", "CheckupError", "NotTested", "Pass", "Subject", "intercepted", "latent_of", "number", "parts_of"]

ALONE = "the loss takes x alone; give one that takes (output, x, mu, logvar)"


class CheckupError(ValueError):
    """What was given cannot be examined: says what is missing, or what failed."""


class NotTested(Exception):
    """Why a gauge says nothing of this VAE."""


class Pass(NamedTuple):
    """One pass as a training makes it: ``z`` is what the decoder was given, None where nobody could see it.

    ``sources``: the two tensors that z was drawn from, where they are others than mu and logvar. ``z_for_mu``: whether
    z was returned where mu belongs.
    """

    output: Any
    mu: Tensor
    logvar: Tensor
    z: Tensor | None
    sources: tuple = ()
    z_for_mu: bool = False


@dataclass
class Subject:
    """A VAE as the gauges see it; what is None was not given, and the gauges that need it say so."""

    images: Tensor  # (N, ...), as encode takes them
    encode: Callable  # x -> (mu, logvar)
    decode: Callable  # z -> output
    forward: Callable  # x -> Pass
    draw: Callable | None  # (mu, logvar) -> z
    loss: Callable | None  # (output, x, mu, logvar) -> number
    alone: Callable | None  # x -> number, a loss that makes the pass itself
    weights: Weights
    shape: tuple[int, ...]  # of an image, (C, H, W) where that is known
    beta: float = 1.0  # the weight of the KL that was meant
    schedule: Callable | None = None  # its warm-up, a function of progress from 0 to 1
    lr: float | None = None
    optimizer: Callable = torch.optim.Adam
    sample: Callable | None = None  # n -> images
    evaluate: Callable | None = None  # x -> the number that is reported
    likelihood: Any = None  # of this package, or a name
    stand_in: bool = False  # the images are not the reader's
    declared_trained: bool | None = None
    memo: dict = field(default_factory=dict)

    def batch(self, n: int = 64) -> Tensor:
        """The first n images, or as many as there are."""
        return self.images[:n]

    def total(self, x: Tensor) -> Tensor:
        """The loss that a training would make smaller, one number."""
        if self.alone is not None:
            return number(self.alone(x))
        seen = self.forward(x)
        return self.cost(seen.output, x, seen.mu, seen.logvar)

    def cost(self, output, x, mu, logvar) -> Tensor:
        """The loss of these four, one number. Raises NotTested where the loss makes its own pass."""
        if self.loss is None:
            raise NotTested(ALONE)
        return number(self.loss(output, self.target(x, output), mu, logvar))

    def target(self, x, output):
        """The images as the loss takes them: as they are, or in the output's shape where it refuses them so."""
        return x.reshape(len(x), *parts_of(output)[0].shape[1:]) if self.memo.get("reshaped") else x

    def drawn(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """One z for each row of (mu, logvar), as a training would draw it. Raises NotTested where that is not seen."""
        z = None if self.draw is None else self.draw(mu, logvar)
        if z is None:
            raise NotTested("how z is drawn could not be seen; give reparameterize=, a function of (mu, logvar)")
        return z.reshape(mu.shape) if z.numel() == mu.numel() else z

    @property
    def pixels(self) -> int:
        """How many numbers an image has."""
        return self.images[0].numel()

    @property
    def trained(self) -> bool:
        """Whether the weights are better than new ones. Raises NotTested where that cannot be known."""
        if self.declared_trained is not None:
            return self.declared_trained
        if "trained" not in self.memo:
            self.memo["trained"] = self._compared_with_new()
        return self.memo["trained"]

    def needs_training(self):
        """Raise NotTested for a VAE that has not learned yet."""
        if not self.trained:
            raise NotTested("the weights are about as good as new ones: train first")
        if self.stand_in:
            raise NotTested("no images were given, and digits stood in; give those that it was trained on")

    def _compared_with_new(self):
        if not self.weights.renewable:
            raise NotTested("whether it is trained is not known; say trained=True or trained=False")
        x, new = self.batch(), []
        with torch.no_grad(), self.weights.mode(False):
            now = sum(self.total(x).item() for _ in range(3)) / 3
            for seed in range(2):
                with self.weights.fresh(seed):
                    new.append(self.total(x).item())
        return now < min(new) - 0.05 * abs(min(new))


def latent_of(subject: Subject) -> int:
    """Return how many numbers a code has."""
    if "latent" not in subject.memo:
        with torch.no_grad(), subject.weights.mode(False):
            subject.memo["latent"] = subject.encode(subject.batch(2))[0][0].numel()
    return subject.memo["latent"]


def number(loss) -> Tensor:
    """Return a loss as one number: of a tuple the first, of a dict "loss", of one number an image the mean."""
    if isinstance(loss, dict):
        loss = loss["loss"] if "loss" in loss else next(iter(loss.values()))
    if isinstance(loss, tuple | list):
        loss = loss[0]
    if not isinstance(loss, Tensor):
        raise CheckupError(f"loss must return a tensor of one number; got a {type(loss).__name__}")
    return loss.reshape(()) if loss.numel() == 1 else loss.mean()


def parts_of(output) -> list[Tensor]:
    """The tensors of a decoder's output: one, or those of a tuple."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, tuple | list) and output and all(isinstance(part, Tensor) for part in output):
        return list(output)
    raise CheckupError(f"decode must return a tensor, or a tuple of tensors; got a {type(output).__name__}")


@contextlib.contextmanager
def intercepted(function, replacement, *callers):
    """While it lasts, who calls ``function`` calls ``replacement``: by its object, or by a global of the callers."""
    undo = []
    owner = getattr(function, "__self__", None)
    if owner is not None and hasattr(owner, "__dict__"):
        name = function.__name__
        before = vars(owner).get(name)
        object.__setattr__(owner, name, replacement)
        undo.append(lambda: object.__delattr__(owner, name) if before is None else setattr(owner, name, before))
    for caller in callers:
        space = getattr(inspect.unwrap(getattr(caller, "__func__", caller)), "__globals__", {})
        for name in [name for name, value in space.items() if value is function]:
            space[name] = replacement
            undo.append(lambda space=space, name=name: space.__setitem__(name, function))
    try:
        yield bool(undo)
    finally:
        for step in undo[::-1]:
            step()
