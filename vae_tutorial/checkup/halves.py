"""A model that has ``forward`` alone, taken apart: where in its pass the code comes out, and where z goes in."""

from __future__ import annotations

import contextlib
import itertools

import torch
from torch import Tensor, nn

from vae_tutorial.checkup.subject import CheckupError, parts_of
from vae_tutorial.checkup.weights import find
from vae_tutorial.exercises._run import told

__all__ = ["Halves", "alone", "halved"]


class Halves(nn.Module):
    """``encode`` and ``decode`` of a model that has neither, each a pass of the whole; ``forward`` is the model's own.

    ``entry``: the layer that z enters. ``exits``: the layers that mu and logvar leave, or one that both leave side by
    side; empty where no layer's output is the code. The pass asks ``self.encode`` and ``self.decode`` at these places,
    where somebody has put others there, and otherwise leaves them alone.
    """

    def __init__(self, whole: nn.Module, rows: Tensor):
        super().__init__()
        self.whole, self._rows = whole, rows  # rows: images, as the model takes them
        _, self._pair = _returned(whole(rows))
        self.exits = self._find_exits()
        self.entry = self._find_entry()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu, logvar) of images, ``(B, Z)`` each."""
        returned = self.whole(x)
        return returned[self._pair], returned[self._pair + 1]

    def decode(self, z: Tensor):
        """Return what the model's pass gives where z ``(B, Z)`` enters its decoder."""
        return self._with_z(z)[0]

    def forward(self, x: Tensor):
        replaced, hooks, found = vars(self), contextlib.ExitStack(), {}
        if "encode" in replaced:
            code = replaced["encode"](x)
            values = [torch.cat(tuple(code), -1)] if len(self.exits) == 1 else code
            for layer, value in zip(self.exits, values, strict=False):
                hooks.enter_context(_hook(layer.register_forward_hook(lambda *_, value=value: value)))
        if "decode" in replaced:

            def ask(layer, given):
                found["output"] = replaced["decode"](given[0])

            hooks.enter_context(_hook(self.entry.register_forward_pre_hook(_once(ask))))
        with hooks:
            returned = self.whole(x)
        return (found["output"], *returned[1:]) if found else returned

    def _with_z(self, z):
        rows = self._rows[torch.arange(len(z), device=z.device) % len(self._rows)]
        put = _once(lambda layer, given: (z, *given[1:]))
        with _hook(self.entry.register_forward_pre_hook(put)):
            return self.whole(rows)

    def _layers(self):
        return [layer for layer in self.whole.modules() if layer is not self.whole]

    def _find_exits(self):
        outputs = {}
        with contextlib.ExitStack() as hooks:
            for layer in self._layers():
                hooks.enter_context(_hook(layer.register_forward_hook(lambda m, _, out: outputs.update({m: out}))))
            returned = self.whole(self._rows)
        mu, logvar = returned[self._pair], returned[self._pair + 1]
        wanted = {m: out for m, out in outputs.items() if isinstance(out, Tensor)}
        both = torch.cat((mu, logvar), -1)
        for layer, out in wanted.items():
            if out.shape == both.shape and torch.equal(out, both):
                return [layer]
        found = [next((m for m, out in wanted.items() if out is value), None) for value in (mu, logvar)]
        return [] if None in found or found[0] is found[1] else found

    def _find_entry(self):
        """The first layer with an input of z's shape that decides the output and leaves the code as it is."""
        code = self.whole(self._rows)[self._pair : self._pair + 2]
        mu, takers = code[0], []

        def note(layer, given):
            if given and isinstance(given[0], Tensor) and given[0].shape == mu.shape and layer not in takers:
                takers.append(layer)

        with contextlib.ExitStack() as hooks:
            for layer in self._layers():
                hooks.enter_context(_hook(layer.register_forward_pre_hook(note)))
            self.whole(self._rows)
        for layer in takers:
            self.entry = layer
            # Two passes with the same z must agree: no noise comes behind it. mu and logvar come before it.
            first, again, other = (self._with_z(torch.full_like(mu, value)) for value in (0.0, 0.0, 1.0))
            outputs = [parts_of(returned[0])[0] for returned in (first, again, other)]
            kept = all(torch.equal(part, first[self._pair + k]) for k, part in enumerate(code))
            if kept and torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2]):
                return layer
        raise CheckupError(
            f"model has forward alone, and no layer in it takes a z of shape {tuple(mu.shape)}: give its halves, "
            "encode= from x to (mu, logvar) and decode= from z to the output"
        )


def alone(model: nn.Module) -> bool:
    """Whether a model has forward alone."""
    return not hasattr(model, "encode") and not hasattr(model, "decode")


def halved(model: nn.Module, images: Tensor) -> Halves:
    """Return the :class:`Halves` of a model whose ``forward`` returns (output, mu, logvar). Else CheckupError."""
    with torch.no_grad(), find(model).kept():
        return _halved(model, images)


def _halved(model, images):
    failed = None
    for form in (images, images.flatten(1)):
        was = [(part, part.training) for part in model.modules()]
        model.eval()
        try:
            return Halves(model, form[:8])
        except CheckupError:
            raise
        except Exception as error:
            failed = failed or error
        finally:
            for part, training in was:
                part.training = training
    raise CheckupError(f"forward cannot take images of {tuple(images.shape)}, nor flattened. {told(failed)}")


def _returned(returned):
    """What a pass returned, and the place of mu in it; logvar comes after it."""
    parts = list(returned) if isinstance(returned, tuple | list) else []
    for place, (a, b) in enumerate(itertools.pairwise(parts[1:]), 1):
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim == 2 and a.shape == b.shape:
            return parts, place
    raise CheckupError(
        "model has no methods encode and decode, so its forward must return (output, mu, logvar); give functions, "
        f"encode= and decode=, or such a forward. Yours returns a {type(returned).__name__} of {len(parts)}"
    )


def _once(function):
    """A hook that acts at the first call of a pass: a layer may be used twice."""
    calls = itertools.count()
    return lambda *arguments: function(*arguments) if next(calls) == 0 else None


@contextlib.contextmanager
def _hook(handle):
    try:
        yield
    finally:
        handle.remove()
