"""Results of runs that are too long for a notebook: what was measured, by which command, on which machine.

Each is a file of ``results/``, written by a script of ``benchmarks/`` and by nothing else.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import NamedTuple

from vae_tutorial import _files

__all__ = ["Result", "load", "names", "write"]

FOLDER = Path(__file__).parent / "results"


class Result(NamedTuple):
    """``values``: what was measured, as the ``protocol`` says, in nats unless it says otherwise.

    ``command`` makes it again, ``trainings`` says how many models were trained for each number (0: none, the shipped
    ones were measured), ``minutes`` how long it took on ``machine``.
    """

    values: dict
    command: str
    protocol: str
    trainings: int
    minutes: float
    machine: str
    torch: str


def names(folder: str | os.PathLike | None = None) -> list[str]:
    """Return the names of the stored results, the package's own or those of ``folder``."""
    return sorted(path.stem for path in _in(folder).glob("*.json"))


def load(name: str, folder: str | os.PathLike | None = None) -> Result:
    """Return a stored :class:`Result`, the package's own or ``folder``'s. Raises ValueError for an unknown name."""
    if name not in names(folder):
        raise ValueError(f"name must be one of {', '.join(names(folder))}; got {name!r}")
    return Result(**json.loads((_in(folder) / f"{name}.json").read_text("utf-8")))


def write(
    name: str,
    values: dict,
    *,
    command: str,
    protocol: str,
    trainings: int,
    minutes: float,
    folder: str | os.PathLike | None = None,
) -> Result:
    """Store a result atomically, and return it. ``values``: JSON types; floats are rounded to 4 digits.

    ``folder``: where to, if not to the package's own. Machine and torch are this process's.
    """
    import torch

    machine = f"{machine_name()}, {torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)
    version = torch.__version__.partition("+")[0]
    found = Result(_rounded(values), command, protocol, trainings, round(minutes, 1), machine, version)
    text = json.dumps(found._asdict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    _in(folder).mkdir(parents=True, exist_ok=True)
    _files.write(_in(folder) / f"{name}.json", text.encode())
    return found


def machine_name() -> str:
    """Return the processor's name as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _in(folder):
    return Path(folder or FOLDER).expanduser()


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value
