"""The entropy explorer: its numbers are Python's, zeros included, and it follows pointer, finger, keyboard, buttons."""

import heapq
import math
import random

import numpy as np
import pytest
import scipy.stats
import torch
import traitlets

from vae_tutorial.explorers import EntropyExplorer
from vae_tutorial.explorers.entropy import OUTCOMES


def random_weights(rng):
    """Six weights, some of them 0, not all."""
    weights = [rng.choice([0.0, rng.random() ** 4, rng.random(), rng.randrange(4)]) for _ in OUTCOMES]
    return weights if any(weights) else random_weights(rng)


def test_numbers_are_right():
    halves = EntropyExplorer(weights=[16, 8, 4, 2, 1, 1])
    assert halves.outcomes()["surprise"] == pytest.approx([1, 2, 3, 4, 5, 5])
    assert halves.outcomes()["lengths"] == [1, 2, 3, 4, 5, 5]
    wanted = {"nats": 31 / 16 * math.log(2), "bits": 31 / 16, "length": 31 / 16, "wasted": 0}
    assert halves.numbers() == pytest.approx(wanted, abs=1e-12)
    uniform = EntropyExplorer(weights=[3] * 6).numbers()
    assert uniform == pytest.approx(
        {"nats": math.log(6), "bits": math.log2(6), "length": 8 / 3, "wasted": 8 / 3 - math.log2(6)}
    )
    english = EntropyExplorer()
    entropy = torch.distributions.Categorical(torch.tensor(english.weights, dtype=torch.float64)).entropy().item()
    assert english.numbers()["nats"] == pytest.approx(entropy, abs=1e-6)


def test_no_prefix_code_is_shorter():
    rng = random.Random(1)
    lists = torch.cartesian_prod(*[torch.arange(1, 6).double()] * 6)
    lists = lists[(0.5**lists).sum(-1) <= 1]  # all lengths that Kraft allows
    for _ in range(20):
        widget = EntropyExplorer(weights=[rng.random() ** 3 + 1e-6 for _ in OUTCOMES])
        p = torch.tensor(widget.outcomes()["p"], dtype=torch.float64)
        assert widget.numbers()["length"] == pytest.approx((lists @ p).min().item(), abs=1e-12)


def test_zeros():
    certain = EntropyExplorer(weights=[0, 0, 7, 0, 0, 0])
    assert certain.numbers() == {"nats": 0, "bits": 0, "length": 0, "wasted": 0}
    infinite = math.inf
    wanted = {"p": [0, 0, 1, 0, 0, 0], "surprise": [infinite, infinite, 0, infinite, infinite, infinite]}
    assert certain.outcomes() == {**wanted, "lengths": [None, None, 0, None, None, None]}
    assert EntropyExplorer(weights=[1, 0, 0, 0, 0, 1]).outcomes()["lengths"] == [1, None, None, None, None, 1]


@pytest.mark.parametrize(
    "weights", [[0] * 6, [1] * 5, [1, 1, 1, 1, 1, -1], [math.nan] * 6, [math.inf] * 6, 6, "123456", [1] * 5 + ["1"]]
)
def test_what_is_no_distribution_is_refused(weights):
    with pytest.raises(traitlets.TraitError, match="weights must be 6 numbers"):
        EntropyExplorer(weights=weights)
    with pytest.raises(traitlets.TraitError, match="preset"):
        EntropyExplorer(presets=[["mine", weights]])


def test_weights_and_presets_of_ones_own():
    mine = EntropyExplorer(weights=torch.arange(6), presets=[["mine", [1, 2, 3, 4, 5, 6]]])
    assert mine.weights == (0, 1, 2, 3, 4, 5)
    assert mine.presets == [["mine", [1, 2, 3, 4, 5, 6]]]
    assert EntropyExplorer().presets[0][0] == "uniform"
    with pytest.raises(TypeError):
        mine.weights[0] = 7  # nobody would hear of it


def test_javascript_agrees_with_python(explorer):
    rng = random.Random(0)
    presets = [weights for _, weights in EntropyExplorer().presets]
    for weights in presets + [random_weights(rng) for _ in range(20)]:
        widget = EntropyExplorer(weights=weights)
        numbers, state, outcomes = widget.numbers(), widget.state(), widget.outcomes()
        found = explorer.call("entropy", "numbers", state)
        assert found == pytest.approx(numbers, rel=1e-5, abs=1e-5)
        assert numbers["bits"] - 1e-9 <= found["length"] < numbers["bits"] + 1
        seen = explorer.call("entropy", "outcomes", state)
        assert seen["lengths"] == outcomes["lengths"]  # ties are broken alike
        assert seen["p"] == pytest.approx(outcomes["p"], abs=1e-12)
        assert seen["surprise"] == pytest.approx(outcomes["surprise"], rel=1e-5, abs=1e-5)  # infinite where p is 0
        # The words have these lengths, and none begins another.
        words = [word for word in explorer.call("entropy", "wordsOf", seen["lengths"]) if word is not None]
        assert [len(word) for word in words] == [length for length in outcomes["lengths"] if length is not None]
        assert not any(a.startswith(b) for i, a in enumerate(words) for j, b in enumerate(words) if i != j)


def by_merging(weights):
    """The mean word of Huffman's code, in bits: the sum of what its merges weigh."""
    heap = sorted(w / sum(weights) for w in weights if w > 0)
    length = 0.0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        length += merged
        heapq.heappush(heap, merged)
    return length


def test_numbers_in_the_page_are_right_over_the_whole_range(explorer):
    """Each of the six sliders from end to end, from each preset."""
    moves = [
        (weights, k, t) for _, weights in EntropyExplorer().presets for k in range(6) for t in np.linspace(0, 1, 21)
    ]
    states = explorer.page.evaluate(
        """async moves => {
          const { moved } = await import('./explorers/entropy.js');
          return moves.map(([weights, k, t]) => ({ weights: moved(weights, k, t) }));
        }""",
        moves,
    )
    for state, numbers in zip(states, explorer.calls("entropy", "numbers", {}, states), strict=True):
        bits, length = scipy.stats.entropy(state["weights"], base=2), by_merging(state["weights"])
        wanted = {"nats": bits * math.log(2), "bits": bits, "length": length, "wasted": length - bits}
        assert numbers == pytest.approx(wanted, abs=1e-9), state
        assert -1e-9 <= numbers["wasted"] < 1


def test_moving_keeps_a_distribution(explorer):
    rng = random.Random(2)
    weights = random_weights(rng)
    for _ in range(60):  # ends of the scale as well, where all others vanish and come back
        k, t = rng.randrange(6), rng.choice([0, 1, rng.random()])
        old, weights = weights, explorer.call("entropy", "moved", weights, k, t)
        assert weights[k] == t
        assert sum(weights) == pytest.approx(1)
        assert min(weights) >= 0
        others = [(a, b) for i, (a, b) in enumerate(zip(old, weights, strict=True)) if i != k]
        for a, b in others:  # they keep their ratios, or share alike
            share = a / sum(a for a, _ in others) if any(a for a, _ in others) else 1 / 5
            assert b == pytest.approx(share * (1 - t))


def table_is_pythons(explorer):
    wanted = EntropyExplorer(weights=explorer.get("weights")).numbers()
    assert list(explorer.numbers().values()) == pytest.approx(list(wanted.values()), abs=1e-5)
    return wanted


def test_keyboard_and_buttons(explorer):
    page = explorer.open(EntropyExplorer())
    before = table_is_pythons(explorer)
    slider = page.get_by_role("slider", name="p(b)")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert explorer.get("weights")[1] == pytest.approx(0.02)
    assert table_is_pythons(explorer)["nats"] < before["nats"]  # as predicted: rarer still, and less entropy
    page.keyboard.press("Home")
    assert explorer.get("weights")[1] == 0
    assert "surprise ∞ bits, word of no bits" in slider.get_attribute("aria-valuetext")
    table_is_pythons(explorer)
    page.keyboard.press("End")
    assert table_is_pythons(explorer)["nats"] == 0  # one certain
    page.keyboard.press("Home")  # the others are as they were before they vanished
    assert explorer.get("weights")[4] / explorer.get("weights")[0] == pytest.approx(12.702 / 8.167)
    table_is_pythons(explorer)
    for label, weights in EntropyExplorer().presets:
        page.get_by_role("button", name=label).click()
        assert explorer.get("weights") == weights
        table_is_pythons(explorer)


def test_pointer_drags_one_bar(explorer):
    page = explorer.open(EntropyExplorer(weights=[1, 1, 1, 1, 1, 1]))
    box = page.locator(".vx-picture svg").first.bounding_box()
    x = box["x"] + 62 + (box["width"] - 74) * 2.5 / 6  # the bar of c
    page.mouse.move(x, box["y"] + 135)
    page.mouse.down()
    page.mouse.move(x + 150, box["y"] + 85, steps=4)  # over another bar: c is held
    page.mouse.up()
    weights = explorer.get("weights")
    assert 0.4 < weights[2] < 0.7
    assert weights[:2] == pytest.approx(weights[3:5])
    table_is_pythons(explorer)
    page.mouse.move(x, box["y"] + 30)  # lifted: no longer followed
    assert explorer.get("weights") == weights
    below = page.locator(".vx-picture svg").nth(1).bounding_box()
    page.mouse.click(x, below["y"] + 100)  # the lower picture does not move
    assert explorer.get("weights") == weights


def test_finger_drags_a_bar_upwards(explorer):
    page = explorer.open(EntropyExplorer(weights=[1, 1, 1, 1, 1, 1]), width=360)
    page.locator(".vx-picture").scroll_into_view_if_needed()
    box = page.locator(".vx-picture svg").first.bounding_box()
    x, y = box["x"] + 62 + (box["width"] - 74) * 3.5 / 6, box["y"] + 144 - 130 / 1.16 / 6  # the top of d
    explorer.finger(x, y - 9, 0, -8)  # the handle sits on the bar, which does not jump to the finger
    assert explorer.get("weights")[3] == pytest.approx(1 / 6 + 48 * 1.16 / 130, abs=0.02)
