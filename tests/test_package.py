"""The package as a whole: its order, its cost to import, its figures."""

import ast
import importlib
import json
import math
import re
import subprocess
import sys
import types
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import PIL.Image
import pytest
import torch

import vae_tutorial
from vae_tutorial import data, likelihoods, plotting, training

FOLDER = Path(vae_tutorial.__file__).parent
# A module or folder imports only from those above it. The order to read them in is another: vae_tutorial/__init__.py.
ORDER = [
    "_mapped",
    "_bars",
    "_checks",
    "_modes",
    "_download",
    "_files",
    "information",
    "exact",
    "_cache",
    "_pictures",
    "_folder",
    "_arrays",
    "_pairs",
    "_emoji",
    "data",
    "likelihoods",
    "networks",
    "_described",
    "_saved",
    "models",
    "pixelvae",
    "gradients",
    "importance",
    "objectives",
    "plotting",
    "diagrams",
    "history",
    "_checkpoint_files",
    "checkpoints",
    "training",
    "_decoding",
    "proposals",
    "marginal",
    "witnesses",
    "_naive",
    "landmarks",
    "neighbours",
    "imputation",
    "evaluation",
    "compress",
    "stored",
    "reproduce",
    "pretrained",
    "claims",
    "exercises",
    "ledger",
    "explorers",
    "checkup",
    "cli",
]


def files(name):
    """The files of a module or a folder of the package."""
    file = FOLDER / f"{name}.py"
    return [file] if file.is_file() else sorted((FOLDER / name).glob("*.py"))


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_module_imports_only_from_those_above_it():
    found = {path.stem for path in FOLDER.glob("*.py")} | {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert found == {*ORDER, "__init__", "__main__"}
    for position, name in enumerate(ORDER):
        for node in (node for path in files(name) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vae_tutorial"):
                used = {node.module.split(".")[1]} if "." in node.module else {alias.name for alias in node.names}
                assert used - {name, "__version__"} <= set(ORDER[:position]), f"{name} imports {used}"


def length(function):
    """The lines of a function without its docstring."""
    first = function.body[0]
    has = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return function.end_lineno - function.lineno + 1 - has * (first.end_lineno - first.lineno + 1)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_no_module_and_no_function_is_long(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 270
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {f"{path.stem}.{f.name}" for f in functions if length(f) > 60}
    assert not long


def test_the_path_of_a_beginner_is_short():
    files = [FOLDER / f"{name}.py" for name in ("models", "objectives", "training")]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) <= 500


def names_of(notebook):
    """What a notebook uses of the package: dotted names, from its imports and from attributes of what they bind."""
    cells = [c for c in json.loads(notebook.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    code = "\n".join("".join(c["source"]) for c in cells if "".join(c["source"])[:1] not in "%!")
    code = re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M)
    tree, bound, used = ast.parse(code), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vae_tutorial":
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            bound |= {a.asname: a.name for a in node.names if a.asname and a.name.startswith("vae_tutorial")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            used.add(f"{bound[node.value.id]}.{node.attr}")
    return used | set(bound.values())


def test_every_name_that_a_notebook_uses_is_there():
    used = {name for notebook in (FOLDER.parent / "notebooks").glob("*.ipynb") for name in names_of(notebook)}
    assert len(used) > 50
    for name in sorted(used):
        module, _, attribute = name.partition(".")[2].partition(".")
        found = importlib.import_module(f"vae_tutorial.{module}")
        if attribute and isinstance(found, types.ModuleType):
            assert hasattr(found, attribute), f"a notebook uses {name}"


@pytest.mark.timed
def test_import_costs_nothing():
    code = (
        "import sys, time; start = time.perf_counter(); import vae_tutorial; seconds = time.perf_counter() - start;"
        "print(seconds, 'torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    seconds, *heavy = python(code).split()
    assert float(seconds) < 0.2
    assert heavy == ["False", "False"]


@pytest.mark.timed
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
    with pytest.raises(AttributeError, match="its modules are checkup, claims, compress, data, diagrams, evaluation"):
        _ = vae_tutorial.explorer
    assert set(vae_tutorial.__all__) <= set(dir(vae_tutorial))


def test_everything_public_has_a_docstring():
    for name in vae_tutorial.__all__:
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


def test_image_grid_in_colour():
    """Each channel where it belongs, beside a white border; the same from bytes, arrays and pictures."""
    x = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0)).mul(255).to(torch.uint8)
    picture = plotting.image_grid(x, columns=2).images[0].get_array()
    assert picture.shape == (3 * 6, 2 * 8, 3)
    for n, image in enumerate(x):
        i, j = 6 * (n // 2) + 1, 8 * (n % 2) + 1
        assert torch.tensor(picture[i : i + 4, j : j + 6]).equal(image.permute(1, 2, 0) / 255)
    assert (picture[::6] == 1).all()
    assert (picture[12:, 8:] == 1).all()  # the sixth place is empty
    pictures = [PIL.Image.fromarray(image.permute(1, 2, 0).numpy()) for image in x]
    for same in (x / 255, x.double() / 255, x.numpy(), pictures, data.Images(x, torch.zeros(5), "mine", "train")):
        assert (plotting.image_grid(same, columns=2).images[0].get_array() == picture).all()


@pytest.mark.parametrize(
    ("shape", "mend"),
    [
        ((0, 1, 4, 4), r"got \(0, 1, 4, 4\)"),
        ((0, 3, 4, 4), r"got \(0, 3, 4, 4\)"),
        ((2, 1, 0, 4), r"got \(2, 1, 0, 4\)"),
        ((4, 5), r"One image: images\[None\]"),
        ((100, 784), r"Flat pixels: images.reshape\(-1, 1, H, W\)"),
        ((178, 13), "Rows of a table are no images"),
        ((3, 4, 5), r"One image in colour: images\[None\]. Three grey ones: images\[:, None\]"),
        ((4, 5, 3), r"The channels come first here: images.permute\(2, 0, 1\)\[None\]"),
        ((7, 4, 5, 3), r"The channels come first here: images.permute\(0, 3, 1, 2\)"),
        ((7, 4, 5, 1), r"The channels come first here: images.permute\(0, 3, 1, 2\)"),
        ((7, 4, 5, 5), "images\\[:, :3\\]"),
        ((7, 2, 5, 5), r"A decoder's parameters: likelihood.mean\(parameters\)"),
        ((7, 6, 5, 5), "6 channels are no picture. A decoder's parameters"),
        ((2, 7, 3, 5, 5), r"Several draws of each image: images.flatten\(0, 1\)"),
        ((7,), r"got \(7\)$"),
    ],
)
def test_image_grid_refuses_what_it_cannot_draw_and_says_what_to_do(shape, mend):
    with pytest.raises(ValueError, match=rf"images must have shape \(N, 1, H, W\).*{mend}"):
        plotting.image_grid(torch.zeros(shape))


@pytest.mark.parametrize(
    "shape", [(4, 5), (3, 4, 5), (4, 5, 3), (7, 4, 5, 3), (7, 4, 5, 1), (7, 4, 5, 5), (2, 7, 3, 5, 5)]
)
def test_what_it_says_can_be_drawn(shape):
    images = torch.rand(shape)
    with pytest.raises(ValueError, match="images must have shape") as told:
        plotting.image_grid(images)
    said = re.findall(r"images(?:\[[^\]]+\]|\.\w+\([^)]*\))+", str(told.value).partition("). ")[2])
    drawn = [eval(way, {"images": images}) for way in said if "H" not in way]
    assert drawn
    for x in drawn:
        assert plotting.image_grid(x).images


def test_image_grid_says_where_nan_is():
    images = torch.rand(4, 3, 5, 5)
    images[2, 0, 1, 1] = math.nan
    images[3, 0, 1, 1] = math.inf
    for clip in (False, True):
        with pytest.raises(ValueError, match="NaN or infinite, in image 2, 3, cannot be drawn"):
            plotting.image_grid(images, clip=clip)


def test_a_decoders_parameters_are_not_taken_for_images():
    """Logits are far from [0, 1]; their mean is what the error says to draw."""
    logits = 8 * torch.randn(4, 1, 5, 5)
    with pytest.raises(ValueError, match=r"draw likelihood.mean\(parameters\)"):
        plotting.image_grid(logits)
    assert plotting.image_grid(likelihoods.get("bernoulli").mean(logits)).images


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
