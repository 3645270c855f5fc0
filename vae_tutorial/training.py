"""One training loop for every model of the course. ``run_epoch`` is the loop; ``fit`` repeats it and keeps records."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim.swa_utils import AveragedModel

from vae_tutorial import _bars, _checks, _mapped, _modes, checkpoints
from vae_tutorial.checkpoints import CheckpointError, load_checkpoint
from vae_tutorial.data import Mapped, binarize_bytes
from vae_tutorial.history import History
from vae_tutorial.models import VAE, Autoencoder
from vae_tutorial.objectives import terms

__all__ = ["CheckpointError", "History", "TrainingDiverged", "best_device", "fit", "load_checkpoint", "run_epoch"]


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN. ``step`` counts from 1 over the whole training; ``history`` ends before it."""

    def __init__(self, message, step, history=None):
        super().__init__(message)
        self.step, self.history = step, history


def best_device() -> torch.device:
    """Return CUDA where PyTorch finds it, else the CPU.

    Apple's GPU (mps) is used only where it is asked for: it has no float64, and these networks are small.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_epoch(
    model: VAE | Autoencoder,
    images: Tensor | Mapped,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int = 128,
    beta: float | Callable[[float], float] = 1.0,
    free_bits: float = 0.0,
    generator: Generator | None = None,
    average: AveragedModel | None = None,
) -> tuple[float, float]:
    """Take one step for each batch of the images, in random order; return the mean reconstruction and KL, nats.

    ``beta`` may be a function of the share of the epoch that is done. The means are over batches of a changing model.
    Raises TrainingDiverged, whose step counts from 1, once a loss that is not finite is seen.
    """
    batch_size = _checks.whole("batch_size", batch_size)
    _checks.grey_levels(images, "images")  # once, not in each step: reading the values would synchronize with a GPU
    batches = torch.randperm(len(images), generator=generator, device=images.device).split(batch_size)
    batch_sums = torch.zeros(len(batches), 2, pin_memory=images.is_cuda)  # of reconstruction and KL
    for step, x in enumerate(_mapped.batches(images, batches)):
        x = _pixels(x, model, generator)  # (B, C, H, W)
        weight = beta(step / len(batches)) if callable(beta) else beta
        objective, reconstruction, kl = terms(model, x, weight, 1, free_bits, generator)  # (B,) each
        loss = -objective.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.clear_autocast_cache()  # within torch.autocast the next batch would meet the old weights
        if average is not None:
            average.update_parameters(model)
        sums = torch.stack((reconstruction.detach(), kl.detach())).sum(1)
        batch_sums[step].copy_(sums, non_blocking=images.is_cuda)  # asynchronous: the GPU does not wait
        if not batch_sums[: step + 1].isfinite().all():
            break
    _finish(batch_sums, images.device)
    return tuple((batch_sums.sum(0, dtype=torch.float64) / len(images)).tolist())


def fit(
    model: VAE | Autoencoder,
    images: Tensor | Mapped,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    beta: float | Callable[[float], float] = 1.0,
    free_bits: float = 0.0,
    schedule: Callable | None = None,
    average: AveragedModel | None = None,
    seed: int = 0,
    test: Tensor | Mapped | None = None,
    checkpoint: str | os.PathLike | None = None,
    resume: str | os.PathLike | None = None,
    progress: bool = True,
) -> History:
    """Train a VAE or an autoencoder with Adam to maximise reconstruction - beta * KL, and return its :class:`History`.

    - ``images``: ``(N, C, H, W)``. uint8 images stay uint8 on the model's device, or in their file (``data.Mapped``),
      and each batch is binarized anew (a Bernoulli likelihood) or divided by 255 (the others). Floating images in
      [0, 1] are used as they are, and a table ``(N, D)``, whose columns a new model is first standardized to. What
      ``data.load`` returns, a NumPy array and a list of PIL pictures are accepted too.
    - ``epochs``, ``batch_size``, ``lr``: passes over the images, images in a step, Adam's learning rate.
    - ``beta``: the weight of the KL, a number, or a function of the training's progress, from 0 (its start) to 1 (its
      end): ``lambda t: min(1, 5 * t)`` warms up over the first fifth.
    - ``free_bits``: see ``objectives.elbo``, in nats.
    - ``schedule``: makes a learning-rate scheduler of PyTorch from the optimizer; it steps after each epoch:
      ``lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)``.
    - ``average``: a ``torch.optim.swa_utils.AveragedModel`` of the model, updated after each step and measured on
      ``test`` in the model's place.
    - ``seed``: of the order of images, their binarization, the draws of z, and dropout. torch's global generator is
      restored afterwards. A second call on the same model draws what a longer first call would have drawn next. (The
      optimizer's own state begins anew; ``checkpoint`` and ``resume`` keep that, too.)
    - ``test``: images to measure after each epoch; uint8 is binarized once, the same for every epoch.
    - ``checkpoint``: a file that holds the whole state after each epoch; it is replaced atomically. One that exists is
      not overwritten, unless the training resumes from it.
    - ``resume``: such a file, from which the training continues to the same numbers as an uninterrupted one (bit for
      bit on one machine).
    - ``progress``: show a bar (never where the environment sets TQDM_DISABLE, nor in a log file).

    The model trains in training mode and is measured in evaluation mode; its own mode is restored at the end. Ctrl-C
    returns the history so far. Raises TypeError and ValueError for unusable arguments, CheckpointError, and
    TrainingDiverged as soon as a loss that is not finite is seen; the last two carry the history. In all these cases
    the model's weights are those of the end of the last completed epoch.
    """
    epochs, batch_size = _checks.whole("epochs", epochs), _checks.whole("batch_size", batch_size)
    seed = _checks.whole("seed", seed, -(2**63))
    lr, free_bits = _checks.amount("lr", lr), _checks.amount("free_bits", free_bits)
    beta = beta if callable(beta) else _checks.amount("beta", beta)
    device, plain = next(model.parameters()).device, _modes.unwrapped(model)
    images = _checks.training_images(images, "images", plain).to(device)
    _checks.trainable(plain, average)
    _standardize(images, plain, *([] if average is None else [average.module]))
    generator = Generator(device)
    if test is not None:
        test = _pixels(_checks.training_images(test, "test", plain).to(device), plain, generator.manual_seed(seed))

    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=device.type in ("cpu", "cuda"))
    scheduler = None if schedule is None else checkpoints.scheduler(schedule, optimizer)
    settings = {}
    if checkpoint is not None or resume is not None:
        same = {"batch_size": batch_size, "free_bits": free_bits, "seed": seed}
        settings = checkpoints.settings(plain, images, epochs, lr, schedule, average, beta, **same)
    stateful = {"model": plain, "optimizer": optimizer, "average": average, "schedule": scheduler}
    state = checkpoints.State(stateful, settings, checkpoint, resume)

    named = {"batch_size": batch_size, "free_bits": free_bits, "generator": generator, "average": average}
    done = len(state.history)
    with state, _bars.bar(range(done + 1, epochs + 1), "epoch", progress, initial=done, total=epochs) as bar:
        for epoch in bar:
            start = time.perf_counter()
            # A seed for each epoch: what follows a checkpoint does not depend on what came before it.
            epoch_seed = seed + 1_000_003 * (state.trained_before + epoch - 1)
            generator.manual_seed(epoch_seed)
            with (
                _modes.training(model),
                _modes.seeded(model, epoch_seed, device),
                _explained(epoch, lr, len(images), batch_size),
            ):
                means = run_epoch(model, images, optimizer, beta=_weight(beta, epoch, epochs), **named)
            row = {"epoch": epoch, **_columns("", *means), "seconds": time.perf_counter() - start}
            if test is not None:
                row |= _columns("test_", *_measure(model if average is None else average.module, test, seed))
            if scheduler is not None:
                scheduler.step()
            state.keep(row)
            bar.set_postfix(elbo=f"{row['elbo']:.1f}")
    return state.history


def _weight(beta, epoch, epochs):
    """beta as a function of the share of this epoch that is done."""
    if not callable(beta):
        return beta
    return lambda share: _checks.amount("beta(progress)", beta((epoch - 1 + share) / epochs))


def _standardize(images, *models: Any):
    for model in models:
        if getattr(model.likelihood, "unset", False):  # the units of a table's columns come from its training data
            model.standardize(images)


def _pixels(images, model, generator):
    if images.dtype != torch.uint8 or isinstance(images, Mapped):  # what is in a file is converted as it is read
        return images
    dtype = next(model.parameters()).dtype
    return (binarize_bytes(images, generator) if model.likelihood.binary else images.float().div_(255)).to(dtype)


def _finish(batch_sums, device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # wait for the copies still in flight
    bad = batch_sums.isfinite().all(1).logical_not().nonzero()
    if len(bad):
        raise TrainingDiverged(f"the loss was not finite at step {int(bad[0]) + 1}", int(bad[0]) + 1)


@contextlib.contextmanager
def _explained(epoch, lr, images, batch_size):
    try:
        yield
    except TrainingDiverged as diverged:
        step = diverged.step + (epoch - 1) * math.ceil(images / batch_size)
        raise TrainingDiverged(
            f"the loss was not finite at step {step} (epoch {epoch}); the model's weights are restored to the end of "
            f"epoch {epoch - 1}. A smaller lr than {lr:g} usually helps",
            step,
        ) from None


@_modes.measuring
def _measure(model, x, seed):
    # The same seed each time: the noise is the same in every epoch, and a change in the curve is a change in the model.
    generator, black_or_white = (Generator(x.device).manual_seed(seed) for _ in range(2))
    sums = torch.zeros(2, device=x.device, dtype=torch.float32)
    for batch in x.split(1000):
        _, reconstruction, kl = terms(model, _pixels(batch, model, black_or_white), generator=generator)
        sums += torch.stack((reconstruction.sum(), kl.sum()))
    return (sums / len(x)).tolist()


def _columns(prefix, reconstruction, kl):
    return {
        f"{prefix}elbo": reconstruction - kl,
        f"{prefix}reconstruction": reconstruction,
        f"{prefix}kl": kl,
    }
