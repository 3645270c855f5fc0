"""The tool for a GPU, tried without one: its steps, its limits of time, what it writes; and that no step waits."""

import gzip
import importlib.util
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from apple import Apple, OnDevice

from vae_tutorial import cli, likelihoods, models, training

ROOT = Path(__file__).resolve().parents[1]
LOOKS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy", "nonzero", "new_tensor"}


@pytest.fixture(scope="module")
def gpu():
    specification = importlib.util.spec_from_file_location("gpu", ROOT / "tools" / "gpu.py")
    module = sys.modules["gpu"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    del sys.modules["gpu"]


def report(folder):
    return json.loads((folder / "gpu.json").read_text("utf-8"))


@pytest.mark.process
def test_a_rehearsal_on_the_cpu_passes(gpu, tmp_path):
    assert gpu.main("cpu", tmp_path, seconds=1200, tiny=True) == 0
    found = report(tmp_path)
    assert found["passed"] is True
    assert found["torch"] == torch.__version__
    assert found["data"].startswith("the stand-in")
    steps = {step["name"]: step for step in found["steps"]}
    assert list(steps) == ["tests", "train", "benchmark", "chapter 08"]
    assert {step["result"] for step in steps.values()} == {"passed"}
    assert " passed" in steps["tests"]["said"]
    assert "skipped" not in steps["tests"]["said"]
    assert "test ELBO" in steps["train"]["said"]
    assert steps["benchmark"]["results"]["mlp"]["images per second"] > 0
    assert "MiB of GPU memory" in steps["chapter 08"]["said"]
    assert "== chapter 08" in (tmp_path / "gpu.log").read_text("utf-8")


def test_every_chapter_that_there_is_has_its_step(gpu, tmp_path):
    steps = gpu.steps("cuda", False, tmp_path)
    there = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    chapters = there & {"00", "08", "09", "12", "16"}
    assert {step.name[-2:] for step in steps if step.name.startswith("chapter")} == chapters
    assert all("--device" not in step.command or "cuda" in step.command or "cpu" in step.command for step in steps)
    trainings = [step for step in steps if step.command[:2] == ["-m", "vae_tutorial"]]
    train, resume = (cli.parse([str(part) for part in step.command[2:]]) for step in trainings)
    assert (train.device, train.checkpoint) == ("cuda", resume.resume)
    assert (resume.device, resume.epochs) == ("cpu", train.epochs + 1)


def test_without_cuda_it_says_so_and_tries_nothing(gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main("cuda", tmp_path) == 1
    found = report(tmp_path)
    assert "no CUDA device" in found["error"]
    assert found["steps"] == []
    assert found["passed"] is False
    assert "not all passed" in capsys.readouterr().out


def test_packages_that_are_missing_are_named(gpu, tmp_path, monkeypatch, capsys):
    there = gpu.util.find_spec
    monkeypatch.setattr(gpu.util, "find_spec", lambda name: None if name in ("anywidget", "nbclient") else there(name))
    monkeypatch.setattr(gpu, "steps", lambda *_: [])
    assert gpu.main("cpu", tmp_path, tiny=True) == 0
    assert report(tmp_path)["missing"] == ["anywidget", "nbclient"]
    assert "anywidget" in capsys.readouterr().out


def test_a_step_has_its_own_limit_and_what_does_not_fit_is_left_out(gpu, tmp_path, monkeypatch):
    now, limits = [0.0], []

    def run(step, seconds, *_):
        limits.append(seconds)
        now[0] += seconds
        return {"name": step.name, "result": "passed", "seconds": seconds, "said": ""}

    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu, "run", run)
    monkeypatch.setattr(gpu, "steps", lambda *_: [gpu.Step(name, [], 40) for name in "abcd"])
    assert gpu.main("cpu", tmp_path, seconds=95) == 1
    assert limits == [40, 40, 15]
    assert [step["result"] for step in report(tmp_path)["steps"]] == ["passed"] * 3 + ["left out"]


def test_all_steps_together_keep_to_six_minutes(gpu, tmp_path):
    assert gpu.SECONDS + 2 * gpu.GRACE < 360  # the last one may have to be killed
    assert max(step.seconds for step in gpu.steps("cuda", False, tmp_path)) < gpu.SECONDS / 3


@pytest.mark.process
def test_how_a_step_ends(gpu, tmp_path, monkeypatch):
    """One that passes and leaves results, one that fails, one that neither ends nor wants to."""
    results = tmp_path / "results.json"
    codes = {
        "passes": f"print('a\\nb\\nc\\n\\x1b[31md\\x1b[0m'); open({str(results)!r}, 'w').write('[1]')",
        "fails": "print('before'); import no_such_module",
        "hangs": "import signal, time; signal.signal(15, signal.SIG_IGN); print('before', flush=True); time.sleep(600)",
    }
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    done = {}
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        for name, code in codes.items():
            step = gpu.Step(name, ["-c", code], 60, results=results if name == "passes" else None)
            done[name] = gpu.run(step, 3 if name == "hangs" else 60, dict(os.environ), log)
    assert [found["result"] for found in done.values()] == ["passed", "failed", "timed out"]
    assert done["passes"]["said"] == "c\nd"
    assert done["passes"]["results"] == [1]
    assert done["fails"]["said"].startswith("before\n")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in done["fails"]["said"]
    assert done["hangs"]["said"] == "before"
    assert 3 < done["hangs"]["seconds"] < 60
    assert "== fails: -c" in (tmp_path / "log").read_text("utf-8")


@pytest.mark.process
def test_a_chapter_that_fails_or_does_not_end_names_the_cell(gpu, tmp_path, capsys):
    def chapter(second):
        cells = [nbformat.v4.new_code_cell("x = 1", id="one"), nbformat.v4.new_code_cell(second, id="two")]
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Text."), *cells]), path)
        return path

    path = tmp_path / "chapter.ipynb"
    # As a step's limit does it: the process that waits for the kernel is told to end.
    endless = chapter("import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(600)")
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        found = gpu.run(gpu.Step("chapter", ["tools/gpu.py", "--chapter", endless], 60), 60, dict(os.environ), log)
    assert "cell two: it still ran when its kernel was ended" in found["said"]
    assert gpu.chapter(chapter("x / 0"), None) == 1
    said = capsys.readouterr().out
    assert "cell two: " in said
    assert "ZeroDivisionError" in said
    assert "slowest cells: " in said


def test_mnist_from_a_folder_of_gzipped_files(gpu, tmp_path, monkeypatch):
    monkeypatch.delenv("VAE_TUTORIAL_DATA", raising=False)
    packed, scratch = tmp_path / "packed", tmp_path / "scratch"
    packed.mkdir()
    scratch.mkdir()
    assert gpu.find_data(None, scratch) is None
    for name in gpu.MNIST[:-1]:
        (packed / f"{name}.gz").write_bytes(gzip.compress(name.encode()))
    with pytest.raises(SystemExit, match=f"lacks {gpu.MNIST[-1]}.gz"):
        gpu.find_data(packed, scratch)
    (packed / f"{gpu.MNIST[-1]}.gz").write_bytes(gzip.compress(gpu.MNIST[-1].encode()))
    root = gpu.find_data(packed, scratch)
    assert {path.name: path.read_text() for path in (root / "MNIST" / "raw").iterdir()} == {n: n for n in gpu.MNIST}
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(root))
    assert gpu.find_data(None, scratch) == root.resolve()


def test_what_the_steps_are_told(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    told = gpu.environment("cpu", None, tmp_path)
    assert told["PYTHONPATH"] == os.pathsep.join([str(ROOT), "elsewhere"])
    assert told["CUDA_VISIBLE_DEVICES"] == ""
    assert told["https_proxy"]  # the stand-in, without a look for a network
    told = gpu.environment("cuda", tmp_path, tmp_path)
    assert told["VAE_TUTORIAL_DATA"] == str(tmp_path)
    assert told["VAE_TUTORIAL_TEST_DEVICE"] == "cuda"
    assert told.get("CUDA_VISIBLE_DEVICES") == os.environ.get("CUDA_VISIBLE_DEVICES")


class Watched(Apple):
    """The simulated device; it notes each operation that makes the CPU wait for a GPU, or sends it a number."""

    def __enter__(self):
        self.looks = []
        return super().__enter__()

    def __torch_function__(self, function, types, arguments=(), named=None):
        name = getattr(function, "__name__", "")
        if name in LOOKS and isinstance(arguments[0], OnDevice):
            self.looks.append(name)
        return super().__torch_function__(function, types, arguments, named)


@pytest.mark.parametrize("form", ["bytes", "floating"])
@pytest.mark.parametrize("kind", likelihoods.NAMES)
def test_no_step_waits_for_the_device(form, kind):
    """On a GPU, to look at a value is to wait until all that was begun is done; test_cuda asks PyTorch itself."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    model = models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=(1, 4, 4), likelihood=kind)
    waits = []
    for steps in (1, 5):
        with Watched() as device:
            there = device.take(images if form == "bytes" else (images / 255).round())
            device.take(model)
            optimizer = torch.optim.Adam(model.parameters())
            training.run_epoch(model, there, optimizer, batch_size=20 // steps)
        waits.append(device.looks)
    assert waits[0] == waits[1]  # once an epoch is not once a step
