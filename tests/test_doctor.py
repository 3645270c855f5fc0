"""The doctor: what it says where all is well, and where something is missing, broken or damaged."""

import ast
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_tutorial import _download, data, training
from vae_tutorial import cli as command
from vae_tutorial.cli import _advice as advice
from vae_tutorial.cli import doctor
from vae_tutorial.pretrained import shipped

ROOT = Path(__file__).resolve().parents[1]
MNIST = tuple(_download.OFFICIAL)


@pytest.fixture(autouse=True)
def a_plain_python(monkeypatch):
    """Whatever runs the tests: a command in a notebook is another."""
    for name in ("COLAB_RELEASE_TAG", "JPY_PARENT_PID", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)


def found(check):
    """What one check says, as a finding without a name."""
    status, *rest = check()
    return doctor.Finding(status, "", *rest)


def run(code):
    """Run the command in another process, after some code."""
    argv = ["doctor", "doctor", "--json"]
    code += f"\nimport runpy, sys; sys.argv = {argv}; runpy.run_module('vae_tutorial', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert "Traceback" not in done.stderr
    said = json.loads(done.stdout)
    lines = {line["name"]: doctor.Finding(**line) for line in said["findings"]}
    assert said["status"] == ("wrong" if any(line.status == "wrong" for line in lines.values()) else "ok")
    assert done.returncode == (said["status"] == "wrong")
    return lines


# A finder hides torch and torchvision, and their metadata too.
HIDDEN = """import os, sys; from importlib import metadata
class Hide:
    def find_spec(self, name, *_):
        if name.partition('.')[0] in ('torch', 'torchvision'): raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide()); version = metadata.version
def hidden(name):
    if name.startswith('torch'): raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = hidden
"""


def test_here_nothing_is_wrong(capsys):
    assert command.main(["doctor"]) == 0
    table = capsys.readouterr().out
    notes = sum(line.startswith("note") for line in table.splitlines())
    assert table.endswith(f"Nothing is wrong; {notes} to note.\n" if notes else "Nothing is wrong.\n")
    assert command.main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["status"] == "ok"
    statuses = [line.split()[0] for line in table.splitlines() if line and not line.startswith(" ")]
    assert statuses[:-1] == [line["status"] for line in said["findings"]]
    names = [line["name"] for line in said["findings"]]
    assert len(names) == len(set(names))
    assert {requirement for requirement, _ in doctor._requirements()} < set(names)
    assert os.path.expanduser("~") not in json.dumps(said)
    for line in said["findings"]:
        assert (line["status"] == "ok") == (not line["fix"])


@pytest.mark.process
def test_without_torch():
    lines = run(HIDDEN)
    assert lines["torch"].status == lines["torchvision"].status == "wrong"
    assert lines["torch"].fix == f'{sys.executable} -m pip install "torch>=2.4"'
    assert lines["numpy"].status == lines["figures"].status == "ok"
    for name in ("device", "MNIST", "shipped models"):
        assert lines[name].status == "note"
        assert "not checked" in lines[name].found


@pytest.mark.process
def test_with_the_standard_library_alone(tmp_path):
    """As from a folder that somebody downloaded: not even the package's own metadata is there."""
    shutil.copytree(doctor.FOLDER, tmp_path / "vae_tutorial", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-S", "-m", "vae_tutorial", "doctor"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert f'-m pip install -e "{tmp_path}"' in done.stdout
    assert done.stdout.endswith("1 wrong: start with the first.\n")


@pytest.mark.parametrize("error", [RuntimeError("operator torchvision::nms does not exist"), ImportError("no _C")])
def test_a_torchvision_that_does_not_fit(error, monkeypatch):
    there = doctor.importlib.import_module

    def broken(name):
        if name.startswith("torchvision"):
            raise error
        return there(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    lines = {line.name: line for line in doctor.examine()}
    assert lines["torchvision"].status == "wrong"
    assert str(error) in lines["torchvision"].found
    assert "pip uninstall -y torch torchvision &&" in lines["torchvision"].fix
    assert lines["MNIST"].found.startswith("not checked: torchvision.datasets cannot be imported")


@pytest.mark.parametrize("error", [OSError("libcudart.so: cannot open"), ValueError("numpy.dtype size changed")])
def test_a_dependency_that_is_installed_but_broken(error, monkeypatch):
    def broken(_):
        raise error

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    line = found(lambda: doctor._dependency("pandas", ">=2.1"))
    assert line.status == "wrong"
    assert str(error) in line.found
    assert line.fix.endswith("-m pip install --force-reinstall --no-deps pandas")


def test_a_wrong_version(monkeypatch):
    version = doctor.metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "2.0.3" if name == "pandas" else version(name))
    lines = {line.name: line for line in doctor.examine()}
    assert lines["pandas"].status == "wrong"
    assert lines["pandas"].found == "2.0.3; the course needs >=2.1"
    assert lines["pandas"].fix.endswith('-m pip install --upgrade "pandas>=2.1"')
    assert [line.name for line in lines.values() if line.status == "wrong"] == ["pandas"]


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.3.9", False), ("2.4", True), ("2.10.0+cpu", True), ("2.4.0a0+git1234", True), ("10.0", True)],
)
def test_versions_are_compared_as_pip_does(version, fits):
    """The fourth is a shared machine's own build, which runs."""
    assert doctor._fits(version, ">=2.4") == fits


def test_without_the_library_that_compares_versions(monkeypatch):
    """Then matplotlib, which needs it, is the line to look at."""
    monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
    assert found(lambda: doctor._dependency("pandas", ">=999")).status == "ok"


def test_a_virtual_environment_of_uv_has_no_pip(monkeypatch):
    find_spec, which = advice.importlib.util.find_spec, advice.shutil.which
    monkeypatch.setattr(advice.importlib.util, "find_spec", lambda n: None if n == "pip" else find_spec(n))
    monkeypatch.setattr(advice.shutil, "which", lambda n: "/bin/uv" if n == "uv" else which(n))
    line = found(lambda: doctor._dependency("no-such-package", ">=1"))
    assert line.fix == f'uv pip install --python {sys.executable} "no-such-package>=1"'
    assert advice.pair().startswith(f"uv pip uninstall --python {sys.executable} torch torchvision && uv pip install")
    monkeypatch.setattr(advice.shutil, "which", lambda _: None)
    assert "-m pip install" in advice.pip("install pandas")


@pytest.mark.process
def test_a_backend_that_does_not_exist():
    lines = run(f"{HIDDEN}os.environ['MPLBACKEND'] = 'qt-agg'")  # without torch, as it takes long to import
    first = next(line for line in lines.values() if line.status == "wrong")
    assert first.name == "figures"
    assert "'qt-agg' is not a valid value for backend" in first.found
    assert "MPLBACKEND=" in first.fix or first.fix == "unset MPLBACKEND"


@pytest.mark.parametrize(
    ("backend", "status"),
    [("", "ok"), ("module://matplotlib_inline.backend_inline", "ok"), ("inline", "ok"), ("Agg", "note")],
)
def test_a_backend_in_the_environment(backend, status, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", backend)
    line = found(doctor._figures)
    assert line.status == status
    if status == "note":
        assert f"MPLBACKEND is {backend}" in line.found
        assert "%matplotlib inline" in line.found
        assert line.fix in ("unset MPLBACKEND", "set MPLBACKEND=")


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """Files of another content than MNIST's, which count as official."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    official = {}
    for name in MNIST:
        array = np.arange(20 * 784).reshape(20, 28, 28) % 256 if "images" in name else np.arange(20) % 10
        header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        (raw / name).write_bytes(header + array.astype(np.uint8).tobytes())
        contents = (raw / name).read_bytes()
        official[name] = (len(contents), hashlib.sha256(contents).hexdigest())
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.setattr(_download, "OFFICIAL", official)
    return raw


def test_mnist(mnist, monkeypatch):
    line = found(doctor._mnist)
    assert (line.status, line.found) == ("ok", f"4 files with the official checksums in {mnist}")

    monkeypatch.undo()
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(mnist.parents[1]))
    line = found(doctor._mnist)  # whole files, but not the official ones
    assert line.status == "note"
    assert "20 and 20 images" in line.found


@pytest.mark.process
def test_a_damaged_mnist(mnist):
    file = mnist / MNIST[0]
    contents = bytearray(file.read_bytes())
    contents[5000] ^= 1
    file.write_bytes(contents)
    line = found(doctor._mnist)
    assert line.status == "wrong"
    assert f"{MNIST[0]} does not have the official SHA-256" in line.found
    file.write_bytes(b"<html>")
    line = found(doctor._mnist)
    assert line.status == "wrong"
    # The command deletes the four files and nothing else; then it loads, which the test leaves out.
    (mnist / "my notes.txt").write_text("mine")
    arguments = line.fix.removeprefix(f"{sys.executable} -c ").strip('"').partition("; from vae_tutorial")[0]
    subprocess.run([sys.executable, "-c", arguments], check=True)
    assert [path.name for path in mnist.iterdir()] == ["my notes.txt"]


def test_no_mnist(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path / "not yet"))
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("it tried to load, and so to download"))
    line = found(doctor._mnist)
    assert line.status == "note"
    assert "4 of its 4 files are not in" in line.found
    assert "1,797 digits stand in" in line.found
    assert "data.load('mnist', strict=True)" in line.fix
    assert not (tmp_path / "not yet").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows knows every user's home folder")
def test_an_unknown_home_folder(monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_DATA", "~nobody-of-this-name/data")
    line = found(doctor._mnist)
    assert line.status == "note"
    assert "unknown home folder" in line.found
    assert line.fix.startswith("export VAE_TUTORIAL_DATA=")


@pytest.mark.parametrize("damage", ["a bit", "no weights", "no card"])
def test_a_damaged_model(damage, tmp_path, monkeypatch):
    shutil.copytree(doctor.FOLDER / "weights", tmp_path / "vae_tutorial" / "weights")
    monkeypatch.setattr(doctor, "FOLDER", tmp_path / "vae_tutorial")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "vae_tutorial" / "weights")
    assert found(doctor._models).status == "ok"
    weights = tmp_path / "vae_tutorial" / "weights" / "conv.safetensors"
    if damage == "a bit":
        contents = bytearray(weights.read_bytes())
        contents[-1] ^= 1
        weights.write_bytes(contents)
    else:
        (weights if damage == "no weights" else weights.with_suffix(".json")).unlink()
    line = found(doctor._models)
    assert line.status == "wrong"
    assert str(weights.with_suffix("")) in line.found
    assert "@v" in line.fix
    (tmp_path / ".git").mkdir()
    assert found(doctor._models).fix == f'git -C "{tmp_path}" checkout -- vae_tutorial/weights'


def test_the_device_is_the_one_that_the_chapters_use(monkeypatch):
    assert found(doctor._device).found.startswith(str(training.best_device()))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    line = found(doctor._device)
    assert line.status == "ok"
    assert line.found.startswith(str(training.best_device()))
    assert "Apple's GPU is used only where it is asked for" in line.found


def test_a_gpu_that_cannot_multiply(monkeypatch):
    gpu = types.SimpleNamespace(total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Old GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)

    def ones(*_, device):
        raise RuntimeError(f"CUDA error: no kernel image for {device}")

    monkeypatch.setattr(torch, "ones", ones)
    line = found(doctor._device)
    assert line.status == "wrong"
    assert "Old GPU, 16.0 GiB; two matrices cannot be multiplied there" in line.found
    assert "CUDA_VISIBLE_DEVICES" in line.fix


@pytest.mark.parametrize(
    ("name", "place", "start"),
    [("COLAB_RELEASE_TAG", "Colab", "!"), ("JPY_PARENT_PID", "Jupyter", "!"), ("NOTHING", "a plain Python", "")],
)
def test_where_it_runs(name, place, start, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert found(doctor._machine).found.endswith(f", in {place}")
    assert advice.pair().startswith(f"{start}{sys.executable} -m pip uninstall")
    assert "&& !" not in advice.pair()
    assert advice.setting("A", "b").startswith("%env" if start else ("export", "set"))


def test_in_a_kernel(monkeypatch):
    for running in (True, False):
        kernel = types.SimpleNamespace(IPKernelApp=types.SimpleNamespace(initialized=lambda answer=running: answer))
        monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", kernel)
        assert advice.place() == ("Jupyter" if running else "a plain Python")


def test_a_check_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "_models", lambda: 1 / 0)
    line = next(line for line in doctor.examine() if line.name == "shipped models")
    assert line.status == "wrong"
    assert "ZeroDivisionError" in line.found


def test_an_old_python_can_read_it():
    for name in ("__init__", "__main__", "cli/__init__", "cli/_advice", "cli/doctor"):
        ast.parse((doctor.FOLDER / f"{name}.py").read_text("utf-8"), feature_version=(3, 7))
    assert f'requires-python = ">={doctor.OLDEST_PYTHON[0]}.{doctor.OLDEST_PYTHON[1]}"' in (
        ROOT / "pyproject.toml"
    ).read_text("utf-8")


def test_another_python_than_that_of_the_course_s_venv_is_noted(monkeypatch, tmp_path):
    """As where somebody types "python" beside a .venv that is not activated."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    monkeypatch.setattr(doctor, "FOLDER", tmp_path / "vae_tutorial")
    status, found, fix = doctor._version()
    assert status == "note"
    assert found.endswith("is not the one of .venv")
    assert fix == f'"{tmp_path}/.venv/bin/python" -m vae_tutorial doctor'
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert doctor._version()[0] == "ok"
