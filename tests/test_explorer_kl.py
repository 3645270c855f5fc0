"""The KL explorer: its numbers are Python's, and it follows pointer, keyboard, prediction and buttons."""

import random

import pytest

from vae_tutorial import information
from vae_tutorial.explorers import KLExplorer


def test_numbers_are_right():
    # One bump: both KLs in closed form.
    one = KLExplorer(mean=1.0, std=0.8, shares=[1.0], means=[0.2], stds=[1.1])
    p, q = (0.2, 2 * 0.0953101798), (1.0, -2 * 0.2231435513)  # mean, log-variance
    wanted = {
        "forward": information.gaussian_kl([p[0]], [p[1]], [q[0]], [q[1]]).item(),
        "reverse": information.gaussian_kl([q[0]], [q[1]], [p[0]], [p[1]]).item(),
    }
    assert one.numbers() == pytest.approx(wanted, abs=1e-6)
    assert one.best_forward == pytest.approx([0.2, 1.1], abs=1e-3)
    assert one.best_reverse == pytest.approx([0.2, 1.1], abs=1e-3)


def test_the_best_are_best():
    explorer = KLExplorer()
    for which in ("forward", "reverse"):
        mean, std = getattr(explorer, f"best_{which}")
        best = KLExplorer(mean=mean, std=std).numbers()[which]
        for dm, ds in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1), (-5, 0)):
            assert KLExplorer(mean=max(-5, mean + dm), std=std + ds).numbers()[which] > best
    assert explorer.best_forward == pytest.approx([0.5, 2.5475], abs=1e-3)  # chapter 2


def test_javascript_agrees_with_python(explorer):
    rng = random.Random(0)
    for _ in range(20):
        values = {"mean": rng.uniform(-5, 5), "std": rng.uniform(0.3, 5)}
        widget = KLExplorer(**values)
        found = explorer.call("kl", "numbers", widget.state())
        assert found == pytest.approx(widget.numbers(), rel=1e-5, abs=1e-5)


def test_keyboard_pointer_and_buttons(explorer):
    page = explorer.open(KLExplorer())
    before = explorer.numbers()
    page.get_by_role("slider", name="mean of q").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert explorer.get("mean") == pytest.approx(-0.5)
    after = explorer.numbers()
    assert after != before
    wanted = KLExplorer(mean=-0.5).numbers()
    assert list(after.values()) == pytest.approx([wanted["forward"], wanted["reverse"]], abs=1e-5)

    box = page.locator(".vx-picture svg").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=5)
    page.mouse.up()
    assert 2 < explorer.get("mean") < 5
    page.mouse.move(box["x"] + 100, box["y"] + 60)  # lifted: no longer followed
    assert 2 < explorer.get("mean") < 5

    page.get_by_role("button", name="best reverse q").click()
    assert [explorer.get("mean"), explorer.get("std")] == KLExplorer().best_reverse
    assert explorer.numbers()["reverse, KL(q || p), nats"] == pytest.approx(0.5105, abs=1e-3)
