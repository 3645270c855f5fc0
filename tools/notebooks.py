"""Run the notebooks: ``run`` stores their outputs, ``check`` compares with them, ``twice`` repeats each cell.

``road`` runs them with their side rooms and checks taken out.

    python tools/notebooks.py run          all of notebooks/, each in a fresh kernel; normalized outputs are stored
    python tools/notebooks.py run 08       one
    python tools/notebooks.py check        re-run all and compare with what is stored, by nbval
    python tools/notebooks.py elsewhere    the same, computed as on another processor, or one notebook (elsewhere 08)
    python tools/notebooks.py twice 04     run each cell twice in a row; store nothing
    python tools/notebooks.py road 04      run it with its side rooms and checks taken out; store nothing

On real MNIST ``check`` compares every output that is not tagged ``nbval-ignore-output``. On the stand-in the numbers
are others, so that only errors and failed assertions count there, as with ``check --lax``, for other versions of the
dependencies. ``twice`` ends with 1 where a second run fails, or where a cell leaves something changed that holds for
the whole process: gradients off, warnings hidden, another folder.
"""

import argparse
import ast
import base64
import io
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import clock
import plots

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
FIGURES = FOLDER / "figures"  # the same figures for the book's pages
# No progress bars in stored outputs; one way of drawing on every machine; one thread, or busy cores spin.
QUIET = {"TQDM_DISABLE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
# Arithmetic without the widest registers of the processor: other last digits, as on other machines, and slower.
ANOTHER_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX"}
CELL_SECONDS = 600
# What a cell must leave as it was. It runs in the kernel, after each cell.
STATE = """
def _state():
    import os, sys, warnings
    import matplotlib, numpy, torch

    with warnings.catch_warnings(record=True) as shown:
        try:
            for kind in (UserWarning, RuntimeWarning, FutureWarning, SyntaxWarning):
                warnings.warn("a trial", kind)
        except Warning:
            pass  # they are errors now, and fewer are shown
    return {
        "gradients are recorded": torch.is_grad_enabled(),
        "torch's dtype": str(torch.get_default_dtype()),
        "torch's device": str(torch.get_default_device()),
        "torch's threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch's printing": str(vars(torch._tensor_str.PRINT_OPTS)),
        "NumPy's printing": str(numpy.get_printoptions()),
        "NumPy's errors": str(numpy.geterr()),
        "warnings that are shown": sorted(str(warning.category) for warning in shown),
        "working folder": os.getcwd(),
        "sys.path": sys.path,
        **{"environment variable " + name: value for name, value in os.environ.items()},
        # pyplot switches "interactive" by itself, with the first figure
        **{"rcParams " + name: str(value) for name, value in matplotlib.rcParams.items() if name != "interactive"},
    }

print(_state())
del _state
"""


def notebooks(numbers=()):
    """Return the paths of all notebooks, or of those with the numbers (8, 08, A); exit where there is none."""
    chosen = clock.notebooks(numbers)
    if not chosen:
        names = ", ".join(path.name for path in clock.notebooks())
        sys.exit(f"no notebook with the number {' '.join(numbers)}; there are {names}")
    return chosen


def palette(png):
    """The same picture, base64 in and out, in at most 128 colours: a quarter of the bytes for a reader's phone."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def fold(cell, first):
    """Fold what is not for reading, in each place where a notebook is opened, and only that.

    The code of the set-up and of figures is shown on demand. A check is shown with its output on demand: a reader may
    skip it. A side room is closed behind its heading.
    """
    what = clock.kind(cell, first)
    tags = set(cell.metadata.get("tags", [])) - {"hide-input", "hide-cell"}
    tags |= {"check": {"hide-cell"}, "figure": {"hide-input"}, "first": {"hide-input"}}.get(what, set())
    kept = {"mystnb": cell.metadata["mystnb"]} if "mystnb" in cell.metadata else {}
    if tags:
        kept["tags"] = sorted(tags)
    if what in ("check", "figure", "first"):
        hidden = {"source_hidden": True} | ({"outputs_hidden": True} if what == "check" else {})
        kept |= {"cellView": "form", "jupyter": hidden}  # for Colab, and for JupyterLab
    if what == "text" and re.search(rf"^{clock.ROOM.pattern}", cell.source, re.MULTILINE):
        kept["jp-MarkdownHeadingCollapsed"] = True
    cell.metadata = kept


def normalize(notebook):
    """Keep of an executed notebook only what its code says: nothing of when, where and by which kernel it ran."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    first = next(cell.id for cell in notebook.cells if cell.cell_type == "code")
    for cell in notebook.cells:
        fold(cell, cell.id == first)
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = palette(output.data["image/png"])
            if "text/html" in output.get("data", {}):
                # The page draws from the HTML; the widget view would bring its 3.6 MB of scripts along.
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def execute(notebook, environment=None, allow_errors=False, before=None):
    """Run a notebook's cells in a fresh kernel, in the folder of the notebooks; they keep what they print.

    ``before``: code that runs before each cell that draws a figure, and leaves no trace.
    """
    from nbclient import NotebookClient
    from nbclient.util import ensure_async

    async def prepare(cell, cell_index):
        if before and figure(cell):
            await ensure_async(client.kc.execute(before, silent=True, store_history=False))

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        allow_errors=allow_errors,
        on_cell_execute=prepare,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env=os.environ | QUIET | (environment or {}))


def figure(cell):
    """The name of the figure that a cell draws, or None."""
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("name")


def drawn(cell, kind, take=False):
    """The picture of this kind among a cell's outputs; exits where there is none. ``take``: it does not stay there."""
    for output in cell.outputs:
        if kind in output.get("data", {}):
            return output.data.pop(kind) if take else output.data[kind]
    said = "".join(output.text for output in cell.outputs if output.get("name") == "stderr")
    sys.exit(f"cell {cell.id} shows no {kind}: it should draw the figure {figure(cell)}\n{said}")


def run(paths):
    import nbformat

    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *paths], check=True)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        execute(notebook, before=plots.INSTALL)
        figures = [cell for cell in notebook.cells if figure(cell)]
        drawings = [drawn(cell, "image/svg+xml", take=True) for cell in figures]
        text = nbformat.writes(normalize(notebook)) + "\n"
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
        for cell, drawing in zip(figures, drawings, strict=True):
            png = base64.b64decode(drawn(cell, "image/png"))
            plots.write(FIGURES / f"{figure(cell)}.svg", drawing, png)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    names = {figure(cell) for path in notebooks() for cell in nbformat.read(path, as_version=4).cells}
    for old in FIGURES.glob("*.svg"):
        if old.stem not in names:
            old.unlink()


def road(paths):
    """Run each notebook with its side rooms and checks taken out; what it uses must stand on the road."""
    import nbformat

    for path in paths:
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        left = {cell.id for cell in clock.cells(path) if not cell.room and cell.kind != "check"}
        notebook.cells = [cell for cell in notebook.cells if cell.id in left]
        execute(notebook)
        print(f"{path.name}: the road alone, {time.perf_counter() - start:.0f} s", flush=True)


def repeated(path, environment=None, first=None):
    """Execute each code cell of a notebook, or its first ones, twice in a row; return both runs, and what went wrong.

    Each code cell is followed by its second run, whose id ends in ``-again``. What went wrong is a list of sentences,
    empty where all is well: an error, something on stderr, or a change of the kernel's state, each with the cell's id.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"][:first]
    again = [nbformat.from_dict({**cell, "id": f"{cell.id}-again"}) for cell in code]
    cells = list(itertools.chain.from_iterable(zip(code, again, strict=True)))
    probes = [nbformat.v4.new_code_cell(source=STATE) for _ in cells]
    notebook.cells = list(itertools.chain.from_iterable(zip(cells, probes, strict=True)))
    execute(notebook, environment, allow_errors=True)
    notebook.cells, wrong = cells, []
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                wrong.append(f"{cell.id}: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr" and "StandInWarning" not in output.text:
                wrong.append(f"{cell.id}: on stderr: {output.text}")
    states = [ast.literal_eval(probe.outputs[0].text) for probe in probes]
    # The first run of the first cell may set what it likes. Libraries add variables of their own on import.
    for cell, (before, after) in zip(cells[1:], itertools.pairwise(states), strict=True):
        wrong += [f"{cell.id}: {key} changed" for key in before if after.get(key) != before[key]]
    return notebook, wrong


def texts(cell):
    """What a cell printed, without pictures, stderr and progress bars: a warning or a download comes once."""
    passing = ("stderr", "application/vnd.jupyter.widget-view+json")
    shown = [o for o in cell.outputs if not any(key in passing for key in (o.get("name"), *o.get("data", {})))]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in shown]


def twice(paths):
    """Run each notebook with every cell twice, say what went wrong, and which cells printed something else."""
    failed = False
    for path in paths:
        start = time.perf_counter()
        notebook, wrong = repeated(path)
        pairs = zip(notebook.cells[::2], notebook.cells[1::2], strict=True)
        other = [cell.id for cell, again in pairs if texts(cell) != texts(again)]
        print(f"{path.name}: {len(notebook.cells) // 2} cells twice, {time.perf_counter() - start:.0f} s", flush=True)
        print(*(f"  {sentence}" for sentence in wrong), sep="\n", end="\n" if wrong else "")
        if other:
            print(f"  other draws or times printed the second time: {', '.join(other)}", flush=True)
        failed |= bool(wrong)
    return int(failed)


def seconds(path):
    """How long a notebook runs, as its head says."""
    amount, unit = re.search(r"\*\*running\*\*,? about (\d+|a) (second|minute)", path.read_text("utf-8")).groups()
    return (1 if amount == "a" else int(amount)) * (60 if unit == "minute" else 1)


def check(paths, lax=False, environment=None):
    """Compare as many notebooks at a time as there are cores, each in one kernel; the longest begin."""
    import warnings

    from vae_tutorial import data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lax |= data.load("mnist", "test").name != "mnist"
    print(f"Comparing stored outputs: {'none, only errors count' if lax else 'all'}", flush=True)
    command = ["-m", "pytest", "--nbval-lax" if lax else "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"]
    command += [f"--nbval-cell-timeout={CELL_SECONDS}", "--durations=5", "-q"]
    command += ["--numprocesses=logical", "--dist=loadscope", "--no-loadscope-reorder"]
    command += map(str, sorted(paths, key=seconds, reverse=True))
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | QUIET | (environment or {})).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("numbers", nargs="*")
    commands.add_parser("twice").add_argument("numbers", nargs="*")
    commands.add_parser("road").add_argument("numbers", nargs="*")
    commands.add_parser("check").add_argument("--lax", action="store_true", help="errors and assertions alone")
    commands.add_parser("elsewhere").add_argument("numbers", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "check":
        sys.exit(check(notebooks(), arguments.lax))
    if arguments.command == "elsewhere":
        sys.exit(check(notebooks(arguments.numbers), environment=ANOTHER_PROCESSOR))
    command = {"run": run, "twice": twice, "road": road}[arguments.command]
    sys.exit(command(notebooks(arguments.numbers)))
