"""The weights behind somebody's functions: found, kept as they are, put into a mode, or drawn anew."""

from __future__ import annotations

import contextlib
import dis
import functools
import inspect

import torch
from torch import Tensor, nn

from vae_tutorial import _modes

__all__ = ["Weights", "find", "seeded"]

_DEPTH = 4  # how many functions deep it is looked for weights


def seeded(seed: int) -> None:
    """``torch.manual_seed``, which spends a millisecond on devices that are not there."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


class Weights:
    """The ``modules`` (roots), and leaf ``tensors`` with gradients, that the examined functions use."""

    def __init__(self, modules=(), tensors=()):
        inner = {id(part) for root in modules for part in root.modules() if part is not root}
        self.roots = [root for root in modules if id(root) not in inner]
        self.modules = list({id(part): part for root in self.roots for part in root.modules()}.values())
        named = {id(p): (name, p) for root in self.roots for name, p in root.named_parameters() if p.requires_grad}
        named |= {id(t): (f"tensor {tuple(t.shape)}", t) for t in tensors if id(t) not in named}
        self.named = list(named.values())

    @property
    def parameters(self) -> list[Tensor]:
        """All that a training changes."""
        return [parameter for _, parameter in self.named]

    def says(self) -> str:
        """How many numbers were found, in words."""
        return f"{sum(p.numel() for p in self.parameters):,} weights" if self.named else "no weights"

    def has(self, *kinds) -> list[nn.Module]:
        """The layers that are of one of these kinds."""
        return [part for part in self.modules if isinstance(part, kinds)]

    @contextlib.contextmanager
    def mode(self, training: bool):
        """Training or evaluation mode for all; each layer's own is restored."""
        with contextlib.ExitStack() as stack:
            for root in self.roots:
                stack.enter_context(_modes.mode(root, training))
            yield

    @contextlib.contextmanager
    def kept(self):
        """Restore every weight, buffer and gradient afterwards, whatever happens to them."""
        places = [(box, name, t) for part in self.modules for box in (part._parameters, part._buffers)
                  for name, t in box.items() if t is not None]  # fmt: skip
        values = {id(t): (t, t.detach().clone()) for t in [*(t for *_, t in places), *self.parameters]}
        gradients = [(p, p.grad) for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        try:
            yield
        finally:
            for box, name, t in places:
                box[name] = t
            with torch.no_grad():
                for t, value in values.values():
                    t.copy_(value)
            for p, gradient in gradients:
                p.grad = gradient

    @contextlib.contextmanager
    def fresh(self, seed: int = 0):
        """Draw all weights anew by their layers' own ``reset_parameters``, for a while."""
        with self.kept():
            seeded(seed)
            for part in self.modules:
                if callable(reset := getattr(part, "reset_parameters", None)):
                    reset()
            yield

    @functools.cached_property
    def renewable(self) -> bool:
        """Whether ``fresh`` renews nearly all."""
        own = {id(p) for part in self.modules if hasattr(part, "reset_parameters") for p in part.parameters(False)}
        total = sum(p.numel() for p in self.parameters)
        return total > 0 and sum(p.numel() for p in self.parameters if id(p) in own) >= 0.9 * total


def find(*things) -> Weights:
    """Find the modules and leaf tensors that functions, methods and objects use: by closures, globals, attributes."""
    modules, tensors, seen = {}, {}, set()

    def visit(thing, depth):
        if id(thing) in seen or depth > _DEPTH:
            return
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            modules[id(thing)] = _modes.unwrapped(thing)
        elif isinstance(thing, Tensor):
            if thing.is_leaf and thing.requires_grad:
                tensors[id(thing)] = thing
        elif isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.values()):
                visit(part, depth + 1)
        elif inspect.ismethod(thing):
            visit(thing.__self__, depth)
            visit(thing.__func__, depth + 1)
        elif inspect.isfunction(thing):
            for part in _used(thing):
                visit(part, depth + 1)
        elif isinstance(thing, list | tuple | dict):
            for part in thing.values() if isinstance(thing, dict) else thing:
                visit(part, depth + 1)
        elif hasattr(thing, "__dict__") and not inspect.ismodule(thing) and not inspect.isclass(thing):
            visit(vars(thing), depth + 1)

    for thing in things:
        visit(thing, 0)
    return Weights(list(modules.values()), list(tensors.values()))


def _used(function):
    """What a function's body names: its closure, and globals, those of functions and lambdas within it too."""
    function = inspect.unwrap(function)
    code, names = [function.__code__], set()
    while code:
        one = code.pop()
        # co_names holds attributes as well: of x.mean() it would take a global that is called mean.
        names.update(step.argval for step in dis.get_instructions(one) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
        code.extend(part for part in one.co_consts if inspect.iscode(part))
    space = function.__globals__
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    return cells + [space[name] for name in names if name in space]


def _filled(cell):
    try:
        return cell.cell_contents is not None
    except ValueError:  # not assigned yet
        return False
