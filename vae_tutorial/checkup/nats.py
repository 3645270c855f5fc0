"""A bound that the checkup computes itself: with noise as wide as the KL says, and log p(x) by importance sampling."""

from __future__ import annotations

import contextlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial.checkup.form import BATCH, CONVENTIONS, Form, form_of
from vae_tutorial.checkup.spread import spread_of
from vae_tutorial.checkup.subject import NotTested, Subject, parts_of

__all__ = ["deviation", "means", "per_image", "reference"]

_DRAWS = 8  # of each bound
_SAMPLES, _IMAGES = 64, 32  # of importance sampling


def deviation(subject: Subject, logvar: Tensor) -> Tensor:
    """The standard deviations that an encoder's second numbers stand for: by the KL, or by the draws, or the usual."""
    convention = form_of(subject).convention if subject.loss is not None else None
    if convention is None:
        with contextlib.suppress(NotTested):
            convention = spread_of(subject).convention
    return CONVENTIONS.get(convention or "", CONVENTIONS["log-variance"])(logvar).abs()


def per_image(form: Form, batch: int, beta: float = 1.0) -> float:
    """What a loss of that many images is to be multiplied by, to be in nats an image. Raises NotTested if not known."""
    if not form.kl > 0 or form.kl_batch is None:
        raise NotTested("the unit of the loss is not known")
    return beta / (form.kl * (batch / BATCH) ** form.kl_batch * batch)


def reference(subject: Subject, x: Tensor) -> tuple[Tensor, float | None]:
    """Return some values of the loss with honest draws, and an estimate of mean log p(x), None where not known."""
    if subject.loss is None:
        raise NotTested("the loss takes x alone: no bound of our own to compare it with")
    mu, logvar = subject.encode(x)
    s = deviation(subject, logvar)
    draws = [mu + s * torch.randn_like(mu) for _ in range(_DRAWS)]
    costs = torch.stack([subject.cost(subject.decode(z), x, mu, logvar).double() for z in draws])
    return costs, _log_p(subject, x[:_IMAGES], mu[:_IMAGES], s[:_IMAGES].expand_as(mu[:_IMAGES]))


def _log_p(subject, x, mu, s):
    """Mean log p(x) of the images, nats, a lower bound; constants of squared errors are left out."""
    cost = {"bce": F.binary_cross_entropy, "logits": F.binary_cross_entropy_with_logits}.get(
        form_of(subject).family or ""
    )
    if cost is None:
        return None
    eps = torch.randn(_SAMPLES, *mu.shape, dtype=mu.dtype, device=mu.device)
    z = mu + s * eps
    log_w = 0.5 * (eps.square() - z.square()).flatten(2).sum(2) + s.log().flatten(1).sum(1)
    for k in range(_SAMPLES):
        output = parts_of(subject.decode(z[k]))[0]
        if cost is F.binary_cross_entropy and not (output.min() >= 0 and output.max() <= 1):
            return None
        target = subject.target(x, output).reshape(output.shape)
        log_w[k] -= cost(output, target, reduction="none").flatten(1).sum(1)
    return (log_w.logsumexp(0) - math.log(_SAMPLES)).mean().item()


def means(subject: Subject, output) -> Tensor:
    """The mean image of each p(x | z), ``(B, D)``. Raises NotTested where the likelihood is not known."""
    family, first = form_of(subject).family if subject.loss is not None else None, parts_of(output)[0]
    if family == "own":
        first = subject.likelihood.mean(first)
    elif family == "logits":
        first = torch.sigmoid(first)
    elif family == "pair" and len(parts_of(output)) == 1:
        first = first.chunk(2, 1)[0]
    elif family not in ("bce", "squares", "absolute", "pair"):
        raise NotTested("the likelihood was not recognized, so its mean image is not known")
    return first.flatten(1)
