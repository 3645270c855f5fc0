"""The ledger: agreement with its file, and the ways in which a number can disagree."""

import json
import math
import sys
from pathlib import Path

import pytest
import scipy.stats
import torch

from vae_tutorial import data, ledger

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
import ledger_page

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
N = 10_000


@pytest.fixture
def file(tmp_path, monkeypatch):
    rows = [
        {"key": "a", "chapter": 1, "model": "A", "kind": "exact", "nats": 100.0, "stderr": 0.5, "tolerance": 0.01},
        {"key": "b", "chapter": 8, "model": "B", "kind": "bound", "nats": 90.0, "stderr": 0.5, "tolerance": 1.0},
        {"key": "f", "chapter": 2, "model": "F", "kind": "floor", "nats": 50.0, "stderr": 0.1, "tolerance": 0.01},
    ]
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(rows))
    monkeypatch.setattr(ledger, "_FILE", path)
    monkeypatch.delenv("VAE_TUTORIAL_LEDGER", raising=False)
    return path


def values(mean, stderr=0.5):
    nats = torch.linspace(-1, 1, N, dtype=torch.float64)
    return mean + nats / nats.std() * stderr * math.sqrt(N)


def test_agreement(file, capsys):
    mean, stderr = ledger.check("a", values(100.005))
    assert (mean, stderr) == pytest.approx((100.005, 0.5))
    assert capsys.readouterr().out == "A: 100.00 ± 0.50 nats per digit (the ledger has 100.00: agrees)\n"


@pytest.mark.parametrize(("key", "nats"), [("a", values(100.02)), ("b", values(91.1)), ("b", values(90, 0.6))])
def test_disagreement(file, key, nats):
    with pytest.raises(ledger.LedgerError, match="but the ledger has"):
        ledger.check(key, nats)


def test_other_data_are_not_compared(file, capsys):
    ledger.check("a", values(3.0), "digits")
    ledger.check("a", values(3.0)[:359])
    assert capsys.readouterr().out.count("not compared") == 2


@pytest.mark.parametrize(
    ("key", "nats", "message"),
    [
        ("c", values(1), "key must be one of 'a', 'b', 'f'; got 'c'"),
        ("a", torch.tensor(3.0), r"shape \(N,\)"),
        ("a", torch.full((N,), math.inf), "finite"),
    ],
)
def test_bad_input(file, key, nats, message):
    with pytest.raises(ValueError, match=message):
        ledger.check(key, nats)


def test_recording(file, monkeypatch):
    monkeypatch.setenv("VAE_TUTORIAL_LEDGER", "update")
    ledger.check("b", values(85.0, 0.4))
    ledger.check("a", values(3.0), "digits")  # the stand-in is never recorded
    assert [(row.nats, row.stderr) for row in ledger.rows()] == [(100.0, 0.5), (85.0, 0.4)]
    assert [path.name for path in file.parent.iterdir()] == ["ledger.json"]


def test_table(file):
    table = ledger.table()
    assert table["nats per digit"].tolist() == ["100.0", "≤ 90.0", "≥ 50.0"]
    assert ledger.table(chapter=2).index.tolist() == ["A", "F"]
    assert ledger.table(chapter=1).index.tolist() == ["A"]
    assert float(table["bits per pixel"].iloc[0]) == pytest.approx(100 / math.log(2) / 784, abs=1e-3)


def test_the_shipped_ledger():
    rows = ledger.rows()
    assert [row.chapter for row in rows] == sorted(row.chapter for row in rows)
    assert len({row.key for row in rows}) == len(rows)
    assert rows[0].nats == pytest.approx(784 * math.log(2), abs=1e-3)
    assert all(row.kind in ("exact", "bound") for row in rows)
    assert all(0 < row.tolerance <= 1 for row in rows)


def test_the_floor_is_the_mean_entropy_of_the_coins():
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("the floor is that of MNIST, which is not here")
    grey = data.load("mnist", "test").images.numpy().reshape(N, 784) / 255
    each = scipy.stats.entropy([grey, 1 - grey]).sum(-1)
    floor = ledger.floor()
    assert (floor.nats, floor.stderr) == pytest.approx((each.mean(), scipy.stats.sem(each)), abs=1e-4)
    assert floor.key not in {row.key for row in ledger.rows()}
    assert all(row.nats > floor.nats for row in ledger.rows())


def test_the_page_has_the_numbers_of_ledger_cards_and_results():
    assert ledger_page.PAGE.read_text("utf-8") == ledger_page.text(), "run tools/ledger_page.py, do not edit its tables"
    for row in [*ledger.rows(), ledger.floor()]:
        assert f"{row.nats:.1f} ± {row.stderr:.1f} | {row.model} |" in ledger_page.text()
