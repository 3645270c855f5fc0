"""Which output is compared with which pixel: what the gauge "broadcast" asks a loss."""

from __future__ import annotations

import torch

from vae_tutorial.checkup.form import form_of
from vae_tutorial.checkup.gauge import LIKELY, Finding
from vae_tutorial.checkup.subject import NotTested

__all__ = ["aligned", "crossed", "ignored", "paired", "repeated"]

_PLACES = 23  # pixels that are tried one by one
_CALLS = 32  # of a loss that draws, to average it


def repeated(subject, output, x):
    """Whether the loss repeats an output beside several pixels, and these differ: not so of a grey image in colour."""
    if output.numel() >= x.numel() or form_of(subject).family is None:
        return False
    images, shape = subject.batch(), output.shape[1:]
    axes = [axis for axis in range(1, images.ndim) if shape[axis - 1] == 1 < images.shape[axis]]
    return any((images - images.narrow(axis, 0, 1)).abs().max() > 0.02 for axis in axes)


def aligned(output, x):
    """Whether a place in the output is the same place in the image: channels last, or patches, are another order."""
    one_channel = x.ndim == 2 or x.shape[1] == 1
    return output.shape == x.shape or (one_channel and output.ndim == 2 and output.numel() == x.numel())


def crossed(probe, output, x):
    """Pixels that decide the gradient of one output alone, and of another than their own."""

    def slope(x):
        part = output.clone().requires_grad_()
        with torch.enable_grad():
            cost = probe.cost([part], x)
            return torch.autograd.grad(cost, part)[0].flatten() if cost.requires_grad else None

    here, elsewhere, alone = slope(x), 0, 0
    if here is None:
        return
    places = torch.linspace(0, x[0].numel() - 1, _PLACES).long() if x[0].numel() > _PLACES else range(x[0].numel())
    for place in map(int, places):
        other = x.clone()
        other.view(-1)[place] = 1 - other.view(-1)[place]
        changed = (slope(other) - here).abs()
        moved = (changed > 1e-6 * changed.max()).nonzero().flatten().tolist() if changed.max() > 1e-9 else []
        alone += len(moved) == 1
        elsewhere += len(moved) == 1 and moved != [place]
    if alone == len(places) and elsewhere > 0.1 * len(places):
        says = f"Of {len(places)} pixels that were tried, {elsewhere} are compared with the output of another place."
        yield Finding("crossed_pixels", says)


def ignored(probe, outputs, x):
    """Numbers of the decoder's output that the loss does not look at."""
    outputs = [part.requires_grad_() for part in outputs]
    with torch.enable_grad():
        cost = probe.cost(outputs, x)
        if not cost.requires_grad:
            yield Finding("cut", "The loss has no gradient to the decoder's output.")
            return
        slopes = torch.autograd.grad(cost, outputs, allow_unused=True)
    still = [
        torch.ones(part[0].numel()) if s is None else (s == 0).all(0) for s, part in zip(slopes, outputs, strict=True)
    ]
    share = torch.cat([part.flatten().double() for part in still]).mean().item()
    if share > 0.01:
        yield Finding("ignored_pixels", f"The loss does not change with {100 * share:.0f} % of the decoder's numbers.")


def paired(probe, outputs, x):
    """Of a loss that draws: whether it is lower for outputs that are the images than for those of other images."""
    if outputs[0].numel() != x.numel():
        raise NotTested("the loss draws, and its outputs are not of the size of the images")
    own, another = [x.reshape(outputs[0].shape)], [x.roll(1, 0).reshape(outputs[0].shape)]
    gains = [probe.ask(another, x, seed=s) - probe.ask(own, x, seed=_CALLS + s) for s in range(_CALLS)]
    gains = torch.tensor(gains, dtype=torch.float64)
    if gains.mean().abs() < 4 * gains.std() / _CALLS**0.5:
        says = (
            f"Over {_CALLS} calls of a loss that draws, an image costs the same from its own output and from another's."
        )
        yield Finding("broadcast", says, LIKELY)
