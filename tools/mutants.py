"""Mutation tests of the checks: run a chapter, and at each check a wrong version of its subject; the check must fail.

    python tools/mutants.py                 all chapters
    python tools/mutants.py 02 05           some
    python tools/mutants.py 02 --match kl   only the mutants whose check or description holds this word

A chapter runs once, cell by cell. Where it comes to a check that has mutants, each is run in the namespace as it stands
there; then namespace, package and random numbers are put back, and the true check runs. Mutants are data:
``tests/mutants/NN.yml``, a list of

    - check: eq-kl-definition   the equation, as the check's first line names it; or the id of any cell that asserts
      wrong: in bits            what the mutant says wrongly, in words
      old: torch.log(p)         the text that is replaced, which must occur there exactly once
      new: torch.log2(p)        and what by
      of: 02-03                 (optional) the id of the earlier cell where it is replaced; it runs again, so changed,
                                and then the check. Without it the text is the check's own
      then: [02-05]             (optional) ids of cells to run after it and before the check
      before: |                 (in place of old and new) lines of Python that are run before the check
        waste = waste.T

A mutant that raises AssertionError is killed, one that raises nothing survives; any other error means it is broken.
"""

import argparse
import contextlib
import io
import json
import os
import random
import re
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS, MUTANTS = ROOT / "notebooks", ROOT / "tests" / "mutants"


class Cell(NamedTuple):
    """A code cell: its id, its source, and the equations that its first line says it checks."""

    id: str
    source: str
    equations: tuple


class Mutant(NamedTuple):
    """One wrong version: ``cell`` is the id of the check that has to fail, ``runs`` what is executed, in order."""

    check: str
    wrong: str
    cell: str
    runs: tuple


class Result(NamedTuple):
    """``outcome``: "killed", "survived", or the error that a broken mutant raised."""

    mutant: Mutant
    outcome: str


def chapters():
    """Return the paths of the notebooks by their numbers, ``{"01": Path(...), ..., "a": Path(...)}``."""
    return {path.stem.removeprefix("appendix_").split("_")[0]: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}


def code_cells(path):
    """Return the code cells of a notebook as :class:`Cell`."""
    found = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            first = source.partition("\n")[0]
            labels = re.findall(r"\((eq-[\w-]+)\)", first) if first.startswith("# Check") else ()
            found.append(Cell(cell["id"], source, tuple(labels)))
    return found


def mutants(number):
    """Return the mutants of a chapter. Raises ValueError, with the entry, for one that cannot be understood."""
    import yaml

    path = MUTANTS / f"{number}.yml"
    cells = code_cells(chapters()[number])
    sources = {cell.id: cell.source for cell in cells}
    entries = yaml.safe_load(path.read_text("utf-8")) if path.exists() else []
    return [_mutant(entry, cells, sources, path.name) for entry in entries]


def _mutant(entry, cells, sources, where):
    def fail(why):
        raise ValueError(f"{where}: {entry}: {why}")

    unknown = set(entry) - {"check", "wrong", "old", "new", "of", "then", "before"}
    if unknown or not {"check", "wrong"} <= set(entry) or ("before" in entry) == ("old" in entry):
        fail("an entry has check, wrong, and either old and new or before; see tools/mutants.py")
    check = entry["check"]
    holders = [cell.id for cell in cells if check in (cell.id, *cell.equations)]
    if not holders:
        fail(f"no cell checks {check}")
    target = holders[0]  # of several cells that check one equation, the first; the others are named by their ids
    if not re.search(r"\b(assert|agree|below|ledger\.check)\b", sources[target]):
        fail(f"cell {target} asserts nothing")
    if "before" in entry:
        return Mutant(check, entry["wrong"], target, (entry["before"], sources[target]))
    changed = entry.get("of", target)
    order = list(sources)
    if changed not in sources or order.index(changed) > order.index(target):
        fail(f"no cell {changed} at or before the check")
    old, new = entry["old"], entry["new"]
    if sources[changed].count(old) != 1:
        fail(f"{old!r} stands {sources[changed].count(old)} times in cell {changed}, not once")
    if old == new:
        fail("old and new are the same")
    runs = [sources[changed].replace(old, new)]
    runs += [sources[name] for name in entry.get("then", [])]
    if changed != target:
        runs.append(sources[target])
    return Mutant(check, entry["wrong"], target, tuple(runs))


class _State:
    """What a mutant may change, for :meth:`restore`: names, the package's functions and methods, random state."""

    def __init__(self, names):
        import numpy
        import torch

        self.names, self.kept = names, dict(names)
        self.modules = [
            (vars(module), dict(vars(module))) for key, module in sys.modules.items() if key.startswith("vae_tutorial")
        ]
        classes = {value for _, kept in self.modules for value in kept.values() if isinstance(value, type)}
        self.classes = [(cls, dict(vars(cls))) for cls in classes if cls.__module__.startswith("vae_tutorial")]
        # What is changed in place: a mutant that runs an earlier cell again may fill its dictionary, draw its numbers.
        values = [value for name, value in names.items() if name != "__builtins__"]
        values = [value for value in values if isinstance(value, dict | list | torch.Generator)]
        self.filled = [(value, value.copy()) for value in values if not isinstance(value, torch.Generator)]
        self.generators = [(value, value.get_state()) for value in values if isinstance(value, torch.Generator)]
        self.chance = torch.get_rng_state(), numpy.random.get_state(), random.getstate()  # noqa: NPY002 - all that is

    def restore(self):
        import numpy
        import torch

        for live, kept in self.filled:
            live.clear()
            live.update(kept) if isinstance(live, dict) else live.extend(kept)
        for generator, state in self.generators:
            generator.set_state(state)
        for live, kept in [(self.names, self.kept), *self.modules]:
            for key in [key for key in live if key not in kept]:
                del live[key]
            live.update(kept)
        for cls, kept in self.classes:
            for key in [key for key in vars(cls) if key not in kept]:
                delattr(cls, key)
            for key, value in kept.items():
                if vars(cls).get(key) is not value and key not in ("__dict__", "__weakref__"):
                    setattr(cls, key, value)
        torch.set_rng_state(self.chance[0])
        numpy.random.set_state(self.chance[1])  # noqa: NPY002
        random.setstate(self.chance[2])


def run_chapter(number, match=""):
    """Run a chapter and its mutants; return a list of :class:`Result`, in the order of the notebook.

    With ``match``, only mutants whose check or description holds it, and the chapter up to the last of them.
    Raises whatever a true cell raises: the chapter itself has to pass.
    """
    wanted = [m for m in mutants(number) if match in m.check or match in m.wrong]
    names, results, left = {"__name__": "__main__", "display": lambda *_, **__: None}, [], len(wanted)
    for cell in code_cells(chapters()[number]):
        if left == 0:
            break
        if cell is not None and cell.source.strip():
            for mutant in [m for m in wanted if m.cell == cell.id]:
                results.append(Result(mutant, _outcome(mutant, names)))
                left -= 1
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(_python(cell.source), f"{number}, cell {cell.id}", "exec"), names)
            _close_figures()
    return results


def _outcome(mutant, names):
    state = _State(names)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for position, source in enumerate(mutant.runs):
                exec(compile(_python(source), f"mutant of {mutant.check}, part {position}", "exec"), names)
    except AssertionError:
        return "killed"
    except Exception as error:
        return "".join(traceback.format_exception_only(error)).strip()
    finally:
        _close_figures()
        state.restore()
    return "survived"


def _python(source):
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)  # %pip is no Python


def _close_figures():
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN")
    parser.add_argument("--match", default="", metavar="WORD")
    arguments = parser.parse_args(argv)
    os.environ.update({"TQDM_DISABLE": "1", "MPLBACKEND": "Agg"})
    os.chdir(NOTEBOOKS)
    warnings.filterwarnings("ignore", message=".*non-interactive.*")
    numbers, alive = arguments.numbers or list(chapters()), 0
    if len(numbers) > 1:  # each in a process of its own: a chapter may turn gradients off, or set threads and styles
        again = [sys.executable, __file__, "--match", arguments.match]
        return max(subprocess.run([*again, number]).returncode for number in numbers)
    for number in numbers:
        start = time.perf_counter()
        results = run_chapter(number, arguments.match)
        for mutant, outcome in results:
            if outcome != "killed":
                alive += 1
                print(f"  {number} {mutant.check}, {mutant.wrong}: {outcome}")
        killed = sum(result.outcome == "killed" for result in results)
        print(f"{number}: {killed} of {len(results)} mutants killed, {time.perf_counter() - start:.0f} s", flush=True)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
