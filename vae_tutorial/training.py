"""One training loop for every model of the course, and the checkpoints from which it goes on."""

import copy
import math
import os
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm.auto import tqdm

from vae_tutorial.data import binarize, check_unit_interval
from vae_tutorial.objectives import terms

__all__ = ["CheckpointError", "History", "TrainingDiverged", "fit", "load_checkpoint"]

_FORMAT = "vae_tutorial checkpoint 1"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or is damaged, of another model, or no checkpoint of ours."""


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
        """Draw ELBO, reconstruction and KL over the epochs, those on test images dashed; return the Axes.

        Of an autoencoder, the reconstruction alone.
        """
        from vae_tutorial.plotting import curves

        names = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL"}
        if not any(self["kl"]):  # an autoencoder has none, and its objective is the reconstruction
            names = {"reconstruction": "reconstruction"}
        lines = {names[key]: self[key] for key in names}
        if self.rows and "test_elbo" in self.rows[0]:
            lines |= {f"{names[key]} (test)": self[f"test_{key}"] for key in names}
        return curves(self["epoch"], lines, ax)


def fit(
    model,
    images,
    *,
    epochs,
    batch_size=128,
    lr=1e-3,
    beta=1.0,
    free_bits=0.0,
    schedule=None,
    average=None,
    precision="float32",
    seed=0,
    test=None,
    checkpoint=None,
    resume=None,
    progress=True,
):
    """Train a VAE or an autoencoder with Adam to maximise reconstruction - beta * KL, and return its :class:`History`.

    ``images``: ``(N, C, H, W)``. As uint8 they stay so on the model's device, and each batch is drawn black and white
    anew (a Bernoulli likelihood) or divided by 255 (the others). Floating images in [0, 1] are used as they are.
    ``test``: images to measure after each epoch, taken likewise; uint8 is binarized once, the same for every epoch.

    ``beta``: the weight of the KL, a number, or a function of the training's progress, from 0 (its start) to 1 (its
    end): ``lambda t: min(1, 5 * t)`` warms up over the first fifth. ``free_bits``: see ``objectives.elbo``, in nats.
    ``schedule``: makes a learning-rate scheduler of PyTorch from the optimizer; it steps after each epoch:
    ``lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)``.
    ``average``: a ``torch.optim.swa_utils.AveragedModel`` of the model, updated after each step and measured on
    ``test`` in the model's place. ``precision``: ``"bfloat16"`` computes the layers, and nothing else, in it.
    ``seed``: of the order of images, their binarization and the draws of z; torch's global generator is not touched.

    ``checkpoint``: a file that holds the whole state after each epoch; it is replaced at one stroke, so that it is
    whole at any moment. ``resume``: such a file, from which the training goes on to the same numbers that it would have
    reached uninterrupted (on one machine: to the same bits). ``progress``: show a bar (never where the environment sets
    TQDM_DISABLE, nor in a log file).

    Ctrl-C returns the history so far. Raises ValueError for unusable arguments, CheckpointError, and TrainingDiverged
    as soon as a loss that is not finite is seen. In all these cases the model has its weights of the end of the last
    whole epoch.
    """
    _check_arguments(epochs, batch_size, lr, beta, free_bits, precision, checkpoint)
    device = next(model.parameters()).device
    images = _usable(images, "images", model, device)
    generator = torch.Generator(device)
    if test is not None:
        test = _pixels(_usable(test, "test", model, device), model, generator.manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=float(lr), fused=device.type in ("cpu", "cuda"))
    parts = {"model": model, "optimizer": optimizer, "average": average, "schedule": schedule and schedule(optimizer)}
    settings = _settings(model, images, batch_size, lr, beta, free_bits, precision)
    history = History() if resume is None else _resume(resume, parts, settings)
    good = _snapshot(parts, settings, history)

    epochs_left = range(len(history) + 1, epochs + 1)
    bar = tqdm(epochs_left, initial=len(history), total=epochs, unit="epoch", leave=False, disable=_silent(progress))
    try:
        for epoch in bar:
            start = time.perf_counter()
            # A seed for each epoch: what follows a checkpoint does not depend on what came before it.
            generator.manual_seed(seed + 1_000_003 * (epoch - 1))
            batches = torch.randperm(len(images), generator=generator, device=device).split(batch_size)
            seen = torch.zeros(len(batches), 2, pin_memory=device.type == "cuda")  # each batch's reconstruction and KL
            for step, chosen in enumerate(batches):
                x = _pixels(images.index_select(0, chosen), model, generator)  # (B, C, H, W)
                weight = _weight(beta, (epoch - 1 + step / len(batches)) / epochs)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    objective, reconstruction, kl = terms(model, x, weight, 1, free_bits, generator)  # (B,) each
                loss = -objective.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if average:
                    average.update_parameters(model)
                # Both sums travel to the CPU by themselves; nobody waits. What has arrived stops a bad training.
                sums = torch.stack((reconstruction.detach(), kl.detach())).sum(1)
                seen[step].copy_(sums, non_blocking=device.type == "cuda")  # only pinned memory may be filled late
                if not seen[: step + 1].isfinite().all():
                    break
            _wait_for(device)  # the epoch is over, but for what is under way
            if not seen.isfinite().all():
                raise _diverged(seen, epoch, lr, history)
            means = (seen.sum(0, dtype=torch.float64) / len(images)).tolist()
            row = {"epoch": epoch, **_named("", *means), "seconds": time.perf_counter() - start}
            if test is not None:
                row |= _named("test_", *_measure(model if average is None else average.module, test, seed))
            if schedule:
                parts["schedule"].step()
            history.rows.append(row)
            good = _snapshot(parts, settings, history)
            if checkpoint:
                _write(checkpoint, good)
            bar.set_postfix(elbo=f"{row['elbo']:.1f}")
    except BaseException as stopped:  # Ctrl-C among them
        _restore(good, parts)
        history.rows[:] = good["rows"]
        if not isinstance(stopped, KeyboardInterrupt):
            raise
    finally:
        bar.close()
    return history


def load_checkpoint(path, model):
    """Put the weights of a checkpoint of :func:`fit` into ``model`` and return its :class:`History`.

    Where the training kept averaged weights, it is those. Raises CheckpointError for a file that is missing, damaged,
    of another model or not ours; the model is then as it was. Nothing in the file is ever executed.
    """
    saved = _read(path)
    weights = saved["model"]
    if "average" in saved:
        weights = {key.removeprefix("module."): w for key, w in saved["average"].items() if key != "n_averaged"}
    _check_fit(path, weights, model, saved["settings"]["likelihood"])
    model.load_state_dict(weights)
    return History(saved["rows"])


# A snapshot is the whole state at the end of an epoch; a checkpoint is a snapshot on disk.


def _snapshot(parts, settings, history):
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    return copy.deepcopy({"format": _FORMAT, "settings": settings, "rows": history.rows, **states})


def _restore(snapshot, parts):
    for name, part in parts.items():
        if part is not None:
            part.load_state_dict(snapshot[name])


def _write(path, snapshot):
    # Beside its place first, then moved there: a full disk or a kill at any moment leaves the last checkpoint whole.
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")
    try:
        with open(beside, "wb") as file:
            torch.save(snapshot, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if not isinstance(error, OSError | RuntimeError):
            raise
        kept = f"the one of epoch {len(snapshot['rows']) - 1} is still there" if path.exists() else "there is none yet"
        raise CheckpointError(f"could not write the checkpoint {path} ({_first_line(error)}); {kept}") from error


def _read(path):
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a checksum of each part, but does not look at it
            if (part := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {part} is wrong")
        saved = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain values; never runs code
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}") from None
    except Exception as error:  # torch.load fails in many ways on bytes that are no checkpoint
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint of vae_tutorial ({_first_line(error)}). Nothing of it was used"
        ) from error
    found = saved.get("format") if isinstance(saved, dict) else None
    if found != _FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of vae_tutorial: its format is {found!r}, not {_FORMAT!r}")
    return saved


def _resume(path, parts, settings):
    saved = _read(path)
    _check_fit(path, saved["model"], parts["model"], saved["settings"]["likelihood"])
    for name, part in parts.items():
        if (part is not None) != (name in saved):
            raise ValueError(
                f"{path} was written {'with' if name in saved else 'without'} {name}; resume with the same"
            )
    for name, value in settings.items():
        if saved["settings"].get(name) != value:
            raise ValueError(
                f"{path} was written with {name} = {saved['settings'].get(name)}, not {value}; a training resumes with "
                "the settings that it began with. To train on with others: training.load_checkpoint, then fit anew"
            )
    _restore(saved, parts)
    return History(saved["rows"])


def _check_fit(path, weights, model, likelihood):
    # Before anything is loaded: load_state_dict itself would have overwritten half of the model when it complains.
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise CheckpointError(
                f"{path} is from another model: {name} is {found.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here"
            )
    if likelihood != repr(model.likelihood):
        raise CheckpointError(f"{path} is from another model: its likelihood is {likelihood}, not {model.likelihood}")


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _check_arguments(epochs, batch_size, lr, beta, free_bits, precision, checkpoint):
    least = {"epochs": (epochs, 1), "batch_size": (batch_size, 1), "lr": (lr, 0), "free_bits": (free_bits, 0)}
    if not callable(beta):
        least["beta"] = (beta, 0)
    for name, (value, bound) in least.items():
        if not bound <= value < math.inf:
            raise ValueError(f"{name} must be a number of at least {bound}; got {value}")
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value != int(value):
            raise ValueError(f"{name} must be a whole number; got {value}")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision must be 'float32' or 'bfloat16'; got {precision!r}")
    if checkpoint is not None and (not Path(checkpoint).parent.is_dir() or Path(checkpoint).is_dir()):
        raise ValueError(f"checkpoint must be the path of a file in a folder that exists; got {str(checkpoint)!r}")


def _weight(beta, progress):
    if not callable(beta):
        return beta
    weight = beta(progress)
    if not 0 <= weight < math.inf:
        raise ValueError(f"beta must give a number of at least 0; beta({progress:g}) is {weight}")
    return weight


def _settings(model, images, batch_size, lr, beta, free_bits, precision):
    """What a training that resumes must have in common with the one that was cut off."""
    return {
        "likelihood": repr(model.likelihood),
        "images": len(images),
        "batch_size": batch_size,
        "lr": float(lr),
        "beta": "a function" if callable(beta) else float(beta),
        "free_bits": float(free_bits),
        "precision": precision,
    }


def _wait_for(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _diverged(seen, epoch, lr, history):
    bad = (epoch - 1) * len(seen) + int(seen.isfinite().all(1).logical_not().nonzero()[0]) + 1
    return TrainingDiverged(
        f"the loss was not finite at step {bad} (epoch {epoch}); the model has its weights of the end of epoch "
        f"{epoch - 1} again. A smaller lr than {lr:g} is the usual mend",
        bad,
        history,
    )


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
