"""What on this machine keeps the course from running, and what to do about it: ``python -m vae_tutorial doctor``.

It has to work where torch or anything else is missing or broken. So this module needs the standard library alone,
imports all else inside the check that needs it, and goes on after any failure. It changes nothing and uses no network.
"""

import importlib
import json
import os
import platform
import re
import shutil
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from vae_tutorial import __version__
from vae_tutorial.cli import _advice as advice

__all__ = ["Finding", "describe", "examine", "run"]

FOLDER = Path(__file__).resolve().parents[1]  # the package's
OLDEST_PYTHON = (3, 10)
# Import names that differ from the distribution's: with the submodule that fails where versions do not match.
_MODULES = {"pillow": "PIL.Image", "scikit-learn": "sklearn.datasets", "torchvision": "torchvision.datasets"}


class Finding(NamedTuple):
    """One line of the table.

    ``status``: ``"ok"``; ``"note"``, where the course runs, but not as it could; ``"wrong"``, where it does not.
    ``name``: what was looked at. ``found``: what is there. ``fix``: a command to paste, empty where all is well.
    """

    status: str
    name: str
    found: str
    fix: str = ""


def describe(p):
    """Add the command's option to its parser."""
    p.add_argument("--json", action="store_true", help="for a bug report; your home folder is written ~")


def run(arguments):
    """Print the table, or JSON for a bug report; return the exit status: 1 where something is wrong, else 0."""
    findings = []
    for finding in examine():  # printed one by one: where Python itself crashes, the last line shows how far it came
        findings.append(finding)
        if not arguments.json:
            print(f"{finding.status:<6}{finding.name:<15}{finding.found}", flush=True)
            print(f"{'':<21}do: {finding.fix}\n" if finding.fix else "", end="", flush=True)
    wrong, notes = (sum(finding.status == status for finding in findings) for status in ("wrong", "note"))
    if arguments.json:
        said = {"version": __version__, "status": "wrong" if wrong else "ok"}
        text = json.dumps({**said, "findings": [finding._asdict() for finding in findings]}, indent=2)
        home = json.dumps(os.path.expanduser("~"))[1:-1]
        print(text.replace(home, "~") if len(home) > 1 else text)
    else:
        good = f"Nothing is wrong; {notes} to note." if notes else "Nothing is wrong."
        print(f"\n{wrong} wrong: start with the first." if wrong else f"\n{good}")
    return int(wrong > 0)


def examine():
    """Yield a :class:`Finding` for each thing that the course needs; raises nothing. Takes seconds, for the imports."""
    checks = [("Python", _version, None), ("machine", _machine, None), ("vae_tutorial", _package, None)]
    checks += [("figures", _figures, None)]  # before matplotlib, whose import fails with an unknown backend
    checks += [(name, lambda line=(name, asked): _dependency(*line), None) for name, asked in _requirements()]
    checks += [("device", _device, "vae_tutorial.training")]
    checks += [("MNIST", _mnist, "torchvision.datasets"), ("shipped models", _models, "vae_tutorial.pretrained")]
    checks += [("explorers", _explorers, "anywidget")]
    again = advice.python("-m vae_tutorial doctor")
    for name, check, needed in checks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if needed and _failure(needed):
                    finding = Finding("note", name, f"not checked: {needed} cannot be imported, see above", again)
                else:
                    status, *rest = check()
                    finding = Finding(status, name, *rest)
            except Exception as error:
                finding = Finding("wrong", name, f"the check failed: {_first_line(error)}", again)
        yield finding


# The checks, in the order of the table. Each returns a status, what was found, and the fix where one is due.


def _version():
    found, asked = f"{platform.python_version()}, {sys.executable}", "{}.{}".format(*OLDEST_PYTHON)
    if sys.version_info < OLDEST_PYTHON:
        return "wrong", f"{found}; the course needs {asked} or newer", f"python{asked} -m venv .venv"
    own = next((FOLDER.parent / ".venv").glob("*/python*"), None)  # bin on Linux and macOS, Scripts on Windows
    if own and not Path(sys.prefix).samefile(own.parent.parent):
        return "note", f"{found}, is not the one of .venv", advice.shell(f'"{own}" -m vae_tutorial doctor')
    return "ok", found


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "ok", f"{platform.platform()}, {cores} cores for this process, in {advice.place()}"


def _package():
    found = f"{__version__} in {FOLDER}"
    if not _requirements():  # then nothing says what it depends on
        return "wrong", f"{found}, not installed", advice.pip(f'install -e "{FOLDER.parent}"')
    return "ok", found


def _dependency(name, asked):
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "wrong", f"not installed; the course needs {asked}", advice.pip(f'install "{name}{asked}"')
    if not _fits(version, asked):
        return "wrong", f"{version}; the course needs {asked}", advice.pip(f'install --upgrade "{name}{asked}"')
    error = _failure(_MODULES.get(name, name.replace("-", "_")))
    if not error:
        return "ok", f"{version} (the course needs {asked})"
    if name in ("torch", "torchvision"):  # built for another torch, or for CUDA where torch is not
        return "wrong", f"{version}, but it is broken, or torch and torchvision do not match: {error}", advice.pair()
    return "wrong", f"{version}, but it is broken: {error}", advice.pip(f"install --force-reinstall --no-deps {name}")


def _device():
    import torch

    from vae_tutorial.training import best_device

    device, threads = best_device(), torch.get_num_threads()
    found, fix = f"{device}, {threads} thread{'s' * (threads > 1)}", advice.pair()
    if device.type == "cuda":
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        found = f"cuda: {torch.cuda.get_device_name(0)}, {gigabytes:.1f} GiB"
        fix = advice.setting("CUDA_VISIBLE_DEVICES", "-1")  # the course runs without it too
    try:
        ones = torch.ones(64, 64, device=device)
        (ones @ ones).cpu()
    except Exception as failure:  # such as a GPU that this torch was not built for
        return "wrong", f"{found}; two matrices cannot be multiplied there: {_first_line(failure)}", fix
    if torch.backends.mps.is_available():
        return "ok", f"{found}; Apple's GPU is used only where it is asked for: train --device mps"
    if device.type == "cpu" and shutil.which("nvidia-smi"):
        return "note", f"{found}; the machine has an NVIDIA driver, but torch sees no GPU", fix
    return "ok", found


def _figures():
    backend = os.environ.get("MPLBACKEND", "")
    if not backend or "inline" in backend:  # a Jupyter kernel sets an inline backend itself
        return "ok", "in a notebook they appear below the cells"
    found = f"MPLBACKEND is {backend}: notebooks without the line %matplotlib inline show none"
    if "for backend" in _failure("matplotlib"):  # not the name of a backend
        return "wrong", f"MPLBACKEND is {backend}: {_failure('matplotlib')}", advice.setting("MPLBACKEND", "")
    return "note", found, advice.setting("MPLBACKEND", "")


def _mnist():
    from vae_tutorial import _download, data

    try:
        files = _download.raw_files("mnist", _download.find_root())
    except _download.Unavailable as reason:
        return "note", str(reason), advice.setting("VAE_TUTORIAL_DATA", str(Path.cwd() / "data"))
    folder, load = files[0].parent, "from vae_tutorial import data; data.load('mnist', strict=True)"
    missing = sum(not file.is_file() for file in files)
    if missing:
        found = f"{missing} of its 4 files are not in {folder}. The first chapter downloads them; where it cannot, "
        found += "scikit-learn's 1,797 digits stand in, and numbers differ from the book's"
        return "note", found, advice.python(f'-c "{load}"')
    try:  # as the chapters do; with the files in their place it downloads nothing
        counts = [len(data.load("mnist", split)) for split in data.SPLITS]
    except data.DataError as error:
        delete = f"from pathlib import Path; [f.unlink() for f in Path('{folder.as_posix()}').glob('*-ubyte')]"
        return "wrong", str(error), advice.python(f'-c "{delete}; {load}"')
    if [file.stat().st_size for file in files] == [size for size, _ in _download.OFFICIAL.values()]:
        return "ok", f"4 files with the official checksums in {folder}"
    return "note", "{:,} and {:,} images in {} are not all of MNIST: numbers will differ".format(*counts, folder)


def _models():
    from vae_tutorial import pretrained

    try:
        for name in pretrained.names():
            pretrained.load(name)
    except pretrained.PretrainedError as error:
        return "wrong", str(error), advice.reinstall(FOLDER)
    return "ok", f"{len(pretrained.names())}, with the checksums of their cards"


def _explorers():
    from vae_tutorial import explorers

    found = [getattr(explorers, name).__name__ for name in explorers.__all__]
    return "ok", f"{len(found) - 1} and the {found[-1]} can be loaded"


def _requirements():
    # the package's own, without those of its extras, as pairs of a name and a range; none where it is not installed
    lines = [line for found in list(metadata.distributions(name="vae-tutorial"))[:1] for line in found.requires or []]
    matches = [re.fullmatch(r"([\w.-]+)\s*(.*)", line) for line in lines if ";" not in line]
    return [match.groups() for match in matches if match]


def _fits(version, asked):
    try:
        from packaging.specifiers import SpecifierSet
        from packaging.version import Version
    except ImportError:  # it comes with matplotlib, whose own line then says what is missing
        return True
    # A shared machine's own build, such as 2.9.0a0+git1234, counts as 2.9.0.
    return SpecifierSet(asked).contains(Version(version).base_version)


def _failure(module):
    try:
        importlib.import_module(module)
    except Exception as error:  # a library that does not fit raises RuntimeError, OSError, AttributeError, ...
        return _first_line(error)
    return ""


def _first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]
