"""What can be said of a wrong function by running it again: with another seed, with one argument changed."""

import numpy as np

from ._compare import agree, result, shape_of
from ._job import results_of
from ._run import run, seeds_kept, torch_if_loaded


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
        return _scattered([again(job.cases, number) for number in range(8)], [asked(job.cases, n) for n in range(8)])
    if not same(again(job.cases, 1), got) and same(asked(job.cases, 1), job.right):
        return "Your function gives other numbers each time it is called, and nothing is random here."
    for place, name in enumerate(job.names[: len(job.cases[0])]):
        cases = [tuple(_other(a) if i == place else a for i, a in enumerate(case)) for case in job.cases]
        if not same(asked(cases), job.right) and same(again(cases), got):
            return f"Your result stays the same when {name} changes. Where do you use it?"
    return None


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


def _other(argument):
    """An argument with its numbers in other places; a number a little larger."""
    torch = torch_if_loaded()
    if torch and isinstance(argument, torch.Tensor):
        return argument.detach().roll(1).requires_grad_(argument.requires_grad)
    if isinstance(argument, np.ndarray):
        return np.roll(argument, 1)
    return 1.1 * argument if isinstance(argument, float) and not shape_of(argument) else argument
