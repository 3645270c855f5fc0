"""How the shipped models are made: trained by their recipes, measured, compared with their cards, installed.

For the maintainer; ``make pretrained`` retrains all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import swa_utils
from torch.optim.lr_scheduler import CosineAnnealingLR

from vae_tutorial import _checks, _files, data, evaluation, stored, training
from vae_tutorial.pretrained import shipped
from vae_tutorial.pretrained.shipped import Card, build, card, command, recipe

__all__ = ["differences", "install", "measure", "remeasure", "train", "write_weights"]

TOLERANCE = 1.0  # nats: trainings on two kinds of processors differ by as much, since rounding adds up


def train(
    name: str,
    folder: str | os.PathLike,
    *,
    images: Tensor | None = None,
    test: Tensor | None = None,
    samples: int = 500,
    progress: bool = True,
) -> Card:
    """Retrain a shipped model by its recipe into ``folder``, measure it, and return its :class:`Card`.

    ``images``: uint8 ``(N, 1, 28, 28)``; ``test``: black and white. Where one is left out, MNIST and the ledger's test
    binarization. An interrupted training resumes from ``folder``. Written are NAME.safetensors and NAME.json; the
    shipped ones stay as they are. Raises KeyboardInterrupt after Ctrl-C, with the checkpoint intact.
    """
    how, folder = recipe(name), _made(folder)
    images = data.load("mnist", "train", strict=True).images if images is None else images
    test = data.test_binarization("mnist", strict=True) if test is None else test
    model = build(how)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(how["average"]))
    checkpoint = folder / f"{name}.pt"
    history = training.fit(
        model,
        images,
        epochs=how["epochs"],
        batch_size=how["batch_size"],
        lr=how["lr"],
        beta=how["beta"],
        schedule=lambda optimizer: CosineAnnealingLR(optimizer, how["epochs"]),
        average=average,
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


def write_weights(model: nn.Module, path: str | os.PathLike) -> None:
    """Write a model's weights in half precision, atomically."""
    from safetensors.torch import save

    weights = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    _files.write(path, save(weights))


def measure(name: str, folder: str | os.PathLike, test: Tensor, seconds: float, samples: int = 500) -> Card:
    """Return the :class:`Card` of the model whose weights are in ``folder``, from black-and-white test images."""
    model = shipped.read(name, folder, check=False)
    generator = torch.Generator().manual_seed(0)
    parts = evaluation.rate_distortion(model, test, samples=10, generator=generator)
    estimates = evaluation.log_marginal(model, test, samples=samples, generator=generator)
    encoder = estimates.summary()
    ess = low = change = error = None
    if model.latent_dim <= 2:
        grid = evaluation.log_marginal_grid(model, test)
        log_p, error, how = evaluation.mean(grid.value), grid.error.max().item(), "a sum over a grid"
    else:
        count = min(recipe(name).get("refined", len(test)), len(test))
        some = evaluation.log_marginal(model, test[:count], samples, generator, proposal="refined")
        refined, how = some.summary(), f"{samples} draws from a refined proposal"
        log_p = evaluation.Mean(refined.value, refined.stderr)
        ess, low, change = refined.ess, refined.low, refined.change
        if count < len(test):
            rise = evaluation.mean(some.value - estimates.value[:count])
            log_p = evaluation.Mean(encoder.value + rise.value, math.hypot(encoder.stderr, rise.stderr))
            how += f" for the first {count:,} images, whose rise over the encoder's own draws counts for the others too"
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
        sha256=hashlib.sha256(Path(folder, f"{name}.safetensors").read_bytes()).hexdigest(),
    )


def remeasure(name: str, folder: str | os.PathLike, *, test: Tensor | None = None, samples: int = 500) -> Card:
    """Measure the shipped model again, without training, and write its card into ``folder``; return it.

    Machine and seconds stay those of the training. ``test``: black and white; the ledger's where it is left out.
    """
    folder, known = _made(folder), card(name)
    test = data.test_binarization("mnist", strict=True) if test is None else test
    found = measure(name, shipped.FOLDER, test, known.seconds, samples)
    found = found._replace(machine=known.machine, torch=known.torch)
    _write_card(found, folder)
    return found


def differences(found: Card, known: Card) -> list[str]:
    """Return what differs between two cards by more than :data:`TOLERANCE`, one sentence each."""
    measured = ("elbo", "rate", "distortion", "log_p", "log_p_encoder")
    pairs = [(field, getattr(found, field), getattr(known, field)) for field in measured]
    far = [(field, new, old) for field, new, old in pairs if not abs(new.value - old.value) <= TOLERANCE]
    return [f"{field} is {new}, the card says {old}" for field, new, old in far]


def install(name: str, folder: str | os.PathLike, card_only: bool = False) -> None:
    """Make what :func:`train` wrote into ``folder`` the shipped model; or its card alone, as :func:`remeasure` does."""
    for suffix in ("json",) if card_only else ("safetensors", "json"):
        _files.write(shipped.FOLDER / f"{name}.{suffix}", Path(folder, f"{name}.{suffix}").read_bytes())


def _write_card(found, folder):
    text = json.dumps(found._asdict(), indent=2, ensure_ascii=False) + "\n"
    _files.write(folder / f"{found.name}.json", text.encode())


def _made(folder):
    folder = _checks.path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _machine():
    return f"{stored.machine_name()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
