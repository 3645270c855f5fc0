"""What can be said of a function by running it again: with another seed, with one argument changed."""

import numpy as np

from ._compare import agree, result, shape_of
from ._job import results_of
from ._run import own, plain, run, seeds_kept, torch_if_loaded


@np.errstate(all="ignore")
def more(function, job, got, library, lent):
    """Say that a function is random where nothing should be, or that it does not use an argument; else None."""

    def again(cases, number=0):
        ran = run(function, cases, library, lent, [number] * len(cases))
        values = zip(ran.results, ran.gradients, job.right, strict=False)
        return [result(value, gradients, right, job.summary) for value, gradients, right in values]

    def asked(cases, number=0):
        with seeds_kept():
            return results_of(job.function, cases, job.right, job.summary, number)

    def same(some, others):
        return len(some) == len(others) and all(agree(a, b, job.limits) for a, b in zip(some, others, strict=True))

    if job.limits.absolute:
        return ignored(function, job, library, lent) or _scattered(
            [again(job.cases, number) for number in range(8)], [asked(job.cases, n) for n in range(8)]
        )
    if not same(again(job.cases, 1), got) and same(asked(job.cases, 1), job.right):
        return "Your function gives other numbers each time it is called, and nothing is random here."
    for place, name in enumerate(job.names[: len(job.cases[0])]):
        changed = [_with(job.cases, place, change) for change in (_moved, _first_rows, _one_number)]
        matters = any(not same(asked(cases), job.right) for cases in changed)
        if matters and all(_identical(again(cases), got) for cases in changed):
            return f"Your result stays the same when {name} changes. Where do you use it?"
    return None


def ignored(function, job, library, lent):
    """Say that a mean of draws takes no notice of how many are asked for; else None.

    How many there are is seen by how many numbers our own functions are given; where they are not called, nothing
    is said unless the results are the same to the last digit.
    """
    if not job.limits.absolute or any(shape for one in job.right for shape in one.shapes):
        return None
    for place, name in enumerate(job.names[: len(job.cases[0])]):
        if type(job.cases[0][place]) is not int:
            continue
        seen, results = [], []
        for number in (100, 20_000):
            given = []
            counting = {word: _counting(it, given) if callable(it) else it for word, it in lent.items()}
            ran = run(function, _with(job.cases[:1], place, lambda _, number=number: number), library, counting)
            seen.append(sum(given))
            results.append([result(value, (), job.right[0]) for value in ran.results])
        if seen[0] == seen[1] and (seen[0] or _identical(*results)):
            return f"You ignore {name}: as many come whatever is asked for. Where do you use it?"
    return None


def _counting(function, given):
    """A function that notes how many numbers its arguments have, the largest one of each call."""

    def counted(*arguments):
        given.append(max(np.size(plain(argument)) for argument in arguments))
        return function(*arguments)

    return counted


def _identical(some, others):
    """Whether two lists of Results are the same to the last digit: a small part of a sum counts, too."""

    def alike(a, b):
        return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))

    pairs = list(zip(some, others, strict=False))
    whole = len(some) == len(others) and not any(a.failure or b.failure for a, b in pairs)
    return whole and all(alike(a.parts, b.parts) and alike(a.gradients, b.gradients) for a, b in pairs)


def _with(cases, place, change):
    return [tuple(change(a) if i == place else a for i, a in enumerate(case)) for case in cases]


def _scattered(mine, right):
    """Of a mean of draws: whether it is right on average, and scatters much more than such a mean does."""
    if any(one.failure or not one.fits for ran in mine for one in ran):
        return None
    for place in range(len(right[0])):
        a, b = (np.stack([ran[place].parts[0] for ran in runs]) for runs in (mine, right))
        near = np.abs(a.mean(0) - b.mean(0)) < a.std(0) + 1e-9
        if not near.all() or not (a.std(0) > 8 * b.std(0)).any():
            return None
    return "Your result scatters more than a mean of that many draws does. Do you draw all of them?"


@np.errstate(all="ignore")
def on_average(function, job, library, lent, times=250):
    """Whether a function that draws has the mean and the scatter of the right one, which draws in another order."""
    with seeds_kept():
        drawn = results_of(job.function, job.cases, job.right, job.summary, 1)
    if job.limits.absolute or all(map(agree, drawn, job.right)):
        return False  # what is right is no draw
    seeds = list(range(times))
    for case, asked in zip(job.cases, job.right, strict=True):
        ran = run(function, [case] * times, library, lent, seeds)
        mine = [result(value, (), asked) for value in ran.results]
        if any(one.failure or one.shapes != asked.shapes for one in mine):
            return False
        theirs = run(job.function, [case] * times, None, None, [times + seed for seed in seeds])
        right = [result(value, (), asked) for value in theirs.results]
        for place in range(len(asked.parts)):
            a, b = (np.stack([one.parts[place] for one in ones]) for ones in (mine, right))
            apart = np.abs(a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / times)
            if not (np.all(apart < 4) and np.all(np.abs(np.log(a.std(0) / b.std(0))) < 0.2)):
                return False
    return True


def _moved(argument):
    """An argument with its numbers in other places; a number a little larger."""
    if isinstance(argument, float) and not shape_of(argument):
        return 1.1 * argument
    return _filled(argument, lambda old: old.ravel()[np.arange(old.size) - 1].reshape(old.shape))


def _first_rows(argument):
    """An argument whose rows are all the first one: its sums change, which no other order of numbers does."""
    if isinstance(argument, float) and not shape_of(argument):
        return 2 * argument
    return _filled(argument, lambda old: np.broadcast_to(old[:1], old.shape))


def _one_number(argument):
    """An argument whose numbers are all the largest one; a number as it is."""
    return _filled(argument, lambda old: np.full_like(old, old.max()))


def _filled(argument, change):
    """A copy of a tensor or array with other numbers; anything else as it is."""
    if not shape_of(argument) or not np.size(plain(argument)):
        return argument
    torch, new = torch_if_loaded(), own(argument)
    numbers = np.array(change(plain(argument)))
    if not torch or not isinstance(new, torch.Tensor):
        return numbers
    return torch.from_numpy(numbers).to(new.dtype).requires_grad_(argument.requires_grad)
