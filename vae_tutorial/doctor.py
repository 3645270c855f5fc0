"""What on this machine keeps the course from running, and what to do about it: ``python -m vae_tutorial doctor``.

It has to speak where torch or anything else is missing or broken. So this module needs the standard library alone,
imports all else where it looks at it, and goes on after any failure. It changes nothing and uses no network.
"""

import argparse
import functools
import hashlib
import importlib
import json
import operator
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

__all__ = ["Finding", "examine", "main"]

FOLDER = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 10)
SPACE = 100e6  # bytes: MNIST's four files, with what their download needs beside them
_SIGNS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_MODULES = {"scikit-learn": "sklearn.datasets"}  # where the name to import is not the one to install


class Finding(NamedTuple):
    """One line of the table.

    ``status``: ``"ok"``; ``"note"``, where the course runs, but not as it could; ``"wrong"``, where it does not.
    ``name``: what was looked at. ``found``: what is there. ``fix``: a command to paste, empty where all is well.
    """

    status: str
    name: str
    found: str
    fix: str = ""


def examine():
    """Yield a :class:`Finding` for each thing that the course needs; raises nothing, whatever is broken.

    It takes about as long as importing torch, torchvision and the rest: some seconds.
    """
    checks = [("Python", _version, None), ("machine", _machine, None), ("vae_tutorial", _package, None)]
    checks += [(name, functools.partial(_dependency, name, asked), None) for name, asked in _requirements()]
    checks += [("torch pair", _pair, "torch"), ("device", _device, "torch")]
    checks += [("MNIST", _mnist, "vae_tutorial.data"), ("disk", _space, "vae_tutorial.data")]
    checks += [("shipped models", _models, None), ("explorers", _explorers, "torch")]
    again = _python("-m vae_tutorial doctor")
    for name, check, needed in checks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if needed and _failure(needed):
                    finding = Finding("note", name, f"not looked at: {needed} cannot be imported, see above", again)
                else:
                    status, *rest = check()
                    finding = Finding(status, name, *rest)
            except Exception as error:
                finding = Finding("wrong", name, f"looking at it failed: {_first_line(error)}", again)
        yield finding


def main(argv=None):
    """Print the table, or JSON for a bug report; return the exit status: 1 where something is wrong, else 0."""
    parser = argparse.ArgumentParser(prog="python -m vae_tutorial doctor", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="for a bug report; your home folder is written ~")
    as_json = parser.parse_args(argv).json
    findings = []
    for finding in examine():  # printed one by one: where Python itself crashes, the last line says before what
        findings.append(finding)
        if not as_json:
            print(f"{finding.status:<6}{finding.name:<15}{finding.found}", flush=True)
            print(f"{'':<21}do: {finding.fix}\n" if finding.fix else "", end="", flush=True)
    wrong = sum(finding.status == "wrong" for finding in findings)
    if as_json:
        rows = [{key: _without_home(value) for key, value in finding._asdict().items()} for finding in findings]
        print(json.dumps({"version": __version__, "status": "wrong" if wrong else "ok", "findings": rows}, indent=2))
    else:
        notes = sum(finding.status == "note" for finding in findings)
        good = "Nothing is wrong" + (f"; {notes} to note." if notes else ".")
        print(f"\n{wrong} wrong: start with the first." if wrong else f"\n{good}")
    return int(wrong > 0)


# What is looked at, in the order of the table. Each returns a status, what was found, and the fix where one is due.


def _version():
    found, asked = f"{platform.python_version()}, {sys.executable}", "{}.{}".format(*OLDEST_PYTHON)
    if sys.version_info < OLDEST_PYTHON:
        return "wrong", f"{found}; the course needs {asked} or newer", f"python{asked} -m venv .venv"
    own = next((FOLDER.parent / ".venv").glob("*/python*"), None)  # bin on Linux and macOS, Scripts on Windows
    if own and not Path(sys.prefix).samefile(own.parent.parent):
        return "note", f"{found}, is not the one of .venv", _shell(f'"{own}" -m vae_tutorial doctor')
    return "ok", found


def _machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "ok", f"{platform.platform()}, {cores} cores for this process, in {_place()}"


def _package():
    found = f"{__version__} in {FOLDER}"
    try:
        installed = metadata.version("vae-tutorial")
    except metadata.PackageNotFoundError:  # then nothing says what it depends on
        return "wrong", f"{found}, not installed", _pip(f'install -e "{FOLDER.parent}"')
    if installed != __version__:
        return "note", f"{found}, but {installed} is what was installed", _pip(f'install --upgrade "{_address()}"')
    return "ok", found


def _dependency(name, asked):
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = "not installed"
    if not _fits(version, asked):
        return "wrong", f"{version}; the course needs {asked}", _pip(f'install --upgrade "{name}{asked}"')
    # What torchvision fails with is a line of its own.
    error = "" if name == "torchvision" else _failure(_MODULES.get(name, name.replace("-", "_")))
    if error:
        fix = _new_pair() if name == "torch" else _pip(f"install --force-reinstall --no-deps {name}")
        return "wrong", f"{version} is installed, but broken: {error}", fix
    return "ok", f"{version} (the course needs {asked})"


def _pair():
    error = _failure("torchvision.datasets")  # a torchvision built for another torch, or for CUDA where torch is not
    return ("wrong", f"torchvision does not fit torch: {error}", _new_pair()) if error else ("ok", "they fit")


def _device():
    import torch

    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    threads = torch.get_num_threads()
    found, fix = f"{device}, {threads} thread{'s' * (threads > 1)}", _new_pair()
    if device == "cuda":
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        found = f"cuda: {torch.cuda.get_device_name(0)}, {gigabytes:.1f} GiB"
        fix = _setting("CUDA_VISIBLE_DEVICES", "-1")  # the course runs without it too
    try:
        ones = torch.ones(64, 64, device=device)
        error = "" if ((ones @ ones).cpu() == 64).all() else "the result is not right"
    except Exception as failure:  # such as a GPU that this torch was not built for
        error = _first_line(failure)
    if error:
        return "wrong", f"{found}; two matrices cannot be multiplied there: {error}", fix
    if device == "cpu" and shutil.which("nvidia-smi"):
        return "note", f"{found}; the machine has an NVIDIA driver, but torch sees no GPU", fix
    return "ok", found


def _mnist():
    from vae_tutorial import data

    root = data.find_root(None)
    folder = root / "MNIST" / "raw"
    load = "from vae_tutorial import data; data.load('mnist', strict=True)"
    files = {folder / name: official for name, official in data._OFFICIAL.items()}
    missing = sum(not file.is_file() for file in files)
    if missing:
        found = (
            f"{missing} of its 4 files are not in {folder}. The first chapter that you run downloads them; where it "
        )
        found += "cannot, scikit-learn's 1,797 digits stand in, and numbers differ from the book's"
        return "note", found, _python(f'-c "{load}"')
    contents = [(file.read_bytes(), official) for file, official in files.items()]
    if all((len(content), hashlib.sha256(content).hexdigest()) == official for content, official in contents):
        return "ok", f"4 files with the official checksums in {folder}"
    delete = f"from pathlib import Path; [f.unlink() for f in Path('{folder.as_posix()}').glob('*-ubyte')]"
    fix = _python(f'-c "{delete}; {load}"')
    try:  # as the chapters do; with the files in their place it downloads nothing
        counts = [len(data.load("mnist", split, root=root)) for split in data.SPLITS]
    except data.DataError as error:
        return "wrong", str(error), fix if "damaged" in str(error) else _new_pair()
    return "note", "{:,} and {:,} images in {} are not all of MNIST: other numbers".format(*counts, folder), fix


def _space():
    from vae_tutorial import data

    root = data.find_root(None).absolute()
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free, writable = shutil.disk_usage(place).free, os.access(place, os.W_OK)
    found = f"{free / 1e9:.1f} GB free where the data go, {root}"
    if (root / "MNIST" / "raw").is_dir() or (free >= SPACE and writable):
        return "ok", found
    found += f"; a download needs {SPACE / 1e9:.1f} GB" if writable else "; you may not write there"
    return "note", found, _setting("VAE_TUTORIAL_DATA", str(Path.cwd() / "data"))


def _models():
    folder = FOLDER / "weights"  # read without vae_tutorial.pretrained, which needs torch
    recipes = json.loads((folder / "recipes.json").read_text("utf-8"))
    bad = []
    for name in recipes:
        try:
            card = json.loads((folder / f"{name}.json").read_text("utf-8"))
            whole = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest() == card["sha256"]
        except (OSError, ValueError, KeyError):
            whole = False
        bad += [] if whole else [name]
    if not bad:
        return "ok", f"{len(recipes)}, with the checksums of their cards"
    fix = _pip(f'install --force-reinstall --no-deps "{_address()}"')
    if (FOLDER.parent / ".git").exists():
        fix = _shell(f'git -C "{FOLDER.parent}" checkout -- vae_tutorial/weights')
    return "wrong", f"missing or damaged: {', '.join(bad)}", fix


def _explorers():
    try:
        explorers = importlib.import_module("vae_tutorial.explorers")
        found = [getattr(explorers, name).__name__ for name in explorers.__all__]
        return "ok", f"{len(found) - 1} and the {found[-1]} can be loaded"
    except Exception as error:
        fix = _pip("install --force-reinstall --no-deps anywidget ipywidgets")
        return "wrong", f"they cannot be loaded: {_first_line(error)}", fix


# Helpers


def _requirements():
    """The package's own dependencies, without those of its extras, as pairs of a name and a range."""
    try:
        lines = metadata.requires("vae-tutorial") or []
    except metadata.PackageNotFoundError:
        return []
    return [re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups() for line in lines if ";" not in line]


def _fits(version, asked):
    parts = re.findall(r"(>=|<=|==|!=|>|<)\s*(\d[\w.]*)", asked)
    return all(_SIGNS[sign](_release(version), _release(bound)) for sign, bound in parts)


def _release(version):
    # 2.9.0a0+git and 2.9.0+cpu count as 2.9; what is no version comes before all.
    return [int(n) for n in re.sub(r"(\.0)+$", "", re.match(r"[\d.]*\d|", version or "")[0]).split(".") if n]


def _failure(module):
    """Why a module cannot be imported, in one line; empty where it can."""
    try:
        importlib.import_module(module)
        return ""
    except Exception as error:  # a library that does not fit raises RuntimeError, OSError, AttributeError, ...
        return _first_line(error)


def _first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _place():
    if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
        return "Colab"
    kernel = sys.modules.get("ipykernel.kernelapp")  # which widgets may have imported without running one
    running = kernel and kernel.IPKernelApp.initialized()
    # The variable is also in what a cell starts with "!".
    return "Jupyter" if running or "JPY_PARENT_PID" in os.environ else "a plain Python"


def _shell(command):
    return command if _place() == "a plain Python" else f"!{command}"


def _python(arguments):
    program = sys.executable or "python"  # in full: the shell's "python" may be another
    return _shell(f'"{program}" {arguments}' if " " in program else f"{program} {arguments}")


def _pip(arguments):
    return _python(f"-m pip {arguments}")


def _new_pair():
    # Uninstalled first: to pip, a torch for CUDA and one for the processor alone are the same version.
    return f"{_pip('uninstall -y torch torchvision')} && {_pip('install torch torchvision').lstrip('!')}"


def _setting(name, value):
    if _place() != "a plain Python":
        return f"%env {name}={value}"
    return f"set {name}={value}" if os.name == "nt" else f'export {name}="{value}"'


def _address():
    pages = dict(line.split(", ", 1) for line in metadata.metadata("vae-tutorial").get_all("Project-URL"))
    return f"vae-tutorial @ git+{pages['Repository']}@v{__version__}"


def _without_home(text):
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text
