"""The shipped models: their weights, how they are trained, and their cards.

``weights/recipes.json`` says how each is trained, ``weights/NAME.safetensors`` holds its weights (in half precision:
half the bytes, and no measurable change), ``weights/NAME.json`` is its card.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

import torch

from vae_tutorial import evaluation, models, pixelvae, reproduce, stored

__all__ = ["Card", "PretrainedError", "build", "card", "command", "load", "names", "recipe"]

FOLDER = Path(__file__).parents[1] / "weights"
_DEFAULTS = {"batch_size": 128, "lr": 1e-3, "beta": 1.0, "average": 0.999, "seed": 0}
_ANEW = "Reinstall the package"


class PretrainedError(RuntimeError):
    """A shipped model's file is missing, damaged, or not the one that its card describes."""


class Card(NamedTuple):
    """What is known of one shipped model. Numbers are nats per image, over the 10,000 test images of its data.

    ``elbo``, ``rate``, ``distortion``, ``log_p``, ``log_p_encoder``: ``evaluation.Mean``. ``log_p`` is the best
    estimate here: a sum over a grid for two latent dimensions, else importance sampling with ``samples`` draws from a
    refined proposal, whose median effective sample size is ``ess``; ``low`` is the share of images where that is below
    10, ``change`` the rise from half to all draws. For the grid these are None, ``error`` is the largest of an image.
    Where a recipe says ``refined``, so many images have the refined proposal, and ``log_p`` is ``log_p_encoder`` of all
    images plus the mean rise on those.
    ``log_p_encoder`` is the estimate with as many draws from the encoder's own q; ``ess_encoder`` and ``low_encoder``
    are its diagnostics. The estimate by annealing is in ``stored.load("witnesses")``.
    ``unit_kl``: the rate of each latent unit. ``active_units``: how many vary with the image. ``seconds``: of training
    on ``machine``, the median epoch's times the number of epochs. ``sha256``: of the weights' file.
    """

    name: str
    command: str
    data: str
    protocol: str
    elbo: evaluation.Mean
    rate: evaluation.Mean
    distortion: evaluation.Mean
    log_p: evaluation.Mean
    samples: int
    ess: float | None
    low: float | None
    change: float | None
    error: float | None
    log_p_encoder: evaluation.Mean
    ess_encoder: float
    low_encoder: float
    unit_kl: list
    active_units: int
    seconds: float
    machine: str
    torch: str
    sha256: str

    def _repr_markdown_(self):
        how = ", ".join(f"{key} {value}" for key, value in recipe(self.name).items())
        rows = {"recipe": how, **{key: value for key, value in self._asdict().items() if value is not None}}
        del rows["name"]
        rows["log_p_encoder"] = self.said_of_the_encoder()
        witness = stored.load("witnesses").values.get(self.name)
        if witness is not None:
            test, simulated = witness["test"], witness["simulated"]
            means = {way: evaluation.Mean(*test[way][:2]) for way in ("annealed", "refined")}
            rows["without the encoder"] = (
                f"by annealing {means['annealed']} on the first {test['images']} test images, where the refined "
                f"proposal gives {means['refined']}; on {simulated['images']} images drawn from the model between "
                f"{simulated['lower'][0]:.2f} and {simulated['upper'][0]:.2f}"
            )
        lines = "\n".join(f"| {field.replace('_', ' ')} | {value} |" for field, value in rows.items())
        return f"| card | {self.name} |\n|:--|:--|\n{lines}"

    def said_of_the_encoder(self) -> str:
        """Return the estimate from the encoder's own draws with its diagnostics, as a sentence."""
        doubt = ", too low: do not trust it" if self.low_encoder >= 0.05 else ""
        few = f"below 10 for {100 * self.low_encoder:.0f} % of images"
        return f"{self.log_p_encoder} (median ESS {self.ess_encoder:.0f} of {self.samples}, {few}{doubt})"


def names() -> list[str]:
    """Return the names of the shipped models."""
    return list(_recipes())


def recipe(name: str) -> dict:
    """Return how a model is trained, as a dict: the options of ``python -m vae_tutorial train``.

    ``trained_in``: the dtype of the layers' arithmetic, where it was not float32. ``refined``: how many test images the
    refined proposal measures, where it is not all.
    """
    return {**_DEFAULTS, **_known(name)}


def command(name: str) -> str:
    """Return the command that retrains a model, measures it and compares it with its card."""
    _known(name)
    return f"python -m vae_tutorial pretrained {name}"


def card(name: str) -> Card:
    """Return the :class:`Card` of a shipped model."""
    _known(name)
    return _card(FOLDER / f"{name}.json")


def load(name: str, device: str | torch.device = "cpu") -> models.VAE:
    """Return a shipped model, in evaluation mode, on ``device``.

    Raises ValueError for an unknown name, and PretrainedError where the weights do not have the checksum that the card
    gives. The file holds tensors alone: nothing in it is executed.
    """
    _known(name)
    return read(name, FOLDER).to(device)


def build(how: dict) -> models.VAE:
    """Return the untrained model of a recipe; its first weights come from the recipe's seed."""
    if how["model"] == "burda2016":
        return reproduce.network(how["seed"])
    sizes = {key: how[key] for key in ("latent_dim", "hidden", "channels", "features", "reach") if key in how}
    kinds = {"mlp": models.MLPVAE, "conv": models.ConvVAE, "pixel": pixelvae.PixelVAE}
    with torch.random.fork_rng(devices=[]):  # the caller's global generator is restored
        torch.default_generator.manual_seed(how["seed"])
        return kinds[how["model"]](**sizes)


def _recipes():
    try:
        return json.loads((FOLDER / "recipes.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{FOLDER / 'recipes.json'} is missing or damaged ({error}). {_ANEW}") from error


def _known(name):
    recipes = _recipes()
    if name not in recipes:
        raise ValueError(f"name must be one of {', '.join(recipes)}; got {name!r}")
    return recipes[name]


def _card(path):
    try:
        fields = json.loads(path.read_text("utf-8"))
        for field in ("elbo", "rate", "distortion", "log_p", "log_p_encoder"):
            fields[field] = evaluation.Mean(*fields[field])
        return Card(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PretrainedError(f"the card {path} is missing or damaged ({error}). {_ANEW}") from error


def read(name: str, folder: str | os.PathLike, check: bool = True) -> models.VAE:
    """Return the model whose weights are in ``folder``; with ``check``, the card there must match."""
    from safetensors.torch import load as unpacked

    path = Path(folder, f"{name}.safetensors")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"the weights {path} cannot be read ({error}). {_ANEW}") from error
    if check and hashlib.sha256(content).hexdigest() != _card(path.with_suffix(".json")).sha256:
        raise PretrainedError(f"the weights {path} do not have the checksum of their card. {_ANEW}")
    model = build(recipe(name))
    model.load_state_dict({key: value.float() for key, value in unpacked(content).items()})
    return model.eval()
