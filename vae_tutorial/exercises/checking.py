"""Check a function that a reader wrote for an exercise, and name what is wrong: ``check("8.6", my_elbo)``.

What is right, and which mistakes are known, is data: the code entries of ``catalogue``. The order is: bring the result
into one form, compare it on all cases, and only then look for the mistake. The number that is asked for is never told.
"""

import dis
import inspect
from typing import NamedTuple

from . import _run, catalogue
from ._compare import UNFILLED, agree, first_wrong, result, same_shapes, shape_of, shown
from ._general import general
from ._job import job as job_of
from ._more import ignored, more, on_average
from ._run import ForBoth, TimeUp, own, plain, run, told, torch_if_loaded

__all__ = ["Verdict", "check", "verdict"]
_said = {}  # what was said last to each exercise, and how often in a row


class Verdict(NamedTuple):
    """Whether a function is right, what to say, the smallest input where it is not, and what it printed."""

    right: bool
    message: str
    example: str = ""
    printed: str = ""


def check(exercise: str, function, *, name: str | None = None) -> None:
    """Say whether a function is right, or what is wrong with it.

    exercise: "8.6" or the exercise's label; name: which function it is, where an exercise asks for several and yours
    is called otherwise. The same mistake a second time: an input where it shows; a third time: where the solution is.
    Raises ValueError for an exercise that asks for no function.
    """
    entry = _entry(exercise, function, name)
    found = verdict(exercise, function, name=name)
    if found.printed:
        print(found.printed, end="" if found.printed.endswith("\n") else "\n")
    print(f"{catalogue.number(exercise)} {entry['name']}: {_escalated((entry['exercise'], entry['name']), found)}")


def verdict(exercise: str, function, *, name: str | None = None) -> Verdict:
    """Return whether a function is right, and what is to be said; nothing is printed or remembered."""
    entry = _entry(exercise, function, name)
    if function is None or function is ...:
        return Verdict(False, UNFILLED)
    if not callable(function):
        kind = type(function).__name__
        return Verdict(False, f"This is a {kind}, not a function. Give check the function itself, without brackets.")
    torch = torch_if_loaded()
    job = job_of(entry["exercise"], entry["name"], bool(torch and torch.is_grad_enabled()))
    if wrong_arguments := _arguments(function, job):
        return Verdict(False, wrong_arguments)
    return _judged(function, job)


def _escalated(key, found):
    """The message; the second time with an example, the third time with where the solution is."""
    before, times = _said.get(key, ("", 0))
    times = times + 1 if before == found.message else 1
    _said[key] = (found.message, times)
    if found.right or found.message == UNFILLED or times == 1:
        return found.message
    if times == 2:
        return found.message + (f"\n{found.example}" if found.example else "")
    return found.message + "\nThe solution is folded below the exercise."


def _entry(exercise, function, name):
    """The code entry that is meant; ValueError says which there are."""
    found = catalogue.entries(exercise, "code")
    if not found:
        there = [number for number in catalogue._read("numbers.json") if catalogue.entries(number, "code")]
        raise ValueError(f"exercise {exercise!r} asks for no function; these do: {', '.join(there)}")
    names = [entry["name"] for entry in found]
    if name is not None and name not in names:
        raise ValueError(f"exercise {exercise!r} asks for no function {name!r}, but for {' and '.join(names)}")
    own_name = name or getattr(function, "__name__", None)
    if len(found) == 1 or own_name in names:
        return next((entry for entry in found if entry["name"] == own_name), found[0])
    raise ValueError(f"exercise {exercise!r} asks for {' and '.join(names)}: say which with name={names[0]!r}")


def _arguments(function, job):
    """What to say where a function takes other arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are not written in Python have none
        return None
    for case in job.cases:
        try:
            signature.bind(*case)
        except TypeError:
            asked = ", ".join(job.names[: len(case)])
            return f"Your function takes {signature}; it is called with {len(case)} arguments: ({asked})."
    return None


def _judged(function, job):
    """Run a function, with tensors and with arrays where both will do, and say what came of it."""
    tries = []
    for library in (None,) if job.torch else ("torch", "numpy") if torch_if_loaded() else ("numpy", "torch"):
        if library == "torch" and not torch_if_loaded():
            continue
        lent = {name: _lendable(it, library, job) for name, it in job.lent.items()}
        ran = run(function, job.cases, library, lent)
        printed = tries[0][0].printed if tries else ran.printed
        if any(isinstance(value, TimeUp) for value in ran.results):
            stopped = "could not be stopped: restart the kernel" if ran.stuck else "was stopped"
            message = f"It still ran after {_run.SECONDS:g} s, and {stopped}. Is there a loop without end?"
            return Verdict(False, message, "", printed)
        got = [
            result(value, gradients, asked, job.summary)
            for value, gradients, asked in zip(ran.results, ran.gradients, job.right, strict=True)
        ]
        if all(r.fits for r in got) and _all_agree(got, job.right, job.limits):
            named = _named(got, job)
            named = named or ignored(function, job, library, lent)
            return Verdict(not named, named or "right." + _remarks(got, ran, job), _example(got, ran, job), printed)
        tries.append((ran, got, library, lent))
    return _diagnosed(function, tries, job)


def _lendable(it, library, job):
    return ForBoth(it) if callable(it) and not job.torch else own(it, library)


def _named(got, job):
    """The reply to the first known mistake that gives the same on all cases, shapes included.

    An axis of length 1 too many hides no mistake in the numbers.
    """
    if all(map(same_shapes, got, job.right)) and _all_agree(got, job.right, job.limits):
        return None
    right = all(mine.fits for mine in got) and _all_agree(got, job.right, job.limits)
    alikes = (same_shapes,) if right else (same_shapes, lambda a, b: a.fits and b.fits)
    for alike in alikes:
        for reply, results, limits in job.wrong:
            if all(map(alike, got, results)) and _all_agree(got, results, limits):
                return reply
    return None


def _all_agree(some, others, limits):
    return all(agree(a, b, limits) for a, b in zip(some, others, strict=True))


def _remarks(got, ran, job):
    """What a right function is told besides."""
    said = ""
    for mine, right in zip(got, job.right, strict=True):
        for came, asked in zip(mine.shapes, right.shapes, strict=False):
            if came != asked:
                said = f" Only the shape, {came}, has an axis of length 1 too many: {asked} is safer."
    return said + _changed(ran, job)


def _changed(ran, job):
    words = " and ".join(job.names[place] for place in ran.changed)
    return f" But your function changed its argument {words}: work on a copy." if words else ""


def _diagnosed(function, tries, job):
    """What is wrong: a known mistake, an exception, or what can be seen of the numbers."""
    ran, got, library, lent = next((one for one in tries if not _raised(one[0])), tries[0])
    printed = tries[0][0].printed
    for _, results, *_ in tries:
        if reply := _named(results, job):
            return Verdict(False, reply, _example(results, ran, job), printed)
    for value, mine in zip(ran.results, got, strict=True):
        if (
            isinstance(value, NotImplementedError)
            or (value is None and _is_empty(function))
            or mine.failure == UNFILLED
        ):
            return Verdict(False, UNFILLED, "", printed)
        if isinstance(value, BaseException):
            return Verdict(False, told(value), _example(got, ran, job), printed)
        if mine.failure:
            return Verdict(False, mine.failure, _example(got, ran, job), printed)

    if on_average(function, job, library, lent):
        return Verdict(True, "right, as far as 250 runs can tell: you draw in another order than we do.", "", printed)

    def otherwise():
        return more(function, job, got, library, lent)

    message = general(job.names, job.cases, got, job.right, job.limits, otherwise)
    return Verdict(False, message + _changed(ran, job), _example(got, ran, job), printed)


def _raised(ran):
    return any(isinstance(value, BaseException) for value in ran.results)


def _is_empty(function):
    """Whether a function does nothing: ``pass``, ``...`` or a docstring alone."""
    code = getattr(function, "__code__", None)
    idle = {"RESUME", "NOP", "LOAD_CONST", "POP_TOP", "RETURN_VALUE", "RETURN_CONST", "CACHE"}
    return code is not None and all(step.opname in idle for step in dis.get_instructions(code))


def _example(got, ran, job):
    """The smallest input where it shows, with what the reader's function returned."""
    failing = [
        place
        for place, (mine, right) in enumerate(zip(got, job.right, strict=True))
        if not same_shapes(mine, right) or not agree(mine, right, job.limits)
    ]
    if not failing:
        return ""
    place = min(failing, key=lambda i: sum(getattr(plain(a), "size", 1) for a in job.cases[i]))
    row, size = first_wrong(got[place], job.right[place], job.limits), job.right[place].shapes[0][:1]
    lines = ["The smallest input where it shows:"]
    for name, argument in zip(job.names, job.cases[place], strict=False):
        argument = plain(argument)
        if not callable(argument):
            gap = "\n" if shape_of(argument) else " "
            lines.append(f"{name} ={gap}{shown(argument, row if shape_of(argument)[:1] == size else 0)}")
        elif inspect.isfunction(argument) and argument.__doc__:
            lines.append(f"{name} = {argument.__name__}: {argument.__doc__}")
    value = ran.results[place]
    if not isinstance(value, BaseException):
        value = tuple(map(plain, value)) if isinstance(value, tuple) else plain(value)
        lines.append(f"Your function returns\n{shown(value, row)}")
    return "\n".join(lines)
