"""One training loop for every model of the course."""

import copy
import math
import os
import time
from dataclasses import dataclass, field

import torch
from tqdm.auto import tqdm

from vae_tutorial.data import binarize, check_unit_interval
from vae_tutorial.objectives import terms

__all__ = ["History", "TrainingDiverged", "fit"]


class TrainingDiverged(ArithmeticError):
    """The loss became infinite or NaN. ``step`` counts from 1 over the whole training; ``history`` ends before it."""

    def __init__(self, message, step, history):
        super().__init__(message)
        self.step, self.history = step, history


@dataclass
class History:
    """What happened in each epoch: ``rows``, one dict an epoch, means in nats per image.

    Keys: epoch (from 1), elbo, reconstruction, kl, seconds (training alone), and with test images test_elbo,
    test_reconstruction, test_kl. The training numbers are means over the epoch, while the weights changed; the test
    numbers are taken at its end. ``elbo`` is reconstruction - kl, whatever beta was.
    """

    rows: list = field(default_factory=list)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        """Return one column as a list: ``history["elbo"]``."""
        return [row[key] for row in self.rows]

    def to_frame(self):
        """Return the history as a pandas DataFrame, one row an epoch."""
        import pandas as pd

        return pd.DataFrame(self.rows).set_index("epoch")

    def plot(self, ax=None):
        """Draw ELBO, reconstruction and KL over the epochs, those on test images dashed; return the Axes."""
        from vae_tutorial.plotting import curves

        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        lines = {names[key]: self[key] for key in names}
        if self.rows and "test_elbo" in self.rows[0]:
            lines |= {f"{names[key]} (test)": self[f"test_{key}"] for key in names}
        return curves(self["epoch"], lines, ax)


def fit(model, images, *, epochs, batch_size=128, lr=1e-3, beta=1.0, seed=0, test=None, progress=True):
    """Train a VAE with Adam to maximise reconstruction - beta * KL, and return its :class:`History`.

    ``images``: ``(N, C, H, W)``. As uint8 they stay so on the model's device, and each batch is drawn black and white
    anew (a Bernoulli likelihood) or divided by 255 (the others). Floating images in [0, 1] are used as they are.
    ``test``: images to measure after each epoch, taken likewise; uint8 is binarized once, the same for every epoch.
    ``seed``: of the order of images, their binarization and the draws of z; torch's global generator is not touched.
    ``progress``: show a bar (never where the environment sets TQDM_DISABLE, nor in a log file).

    Raises ValueError for unusable arguments. Raises TrainingDiverged as soon as a loss that is not finite is seen; the
    model then has its weights of the end of the last whole epoch.
    """
    for name, value, least in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("lr", lr, 0), ("beta", beta, 0)):
        if not least <= value < math.inf:
            raise ValueError(f"{name} must be a number of at least {least}; got {value}")
    device = next(model.parameters()).device
    images = _usable(images, "images", model, device)
    generator = torch.Generator(device).manual_seed(seed)
    if test is not None:
        test = _pixels(_usable(test, "test", model, device), model, torch.Generator(device).manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=device.type in ("cpu", "cuda"))
    history, good = History(), copy.deepcopy(model.state_dict())

    bar = tqdm(range(1, epochs + 1), unit="epoch", leave=False, disable=_silent(progress))
    for epoch in bar:
        start = time.perf_counter()
        batches = torch.randperm(len(images), generator=generator, device=device).split(batch_size)
        seen = torch.zeros(len(batches), 2, pin_memory=device.type == "cuda")  # each batch's reconstruction and KL
        for step, chosen in enumerate(batches):
            x = _pixels(images.index_select(0, chosen), model, generator)  # (B, C, H, W)
            objective, reconstruction, kl = terms(model, x, beta, generator=generator)  # (B,) each
            loss = -objective.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            # Both sums travel to the CPU by themselves; nobody waits for them. Looking at what has arrived stops a
            # training that has gone wrong: at once on a CPU, a few steps later on a GPU.
            sums = torch.stack((reconstruction.detach(), kl.detach())).sum(1)
            seen[step].copy_(sums, non_blocking=device.type == "cuda")  # without pinned memory it would come too late
            if not seen[: step + 1].isfinite().all():
                break
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # the epoch is over: now wait for what is under way
        finite = seen.isfinite().all(1)
        if not finite.all():
            model.load_state_dict(good)
            bad = (epoch - 1) * len(batches) + int(finite.logical_not().nonzero()[0]) + 1
            raise TrainingDiverged(
                f"the loss was not finite at step {bad} (epoch {epoch}); the model has its weights of the end of epoch "
                f"{epoch - 1} again. A smaller lr than {lr:g} is the usual mend",
                bad,
                history,
            )
        mean_reconstruction, mean_kl = (seen.sum(0, dtype=torch.float64) / len(images)).tolist()
        row = {"epoch": epoch, **_named("", mean_reconstruction, mean_kl), "seconds": time.perf_counter() - start}
        if test is not None:
            row |= _named("test_", *_measure(model, test, seed))
        history.rows.append(row)
        good = copy.deepcopy(model.state_dict())
        bar.set_postfix(elbo=f"{row['elbo']:.1f}")
    return history


def _usable(images, name, model, device):
    if images.ndim != 1 + len(model.image_shape) or images.shape[1:] != model.image_shape or len(images) == 0:
        wanted = ", ".join(map(str, model.image_shape))
        raise ValueError(f"{name} must have shape (N, {wanted}) with N >= 1; got {tuple(images.shape)}")
    if images.dtype != torch.uint8:
        check_unit_interval(images, name)
    return images.to(device)


def _pixels(images, model, generator):
    if images.dtype != torch.uint8:
        return images
    return binarize(images, generator) if model.likelihood.binary else images.float().div_(255)


@torch.no_grad()
def _measure(model, x, seed):
    # The same seed each time: the noise is the same in every epoch, and a change in the curve is a change in the model.
    generator = torch.Generator(x.device).manual_seed(seed)
    sums = torch.zeros(2, device=x.device, dtype=torch.float32)
    for batch in x.split(1000):
        _, reconstruction, kl = terms(model, batch, generator=generator)
        sums += torch.stack((reconstruction.sum(), kl.sum()))
    return (sums / len(x)).tolist()


def _named(prefix, reconstruction, kl):
    return {
        f"{prefix}elbo": reconstruction - kl,
        f"{prefix}reconstruction": reconstruction,
        f"{prefix}kl": kl,
    }


def _silent(progress):
    # None lets tqdm decide: a bar in a terminal and in a notebook, none in a log file.
    return None if progress and not os.environ.get("TQDM_DISABLE") else True
