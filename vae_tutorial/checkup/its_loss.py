"""Somebody's loss, put to a :class:`Subject`: of four arguments, of all that a pass returned, or of x alone."""

from __future__ import annotations

import torch
from torch import nn

from vae_tutorial.checkup.arguments import arranged, of_two
from vae_tutorial.checkup.halves import Halves, layout_of_model
from vae_tutorial.checkup.returned import rebuilt
from vae_tutorial.checkup.subject import CheckupError, number
from vae_tutorial.exercises._run import told

__all__ = ["attempt", "with_loss"]


def with_loss(subject, loss, forward=None):
    """The subject with its loss; a loss of one argument makes its own pass."""
    if isinstance(forward, nn.Module) and (of_whole := of_two(loss)) is not None:
        found = _of_structure(subject, of_whole, forward)
        if found is not None:
            return found
    ordered = arranged(loss, subject.beta)
    if ordered is None:
        subject.alone = loss
        attempt("loss", lambda: subject.total(subject.batch(4)))
        return subject
    subject.loss = ordered
    try:
        subject.total(subject.batch(4))
    except Exception:
        subject.memo["reshaped"] = True  # as a loop does that flattens its images before the loss
        attempt("loss", lambda: subject.total(subject.batch(4)))
    return subject


def _of_structure(subject, loss, forward):
    """The subject with a loss of (all that the pass returned, x); None where it is no such loss."""
    model = forward.whole if isinstance(forward, Halves) else forward
    try:
        _, layout = layout_of_model(model, subject.images)
        templates = {}  # by their number of images: a prior that is returned has as many

        def whole(output, x, mu, logvar, z=None):
            if len(x) not in templates:
                with torch.no_grad(), subject.weights.mode(False):
                    templates[len(x)] = model(subject.batch(len(x)).reshape(x.shape))
            return number(loss(rebuilt(templates[len(x)], layout, output, x, mu, logvar, mu if z is None else z), x))

        seen = subject.forward(subject.batch(8))
        four = seen.output, subject.batch(8), seen.mu, seen.logvar
        with_z = [whole(*four), whole(*four, z=seen.mu + 1)]
    except Exception:
        return None
    if torch.equal(*with_z):
        subject.loss = lambda output, x, mu, logvar: whole(output, x, mu, logvar)
    else:  # z is in the loss, as in log q(z) - log p(z): it makes its own pass
        subject.alone = lambda x: loss(model(x), x)
    attempt("loss", lambda: subject.total(subject.batch(4)))
    return subject


def attempt(name, action):
    """What an action on four images gives. Raises CheckupError where it fails."""
    try:
        return action()
    except CheckupError:
        raise
    except Exception as error:
        raise CheckupError(f"{name} failed on four images. {told(error)}") from error
