"""Published numbers, trained again from nothing: the one-layer rows of table 1 of Burda, Grosse and Salakhutdinov.

Their paper of 2016, "Importance weighted autoencoders", gives the negative log-likelihood of MNIST's test images for a
VAE and for two IWAEs of one network. ``python -m vae_tutorial reproduce burda2016`` is this module as a command.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from vae_tutorial import _checkpoint_files, _checks, _modes, checkpoints, evaluation, models, training
from vae_tutorial.data import binarize_bytes
from vae_tutorial.importance import bound

__all__ = ["EPOCHS", "ROWS", "Found", "Row", "Trained", "load", "measure", "network", "train"]

EPOCHS = 3000
_BATCH, _LR, _DECAY, _SEED = 200, 2e-3, 0.9995, 0


class Row(NamedTuple):
    """A row of the table: ``samples`` of z in the objective, and what was published, nats and active units."""

    title: str
    samples: int
    nats: float
    active_units: int


ROWS = {
    "vae": Row("VAE", 1, 86.76, 19),
    "iwae5": Row("IWAE, k = 5", 5, 85.54, 22),
    "iwae50": Row("IWAE, k = 50", 50, 84.78, 25),
}


def network(seed: int = _SEED) -> models.VAE:
    """Return the untrained network of the table's one-layer rows: 784-200-200-50 and back, tanh, Xavier, Bernoulli.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5; the initial weights: Glorot and Bengio (2010).
    """
    with torch.random.fork_rng(devices=[]):  # the caller's global generator is restored
        torch.default_generator.manual_seed(seed)
        return models.VAE(_Encoder(), _Decoder(), 50)


class _Tanh(nn.Tanh):
    """tanh; without gradients as 2 sigmoid(2 x) - 1, which is ten times faster where PyTorch has no vectorized tanh."""

    def forward(self, input):
        if torch.is_grad_enabled():
            return super().forward(input)
        half = torch.sigmoid(input + input)
        return half.add_(half).sub_(1)


class _Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _layers(784, 200, 200, 100)

    def forward(self, x):
        mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=-1)
        return mu, logvar


class _Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _layers(50, 200, 200, 784)

    def forward(self, z):
        return self.layers(z).unflatten(-1, (1, 28, 28))


def _layers(*widths):
    layers = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, _Tanh()]
    return nn.Sequential(*layers[:-1])


def train(
    row: str,
    images: Tensor,
    checkpoint: str | os.PathLike,
    *,
    epochs: int = EPOCHS,
    gradient: str = "plain",
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> training.History:
    """Train a row from nothing, or on from its checkpoint; return the history, as ``training.fit`` does.

    ``images``: uint8 ``(N, 1, 28, 28)``, binarized anew at each presentation. ``epochs``: passes over them; the
    learning rate falls from 0.002 to 0 along a cosine of that length, with batches of 200 and Adam, and the weights are
    averaged with decay 0.9995. ``gradient``: of an IWAE's encoder, as for ``objectives.iwae_bound``; the published rows
    have "plain". ``checkpoint``: a file for the whole state, written after each pass; :func:`load` reads the model from
    it. After Ctrl-C the history is shorter than ``epochs``, and the same call goes on. An IWAE's history has the column
    ``bound``, nats.
    Raises ValueError for an unknown row and for settings that are not the checkpoint's, CheckpointError, and
    ``training.TrainingDiverged``.
    """
    known, epochs = _known(row), _checks.whole("epochs", epochs)
    model = network().to(device)
    average = _averaged(model)
    checkpoint = _checks.path("checkpoint", checkpoint)
    named: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": _BATCH,
        "lr": _LR,
        "schedule": lambda optimizer: CosineAnnealingLR(optimizer, epochs),
        "average": average,
        "seed": _SEED,
        "checkpoint": checkpoint,
        "resume": checkpoint if checkpoint.exists() else None,
        "progress": progress,
    }
    if known.samples == 1:
        return training.fit(model, images, **named)
    return _fit_bound(model, images, known.samples, gradient, **named)


class Trained(NamedTuple):
    """What a checkpoint of :func:`train` holds: the averaged model, its history, and how it is trained.

    ``epochs``: what the training is to have when it is finished, at least ``len(history)``. ``images``: how many.
    """

    model: models.VAE
    history: training.History
    epochs: int
    images: int
    gradient: str


def load(row: str, checkpoint: str | os.PathLike) -> Trained:
    """Return a row's model as it is in a checkpoint, whether finished or not, as :class:`Trained`.

    Raises ValueError for an unknown row and CheckpointError for a file that is missing, damaged or of another row.
    """
    known, model = _known(row), network()
    history = training.load_checkpoint(checkpoint, model)
    settings = _checkpoint_files.read(checkpoint)["settings"]
    if settings.get("samples", 1) != known.samples:
        raise training.CheckpointError(f"{checkpoint} is of another row: its samples are {settings.get('samples', 1)}")
    images, epochs = int(settings["images"].split()[0]), len(settings["learning rate"])
    return Trained(model.eval(), history, epochs, images, settings.get("gradient", "plain"))


def _known(row):
    if row not in ROWS:
        raise ValueError(f"row must be one of {', '.join(map(repr, ROWS))}; got {row!r}")
    return ROWS[row]


def _averaged(model):
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(_DECAY))


def _fit_bound(
    model, images, samples, gradient, *, epochs, batch_size, lr, schedule, average, seed, checkpoint, resume, progress
):
    """``training.fit`` with the importance-weighted bound in the ELBO's place."""
    device = next(model.parameters()).device
    images, generator = _checks.training_images(images, "images", model).to(device), Generator(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=device.type in ("cpu", "cuda"))
    scheduler = schedule(optimizer)
    same = {"batch_size": batch_size, "seed": seed, "samples": samples, "gradient": gradient}
    settings = checkpoints.settings(model, images, epochs, lr, schedule, average, 1.0, **same)
    stateful = {"model": model, "optimizer": optimizer, "average": average, "schedule": scheduler}
    state = checkpoints.State(stateful, settings, checkpoint, resume)
    silent = None if progress and not os.environ.get("TQDM_DISABLE") else True
    with state, tqdm(range(len(state.history) + 1, epochs + 1), unit="epoch", leave=False, disable=silent) as bar:
        for epoch in bar:
            start = time.perf_counter()
            # A seed for each epoch: what follows a checkpoint does not depend on what came before it.
            generator.manual_seed(seed + 1_000_003 * (epoch - 1))
            sums = []
            with _modes.training(model):
                for chosen in torch.randperm(len(images), generator=generator, device=device).split(batch_size):
                    x = binarize_bytes(images.index_select(0, chosen), generator)
                    value = bound(model, x, samples, generator, gradient)  # (B,)
                    optimizer.zero_grad()
                    (-value.mean()).backward()
                    optimizer.step()
                    average.update_parameters(model)
                    sums.append(value.detach().sum())
            mean = torch.stack(sums).sum().item() / len(images)
            if not math.isfinite(mean):
                raise training.TrainingDiverged(f"the loss was not finite in epoch {epoch}", epoch * len(sums))
            scheduler.step()
            row = {"epoch": epoch, "bound": mean, "seconds": time.perf_counter() - start}
            state.keep(row)
            bar.set_postfix(bound=f"{row['bound']:.2f}")
    return state.history


class Found(NamedTuple):
    """What :func:`measure` found: ``log_p``, with its diagnostics, nats per image; active units; seconds it took."""

    log_p: evaluation.MarginalSummary
    active_units: int
    images: int
    seconds: float


def measure(model: models.VAE, test: Tensor, samples: int = 5000, *, seed: int = 0, progress: bool = True) -> Found:
    """Estimate log p(x) of the test images with ``samples`` draws each from the encoder's q, as the paper does.

    ``test``: ``(N, 1, 28, 28)``, black and white, N >= 2, on the model's device. Memory is bounded. A unit is active
    where its posterior mean's variance over these images exceeds 0.01.
    """
    start, generator = time.perf_counter(), Generator(test.device).manual_seed(seed)
    silent = None if progress and not os.environ.get("TQDM_DISABLE") else True
    with tqdm(test.split(500), unit="500 images", leave=False, disable=silent) as bar:
        parts = [evaluation.log_marginal(model, x, samples, generator) for x in bar]
    columns = [torch.cat(column) for column in list(zip(*parts, strict=True))[:5]]
    value, stderr, ess, half, fallback = columns
    log_p = evaluation.LogMarginal(value, stderr, ess, half, fallback, samples).summary()
    active = int(evaluation.active_units(evaluation.encode(model, test)[0]).sum())
    return Found(log_p, active, len(test), time.perf_counter() - start)
