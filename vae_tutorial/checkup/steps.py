"""Gauges of the training: how far a warm-up gets, and whether a shorter step does better at once."""

from __future__ import annotations

import math

import torch

from vae_tutorial.checkup.gauge import CERTAIN, LIKELY, Finding, gauge
from vae_tutorial.checkup.subject import NotTested

_STEPS = 30
_BATCH = 32


@gauge("the weight of the KL at the end of the warm-up")
def warm_up(subject):
    if subject.schedule is None:
        raise NotTested("give beta= as a function of the training's progress, from 0 to 1, if you warm up")
    late, last = float(subject.schedule(0.95)), float(subject.schedule(1.0))
    if last > late and last < 1:
        yield Finding("warm_up", f"At the end of the training the KL weighs {last:.3g}, and is still rising.")


@gauge("the learning rate: whether a tenth of it does better at once")
def learning_rate(subject):
    if subject.lr is None:
        raise NotTested("give lr=, the learning rate")
    if not subject.weights.renewable:
        raise NotTested("the weights cannot be drawn anew here")
    start, short, long = (_after(subject, lr) for lr in (0.0, subject.lr / 10, subject.lr))
    if not math.isfinite(long):
        yield Finding(
            "lr_high", f"With lr = {subject.lr:g} the loss is not finite within {_STEPS} steps from new weights."
        )
    elif long > start + 0.05 * abs(start) or (long > short + 0.05 * abs(start - short) and short < start):
        sure = CERTAIN if long > start else LIKELY
        says = f"After {_STEPS} steps from new weights the loss is {long:.4g} with lr = {subject.lr:g}, "
        yield Finding("lr_high", says + f"{short:.4g} with {subject.lr / 10:g}; it began at {start:.4g}.", sure)


def _after(subject, lr):
    """The loss after some steps from new weights, the same images and noise for each lr."""
    with torch.enable_grad(), subject.weights.mode(True), subject.weights.fresh():
        torch.manual_seed(1)
        optimizer = subject.optimizer(subject.weights.parameters, lr=lr or 1e-30)
        losses = []
        for _ in range(_STEPS if lr else 3):
            x = subject.images[torch.randint(len(subject.images), (_BATCH,))]
            try:
                loss = subject.total(x)
            except (RuntimeError, ValueError):
                if losses:  # NaN is not a probability, says the loss
                    return math.inf
                raise
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return sum(losses[-3:]) / 3 if all(map(math.isfinite, losses)) else math.inf
