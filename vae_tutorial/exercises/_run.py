"""Run a function of a reader's: own copies of the arguments, a fixed seed, an end after ten seconds, no traceback."""

import contextlib
import contextvars
import copy
import ctypes
import inspect
import io
import linecache
import os
import random
import sys
import sysconfig
import threading
import traceback
import warnings
from typing import NamedTuple

import numpy as np

SECONDS = 10.0  # for all cases of an exercise together
_PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_NOT_THEIRS = tuple(
    {_PACKAGE, *(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))}
)


class TimeUp(BaseException):
    """What ends a function that runs too long; no ``except Exception`` catches it."""


class Run(NamedTuple):
    """What came of the cases: of each, what was returned (or the exception) and the gradients."""

    results: list
    gradients: list
    changed: list  # the places of arguments that the function changed
    printed: str  # during the first case
    stuck: bool  # it could not be ended


def torch_if_loaded():
    """Return PyTorch if this process has imported it, else None."""
    return sys.modules.get("torch")


def own(argument, library=None):
    """Return a copy of an argument; ``library="torch"`` makes tensors of arrays."""
    torch = torch_if_loaded()
    if isinstance(argument, np.ndarray):
        return torch.from_numpy(argument.copy()) if library == "torch" else argument.copy()
    if torch and isinstance(argument, torch.Tensor):
        return argument.detach().clone().requires_grad_(argument.requires_grad)
    return copy.deepcopy(argument)


def plain(value):
    """Return a tensor as an array, and anything else as it is."""
    torch = torch_if_loaded()
    return value.detach().cpu().numpy() if torch and isinstance(value, torch.Tensor) else value


class ForBoth:
    """A function of arrays that takes tensors too, and then returns tensors; it may stand for a network."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        torch = torch_if_loaded()
        result = self.function(*map(plain, arguments))
        tensors = [argument for argument in arguments if torch and isinstance(argument, torch.Tensor)]
        return torch.as_tensor(np.asarray(result), device=tensors[0].device) if tensors else result

    def eval(self):
        return self


@contextlib.contextmanager
def seeds_kept():
    """Leave the global random numbers as they were."""
    torch = torch_if_loaded()
    states = random.getstate(), np.random.get_state(), torch and torch.default_generator.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch:
            torch.default_generator.set_state(states[2])


def seed(number):
    """Set the global random numbers, on the CPU alone."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    if torch := torch_if_loaded():
        torch.default_generator.manual_seed(number)


def call(function, case, library=None, number=0):
    """Call a function with its own copies and a seed; return its result, gradients, and places that it changed.

    The gradients are those of the sum of all it returned, by each argument that asks for one; zeros where none came.
    """
    given = [own(argument, library) for argument in case]
    before = [own(argument) if isinstance(plain(argument), np.ndarray) else None for argument in case]
    seed(number)
    result = function(*given)
    torch = torch_if_loaded()
    changed = [place for place, (a, b) in enumerate(zip(given, before, strict=True)) if _differ(a, b)]
    if not torch or not torch.is_grad_enabled():
        return result, [], changed
    leaves = [argument for argument in given if isinstance(argument, torch.Tensor) and argument.requires_grad]
    parts = result if isinstance(result, tuple | list) else [result]
    sums = [part.sum() for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]
    if not leaves or not sums:
        return result, [np.zeros(tuple(leaf.shape)) for leaf in leaves], changed
    found = torch.autograd.grad(sum(sums), leaves, allow_unused=True, materialize_grads=True)
    return result, [gradient.detach().double().cpu().numpy() for gradient in found], changed


def _differ(a, b):
    a, b = plain(a), plain(b)
    if not isinstance(a, np.ndarray):
        return False
    return a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@contextlib.contextmanager
def _lent(function, names):
    """For a while, let the function see these names in place of the notebook's."""
    function = inspect.unwrap(getattr(function, "func", function))  # such as one under @torch.no_grad()
    space = getattr(function, "__globals__", {})
    kept = {name: space[name] for name in names if name in space}
    space.update(names)
    try:
        yield
    finally:
        for name in names:
            space.pop(name, None)
        space.update(kept)


def run(function, cases, library=None, names=None, seeds=None):
    """Run a function on all cases, in a thread, for at most SECONDS; ``names`` are lent to it as globals.

    seeds: one for each case, 0 unless given.
    """
    results, gradients, changed, printed = [], [], [], io.StringIO()
    torch = torch_if_loaded()
    grad = torch is not None and torch.is_grad_enabled()

    def work():
        grads = torch.set_grad_enabled(grad) if torch else contextlib.nullcontext()
        with contextlib.suppress(TimeUp), np.errstate(all="ignore"), grads:
            for case, number in zip(cases, seeds or [0] * len(cases), strict=True):
                with contextlib.redirect_stdout(io.StringIO() if results else printed):
                    try:
                        result, found, places = call(function, case, library, number)
                    except BaseException as error:  # the reader's, whatever it is
                        result, found, places = error, [], []
                results.append(result)
                gradients.append(found)
                changed.extend(places)
                if isinstance(result, TimeUp):
                    return

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    stdout = sys.stdout
    with seeds_kept(), _lent(function, names or {}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        try:
            thread.join(SECONDS)
        finally:
            stuck = not _ended(thread)
            sys.stdout = stdout  # a thread that could not be ended would keep it
    if len(results) < len(cases) and not any(isinstance(result, TimeUp) for result in results):
        results.append(TimeUp())
    return Run(results, gradients, sorted(set(changed)), printed.getvalue()[:2000], stuck)


def _ended(thread):
    """End a thread by an exception in it, and say whether that worked: code that is not Python hears none."""
    for _ in range(10):
        if not thread.is_alive():
            return True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp))
        thread.join(0.2)
    return not thread.is_alive()


def told(error):
    """Say an exception in a sentence, with the last line of the reader's own code that it came from."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else text[:200] + " …"
    sentence = f"Your function raises {type(error).__name__}" + (f": {text}" if text else "")
    if isinstance(error, RecursionError):
        sentence = "Your function calls itself without end (RecursionError)"
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    if theirs:
        number = theirs[-1].lineno or 0
        line = linecache.getline(theirs[-1].filename, number).strip()
        sentence += f" (line {number}" + (f": {line})" if line else ")")
    return sentence + "."


def _is_theirs(filename):
    if filename.startswith("<"):
        return not filename.startswith(("<frozen", "<__array_function__"))
    return not os.path.realpath(filename).startswith(_NOT_THEIRS)
