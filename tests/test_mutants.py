"""Checks that bite: each check of an equation has mutants, wrong versions of what it checks, and fails with each.

All mutants of all chapters take some minutes (`make mutants`, weekly in CI). Here every entry is read and every check
counted, and the mutants of two quick chapters run. tools/mutants.py says what a mutant is.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vae_tutorial import data

ROOT = Path(__file__).resolve().parents[1]
_specification = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
mutants = importlib.util.module_from_spec(_specification)
sys.modules["mutants"] = mutants
_specification.loader.exec_module(mutants)

SAMPLE = ("02",)
pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")


@pytest.mark.parametrize("number", mutants.chapters())
def test_every_check_has_a_mutant(number):
    found = mutants.mutants(number)  # raises for an entry that names nothing
    assert len({(m.check, m.wrong) for m in found}) == len(found), "two mutants of one name"
    checks = [cell for cell in mutants.code_cells(mutants.chapters()[number]) if cell.equations]
    assert {cell.id for cell in checks} - {m.cell for m in found} == set(), "checks that nothing was tried on"
    assert {label for cell in checks for label in cell.equations} - {m.check for m in found} == set()


@pytest.mark.process
@pytest.mark.parametrize("number", SAMPLE)
def test_every_mutant_of_a_sample_is_killed(number):
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("the mutants are tried on MNIST, which is not here")
    # In a process of its own: a chapter sets styles, threads and random numbers.
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "mutants.py", number],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


CELLS = {
    "a": "def double(x):\n    return 2 * x",
    "b": "import torch\nfrom vae_tutorial import information\ntotal, kept = double(3), {}",
    "c": "# Check (eq-double): by addition\nassert double(3) == 3 + 3 and total == 6",
    "d": "# Check (eq-entropy): of a fair coin\nassert abs(information.entropy([0.5, 0.5]) - 0.6931) < 1e-4",
    "e": "# Check (eq-blind): of nothing\nassert total > 0 and not kept\nassert torch.rand(()).item() == SEED",
}


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A notebook of five cells in the place of the chapters, and a way to give it mutants."""
    import torch

    torch.manual_seed(0)
    cells = {**CELLS, "e": CELLS["e"].replace("SEED", repr(torch.rand(()).item()))}
    cells["b"] += "\ntorch.manual_seed(0)"
    listed = [{"cell_type": "code", "id": key, "source": text} for key, text in cells.items()]
    (tmp_path / "01_x.ipynb").write_text(json.dumps({"cells": listed}))
    monkeypatch.setattr(mutants, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(mutants, "MUTANTS", tmp_path)

    def outcomes(*entries):
        (tmp_path / "01.yml").write_text(json.dumps(entries))  # JSON is YAML
        return [result.outcome for result in mutants.run_chapter("01")]

    return outcomes


def test_what_becomes_of_mutants(chapter):
    assert chapter(
        {"check": "eq-double", "wrong": "thrice", "of": "a", "old": "2 * x", "new": "3 * x"},
        {"check": "eq-double", "wrong": "stale total", "of": "a", "old": "2 * x", "new": "x * 2"},
        {"check": "eq-double", "wrong": "total anew", "of": "a", "old": "2 * x", "new": "x + 3", "then": ["b"]},
        {"check": "eq-double", "wrong": "in the check", "old": "3 + 3", "new": "3 * 3"},
        {"check": "eq-double", "wrong": "broken", "old": "double(3) ==", "new": "doubel(3) =="},
        {"check": "eq-entropy", "wrong": "bits", "before": "information.entropy = lambda p: kept.update(a=1) or 1.0"},
        {"check": "eq-blind", "wrong": "a total of one", "before": "total = 1\ntorch.rand(3)\ntorch.manual_seed(0)"},
    ) == [
        "killed",
        "survived",
        "survived",  # double(3) is 6 all the same
        "killed",
        "NameError: name 'doubel' is not defined",
        "killed",
        "survived",  # the check sees nothing; and names, package and random numbers were put back, or e would fail
    ]


def test_a_method_that_a_mutant_gives_to_a_class_which_inherits_it_is_taken_away_again(chapter):
    from vae_tutorial import likelihoods

    gives = (
        "from vae_tutorial import likelihoods\nlikelihoods.Bernoulli.log_prob = information.entropy = lambda *_: 1.0"
    )
    assert "log_prob" not in vars(likelihoods.Bernoulli)
    assert chapter({"check": "eq-entropy", "wrong": "everywhere", "before": gives}) == ["killed"]
    assert "log_prob" not in vars(likelihoods.Bernoulli)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"check": "eq-none", "wrong": "w", "old": "a", "new": "b"}, "no cell checks eq-none"),
        ({"check": "a", "wrong": "w", "old": "2", "new": "3"}, "cell a asserts nothing"),
        ({"check": "eq-double", "wrong": "w", "old": "7", "new": "8"}, "'7' stands 0 times in cell c, not once"),
        ({"check": "eq-double", "wrong": "w", "old": "3 + 3", "new": "3 + 3"}, "old and new are the same"),
        ({"check": "eq-double", "wrong": "w", "of": "e", "old": "0", "new": "1"}, "no cell e at or before the check"),
        ({"check": "eq-double", "wrong": "w"}, "an entry has check, wrong"),
        ({"check": "eq-double", "wrong": "w", "before": "x = 1", "olf": "2"}, "an entry has check, wrong"),
    ],
)
def test_an_entry_that_says_nothing(chapter, entry, message):
    with pytest.raises(ValueError, match=message):
        chapter(entry)
