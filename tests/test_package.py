"""The package as a whole: its order, its cost to import, its figures."""

import ast
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch

import vae_tutorial
from vae_tutorial import plotting, training

FOLDER = Path(vae_tutorial.__file__).parent
ORDER = [
    "information",
    "exact",
    "data",
    "likelihoods",
    "models",
    "objectives",
    "plotting",
    "diagrams",
    "training",
    "proposals",
    "marginal",
    "witnesses",
    "evaluation",
    "stored",
    "pretrained",
    "ledger",
]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_module_imports_only_from_those_above_it():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*ORDER, "__init__", "__main__", "doctor"}
    for position, name in enumerate(ORDER):
        tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vae_tutorial"):
                used = [node.module.partition(".")[2]] if "." in node.module else [alias.name for alias in node.names]
                assert set(used) <= set(ORDER[:position]), f"{name} imports {used}"


def test_import_costs_nothing():
    code = (
        "import sys, time; start = time.perf_counter(); import vae_tutorial; seconds = time.perf_counter() - start;"
        "print(seconds, 'torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    seconds, *heavy = python(code).split()
    assert float(seconds) < 0.2
    assert heavy == ["False", "False"]


def test_modules_cost_little_beyond_torch():
    code = (
        "import time, torch, tqdm.auto; start = time.perf_counter();"
        "from vae_tutorial import data, exact, information, ledger, likelihoods, models, objectives, training;"
        "import sys; print(time.perf_counter() - start, 'torchvision' in sys.modules, 'sklearn' in sys.modules)"
    )
    seconds, *heavy = python(code).split()
    assert float(seconds) < 0.2
    assert heavy == ["False", "False"]


def test_unknown_module():
    with pytest.raises(AttributeError, match="its modules are data, diagrams, evaluation, exact, explorers"):
        _ = vae_tutorial.explorer
    assert set(ORDER) <= set(dir(vae_tutorial))


def test_everything_public_has_a_docstring():
    for name in ORDER:
        module = getattr(vae_tutorial, name)
        assert module.__doc__
        for item in module.__all__:
            value = getattr(module, item)
            assert isinstance(value, str | dict) or value.__doc__, f"{name}.{item}"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_image_grid_puts_images_where_they_belong():
    images = torch.stack([torch.full((1, 3, 2), float(n)) for n in range(5)]) / 4
    picture = plotting.image_grid(images, columns=3).images[0].get_array()
    assert picture.shape == (2 * 5, 3 * 4)  # a pixel of white round each of 3 x 2
    centres = picture[2::5, 1::4]
    assert centres.flatten().tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1.0, 0])


@pytest.mark.parametrize("bad", [torch.zeros(3, 3, 4, 4), torch.zeros(4, 4), torch.zeros(0, 1, 4, 4)])
def test_image_grid_refuses_other_shapes(bad):
    with pytest.raises(ValueError, match=r"images must have shape \(N, 1, H, W\)"):
        plotting.image_grid(bad)


def test_bytes_and_fractions_look_the_same():
    grey = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    one, other = (plotting.image_grid(v).images[0].get_array() for v in (grey, grey / 255))
    assert torch.allclose(torch.tensor(one), torch.tensor(other))


def test_history_plot_draws_what_the_history_says():
    rows = [
        {"epoch": e, "elbo": -100.0 + e, "reconstruction": -80.0, "kl": 20.0 - e, "seconds": 1.0, "test_elbo": -99.0}
        | {"test_reconstruction": -81.0, "test_kl": 18.0}
        for e in (1, 2, 3)
    ]
    lines = {line.get_label(): line for line in training.History(rows).plot().lines}
    assert list(lines["ELBO"].get_ydata()) == [-99, -98, -97]
    assert list(lines["KL (test)"].get_ydata()) == [18, 18, 18]
    assert lines["KL (test)"].get_linestyle() == "--"
    assert lines["KL"].get_color() == lines["KL (test)"].get_color() == plotting.COLORS["kl"]


def test_an_autoencoders_history_shows_its_reconstruction_alone():
    rows = [{"epoch": e, "elbo": -90.0, "reconstruction": -90.0, "kl": 0.0, "seconds": 1.0} for e in (1, 2)]
    assert [line.get_label() for line in training.History(rows).plot().lines] == ["reconstruction"]


def test_the_style_fits_a_phone():
    plotting.use_style()
    assert plt.rcParams["figure.figsize"][0] <= 5.5
    assert plt.rcParams["font.size"] >= 11
