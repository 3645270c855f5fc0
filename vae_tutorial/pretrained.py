"""The trained models that come with the package: their weights, their recipes, and what was measured on them.

``weights/recipes.json`` says how each is trained, ``weights/NAME.safetensors`` holds its weights (in half precision:
half the bytes, and no measurable change), ``weights/NAME.json`` is its card. ``make pretrained`` trains all anew.
"""

import hashlib
import json
import os
import statistics
from pathlib import Path
from typing import NamedTuple

import torch

from vae_tutorial import data, evaluation, models, stored, training

__all__ = ["Card", "PretrainedError", "card", "command", "load", "names", "recipe", "remeasure", "train"]

FOLDER = Path(__file__).parent / "weights"
# Rounding differs between processors, and a training carries it on: differences up to this, in nats, are no news.
TOLERANCE = 1.0
_DEFAULTS = {"batch_size": 128, "lr": 1e-3, "beta": 1.0, "average": 0.999, "precision": "float32", "seed": 0}


class PretrainedError(RuntimeError):
    """A shipped model's file is missing, damaged, or not the one that its card describes."""


class Card(NamedTuple):
    """What is known of one shipped model. Numbers are nats per image, over the 10,000 test images of its data.

    ``elbo``, ``rate``, ``distortion``, ``log_p``, ``log_p_encoder``: ``evaluation.Mean``. ``log_p`` is the best
    estimate here: a sum over a grid for two latent dimensions, else importance sampling with ``samples`` draws from a
    refined proposal, whose median effective sample size is ``ess``; ``low`` is the share of images where that is below
    10, ``change`` what half of the draws lack. For the grid these are None, ``error`` is the largest of an image.
    ``log_p_encoder`` is the estimate with as many draws from the encoder's own q; ``ess_encoder`` and ``low_encoder``
    say how little it can be trusted. What annealing says is in ``stored.load("witnesses")``.
    ``unit_kl``: the rate of each latent unit. ``active_units``: how many vary with the
    image. ``seconds``: of training on ``machine``, the median epoch's times the number of epochs. ``sha256``: of the
    weights' file.
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

    def said_of_the_encoder(self):
        """Return the estimate from the encoder's own draws with what speaks against it, as a sentence."""
        doubt = ", too low: do not trust it" if self.low_encoder >= 0.05 else ""
        few = f"below 10 for {100 * self.low_encoder:.0f} % of images"
        return f"{self.log_p_encoder} (median ESS {self.ess_encoder:.0f} of {self.samples}, {few}{doubt})"


def names():
    """Return the names of the shipped models."""
    return list(_recipes())


def recipe(name):
    """Return how a model is trained, as a dict: the options of ``python -m vae_tutorial train``."""
    return {**_DEFAULTS, **_known(name)}


def command(name):
    """Return the command that trains a model anew, measures it and compares it with its card."""
    _known(name)
    return f"python -m vae_tutorial pretrained {name}"


def card(name):
    """Return the :class:`Card` of a shipped model."""
    _known(name)
    return _card(FOLDER / f"{name}.json")


def load(name, device="cpu"):
    """Return a shipped model, in evaluation mode, on ``device``.

    Raises ValueError for an unknown name, and PretrainedError where the weights do not have the checksum that the card
    gives. The file holds tensors alone: nothing in it is executed.
    """
    _known(name)
    return _load(name, FOLDER).to(device)


def train(name, folder, *, images=None, test=None, samples=500, progress=True):
    """Train a shipped model anew by its recipe into ``folder``, measure it, and return its :class:`Card`.

    ``images``: uint8 ``(N, 1, 28, 28)``; ``test``: black and white. Where one is left out, MNIST and the ledger's test
    binarization. A training that was cut off goes on from ``folder``. Written are NAME.safetensors and NAME.json; the
    shipped ones stay as they are. Raises KeyboardInterrupt after Ctrl-C, with the checkpoint whole.
    """
    how, folder = recipe(name), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if images is None or test is None:
        loaded = data.load("mnist", "train", strict=True)
        images, test = loaded.images, data.test_binarization("mnist", strict=True)
    model = build(how)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(how["average"])
    )
    checkpoint = folder / f"{name}.pt"
    history = training.fit(
        model,
        images,
        epochs=how["epochs"],
        batch_size=how["batch_size"],
        lr=how["lr"],
        beta=how["beta"],
        schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how["epochs"]),
        average=average,
        precision=how["precision"],
        seed=how["seed"],
        checkpoint=checkpoint,
        resume=checkpoint if checkpoint.exists() else None,
        progress=progress,
    )
    if len(history) < how["epochs"]:
        raise KeyboardInterrupt
    write_weights(average.module, folder / f"{name}.safetensors")
    seconds = statistics.median(history["seconds"]) * how["epochs"]  # a pause of the machine does not count
    found = measure(name, folder, test, seconds, samples)
    _write_card(found, folder)
    return found


def build(how):
    """Return the untrained model of a recipe; its first weights come from the recipe's seed."""
    sizes = {key: how[key] for key in ("latent_dim", "hidden", "channels") if key in how}
    torch.manual_seed(how["seed"])
    return {"mlp": models.MLPVAE, "conv": models.ConvVAE}[how["model"]](**sizes)


def write_weights(model, path):
    """Write a model's weights in half precision, whole or not at all."""
    from safetensors.torch import save

    weights = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    _write(path, save(weights))


def measure(name, folder, test, seconds, samples=500):
    """Return the :class:`Card` of the model whose weights stand in ``folder``, from black-and-white test images."""
    model = _load(name, folder, check=False)
    generator = torch.Generator().manual_seed(0)
    parts = evaluation.rate_distortion(model, test, samples=10, generator=generator)
    encoder = evaluation.log_marginal(model, test, samples=samples, generator=generator).summary()
    ess = low = change = error = None
    if model.latent_dim <= 2:
        grid = evaluation.log_marginal_grid(model, test)
        log_p, error, how = evaluation.mean(grid.value), grid.error.max().item(), "a sum over a grid"
    else:
        refined = evaluation.log_marginal(model, test, samples, generator, proposal="refined").summary()
        log_p, how = evaluation.Mean(refined.value, refined.stderr), f"{samples} draws from a refined proposal"
        ess, low, change = refined.ess, refined.low, refined.change
    mu, logvar = evaluation.encode(model, test)
    negative = parts.negative_elbo
    return Card(
        name=name,
        command=command(name),
        data=f"MNIST, {len(test):,} test images, the ledger's fixed binarization",
        protocol=f"ELBO with 10 draws of z for each image, log p(x) by {how}",
        elbo=evaluation.Mean(-negative.value, negative.stderr),
        rate=parts.rate,
        distortion=parts.distortion,
        log_p=log_p,
        samples=samples,
        ess=ess,
        low=low,
        change=change,
        error=error,
        log_p_encoder=evaluation.Mean(encoder.value, encoder.stderr),
        ess_encoder=encoder.ess,
        low_encoder=encoder.low,
        unit_kl=[round(value, 4) for value in evaluation.unit_kl(mu, logvar).tolist()],
        active_units=int(evaluation.active_units(mu).sum()),
        seconds=round(seconds, 1),
        machine=_machine(),
        torch=torch.__version__.partition("+")[0],
        sha256=hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest(),
    )


def remeasure(name, folder, *, test=None, samples=500):
    """Measure the shipped model anew, without training, and write its card into ``folder``; return it.

    Machine and seconds stay those of the training. ``test``: black and white; the ledger's where it is left out.
    """
    folder, known = Path(folder), card(name)
    folder.mkdir(parents=True, exist_ok=True)
    test = data.test_binarization("mnist", strict=True) if test is None else test
    found = measure(name, FOLDER, test, known.seconds, samples)._replace(machine=known.machine, torch=known.torch)
    _write_card(found, folder)
    return found


def differences(found, known):
    """Return what differs between two cards by more than :data:`TOLERANCE`, one sentence each."""
    measured = ("elbo", "rate", "distortion", "log_p", "log_p_encoder")
    pairs = [(field, getattr(found, field), getattr(known, field)) for field in measured]
    return [f"{field} is {new}, the card says {old}" for field, new, old in pairs if not _near(new.value, old.value)]


def install(name, folder, card_only=False):
    """Make what :func:`train` wrote into ``folder`` the shipped model; or its card alone, as :func:`remeasure` does."""
    for suffix in ("json",) if card_only else ("safetensors", "json"):
        _write(FOLDER / f"{name}.{suffix}", (Path(folder) / f"{name}.{suffix}").read_bytes())


def _write_card(found, folder):
    _write(folder / f"{found.name}.json", (json.dumps(found._asdict(), indent=2, ensure_ascii=False) + "\n").encode())


def _near(new, old):
    return abs(new - old) <= TOLERANCE


def _recipes():
    return json.loads((FOLDER / "recipes.json").read_text("utf-8"))


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
        raise PretrainedError(f"the card {path} is missing or damaged ({error}). Install the package anew") from error


def _load(name, folder, check=True):
    from safetensors.torch import load as read

    path = folder / f"{name}.safetensors"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"the weights {path} cannot be read ({error}). Install the package anew") from error
    if check and hashlib.sha256(content).hexdigest() != _card(folder / f"{name}.json").sha256:
        raise PretrainedError(f"the weights {path} do not have the checksum of their card. Install the package anew")
    model = build(recipe(name))
    model.load_state_dict({key: value.float() for key, value in read(content).items()})
    return model.eval()


def _write(path, content):
    # Beside its place first: a good file is never half overwritten.
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _machine():
    return f"{stored.machine_name()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
