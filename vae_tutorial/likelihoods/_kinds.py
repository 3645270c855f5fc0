"""What kind of images these are: black and white, grey values that can be probabilities, photographs, colours."""

from __future__ import annotations

import torch

NEAR = 8  # grey levels of 255 from black or from white
PHOTOGRAPH = 0.7  # the share of pixels further than that from both. Measured: MNIST 0.11, digits 0.26, Fashion-MNIST
# 0.45 (pullovers alone 0.61); crops of 24 photographs from 0.84 to 1, of scikit-learn's two 0.96 and 0.99
FEW = 2000  # images that are looked at for that share


def kind(x) -> str:
    """Return "black and white", "colours", "photographs" or "probabilities", for images ``(N, C, H, W)``.

    ``x``: bytes, or floating in [0, 1]; a tensor, or what is indexed like one.
    """
    if black_and_white(x):
        return "black and white"
    if x.shape[1] > 1:
        return "colours"
    return "photographs" if between(x) > PHOTOGRAPH else "probabilities"


def black_and_white(x) -> bool:
    """Whether every value is the lowest or the highest that there is."""
    top = 255 if x.dtype == torch.uint8 else 1
    return all(((part == 0) | (part == top)).all() for part in (x[i : i + 1000] for i in range(0, len(x), 1000)))


def between(x) -> float:
    """The share of values that are neither nearly black nor nearly white, in at most 2,000 of the images."""
    step = -(-len(x) // FEW)
    levels = x[::step].float() * (1 if x.dtype == torch.uint8 else 255)
    return ((levels > NEAR) & (levels < 255 - NEAR)).float().mean().item()


def refuse_colours_and_photographs(x, name):
    """Raise ValueError for images whose values a Bernoulli likelihood should not take as probabilities."""
    found = kind(x)
    if found == "colours":
        raise ValueError(
            f"{name} are in colour, and likelihood 'bernoulli' would make each channel of each pixel 0 or 1. For "
            f"colours: {_choices('mixture_of_logistics')}"
        )
    if found == "photographs":
        raise ValueError(
            f"{name} look like grey photographs: {between(x):.0%} of the pixels are neither nearly black nor nearly "
            "white. Likelihood 'bernoulli' takes a grey value as the probability that a pixel is on. For photographs: "
            f"{_choices('discretized_logistic')}"
        )


def refuse_grey(x, name):
    """Raise ValueError for floating images other than zeros and ones, to which alone a Bernoulli gives a log p(x)."""
    if x.is_floating_point() and not black_and_white(x):
        raise ValueError(
            f"{name} holds grey values, and this likelihood gives the probability of zeros and ones; draw such images: "
            f"data.binarize({name})"
        )


def _choices(levels):
    return (
        f"'gaussian_shared' (a density; for pictures), {levels!r} (probabilities of the 256 levels: nats that can be "
        "compared and compressed), or data.binarize(images), if black and white is what you want. "
        "likelihoods.Bernoulli(grey=True) takes them as they are"
    )
