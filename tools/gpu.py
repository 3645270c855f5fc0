"""Try on a GPU what is otherwise tested on CPUs: tests, a training, speed, chapters. At most six minutes.

    python tools/gpu.py                        results go to build/gpu: gpu.json, and gpu.log with all that was printed
    python tools/gpu.py --data FOLDER          MNIST's four files, gzipped, lie there; else in $VAE_TUTORIAL_DATA
    python tools/gpu.py --device cpu --tiny    a rehearsal without a GPU: a little of each step, on the stand-in

It needs no network and no installation: the package is this checkout's, everything else what this Python has. Missing
packages are named, and what runs without them is run. (They can also lie in a folder on PYTHONPATH.) Each step is a
process with its own limit of time; one that does not end in time is ended. The exit status is 0 if all steps passed.
"""

import argparse
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 345  # of all steps together; the rest of the six minutes is for the beginning and the end
GRACE = 5  # seconds: for a process that is told to end
SHORTEST = 10  # seconds: with less left, a step is not begun
CHAPTERS = {"08": 60, "09": 90, "12": 75, "00": 30, "16": 60}  # seconds; those that there are
PACKAGES = ["torch", "torchvision", "numpy", "matplotlib", "seaborn", "sklearn", "scipy", "pandas", "platformdirs"]
PACKAGES += ["tqdm", "safetensors", "ipywidgets", "anywidget", "pytest", "nbclient", "nbformat", "ipykernel"]
MNIST = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@dataclass(frozen=True)
class Step:
    """``command``: what follows ``python``. ``seconds``: its limit. ``results``: a JSON file that it writes."""

    name: str
    command: list
    seconds: int
    environment: dict = field(default_factory=dict)
    results: Path | None = None


def steps(device, tiny, scratch):
    """What is tried, the most telling first."""
    kept, results = scratch / "training.pt", scratch / "benchmark.json"
    tests = ["-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", "tests/test_cuda.py"]
    tests += ["-k", "not conv and not refine"] if tiny else []
    train = ["-m", "vae_tutorial", "train", "--epochs"]
    speed = ["benchmarks/training.py", "--device", device, "--json", results]
    speed += ["--images", 1280, "--rounds", 1, "--nets", "mlp"] if tiny else ["--images", 12800, "--rounds", 3]
    found = [
        # Plugins of a foreign Python stay out: this suite makes their warnings errors.
        Step("tests", tests, 90, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        Step("train", [*train, 1, "--device", device, "--checkpoint", kept], 40),
    ]
    if not tiny:  # a GPU's checkpoint must open on a machine that has none
        resume = [*train, 2, "--resume", kept, "--device", "cpu"]
        found.append(Step("resume without a GPU", resume, 40, {"CUDA_VISIBLE_DEVICES": ""}))
    found.append(Step("benchmark", speed, 75, results=results))
    for number, seconds in {"08": 60}.items() if tiny else CHAPTERS.items():
        for path in (ROOT / "notebooks").glob(f"{number}_*.ipynb"):
            command = ["tools/gpu.py", "--chapter", path, *(["--cells", 2] if tiny else [])]
            found.append(Step(f"chapter {number}", command, seconds))
    return found


def find_data(folder, scratch):
    """Return a folder that holds MNIST as the package wants it, unpacked from ``folder`` if need be; or None."""
    own = os.environ.get("VAE_TUTORIAL_DATA")
    if own and all((Path(own).expanduser() / "MNIST" / "raw" / name).is_file() for name in MNIST):
        return Path(own).expanduser().resolve()
    if folder is None:
        return None
    if missing := [f"{name}.gz" for name in MNIST if not (folder / f"{name}.gz").is_file()]:
        sys.exit(f"--data {folder} lacks {', '.join(missing)}")
    raw = scratch / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST:
        with gzip.open(folder / f"{name}.gz") as packed, open(raw / name, "wb") as file:
            shutil.copyfileobj(packed, file)
    return raw.parents[1]


def environment(device, data, scratch):
    """Return the variables of all steps' processes."""
    found = {"TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1", "VAE_TUTORIAL_TEST_DEVICE": device}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found["VAE_TUTORIAL_DATA"] = str(data or scratch / "nothing")
    if data is None:  # nobody listens there: the stand-in comes at once, also where a network never answers
        found |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    if device == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    return os.environ | found


def machine(device):
    """Return what the numbers depend on, or the reason why nothing can be tried here."""
    found = {"device": device, "python": platform.python_version(), "processors": os.cpu_count(), "gpu": None}
    try:
        import torch
    except Exception as error:
        return found | {"error": f"PyTorch cannot be imported ({type(error).__name__}: {error})"}
    found |= {"torch": torch.__version__, "cuda": torch.version.cuda}
    if device != "cuda":
        return found
    if not torch.cuda.is_available():
        return found | {"error": "PyTorch finds no CUDA device here; --device cpu rehearses without one"}
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return found | {"gpu": torch.cuda.get_device_name(0), "memory GiB": round(memory, 1), "driver": driver()}


def driver():
    """Return the version of NVIDIA's driver, or None."""
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=20).stdout.split()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def run(step, seconds, variables, log):
    """Run a step; return how it ended, how long it took, and what it said last: where it failed, all of its error."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, step.command)],
            cwd=ROOT,
            env=variables | step.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            result = "passed" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            result = "timed out"
        finally:
            end(process)
        output.seek(0)
        text = re.sub(r"\x1b\[[\d;]*m", "", output.read().decode(errors="replace"))
    log.write(f"== {step.name}: {' '.join(map(str, step.command))}\n{text}\n")
    log.flush()
    lines = text.split("\n")
    if result == "passed":  # the last ones, and what a training found, below which landmarks may stand
        lines = [line for line in lines[:-3] if line.startswith("test ")] + lines[-3:]
    found = {"name": step.name, "result": result, "seconds": round(time.monotonic() - start, 1)}
    found["said"] = "\n".join(lines).strip()[-3000:]
    if step.results is not None and step.results.is_file():
        found["results"] = json.loads(step.results.read_text("utf-8"))
    return found


def end(process):
    """End a process that still runs: kindly first, so that a notebook's kernel ends with it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def chapter(path, cells):
    """Execute a notebook's code cells, or the first so many; print the slowest, and return 1 after an error."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"][:cells]
    # That a chapter passes says little, unless it has used the GPU.
    used = "import torch\nprint(f'{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB of GPU memory')"
    notebook.cells.append(nbformat.v4.new_code_cell(used))
    starts = []
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        store_widget_state=False,
        on_cell_start=lambda cell, cell_index: starts.append(time.monotonic()),
        resources={"metadata": {"path": str(path.parent)}},
    )
    error = None
    try:
        client.execute()
    except (CellExecutionError, DeadKernelError) as caught:
        error = str(caught)
    except AssertionError:  # nbclient's own, when it cleans up after a kernel that was ended from outside
        error = "it still ran when its kernel was ended"
    took = [later - earlier for earlier, later in zip(starts, [*starts[1:], time.monotonic()], strict=True)]
    slowest = sorted(zip(took, notebook.cells, strict=False), key=lambda pair: -pair[0])[:3]
    print("slowest cells:", ", ".join(f"{cell.id} {seconds:.1f} s" for seconds, cell in slowest))
    if error is not None:
        print(f"cell {notebook.cells[len(starts) - 1].id}: {error}")
        return 1
    print("".join(output.get("text", "") for output in notebook.cells[-1].outputs).strip())
    return 0


def write(report, folder):
    part = folder / "gpu.json.part"
    part.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(folder / "gpu.json")


def main(device="cuda", out=None, data=None, seconds=SECONDS, tiny=False):
    """Run all steps, write what was found after each, and return the exit status."""
    start, out = time.monotonic(), Path(out or ROOT / "build" / "gpu")
    out.mkdir(parents=True, exist_ok=True)
    report = machine(device)
    report |= {"tiny": tiny, "missing": [name for name in PACKAGES if util.find_spec(name) is None], "steps": []}
    with tempfile.TemporaryDirectory(prefix="gpu-") as scratch, open(out / "gpu.log", "w", encoding="utf-8") as log:
        scratch = Path(scratch)
        found = None if tiny else find_data(data, scratch)
        report["data"] = "MNIST" if found else "the stand-in, scikit-learn's digits"
        print(", ".join(f"{key}: {value}" for key, value in report.items() if value and key != "steps"), flush=True)
        for step in steps(device, tiny, scratch) if "error" not in report else []:
            left = seconds - (time.monotonic() - start)
            if left < SHORTEST:
                done = {"name": step.name, "result": "left out", "seconds": 0, "said": "no time was left"}
            else:
                patience = 4 if tiny else 1  # a rehearsal runs beside other things, and is about the steps alone
                done = run(step, min(patience * step.seconds, left), environment(device, found, scratch), log)
            report["steps"].append(done)
            print(f"{done['name']:22s}{done['result']:10s}{done['seconds']:6.1f} s", flush=True)
            if done["said"]:
                print("    " + "\n    ".join(done["said"].splitlines()[-6:]), flush=True)
            write(report, out)
    report["passed"] = "error" not in report and all(step["result"] == "passed" for step in report["steps"])
    report["seconds"] = round(time.monotonic() - start, 1)
    write(report, out)
    print(f"{'all passed' if report['passed'] else 'not all passed'}; {report['seconds']:.0f} s; {out / 'gpu.json'}")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, help="folder for the results (default: build/gpu)")
    parser.add_argument("--data", type=Path, help="folder that holds MNIST's four files, gzipped")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all steps (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a little of each step")
    parser.add_argument("--chapter", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    notebook, cells = options.pop("chapter"), options.pop("cells")
    if notebook is None:
        sys.exit(main(**options))
    status = chapter(notebook, cells)
    sys.stdout.flush()
    os._exit(status)  # at once: after a kernel that was ended, nbclient's tasks would have the last word
