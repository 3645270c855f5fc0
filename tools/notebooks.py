"""Run the notebooks: ``run [N ...]`` executes them and stores normalized outputs, ``check`` compares them with nbval.

    python tools/notebooks.py run          all of notebooks/, each in a fresh kernel
    python tools/notebooks.py run 08       one
    python tools/notebooks.py check        re-run all and compare with what is stored

On real MNIST ``check`` compares every output that is not tagged ``nbval-ignore-output``. On the stand-in the numbers
are others, so that only errors and failed assertions count there.
"""

import argparse
import base64
import io
import os
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
# No progress bars in stored outputs; one way of drawing on every machine.
QUIET = {"TQDM_DISABLE": "1", "PYTHONHASHSEED": "0"}
CELL_SECONDS = 600


def notebooks(numbers=()):
    """Return the paths of all notebooks, or of those whose names begin with the numbers; exit where there is none."""
    found = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    chosen = [path for path in found if not numbers or path.name[:2] in {f"{int(number):02d}" for number in numbers}]
    if not chosen:
        sys.exit(f"no notebook with the number {' '.join(numbers)}; there are {', '.join(p.name for p in found)}")
    return chosen


def palette(png):
    """The same picture, base64 in and out, in at most 128 colours: a quarter of the bytes for a reader's phone."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def is_folded(cell):
    """Whether the page shows a cell's code on demand only: a check, which the reader may skip; its output stays.

    What the ledger is told is no such cell: there the chapter's answer is computed.
    """
    return cell["cell_type"] == "code" and cell["source"].startswith("# Check (") and "ledger." not in cell["source"]


def normalize(notebook):
    """Keep of an executed notebook only what its code says: nothing of when, where and by which kernel it ran."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in ("mystnb", "tags")}
        if is_folded(cell):
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "hide-input"})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = palette(output.data["image/png"])
            if "text/html" in output.get("data", {}):
                # The page draws from the HTML; the widget view would bring its 3.6 MB of scripts along.
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def run(paths):
    import nbformat
    from nbclient import NotebookClient

    os.environ.update(QUIET)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *paths], check=True)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=CELL_SECONDS,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(FOLDER)}},
        )
        client.execute()
        text = nbformat.writes(normalize(notebook)) + "\n"
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


def check():
    import warnings

    from vae_tutorial import data

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real = data.load("mnist", "test").name == "mnist"
    print(f"Comparing stored outputs: {'all' if real else 'not on the stand-in data, only errors count'}", flush=True)
    command = ["-m", "pytest", "--nbval" if real else "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    command += [f"--nbval-cell-timeout={CELL_SECONDS}", "--durations=5", "-q", *map(str, notebooks())]
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | QUIET).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("numbers", nargs="*")
    commands.add_parser("check")
    arguments = parser.parse_args()
    sys.exit(check() if arguments.command == "check" else run(notebooks(arguments.numbers)))
