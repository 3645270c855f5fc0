"""Run the notebooks as Colab does: in an environment that has torch but not the package, from an empty folder.

    python tools/colab.py            all editions that "make editions" has made
    python tools/colab.py 1 12       some
    python tools/colab.py --newest   with this environment's IPython and widgets, not with Colab's older ones

The environment is a copy of this one's PyTorch and of what else Colab brings, made of hard links; ``google.colab`` is
a stub in it. The first cell installs a wheel of this checkout in the place of the package's address, and pip gets from
its index what is missing. After the first notebook, everything that Colab brought must be as it was.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).resolve().parent))
import clock

ROOT = Path(__file__).resolve().parents[1]
EDITIONS = ROOT / "_build" / "editions" / "running"  # what readers open; the sources nobody runs there
CELL_SECONDS = 600
ADDRESS = re.compile(r'"vae-tutorial @ git\+https://github\.com/[\w./-]+@\w[\w.]*"')
# What of the package's dependencies Colab has, and what a kernel needs; with all that these need in turn.
# It also has anywidget, safetensors and platformdirs: left out, unless another needs them, so that pip has work to do.
BROUGHT = """torch torchvision numpy matplotlib seaborn pandas scikit-learn scipy ipywidgets tqdm ipykernel
pip setuptools"""
# Colab's kernel and widgets are older than those of other machines. These are Colab's of 19 August 2026, from the file
# pip-freeze.txt of github.com/googlecolab/backend-info.
OLDER = ("ipykernel==6.17.1", "ipython==7.34.0", "ipywidgets==7.7.1", "traitlets==5.7.1")
STUB = '''"""A stub of what the package touches of Colab's own module, which also marks what older widgets display."""

from types import SimpleNamespace

_widgets = SimpleNamespace(_installed_url=None)


def enable_custom_widget_manager():
    from IPython import get_ipython

    _widgets._installed_url = "the widget manager's address"
    get_ipython().display_pub.register_hook(mark)


def mark(message):
    view = "application/vnd.jupyter.widget-view+json"
    if view in message["content"].get("data", {}):
        url = {"url": _widgets._installed_url}
        message["content"]["metadata"].setdefault(view, {})["colab"] = {"custom_widget_manager": url}
    return message
'''
# What runs in the notebook's own kernel after its last cell.
PROBE = """
import importlib.metadata, json, sys
import torch, torchvision, vae_tutorial
print(json.dumps({m.__name__: [m.__file__, m.__version__] for m in (torch, torchvision, vae_tutorial)}))
"""
# What pip's quiet form and IPython's %pip may print; "Location" is about a machine's own settings of pip.
QUIET = re.compile(r"|Note: you may need to restart.*|\[notice\].*|WARNING: Location .*")


class ColabError(RuntimeError):
    """A notebook would fail in Colab, or harm what Colab brings."""


def wheel(folder):
    """Build the checkout's wheel in ``folder`` and return its path; the checkout itself is left as it is."""
    left_out = shutil.ignore_patterns(".*", "_build", "build", "dist", "*.egg-info", "__pycache__", "notebooks")
    source = shutil.copytree(ROOT, folder / "source", ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    return next(folder.glob("vae_tutorial-*.whl"))


def closure(names):
    """Return the installed distributions of these names, and all their dependencies, by name."""
    found, seen, waiting = {}, set(), [(canonicalize_name(name), "") for name in names]
    while waiting:
        name, extra = pair = waiting.pop()
        if pair in seen:
            continue
        seen.add(pair)
        found[name] = metadata.distribution(name)
        for need in map(Requirement, found[name].requires or []):
            if not need.marker or need.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(need.name), part) for part in ("", *need.extras)]
    return found


def environment(folder, older=OLDER):
    """Make Colab's environment in ``folder``, with these older versions, and return the path of its interpreter."""
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    python = next(path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if path.exists())
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    for distribution in closure(BROUGHT.split()).values():
        for file in distribution.files or []:
            old = distribution.locate_file(file)
            if ".." not in file.parts and old.is_file():  # scripts and the like lie elsewhere, and are not needed
                link(Path(old), site / file)
    if older:
        subprocess.run([python, "-m", "pip", "install", "-qq", *older], check=True)
    colab = site / "google" / "colab"
    colab.mkdir(parents=True)
    (colab / "__init__.py").write_text("from google.colab import output\n")
    (colab / "output.py").write_text(STUB)
    kernel = folder / "share" / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    start = "import google.colab; from ipykernel import kernelapp; kernelapp.launch_new_instance()"
    argv = [str(python), "-c", start, "-f", "{connection_file}", "--log-level=ERROR"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    return python


def link(old, new):
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except FileExistsError:
        pass  # some of NVIDIA's distributions share an empty file
    except OSError:  # on another disk
        shutil.copy2(old, new)


def state(python):
    """Return what an environment holds, by name: the version, and each file of torch and torchvision."""
    code = (
        "import json, os; from importlib import metadata; found = {}\n"
        "for d in metadata.distributions():\n"
        "    name = d.metadata['Name'].lower().replace('_', '-'); found[name] = [d.version, {}]\n"
        "    for f in d.files if name in ('torch', 'torchvision') else []:\n"
        "        path = d.locate_file(f)\n"
        "        if f.suffix != '.pyc' and os.path.isfile(path):\n"
        "            s = os.stat(path); found[name][1][str(f)] = [s.st_size, s.st_mtime_ns, s.st_ino]\n"
        "print(json.dumps(found))"
    )
    return json.loads(subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True).stdout)


def bootstrap(source, package):
    """Return the first cell's text with ``package`` in the place of the package's address."""
    changed, count = ADDRESS.subn(lambda _: f'"{package}"', source)
    if count != 1:
        raise ColabError(f"the first code cell names the package's address {count} times, not once:\n{source}")
    return changed


def run(path, python, package, *, only_first=False):
    """Run one notebook from an empty folder; return its first cell's printed lines and what :data:`PROBE` says."""
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[0].source = bootstrap(code[0].source, package)
    if only_first:
        notebook.cells, code = [code[0]], code[:1]
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    kernels = python.parents[1] / "share" / "jupyter" / "kernels"
    with tempfile.TemporaryDirectory(prefix="colab-") as folder:
        shutil.copy(path, folder)
        manager = AsyncKernelManager(
            kernel_name="colab", kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(kernels)])
        )
        client = NotebookClient(
            notebook, km=manager, timeout=CELL_SECONDS, coalesce_streams=True, resources={"metadata": {"path": folder}}
        )
        # Without this interpreter's own environment variables and the user's IPython settings.
        own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"}
        env = {key: value for key, value in os.environ.items() if key not in own}
        env |= {"IPYTHONDIR": str(Path(folder) / ".ipython"), "COLAB_RELEASE_TAG": "stub", "PIP_NO_INPUT": "1"}
        env["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # else older debuggers print a warning
        try:
            client.execute(env=env, cleanup_kc=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, AssertionError) as error:
            # The last is nbclient's own, when it cleans up after a kernel that died.
            number = sum(cell.execution_count is not None for cell in code)
            what = "the kernel died" if isinstance(error, AssertionError) else error
            raise ColabError(f"{path.name}, code cell {number}: {what}") from None
    for cell in code:
        check_widgets(cell, path)
    said = "\n".join(output.get("text", "") for output in code[0].outputs)
    return re.sub(r"\x1b\[[\d;]*m", "", said).splitlines(), json.loads(notebook.cells[-1].outputs[-1].text)


def check_widgets(cell, path):
    """Raise :class:`ColabError` where Colab would not show a cell's widget: it needs the address of its own manager."""
    view = "application/vnd.jupyter.widget-view+json"
    for output in cell.outputs:
        if view not in output.get("data", {}):
            continue
        ours = "Explorer()" in output.data.get("text/plain", "")
        if "text/html" in output.data or (ours and "custom_widget_manager" not in str(output.metadata.get(view))):
            raise ColabError(f"{path.name}: Colab would not show the widget of\n{cell.source}")


def check(before, after, said, modules, folder):
    """Raise :class:`ColabError` where the first cell changed what Colab brings, or said something."""
    changed = [f"{name} {before[name][0]} -> {after.get(name, ['gone'])[0]}" for name in before]
    changed = [line for line, name in zip(changed, before, strict=True) if before[name] != after.get(name)]
    if changed:
        raise ColabError(f"the first cell changed what Colab brings: {', '.join(changed)}")
    wrong = [file for file, _ in modules.values() if not Path(file).is_relative_to(folder)]
    if wrong:
        raise ColabError(f"not from the fresh environment: {', '.join(wrong)}")
    noise = [line for line in said if not QUIET.fullmatch(line)]
    if noise:
        raise ColabError("the first cell printed:\n" + "\n".join(noise))


def main(numbers=(), *, folder=EDITIONS, older=OLDER, only_first=False):
    """Run the notebooks of these numbers, or all; return the exit status: 1 where one fails, else 0."""
    chosen = [folder / path.name for path in clock.notebooks(numbers)]
    if not chosen:
        sys.exit(f"no notebook with the number {numbers}; there are {', '.join(p.name for p in clock.notebooks())}")
    if missing := [path for path in chosen if not path.is_file()]:
        sys.exit(f'{missing[0]} is missing: run "make editions" first, or name another folder by --folder')
    failed = 0
    with tempfile.TemporaryDirectory(prefix="colab-") as folder:
        folder = Path(folder).resolve()
        start = time.perf_counter()
        package, python = wheel(folder), environment(folder / "environment", older)
        before = state(python)
        print(f"the wheel and the environment: {time.perf_counter() - start:.0f} s", flush=True)
        for path in chosen:
            start = time.perf_counter()
            try:
                said, modules = run(path, python, package, only_first=only_first)
                if path == chosen[0]:
                    after = state(python)
                    check(before, after, said, modules, folder / "environment")
                    new = ", ".join(f"{name} {after[name][0]}" for name in sorted(after.keys() - before.keys()))
                    print(f"the first cell added {new}; torch {modules['torch'][1]} is untouched", flush=True)
                print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
            except ColabError as error:
                failed += 1
                print(f"{path.name}: FAILED after {time.perf_counter() - start:.0f} s\n{error}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="N", help="numbers of notebooks (default: all)")
    parser.add_argument("--folder", type=Path, default=EDITIONS, help="of the notebooks (default: %(default)s)")
    parser.add_argument("--newest", action="store_true", help="do not install Colab's older IPython and widgets")
    parser.add_argument("--first-cell", action="store_true", help="run the bootstrap alone")
    arguments = parser.parse_args()
    older = () if arguments.newest else OLDER
    sys.exit(main(arguments.numbers, folder=arguments.folder, older=older, only_first=arguments.first_cell))
