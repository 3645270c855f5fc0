"""Checkpoints: the whole state of a training at the end of an epoch, on disk, and what must match to resume it."""

from __future__ import annotations

import copy
import hashlib
import inspect
import os

import torch
from torch import nn

from vae_tutorial import _checks
from vae_tutorial._checkpoint_files import FORMAT, OLDER, CheckpointError, Writer, read
from vae_tutorial._mapped import Mapped
from vae_tutorial._modes import unwrapped
from vae_tutorial.history import History

__all__ = ["CheckpointError", "State", "load_checkpoint", "settings"]


def load_checkpoint(path: str | os.PathLike, model: nn.Module) -> History:
    """Put the weights of a checkpoint of ``training.fit`` into ``model`` and return its :class:`History`.

    Where the training averaged the weights, the average is loaded. Raises CheckpointError for a file that is missing,
    damaged, of another model or no checkpoint of ours; the model is then unchanged. Nothing in the file is executed.
    """
    path, model = _checks.path("path", path), unwrapped(model)
    saved = read(path, (FORMAT, OLDER))
    weights = saved["model"]
    if "average" in saved:
        weights = {key.removeprefix("module."): w for key, w in saved["average"].items() if key != "n_averaged"}
    _check_fit(path, weights, model, saved)
    model.load_state_dict(weights)
    model.epochs_trained = saved.get("trained_before", 0) + len(saved["rows"])
    return History(saved["rows"])


class State:
    """A training's whole state at the end of its last whole epoch: in memory, and in a file where there is one.

    As a context manager it restores that state after an error, counts the model's epochs, and suppresses Ctrl-C
    (KeyboardInterrupt). ``stateful``: model, optimizer, average and schedule; the last two may be None. Raises
    CheckpointError for a file that is damaged or of another model, ValueError where a setting differs from the file's.
    """

    def __init__(self, stateful, settings, checkpoint, resume):
        self.stateful, self.settings = stateful, settings
        self.history, self.trained_before = History(), getattr(stateful["model"], "epochs_trained", 0)
        if resume is not None:
            self.history, self.trained_before = _resume(resume, stateful, settings)
        self.writer = None if checkpoint is None else Writer(checkpoint, resume)
        self.last_good = self._snapshot()

    def keep(self, row):
        """Append an epoch's row to the history, and take a snapshot of the current state."""
        self.history.rows.append(row)
        self.last_good = self._snapshot()
        if self.writer is not None:
            self.writer.write(self.last_good)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None:
            _restore(self.last_good, self.stateful)
            self.history.rows[:] = self.last_good["rows"]
        if hasattr(error, "history"):  # CheckpointError and TrainingDiverged carry the history
            error.history = self.history
        average = self.stateful["average"]
        for model in (self.stateful["model"], *([] if average is None else [average.module])):
            model.epochs_trained = self.trained_before + len(self.history)
        return kind is not None and issubclass(kind, KeyboardInterrupt)

    def _snapshot(self):
        states = {name: part.state_dict() for name, part in self.stateful.items() if part is not None}
        model = self.stateful["model"]
        head = {"format": FORMAT, "settings": self.settings, "trained_before": self.trained_before}
        head |= {"image_shape": _shape(model), "frozen": _frozen(model)}
        return copy.deepcopy({**head, "rows": self.history.rows, **states})


def _restore(saved, stateful):
    for name, part in stateful.items():
        if part is not None:
            part.load_state_dict(saved[name])


def settings(model, images, epochs, lr, schedule, average, beta, **others):
    """Return the settings that must be the same to resume a training, as plain values."""
    rates, described = _learning_rates(schedule, lr, epochs)
    if callable(beta):  # its value halfway through each epoch
        beta = [float(beta((epoch + 0.5) / epochs)) for epoch in range(epochs)]
    found = {
        "likelihood": repr(model.likelihood),
        "images": f"{len(images)} of {images.dtype} with SHA-256 {_digest(images)}",
        "learning rate": rates,
        "schedule": described,
        "average": None if average is None else _kept(average),
        "beta": beta,
        **others,
    }
    return {**found, **getattr(model, "shared_settings", {})}  # one of several processes has only a part of the images


def scheduler(make, optimizer):
    """Return the scheduler that ``make`` makes of the optimizer, whose ``step`` must need no argument."""
    if not callable(make):
        raise TypeError(
            "schedule must be a function of the optimizer, such as lambda optimizer: "
            f"torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs); got {make!r}"
        )
    made = make(optimizer)
    if not callable(getattr(made, "step", None)):
        raise TypeError(f"schedule must return a scheduler of torch.optim.lr_scheduler; it returned {made!r}")
    if getattr(made, "optimizer", optimizer) is not optimizer:
        raise ValueError("schedule must make its scheduler from the optimizer that it is given; this has another one")
    parameters = inspect.signature(made.step).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if needed:
        raise ValueError(f"schedule must return a scheduler whose step() takes no argument; this needs {needed[0]!r}")
    return made


def _learning_rates(schedule, lr, epochs):
    """Return the schedule's learning rate in each epoch, from a dry run on a dummy optimizer, and its state as text."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=lr)
    if schedule is None:
        return [lr] * epochs, None
    dummy, rates = scheduler(schedule, optimizer), []
    form = repr({name: value for name, value in dummy.state_dict().items() if not callable(value)})
    for _ in range(epochs):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        dummy.step()
    return rates, form


def _resume(path, stateful, settings):
    """Load a checkpoint's state into the parts of a training; return its history and the count of earlier epochs."""
    path = _checks.path("resume", path)
    saved = read(path)
    _check_fit(path, saved["model"], stateful["model"], saved)
    for name, part in stateful.items():
        if (part is not None) != (name in saved):
            raise ValueError(
                f"{path} was written {'with' if name in saved else 'without'} {name}; resume with the same"
            )
    for name, value in settings.items():
        _check_setting(path, name, saved["settings"].get(name), value)
    if "frozen" in saved:  # older files do not tell
        _check_setting(path, "weights that are not trained", saved["frozen"], _frozen(stateful["model"]))
    _restore(saved, stateful)
    return History(saved["rows"]), saved["trained_before"]


def _shape(model):
    return list(getattr(model, "image_shape", ()))


def _frozen(model):
    return " ".join(name for name, weight in model.named_parameters() if not weight.requires_grad)


def _check_fit(path, weights, model, saved):
    # Before anything is loaded: load_state_dict raises only after it has overwritten part of the model.
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise CheckpointError(
                f"{path} is from another model: {name} is {found.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here"
            )
    if (shape := saved.get("image_shape", _shape(model))) != _shape(model):  # an MLP's weights do not tell
        raise CheckpointError(f"{path} is from another model: its image_shape is {shape}, not {_shape(model)}")
    if (likelihood := saved["settings"]["likelihood"]) != repr(model.likelihood):
        raise CheckpointError(f"{path} is from another model: its likelihood is {likelihood}, not {model.likelihood}")


def _check_setting(path, name, saved, value):
    epoch = ""
    if isinstance(saved, list) and isinstance(value, list):  # one value an epoch, of which there may now be more
        differing = [i for i, (old, new) in enumerate(zip(saved, value, strict=False)) if old != new]
        if not differing:
            return
        epoch = f" in epoch {differing[0] + 1}"
        saved, value = saved[differing[0]], value[differing[0]]
    if saved != value:
        raise ValueError(
            f"{path} was written with {name} = {saved}{epoch}, not {value}; resume with the settings, "
            "images and length of schedule that the training began with. To go on with other ones, call "
            "training.load_checkpoint, then fit without resume"
        )


def _digest(images):
    if isinstance(images, Mapped):
        return images.digest[:16]
    pixels = images.detach().cpu().contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(pixels).hexdigest()[:16]


def _kept(average):
    """The average of an old weight 0 and a new weight 1 at updates 11 and 10,001: it identifies the decay."""
    found = []
    for seen in (10, 10_000):
        old, new = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        if average.multi_avg_fn is not None:
            average.multi_avg_fn([old], [new], torch.tensor(seen))
        elif average.avg_fn is not None:
            old = average.avg_fn(old, new, torch.tensor(seen))
        found.append(round(old.item(), 12))
    return repr(found)
