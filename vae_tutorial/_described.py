"""A model that knows how it was made, and the units of its data. Skip this file when you read for the VAE."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from vae_tutorial import _checks, likelihoods


class Described(nn.Module):
    """A model that knows how it was made, and the units of its data."""

    image_shape: tuple[int, ...]
    likelihood: likelihoods.Likelihood | likelihoods.Columns
    _made: tuple[dict | None, str] = (None, "")

    @property
    def architecture(self) -> dict | None:
        """How the model was made, of JSON types: ``{"class": ..., "arguments": {...}}``.

        None for a model put together by hand, for a class or likelihood of your own, and where a part was replaced
        afterwards: such a model cannot be made again from a class and its arguments.
        """
        made, form = self._made
        return copy.deepcopy(made) if form == repr(self) else None

    def standardize(self, x: Tensor) -> None:
        """Set the shift and scale of a table's columns to their mean and standard deviation in x, ``(N, D)``.

        ``training.fit`` does it with its training data, if it was not done before. It can be done once: the weights
        belong to it. Raises ValueError for a second time, for a model of images and one of zeros and ones, for
        constant columns, and for what ``encode`` refuses.
        """
        if not isinstance(self.likelihood, likelihoods.Columns):
            raise ValueError(f"the columns of a table are standardized; this model is of images, {self.image_shape}")
        self.likelihood.standardize(_checks.images(x, self, "x"))

    def _made_as(self, kind, **arguments):
        """Remember the class and the arguments of ``__init__``: the last thing that it does."""
        described = getattr(self.likelihood, "architecture", None)  # None for a likelihood of the reader's own
        if type(self) is kind and described is not None:
            plain = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
            self._made = {"class": kind.__name__, "arguments": {**plain, "likelihood": described}}, repr(self)


def expect(who, answer, shape):
    """Raise ValueError unless the encoder's or decoder's answer has that shape."""
    # Without this, a wrong shape would be broadcast silently: every image against every other.
    if answer.shape != shape:
        raise ValueError(f"the {who} must return ({_checks.joined(shape)}); got ({_checks.joined(answer.shape)})")
