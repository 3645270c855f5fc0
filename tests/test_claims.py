"""What a check prints, and what it raises."""

import math

import numpy as np
import pytest
import torch

from vae_tutorial.claims import agree, below

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("a", "b", "within"),
    [
        (1, 1.001, 0.002),
        (torch.tensor(2.0), np.float64(2.0), 1e-9),
        (INF, INF, 1),
        (torch.arange(3), torch.arange(3) + 0.5, 0.5),
        (torch.ones(4, 3), torch.ones(3), torch.tensor([[1e-9], [1], [2], [3]])),
        ([1.0, -INF], [1.0, -INF], 1e-9),
        (torch.tensor(1.0, requires_grad=True), 1, 1e-9),
    ],
)
def test_numbers_that_agree(a, b, within, capsys):
    agree("both ways", a, b, within=within)
    assert capsys.readouterr().out.startswith("both ways: ")


@pytest.mark.parametrize(
    ("a", "b", "within", "said"),
    [
        (1, 1.001, 0.0005, "w: not so: 1 and 1.001$"),
        (NAN, NAN, 1, "w: not so: nan and nan"),
        (1, NAN, 1, "1 and nan"),
        (INF, 1, 1e300, "inf and 1"),
        (INF, -INF, 1e300, "inf and -inf"),
        ([1, 5, 3], [1, 2, 1], 0.5, r"5 and 2 \(pair 1 of 3; 2 fail\)"),
        ([1, NAN, 9], [1, 1, 1], 0.5, r"nan and 1 \(pair 1 of 3; 2 fail\)"),
        (torch.zeros(2, 2), torch.eye(2), 0.1, r"0 and 1 \(pair 0 of 4"),
    ],
)
def test_numbers_that_do_not_agree_are_named(a, b, within, said):
    with pytest.raises(AssertionError, match=said):
        agree("w", a, b, within=within)


@pytest.mark.parametrize("within", [0, -1, NAN, INF, [1, 0]])
def test_a_claim_that_cannot_fail_or_cannot_hold_is_refused(within):
    with pytest.raises(ValueError, match=r"agree\('w'\): within must be positive"):
        agree("w", [1, 1], [1, 1], within=within)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="with something to compare"):
        agree("w", [], [], within=1)
    with pytest.raises(ValueError, match="with something to compare"):
        below("w", torch.ones(0, 3), 1)
    with pytest.raises(ValueError, match="by must be finite"):
        below("w", 1, 2, by=-INF)


def test_below(capsys):
    below("a pair", 1, 2)
    below("pairs", torch.arange(3), 3)
    below("by much", -INF, 0, by=100)
    assert capsys.readouterr().out == "a pair: 1 < 2\npairs: holds, in all 3 pairs\nby much: -inf < 0\n"
    for a, b, by in ((2, 2, 0), (2, 1, 0), (1, 2, 1), (NAN, 1, 0), (1, NAN, 0), ([0, 3], 2, 0), (INF, INF, 0)):
        with pytest.raises(AssertionError, match="not so"):
            below("w", a, b, by=by)
    with pytest.raises(AssertionError, match=r"3 < 2 \(pair 1 of 2; 1 fail\)"):
        below("w", [0, 3], 2)
