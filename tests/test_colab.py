"""What Colab needs of a notebook: one bootstrap, the same everywhere, that installs the package and leaves torch alone.

``tools/colab.py`` runs whole notebooks in such an environment; this runs one first cell, and tests the tool's checks.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_output

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SPEC = importlib.util.spec_from_file_location("colab", ROOT / "tools" / "colab.py")
colab = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(colab)

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def first_cell(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))


@each_notebook
def test_the_bootstrap_is_the_same_everywhere_but_for_imports(path):
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)[1]
    before, bootstrap, *after = first_cell(path).strip().split("\n\n")
    condition, install, *more = bootstrap.splitlines()
    assert all(re.fullmatch(r"    %pip install -q \w+", line) for line in more)  # an optional library
    assert condition == 'if "google.colab" in sys.modules:'
    address = install.removeprefix("    %pip install -q ")
    assert colab.ADDRESS.fullmatch(address)  # that it is the right one is the business of test_repository.py
    assert address.endswith(f'@v{version}"')
    modules = {line.removeprefix("import ") for line in before.splitlines()}
    assert "sys" in modules
    assert modules <= set(sys.stdlib_module_names), "what may be missing is imported after the bootstrap"
    for line in "\n".join(after).splitlines():
        assert re.match(r"(import|from) |$", line) or line == "plotting.use_style()"


def test_an_address_that_is_not_found_is_an_error():
    package = "/some/where/vae_tutorial-0.1.0-py3-none-any.whl"
    assert f'    %pip install -q "{package}"' in colab.bootstrap(first_cell(NOTEBOOKS[0]), package).splitlines()
    for source in ("import sys", "%pip install vae-tutorial", first_cell(NOTEBOOKS[0]) * 2):
        with pytest.raises(colab.ColabError, match=r"address [02] times, not once"):
            colab.bootstrap(source, package)


def test_the_environment_has_torch_and_neither_the_package_nor_the_course_s_tools():
    found = colab.closure(colab.BROUGHT.split())
    assert {"torch", "torchvision", "ipykernel", "jinja2"} <= found.keys()
    own = {"vae-tutorial", "anywidget", "psygnal", "pytest", "jupyter-book", "nbclient"}
    if "notebook" in found:
        own.remove("nbclient")  # ipywidgets 7 need it, through the notebook
    assert not found.keys() & own


def test_what_harms_colab_is_told(tmp_path):
    modules = {"torch": [str(tmp_path / "torch.py"), "2.9"]}
    before = {"torch": ["2.9", {"a": [1, 2, 3]}], "numpy": ["2.1", {}]}
    colab.check(before, before | {"anywidget": ["0.9", {}]}, ["", "Note: you may need to restart"], modules, tmp_path)
    for after in ({"torch": ["2.9", {"a": [1, 9, 3]}]}, {"numpy": ["2.4", {}]}):
        with pytest.raises(colab.ColabError, match=f"changed what Colab brings: {next(iter(after))} 2"):
            colab.check(before, before | after, [], modules, tmp_path)
    with pytest.raises(colab.ColabError, match="not from the fresh environment"):
        colab.check(before, before, [], {"vae_tutorial": [str(ROOT / "vae_tutorial.py"), "0.1.0"]}, tmp_path)
    with pytest.raises(colab.ColabError, match="the first cell printed:\nERROR: pip's dependency resolver"):
        colab.check(before, before, ["ERROR: pip's dependency resolver says"], modules, tmp_path)


def test_a_widget_that_colab_would_not_show_is_told():
    view = "application/vnd.jupyter.widget-view+json"
    address = {view: {"colab": {"custom_widget_manager": {"url": "..."}}}}
    for text, more, metadata, shown in (
        ("KLExplorer()", {}, address, True),
        ("KLExplorer()", {}, {}, False),
        ("KLExplorer()", {"text/html": "<p>"}, address, False),
        ("HBox(children=())", {}, {}, True),
    ):
        data = {view: {"model_id": "1"}, "text/plain": text} | more
        output = new_output("display_data", data=data, metadata=metadata)
        cell = new_code_cell("explorer", outputs=[output])
        if shown:
            colab.check_widgets(cell, NOTEBOOKS[0])
        else:
            with pytest.raises(colab.ColabError, match="Colab would not show the widget"):
                colab.check_widgets(cell, NOTEBOOKS[0])


@pytest.mark.process
def test_the_first_cell_installs_the_package_and_leaves_torch_alone(tmp_path):
    """In a process of its own, as a maintainer runs it: a wheel, a fresh environment, a kernel, and pip."""
    env = os.environ | {"TMPDIR": str(tmp_path), "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "15"}

    def run(*command):
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, env=env)

    # The first cell is the same in the folder of sources, and the book may not be built.
    notebooks = ["--folder", str(ROOT / "notebooks")]
    done = run(str(ROOT / "tools" / "colab.py"), "--newest", "--first-cell", "1", *notebooks)
    if done.returncode and run("-m", "pip", "download", "-q", "--no-deps", "anywidget").returncode:
        pytest.skip("pip cannot reach its index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"the first cell added .*\banywidget .*vae-tutorial .*; torch .* is untouched", done.stdout)
