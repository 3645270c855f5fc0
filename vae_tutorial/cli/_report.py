"""What ``train`` says and leaves at its end: the test images' cost beside the landmarks, and a picture."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from vae_tutorial import _modes, evaluation, models, objectives
from vae_tutorial.cli import _own, _sheet
from vae_tutorial.landmarks import Landmark, Landmarks

_ACROSS = 12  # images in a row of the picture
_AVERAGES = (  # what a model has to beat, one for each currency
    "a Bernoulli for each pixel",
    "the mean image, one logistic scale",
    "the mean image, one variance",
    "a Gaussian for each column",
)


@_modes.measuring
def measure(model, test, seed: int) -> evaluation.RateDistortion:
    """Return rate and distortion of test images, bytes or not, in memory or not; one draw of z for each image."""
    device = next(model.parameters()).device
    pixels, noise = (torch.Generator(device).manual_seed(seed) for _ in range(2))  # as training.fit has them
    parts = [
        objectives.elbo(model, _own.as_taken(batch, model, pixels), generator=noise) for batch in _own.batches(test)
    ]
    total, reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
    return evaluation.RateDistortion(*map(evaluation.mean, (kl, -reconstruction, -total)))


def say(model, test, parts: evaluation.RateDistortion) -> None:
    """Print the test images' mean ELBO with its standard error over the images, its parts, and bits per dimension."""
    name = "log p(x | z), not a bound" if isinstance(model, models.Autoencoder) else "ELBO"
    elbo, error = -parts.negative_elbo.value, parts.negative_elbo.stderr
    what = "row" if test.ndim == 2 else "image"
    print(f"test {name}: {elbo:.2f} +- {error:.2f} nats per {what}", end="")
    print(f" (reconstruction {-parts.distortion.value:.2f}, KL {parts.rate.value:.2f}, {len(test):,} {what}s)")
    dimensions = math.prod(test.shape[1:])
    per_dimension = 1 / (dimensions * math.log(2))
    if is_density(model):
        about = f"; about {-elbo * per_dimension + math.log2(255):.3f} bits per dimension for the 256 levels"
        unit = "in the table's own units" if test.ndim == 2 else f"on [0, 1]{about}"
        print(f"These are nats of a density {unit}.")
    else:
        print(
            f"That is {-elbo * per_dimension:.3f} +- {error * per_dimension:.3f} bits per dimension, of {dimensions:,}."
        )


def is_density(model) -> bool:
    """Whether p(x | z) is a density, and not a probability of black and white or of grey levels."""
    return not (model.likelihood.binary or getattr(model.likelihood, "discrete", False))


def compare(model, train, test, parts: evaluation.RateDistortion) -> None:
    """Print the landmarks that the model's nats can be compared with, the dearest first, and the model among them."""
    found = evaluation.landmarks(train, test)
    words = "gaussian" if is_density(model) else "bernoulli" if model.likelihood.binary else "discretized_logistic"
    rows = [row for row in found.rows if row.compare_with.startswith(words)]
    bits = math.nan if is_density(model) else parts.negative_elbo.value / (math.prod(test.shape[1:]) * math.log(2))
    own = Landmark(f"THIS {type(model).__name__}", *parts.negative_elbo, bits, "-ELBO")
    if isinstance(model, models.Autoencoder) or not rows:
        return
    print(f"\n{Landmarks(tuple(sorted((*rows, own), key=lambda row: -row.nats)), found.about)}")
    average = next((row for row in rows if row.model in _AVERAGES and row.nats < own.nats), None)
    if average is not None:
        print(
            f"\nThat is more than {average.model} costs, which knows averages alone. More steps usually help: ", end=""
        )
        print("more --epochs, or a smaller --batch-size.")


def show(model, path: Path, test, seed: int) -> None:
    """Write a picture beside the model's file: test images, their reconstructions, and samples, a row each.

    For a table, lines of CSV are printed instead.
    """
    model = model.eval()
    shown = test[_own.spread(len(test), _ACROSS)]
    x = _own.between_0_and_1(shown, model)
    rows = {"originals": x, "reconstructions": _own.reconstructed(model, x)}
    if not isinstance(model, models.Autoencoder):
        generator = torch.Generator(x.device).manual_seed(seed)
        rows["samples"] = _own.prior_means(model, len(x), generator)
    if x.ndim == 4:
        _sheet.write(path.with_suffix(".png"), torch.cat(list(rows.values())), columns=len(x))
        print(
            f"\n{path} has the model; {path.with_suffix('.png')} has rows of {', '.join(rows)} (the mean of p(x | z))"
        )
    else:
        print(f"\n{path} has the model. A row, what it makes of it, and a sample (the mean of p(x | z)):")
        print(",".join(("", *_own.columns_of(model))))
        for name, values in rows.items():
            print(",".join((name.rstrip("s"), *(f"{value:.6g}" for value in values[0].tolist()))))
