"""Examine what a script defines: its functions, or its model and loss, under their usual names."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import torch
from torch import nn

from vae_tutorial import _checks, models
from vae_tutorial.checkup.examining import examine
from vae_tutorial.checkup.report import Report
from vae_tutorial.checkup.subject import CheckupError
from vae_tutorial.exercises._run import told

__all__ = ["examine_file", "given"]

_RUN = "checkup"  # the script's __name__: what is below `if __name__ == "__main__":` does not run
_LOSSES = ("loss_function", "loss_fn", "vae_loss", "compute_loss", "elbo_loss", "negative_elbo", "criterion", "loss")
_DRAWS = ("reparameterize", "reparametrize", "reparameterise", "reparametrise", "sampling")
_MODELS = ("model", "vae", "net")
_OPTIONS = ("images", "beta", "trained", "likelihood")  # passed on as they are


def examine_file(path: str | os.PathLike, seed: int = 0) -> Report:
    """Run a script, except what is below ``if __name__ == "__main__":``, examine what it defines, and report.

    It may define ``model`` (or a class of a VAE that needs no arguments) and ``loss_function``; or the functions
    ``encode``, ``reparameterize``, ``decode`` and ``loss_function``. Also taken, where they are there: ``images``,
    ``sample``, ``evaluate``, ``beta``, ``lr`` or ``optimizer``, ``trained``. Raises CheckupError for a script that
    fails or that defines too little.
    """
    path = _checks.path("path", path)
    if not path.is_file():
        raise CheckupError(f"path must be a Python script; there is no file {path}")
    torch.manual_seed(seed)
    return examine(**given(_run(path)), seed=seed, name=path.name)


def given(space: dict) -> dict:
    """Return what a script's names say, as arguments of ``examine``. Raises CheckupError where too little is there."""
    named = {name: space[name] for name in _OPTIONS if name in space}
    functions = {name: space[name] for name in ("encode", "decode", "sample", "evaluate") if callable(space.get(name))}
    functions |= _first("loss", _LOSSES, space) | _first("reparameterize", _DRAWS, space)
    model = _model(space)
    if model is None and not {"encode", "decode"} <= set(functions):
        raise CheckupError(
            "the script defines no VAE that can be seen: an object named model whose forward returns (output, mu, "
            "logvar), or functions encode, reparameterize, decode and loss_function"
        )
    if model is not None:
        named["model"] = model
        functions = {name: f for name, f in functions.items() if name in ("loss", "sample", "evaluate")}
    if "loss" not in functions and not isinstance(model, models.VAE):
        raise CheckupError(f"the script defines no loss: a function of (output, x, mu, logvar) named {_LOSSES[0]}")
    return named | functions | _rate(space)


def _first(role, names, space):
    return next(({role: space[name]} for name in names if callable(space.get(name))), {})


def _model(space):
    """The script's model: an object, or a class that needs no arguments; of several the one that has both halves."""

    def fits(thing):
        return hasattr(thing, "encode") and hasattr(thing, "decode")

    named = [space[name] for name in _MODELS if isinstance(space.get(name), nn.Module)]
    objects = named + [thing for thing in space.values() if isinstance(thing, nn.Module)]
    found = next(filter(fits, objects), None)
    if found is not None:
        return found
    if named and not {"encode", "decode"} <= set(space):
        return named[0]  # whose forward is looked into
    own = [thing for thing in space.values() if isinstance(thing, type) and thing.__module__ == space.get("__name__")]
    for kind in (
        kind for kind in own if issubclass(kind, nn.Module) and (fits(kind) or "vae" in kind.__name__.lower())
    ):
        try:
            return kind()
        except Exception as error:
            raise CheckupError(f"{kind.__name__}() failed; make an object named model. {told(error)}") from error
    return None


def _rate(space):
    """The learning rate, and the kind of optimizer."""
    optimizer = space.get("optimizer")
    if isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer)
        return {"lr": optimizer.param_groups[0]["lr"], "optimizer": lambda weights, lr: kind(weights, lr=lr)}
    lr = next((space[name] for name in ("lr", "learning_rate") if isinstance(space.get(name), float)), None)
    return {} if lr is None else {"lr": lr}


def _run(path: Path) -> dict:
    arguments, search = sys.argv, sys.path[:]
    sys.argv, sys.path[:] = [str(path)], [str(path.parent.resolve()), *search]
    try:
        return runpy.run_path(str(path), run_name=_RUN)
    except (Exception, SystemExit) as error:
        raise CheckupError(f"{path.name} could not be run. {told(error)}") from error
    finally:
        sys.argv, sys.path[:] = arguments, search
