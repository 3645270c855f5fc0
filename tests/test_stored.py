"""Results of long runs: each can be made again by its script, is used, and says what it is."""

import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import pytest

from vae_tutorial import stored

ROOT = Path(__file__).resolve().parents[1]
BY_COMMAND = {"burda2016": "python -m vae_tutorial reproduce burda2016"}  # tests/test_reproduce.py runs it
USERS = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "vae_tutorial").rglob("*.py")]


@pytest.mark.parametrize("name", stored.names())
def test_each_has_a_script_and_a_reader(name):
    found = stored.load(name)
    if name in BY_COMMAND:
        assert found.command.startswith(BY_COMMAND[name])
    else:
        script = re.fullmatch(r"python (benchmarks/\w+\.py)( .*)?", found.command)[1]
        text = (ROOT / script).read_text("utf-8")
        assert f'"{name}"' in text, f"{script} does not write {name}"
        assert "--quick" in text
    assert len(found.protocol) > 40
    assert found.trainings >= 0
    assert found.minutes > 0
    assert any(re.search(rf'stored\.load\(\\?"{name}\\?"', path.read_text("utf-8")) for path in USERS), (
        "nobody reads it"
    )


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
@pytest.mark.parametrize("name", sorted(set(stored.names()) - set(BY_COMMAND)))
def test_each_script_runs(name, tmp_path, monkeypatch):
    """Tiny, into another folder: the same keys come out."""
    script = ROOT / re.search(r"benchmarks/\w+\.py", stored.load(name).command)[0]
    monkeypatch.syspath_prepend(str(script.parent))
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", script)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    only = ["--only", "mlp-2d"] if name == "witnesses" else []
    module.main(["--quick", "--folder", str(tmp_path), *only])
    shipped = stored.load(name).values
    assert set(stored.load(name, tmp_path).values) <= set(shipped)


def test_writing_and_reading(tmp_path):
    values = {"a": [1.23456789, (2, 3.0)], "b": {"c": "d"}}
    about = {"command": "python x.py", "protocol": "p", "trainings": 3, "minutes": 1.234, "folder": tmp_path}
    written = stored.write("run", values, **about)
    assert written == stored.load("run", tmp_path)
    assert written.values == {"a": [1.2346, [2, 3.0]], "b": {"c": "d"}}
    assert (written.trainings, written.minutes, written.command) == (3, 1.2, "python x.py")
    assert stored.names(tmp_path) == ["run"]
    with pytest.raises(ValueError, match="name must be one of run; got 'walk'"):
        stored.load("walk", tmp_path)


def test_a_result_that_is_no_number_is_not_stored_and_the_old_one_stays(tmp_path):
    about = {"command": "c", "protocol": "p", "trainings": 0, "minutes": 0, "folder": tmp_path}
    stored.write("run", {"a": 1.0}, **about)
    with pytest.raises(ValueError, match="not JSON compliant"):
        stored.write("run", {"a": math.nan}, **about)
    assert json.loads((tmp_path / "run.json").read_text())["values"] == {"a": 1.0}
