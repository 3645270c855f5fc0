"""A model taken apart by hooks: where in its pass the code comes out, and where z goes in."""

from __future__ import annotations

import contextlib
import itertools

import torch
from torch import Tensor, nn

from vae_tutorial.checkup.returned import Layout, Taken, layout_of, taken
from vae_tutorial.checkup.subject import CheckupError, parts_of
from vae_tutorial.checkup.weights import find
from vae_tutorial.exercises._run import told

__all__ = ["Halves", "alone", "fails_with_few", "halved", "layout_of_model"]

_QUIET = (-30.0, 0.0)  # the encoder's second number without noise: of a logarithm, of a deviation or variance
_PASSES = 64
_SIZES = (128, 64, 100, 32, 256, 50, 16, 200, 512)  # of batches, as they are written into code


class Halves(nn.Module):
    """``encode`` and ``decode`` of a model that has neither, each a pass of the whole; ``forward`` is the model's own.

    ``entry``: the layer that z enters. ``exits``: the layers that mu and logvar leave, or one that both leave side by
    side; empty where none of them can be set. ``behind``: what enters is no z but a function of it, as in
    ``d(tanh(z))``; then z is put in as mu, without noise, and how it is drawn is not seen. The pass asks
    ``self.encode`` and ``self.decode`` at these places, where somebody has put others there.
    """

    def __init__(self, whole: nn.Module, rows: Tensor):
        super().__init__()
        self.whole, self._rows = whole, rows  # rows: images, as the model takes them
        template, self.layout = _layout(whole, rows)
        self._mu, self._second = taken(template, self.layout)[1:3]
        self.exits = self._find_exits()
        self.entry = self._find_entry()
        self._quiet, self.behind = self._quiet_of(self.entry)
        if self.behind and not self.exits:
            raise CheckupError(
                f"model has forward alone, and what enters its layer {self.name(self.entry)} is not drawn around mu: "
                f"is it a function of z? {_HALVES}"
            )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu, logvar) of images, ``(B, Z)`` each."""
        return taken(self.whole(x), self.layout)[1:3]

    def decode(self, z: Tensor):
        """Return what the model's pass gives where z ``(B, Z)`` enters its decoder."""
        return self._with_z(z)[0]

    def forward(self, x: Tensor) -> Taken:
        replaced, hooks, found = vars(self), contextlib.ExitStack(), {}
        if "encode" in replaced and self.exits:
            hooks.enter_context(self._code(*replaced["encode"](x)))
        if "decode" in replaced and not self.behind:

            def ask(layer, given):
                found["output"] = replaced["decode"](given[0])

            hooks.enter_context(_hook(self.entry.register_forward_pre_hook(_once(ask))))
        with hooks:
            returned = taken(self.whole(x), self.layout)
        return returned._replace(**found)

    def name(self, layer: nn.Module) -> str:
        """What the model calls a layer."""
        return next((name for name, part in self.whole.named_modules() if part is layer), "?")

    def says(self) -> str:
        """How it was taken apart, in words."""
        enters = f"z enters the layer {self.name(self.entry)}" + ", as a function of it" * self.behind
        leaves = " and ".join(self.name(layer) for layer in self.exits)
        return f"{enters}; mu and logvar leave {leaves}" if leaves else f"{enters}; where the code leaves is not seen"

    @contextlib.contextmanager
    def _code(self, mu, second):
        """While it lasts, the encoder gives this code."""
        values = [torch.cat((mu, second.expand_as(mu)), 1)] if len(self.exits) == 1 else [mu, second]
        with contextlib.ExitStack() as hooks:
            for layer, value in zip(self.exits, values, strict=False):
                hooks.enter_context(_put(layer, value))
            yield

    def _with_z(self, z, layer=None):
        rows = self._rows[torch.arange(len(z), device=z.device) % len(self._rows)]
        if layer is None and self.behind:
            with self._code(z, torch.full_like(z, self._quiet)):
                return taken(self.whole(rows), self.layout)
        put = _once(lambda layer, given: (z, *given[1:]))
        with _hook((layer or self.entry).register_forward_pre_hook(put)):
            return taken(self.whole(rows), self.layout)

    def _layers(self):
        return [layer for layer in self.whole.modules() if layer is not self.whole]

    def _find_exits(self):
        """The last layers whose outputs, where others are put there, are returned as mu and logvar."""
        sizes = {}
        with contextlib.ExitStack() as hooks:
            for layer in self._layers():
                hooks.enter_context(_hook(layer.register_forward_hook(lambda m, _, out: sizes.update({m: out}))))
            self.whole(self._rows)
        wanted = [(m, o) for m, o in sizes.items() if isinstance(o, Tensor) and len(o) == len(self._rows)][::-1]
        made = [0.1 + 0.9 * torch.rand_like(part) for part in (self._mu, self._second)]

        def given(layer, value):
            with _put(layer, value):
                return taken(self.whole(self._rows), self.layout)[1:3]

        both = torch.cat([part.expand_as(made[0]) for part in made], 1)
        for layer, out in wanted:
            if out.numel() == both.numel() and all(map(_near, given(layer, both), made)):
                return [layer]
        found = []
        for k, value in enumerate(made):
            layers = (m for m, o in wanted if o.numel() == value.numel() and _near(given(m, value)[k], value))
            found.append(next(layers, None))
        return [] if None in found or found[0] is found[1] else found

    def _find_entry(self):
        """The first layer with an input of z's shape that decides the output and leaves the code as it is."""
        takers, mu = [], self._mu

        def note(layer, given):
            if given and isinstance(given[0], Tensor) and given[0].shape == mu.shape and layer not in takers:
                takers.append(layer)

        with contextlib.ExitStack() as hooks:
            for layer in self._layers():
                hooks.enter_context(_hook(layer.register_forward_pre_hook(note)))
            self.whole(self._rows)
        for layer in takers:
            # Two passes with the same z must agree: no noise comes behind it. mu and logvar come before it.
            first, again, other = (self._with_z(torch.full_like(mu, value), layer) for value in (0.0, 0.0, 1.0))
            outputs = [parts_of(returned[0])[0] for returned in (first, again, other)]
            kept = torch.equal(self._mu, first[1]) and torch.equal(self._second, first[2])
            if kept and torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2]):
                return layer
        raise CheckupError(
            f"model has forward alone, and no layer in it takes a z of shape {tuple(mu.shape)}: {_HALVES}"
        )

    def _quiet_of(self, layer):
        """The second number that leaves no noise, None for none; and whether what enters the layer differs from z."""
        entered = []

        def run(code=None):
            note = _once(lambda _, given: entered.append(given[0]))
            with code or contextlib.nullcontext(), _hook(layer.register_forward_pre_hook(note)):
                self.whole(self._rows)
            return entered.pop()

        if self.exits:
            mu = torch.linspace(-1.5, 1.5, self._mu.numel()).to(self._mu).reshape(self._mu.shape)
            for value in _QUIET:
                second = torch.full_like(self._second, value)
                first, again, other = (run(self._code(some, second)) for some in (mu, mu, -mu))
                if _near(first, again) and not _near(first, other):
                    return value, not _near(first, mu, 1e-3)
            return None, False  # its noise never ends: the gauges of the noise look at that
        seen = torch.stack([run() for _ in range(_PASSES)]).double()
        off, error = (seen.mean(0) - self._mu), seen.std(0) / _PASSES**0.5
        if error.max() < 1e-6:
            return None, not _near(seen[0].to(self._mu), self._mu)
        return None, bool((off / error.clamp(min=1e-9)).square().mean() > 2)


_HALVES = "give its halves, encode= from x to (mu, logvar) and decode= from z to the output"


def alone(model: nn.Module) -> bool:
    """Whether a model has forward alone."""
    return not hasattr(model, "encode") and not hasattr(model, "decode")


def halved(model: nn.Module, images: Tensor) -> Halves:
    """Return the :class:`Halves` of a model whose ``forward`` returns output, mu and logvar. Else CheckupError."""
    with torch.no_grad(), find(model).kept():
        return _evaluated(model, images, Halves)


def layout_of_model(model: nn.Module, images: Tensor):
    """What a model's ``forward`` returns, and its :class:`Layout`. Raises CheckupError where it cannot be told."""
    with torch.no_grad(), find(model).kept():
        return _evaluated(model, images, _layout)


def _layout(whole, rows) -> tuple[object, Layout]:
    passes = []
    with find(whole).kept():  # running statistics change in training mode
        for training in (False, False, True, True):
            whole.train(training)
            passes.append(whole(rows))
    whole.eval()
    return passes[0], layout_of(passes, rows)


def _evaluated(model, images, what):
    """``what`` of a model in evaluation mode and some images, in the form that the model takes."""
    failed = None
    for form in (images, images.flatten(1)):
        was = [(part, part.training) for part in model.modules()]
        model.eval()
        try:
            return what(model, form[:8])
        except CheckupError:
            raise
        except Exception as error:
            failed = failed or error
        finally:
            for part, training in was:
                part.training = training
    raise CheckupError(fails_with_few("forward", model, images, failed))


def fails_with_few(name, function, x, failed) -> str:
    """What to say where a function fails with a few images: does it take batches of one size?"""
    for form in (x, x.flatten(1)):
        for size in _SIZES:
            if size <= len(x):
                with contextlib.suppress(Exception), torch.no_grad():
                    function(form[:size])
                    return (
                        f"{name} takes batches of {size} alone: that size is written into it, as in "
                        f"torch.randn({size}, ...). Take it from what comes: torch.randn_like(mu). {told(failed)}"
                    )
    return f"{name} cannot take images of {tuple(x.shape)}, nor flattened. {told(failed)}"


def _put(layer, value):
    """A hook that gives a value in the place of a layer's output, in its shape."""
    return _hook(layer.register_forward_hook(lambda _, given, out: value.reshape(len(value), *out.shape[1:])))


def _near(a, b, within=1e-4):
    return a.shape == b.shape and torch.allclose(a, b, atol=within)


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
