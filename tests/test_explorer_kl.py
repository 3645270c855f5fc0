"""The KL explorer: its numbers are Python's, and it follows pointer, keyboard, prediction and buttons."""

import functools

import numpy as np
import pytest
import torch
import traitlets
from scipy.stats import norm
from torch.distributions import Categorical, MixtureSameFamily, Normal

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


LINE = np.linspace(-100, 100, 40_001)  # nothing sticks out of it


@functools.cache
def log_bumps(shares, means, stds):
    """The mixture's log-density on the line: PyTorch's."""
    p = MixtureSameFamily(Categorical(torch.tensor(shares)), Normal(torch.tensor(means), torch.tensor(stds)))
    return p.log_prob(torch.from_numpy(LINE)).numpy()


def by_a_long_sum(explorer, mean=None, std=None):
    """Both KLs by another route: sums over the line; of another q where ``mean`` and ``std`` are given."""
    log_p = log_bumps(explorer.shares, explorer.means, explorer.stds)
    log_q = norm.logpdf(LINE, explorer.mean if mean is None else mean, std or explorer.std)
    terms = {"forward": np.exp(log_p) * (log_p - log_q), "reverse": np.exp(log_q) * (log_q - log_p)}
    return {key: values.sum() * (LINE[1] - LINE[0]) for key, values in terms.items()}


def at_the_ends():
    """Explorers of which much of q, or of p, lies beyond the picture; and one of the KLs."""
    known = ((0, 2, 1.448), (0, 4, 4.874), (0, 5, 9.768), (5, 3, 13.524), (5, 5, 25.738), (-5, 5, 26.015))
    for mean, std, reverse in known:
        yield KLExplorer(mean=mean, std=std), "reverse", reverse
    yield KLExplorer(means=[-14, 14], stds=[1, 1]), "forward", 44.477
    yield KLExplorer(means=[0, 20], stds=[3, 3]), "forward", 59.024
    yield KLExplorer(means=[-2.5, 2.5], stds=[0.1, 3], mean=4, std=0.3), "reverse", 2.443


def test_numbers_are_right_at_the_ends_of_the_sliders():
    for one, key, wanted in at_the_ends():
        assert one.numbers()[key] == pytest.approx(wanted, abs=6e-4)
        assert one.numbers() == pytest.approx(by_a_long_sum(one), rel=1e-6)


def test_what_depends_on_the_bumps_follows_them():
    explorer = KLExplorer()
    explorer.means = [0, 20]
    fresh = KLExplorer(means=[0, 20])
    for name in ("best_forward", "best_reverse", "bounds"):
        assert getattr(explorer, name) == getattr(fresh, name) != getattr(KLExplorer(), name)
    assert explorer.bounds["mean"] == [-5, 20]
    assert explorer.bounds["x"][1] > 20  # the picture reaches the second bump
    for which in ("forward", "reverse"):  # the buttons stay within the sliders
        explorer.mean, explorer.std = getattr(explorer, f"best_{which}")
    explorer.means = [-1, 1]
    assert explorer.mean == 5  # q was at 20, where the slider does not reach any more
    with explorer.hold_trait_notifications():
        explorer.shares, explorer.means, explorer.stds = [0.2, 0.3, 0.5], [-3, 0, 3], torch.tensor([0.5, 0.5, 0.5])
    assert explorer.best_reverse[0] == pytest.approx(3, abs=0.02)
    assert explorer.numbers() == pytest.approx(by_a_long_sum(explorer), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shares": [1, 1]}, r"shares must be above 0 and sum to 1; got \(1\.0, 1\.0\)"),
        ({"shares": [0, 1]}, "shares must be above 0"),
        ({"means": [1, 2, 3]}, "one number for each bump"),
        ({"shares": [1.0], "mean": 0}, "one number for each bump"),
        ({"means": [0, float("nan")]}, "means must be some numbers, all finite"),
        ({"means": [0, 60]}, "means must lie between -50 and 50"),
        ({"stds": [0.7, 0]}, r"stds must lie between 0\.05 and 10"),
        ({"mean": 7}, "mean must lie between -5 and 5; got 7"),
        ({"std": 0.2}, r"std must lie between 0\.3 and 5"),
        ({"mean": float("nan")}, "mean must be a finite number"),
        ({"best_reverse": [0, 1]}, "read-only"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(traitlets.TraitError, match=message):
        KLExplorer(**values)
    explorer = KLExplorer()
    kept = explorer.state()
    with pytest.raises(traitlets.TraitError, match=message):
        set_together(explorer, values)
    assert explorer.state() == kept


def set_together(explorer, values):
    with explorer.hold_trait_notifications():
        for name, value in values.items():
            setattr(explorer, name, value)


def test_the_best_are_best():
    explorer = KLExplorer()
    for which in ("forward", "reverse"):
        mean, std = getattr(explorer, f"best_{which}")
        best = KLExplorer(mean=mean, std=std).numbers()[which]
        for dm, ds in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1), (-5, 0)):
            assert KLExplorer(mean=max(-5, mean + dm), std=std + ds).numbers()[which] > best
    assert explorer.best_forward == pytest.approx([0.5, 2.5475], abs=1e-3)  # chapter 2


def test_numbers_in_the_page_are_right_over_the_whole_range(explorer):
    """Over a grid of both sliders, ends included, for the usual bumps and for some that lie far apart."""
    for one in (KLExplorer(), KLExplorer(means=[-14, 14], stds=[1, 1]), KLExplorer(stds=[0.1, 3])):
        (low, high), (narrow, wide) = one.bounds["mean"], one.bounds["std"]
        states = [
            {"mean": mean, "std": std}
            for mean in np.linspace(low, high, 11).tolist()
            for std in np.geomspace(narrow, wide, 9).tolist()
        ]
        found = explorer.calls("kl", "numbers", one.state(), states)
        for state, numbers in zip(states, found, strict=True):
            assert numbers == pytest.approx(by_a_long_sum(one, **state), rel=1e-6, abs=1e-6), state


def test_javascript_agrees_with_python(explorer):
    for widget in [one for one, _, _ in at_the_ends()][::2]:
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
    assert explorer.numbers()["reverse, KL(q ‖ p)"] == pytest.approx(0.5105, abs=1e-3)


def test_width_reaches_both_ends(explorer):
    page = explorer.open(KLExplorer())
    slider = page.get_by_role("slider", name="width of q")
    for key, wanted in (("End", 5), ("Home", 0.3)):
        slider.press(key)
        assert explorer.get("std") == wanted
    page.get_by_role("slider", name="mean of q").press("End")
    slider.press("End")
    assert explorer.numbers()["reverse, KL(q ‖ p)"] == pytest.approx(25.738, abs=6e-4)
    shown = page.locator(".vx-picture svg").nth(1)
    assert "nats of the reverse KL lie further out" in shown.text_content()
    assert "nats of the reverse KL lie further out" in shown.get_attribute("aria-label")
    slider.press("Home")
    assert "cut at 6: the highest value is" in shown.text_content()


def test_the_picture_follows_the_bumps(explorer):
    page = explorer.open(KLExplorer())
    other = KLExplorer(means=[0, 20], stds=[3, 3])
    state = {name: other.state()[name] for name in ("means", "stds", "best_forward", "best_reverse", "bounds")}
    explorer.set(**state)
    assert page.locator("section.vx").count() == 1
    mean = page.get_by_role("slider", name="mean of q")
    mean.press("End")
    assert explorer.get("mean") == 20
    page.get_by_role("button", name="best forward q").click()
    assert explorer.get("mean") == 12
    wanted = KLExplorer(means=[0, 20], stds=[3, 3], mean=12, std=explorer.get("std")).numbers()
    assert list(explorer.numbers().values()) == pytest.approx(list(wanted.values()), rel=1e-5)
