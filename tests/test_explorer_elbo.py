"""The ELBO explorer: its numbers are Python's and the chapter's, and it follows pointer, keyboard and buttons."""

import functools
import math
import random

import numpy as np
import pytest
import traitlets
from scipy.special import logsumexp
from scipy.stats import norm

from vae_tutorial.explorers import ELBOExplorer

LABELS = {key: label.replace("*", "") for key, label, *_ in ELBOExplorer().rows}


@functools.cache
def by_a_long_sum(x, curved, noise, weight, bias):
    """log p(x): a plain sum over a line of 40,001 points."""
    z = np.linspace(-7, 7, 40_001)
    errors = (x[0] - z / 2) ** 2 + (x[1] + 1 - z**2) ** 2 if curved else (x[0] - bias - weight * z) ** 2
    log_joint = norm.logpdf(z) - 0.5 * errors / noise**2 - len(x) * math.log(math.sqrt(2 * math.pi) * noise)
    return logsumexp(log_joint) + math.log(z[1] - z[0])


def by_moments(explorer, **state):
    """The rows by another route: moments of a Gaussian, and a long sum; where ``state`` says so, at other values."""
    m, s, decoder, point = (
        {"mean": explorer.mean, "std": explorer.std, "decoder": explorer.decoder, "point": explorer.point} | state
    ).values()
    x, noise, square = explorer.points[decoder][point]["x"], explorer.noises[decoder], m**2 + s**2
    if decoder == "curved":
        fourth, up = m**4 + 6 * m**2 * s**2 + 3 * s**4, x[1] + 1
        error = x[0] ** 2 - x[0] * m + square / 4 + up**2 - 2 * up * square + fourth
    else:
        error = (x[0] - explorer.bias - explorer.weight * m) ** 2 + explorer.weight**2 * s**2
    constant = -len(x) * (0.5 * math.log(2 * math.pi) + math.log(noise))
    reconstruction = constant - 0.5 * error / noise**2
    price = 0.5 * (square - 1) - math.log(s)
    log_p = by_a_long_sum(tuple(x), decoder == "curved", noise, explorer.weight, explorer.bias)
    elbo = reconstruction - price
    return {"reconstruction": reconstruction, "price": price, "elbo": elbo, "gap": log_p - elbo, "log_p": log_p}


def some(n, seed):
    rng = random.Random(seed)
    for i in range(n):
        yield ELBOExplorer(
            mean=rng.uniform(-3, 3),
            std=math.exp(rng.uniform(math.log(0.02), math.log(2))) if i > 1 else (0.02, 2.0)[i],
            decoder=rng.choice(["straight", "curved"]),
            point=rng.randrange(3),
        )


def test_numbers_are_right():
    for explorer in some(12, 1):
        found = explorer.numbers()
        assert found == pytest.approx(by_moments(explorer), rel=1e-6, abs=1e-6)
        assert found["elbo"] + found["gap"] == pytest.approx(found["log_p"], abs=1e-6)
        assert found["reconstruction"] - found["price"] == pytest.approx(found["elbo"], abs=1e-9)


def test_numbers_are_the_chapters():
    wide, left = (ELBOExplorer(mean=m, std=s).numbers() for m, s in ((0.6, 0.8), (-1.06, 0.14)))
    assert [wide["log_p"], wide["elbo"], left["gap"]] == pytest.approx([-3.30, -11.82, 1.61], abs=0.006)
    line = ELBOExplorer(decoder="straight", point=1)
    assert line.numbers()["log_p"] == pytest.approx(-2.229, abs=6e-4)  # chapter 3
    assert line.points["straight"][1]["best"] == pytest.approx([1.463, 0.625], abs=6e-4)


def test_the_best_are_best():
    for decoder, gaps in (("straight", [0, 0, 0]), ("curved", [0.0206, 0.2620, 0.0010])):
        for point, gap in enumerate(gaps):
            mean, std = ELBOExplorer().points[decoder][point]["best"]
            here = {"decoder": decoder, "point": point}
            best = ELBOExplorer(mean=mean, std=std, **here).numbers()
            assert best["gap"] == pytest.approx(gap, abs=1e-4)
            for dm, ds in ((0.05, 1), (-0.05, 1), (0, 1.1), (0, 0.9)):
                assert ELBOExplorer(mean=mean + dm, std=std * ds, **here).numbers()["elbo"] < best["elbo"]


def others():
    """Explorers whose decoders have other numbers."""
    for noises in ({"straight": 0.15, "curved": 0.1}, {"straight": 2.0, "curved": 3.0}):
        for decoder in ("straight", "curved"):
            for point in range(3):
                yield ELBOExplorer(noises=noises, weight=1.0, bias=0.4, decoder=decoder, point=point, mean=1.2, std=0.3)


def test_other_decoders():
    for explorer in others():
        assert explorer.numbers() == pytest.approx(by_moments(explorer), rel=1e-6, abs=1e-6)
    explorer = ELBOExplorer()
    explorer.weight, explorer.noises = 1.0, {"straight": 0.15, "curved": 0.1}
    explorer.bias = 0.4
    assert explorer.points == next(others()).points != ELBOExplorer().points
    explorer.decoder, explorer.point = "straight", 2
    explorer.mean, explorer.std = explorer.points["straight"][2]["best"]
    assert explorer.numbers()["gap"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noises": {"straight": 0.1, "curved": 0.3}}, r"for x = 2\.4 its mean is 4\.23"),  # no slider goes there
        ({"noises": {"straight": 0.4}}, "straight and curved as keys"),
        ({"noises": {"straight": 0.4, "curved": 0}}, r"numbers from 0\.1 to 3"),
        ({"bias": -10}, "must leave the best q within the sliders"),
        ({"weight": math.nan}, "weight must be a finite number"),
        ({"std": math.nan}, "std must be a finite number"),
        ({"point": 3}, "point"),
        ({"points": {}}, "read-only"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(traitlets.TraitError, match=message):
        ELBOExplorer(**values)


def test_a_change_within_the_noises_is_refused():
    with pytest.raises(TypeError, match=r"explorer\.noises = \{\*\*explorer\.noises, 'curved': 0\.5\}"):
        ELBOExplorer().noises["curved"] = 0.5


def test_question_and_replies_say_what_happens():
    explorer = ELBOExplorer()
    mean, std = explorer.points["curved"][1]["best"]
    best, prior = ELBOExplorer(mean=mean, std=std).numbers(), ELBOExplorer(mean=0.0, std=1.0).numbers()
    fall = {key: best[key] - prior[key] for key in best}
    for text, values in (
        (explorer.question, (f"{best['elbo']:.2f}", f"{prior['elbo']:.2f}", f"{fall['elbo']:.1f} nats")),
        (explorer.choices[1][1], (f"{fall['reconstruction']:.1f}", f"{best['price']:.1f}")),
        (explorer.choices[2][1], (f"{best['price']:.1f} nats to 0",)),
        (explorer.choices[3][1], (f"{best['gap']:.2f} to {prior['gap']:.2f}",)),
    ):
        assert all(value.replace("-", "−") in text for value in values), (text, values)
    assert (prior["price"], fall["log_p"]) == pytest.approx((0, 0), abs=1e-9)
    assert fall["gap"] == pytest.approx(-fall["elbo"], abs=1e-6)


def test_numbers_in_the_page_are_right_over_the_whole_range(explorer):
    """Over a grid of all that can be moved, ends included, against moments and sums over another, longer line."""
    means, stds = np.linspace(-3, 3, 7), np.geomspace(0.02, 2, 7)
    for one in (ELBOExplorer(), next(others())):
        states = [
            {"decoder": decoder, "point": point, "mean": mean, "std": std}
            for decoder in ("straight", "curved")
            for point in range(3)
            for mean in means.tolist()
            for std in stds.tolist()
        ]
        found = explorer.calls("elbo", "numbers", one.state(), states)
        for state, numbers in zip(states, found, strict=True):
            wanted = by_moments(one, **state)
            assert numbers == pytest.approx(wanted, rel=1e-6, abs=1e-5), state


def test_javascript_agrees_with_python(explorer):
    for widget in [*some(6, 0), *list(others())[::4]]:
        found = explorer.call("elbo", "numbers", widget.state())
        assert found == pytest.approx(widget.numbers(), rel=1e-5, abs=1e-5)


def shows(explorer):
    """Whether the page's table shows what Python computes for the values on the page."""
    values = {key: explorer.get(key) for key in ("mean", "std", "decoder", "point")}
    wanted, found = ELBOExplorer(**values).numbers(), explorer.numbers()
    return all(found[label] == pytest.approx(wanted[key], rel=1e-5, abs=1e-5) for key, label in LABELS.items())


def test_keyboard_pointer_and_buttons(explorer):
    page = explorer.open(ELBOExplorer())
    log_p = explorer.numbers()[LABELS["log_p"]]
    page.get_by_role("slider", name="mean of q").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert explorer.get("mean") == pytest.approx(0.7)
    page.get_by_role("slider", name="width of q").press("ArrowLeft")
    assert explorer.get("std") == pytest.approx(0.6, rel=0.02)
    assert explorer.get("std") < 0.6
    assert shows(explorer)

    top, bottom = (page.locator(".vx-picture svg").nth(i).bounding_box() for i in (0, 1))
    page.mouse.move(top["x"] + 0.5 * top["width"], top["y"] + 60)
    page.mouse.down()
    page.mouse.move(top["x"] + 0.8 * top["width"], top["y"] + 60, steps=5)
    page.mouse.up()
    dragged = explorer.get("mean")
    assert 1.5 < dragged < 3
    assert shows(explorer)
    page.mouse.click(bottom["x"] + 0.3 * bottom["width"], bottom["y"] + 50)  # bars are no handle
    assert explorer.get("mean") == dragged

    page.get_by_role("button", name="best q").click()
    assert [explorer.get("mean"), explorer.get("std")] == ELBOExplorer().points["curved"][1]["best"]
    assert shows(explorer)
    page.get_by_role("button", name="the prior", exact=True).click()
    assert [explorer.get("mean"), explorer.get("std")] == [0, 1]
    assert shows(explorer)
    assert explorer.numbers()[LABELS["log_p"]] == log_p  # whatever q did


def test_decoder_and_observation(explorer):
    page = explorer.open(ELBOExplorer())
    observations = page.get_by_role("group", name="data")
    observations.get_by_role("button", name="arm").click()
    assert explorer.get("point") == 2
    assert shows(explorer)
    page.get_by_role("group", name="decoder").get_by_role("button", name="0.5z + 0.2").press("Enter")
    assert explorer.get("decoder") == "straight"
    assert shows(explorer)
    assert observations.get_by_role("button", name="x = 2.4").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="best q").click()
    assert explorer.numbers()[LABELS["gap"]] == pytest.approx(0, abs=1e-6)
    explorer.set(point=0)
    assert observations.get_by_role("button", name="x = 0.2").get_attribute("aria-pressed") == "true"
    assert shows(explorer)


def test_a_drawing_is_quick(explorer):
    page = explorer.open(ELBOExplorer())
    took = page.evaluate(
        """async () => {
          const { explorer } = document.querySelector('[data-explorer]');
          const start = performance.now();
          for (let i = 0; i < 50; i++) {
            explorer.set('mean', -2 + i / 20);
            await null; // it draws once for several values
          }
          return (performance.now() - start) / 50;
        }"""
    )
    assert took < 16
