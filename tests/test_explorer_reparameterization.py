"""The reparameterization explorer: its numbers are Python's, and it follows pointer, keyboard, prediction, buttons."""

import math

import numpy as np
import pytest
import torch
import traitlets
from scipy.stats import norm

from vae_tutorial import objectives
from vae_tutorial.explorers import ReparameterizationExplorer


def exact_variances(mu, sigma):
    """Of one draw of each estimate for f(z) = z^2, in closed form: chapter 6 at D = 1."""
    return mu**4 / sigma**2 + 14 * mu**2 + 15 * sigma**2, 4 * sigma**2


def test_the_noise_is_normal_and_always_the_same():
    from scipy.stats import kstest

    noise = ReparameterizationExplorer().noise
    assert noise == ReparameterizationExplorer(mu=0.0).noise
    assert len(noise) == 200
    assert list(noise[:3]) == [0.1257, -0.1321, 0.6404]
    assert all(round(e, 4) == e for e in noise)
    assert kstest(noise, "norm").pvalue > 0.05


def test_noise_of_ones_own():
    mine = torch.linspace(-3, 3, 200, dtype=torch.float64)
    assert ReparameterizationExplorer(noise=mine, samples=200).numbers()["path_mean"] == pytest.approx(2)
    for noise, message in (([0.1] * 200, "first two"), ([1, 2], "200 numbers"), ([math.nan] * 200, "all finite")):
        with pytest.raises(traitlets.TraitError, match=message):
            ReparameterizationExplorer(noise=noise)


def test_estimates_are_the_packages():
    # The package draws its own noise: give the explorer that noise.
    mu, logvar = torch.tensor([0.7], dtype=torch.float64), torch.tensor([-0.9], dtype=torch.float64)
    generator = torch.Generator()
    eps = torch.randn(200, 1, generator=generator.manual_seed(0), dtype=torch.float64)
    widget = ReparameterizationExplorer(mu=0.7, sigma=math.exp(-0.45), samples=200)
    widget.noise = eps[:, 0].tolist()
    package = objectives.score_function_gradient, objectives.pathwise_gradient
    for ours, estimate in zip(widget.estimates(), package, strict=True):
        grad_mu, _ = estimate(lambda z: z[..., 0] ** 2, mu, logvar, 200, generator=generator.manual_seed(0))
        assert torch.allclose(ours, grad_mu[:, 0], rtol=1e-9)
    assert widget.numbers()["truth"] == pytest.approx(1.4, abs=1e-9)


def test_spreads_are_near_their_exact_values():
    for mu, sigma in ((1.0, 0.5), (1.0, 0.1), (-2.0, 1.5), (0.0, 1.0)):
        widget = ReparameterizationExplorer(mu=mu, sigma=sigma, samples=200)
        numbers, exact = widget.numbers(), exact_variances(mu, sigma)
        assert numbers["score_std"] == pytest.approx(exact[0] ** 0.5, rel=0.35)
        assert numbers["path_std"] == pytest.approx(exact[1] ** 0.5, rel=0.1)
        for key, variance in zip(("score", "path"), exact, strict=True):
            assert abs(numbers[f"{key}_mean"] - 2 * mu) < 4 * (variance / 200) ** 0.5


def test_the_reply_is_true():
    wide, narrow = (ReparameterizationExplorer(sigma=sigma).numbers() for sigma in (0.5, 0.1))
    assert narrow["path_std"] < wide["path_std"]
    assert narrow["score_std"] > wide["score_std"]
    assert exact_variances(1.0, 0.1)[0] > exact_variances(1.0, 0.5)[0]


def by_differences(noise, mu, sigma, samples):
    """The rows by another route: a slope of each draw's z squared, and of its log-density, as difference quotients."""
    eps, h = np.array(noise[:samples]), 1e-4
    z = mu + sigma * eps
    path = ((z + h) ** 2 - (z - h) ** 2) / (2 * h)
    score = z**2 * (norm.logpdf(z, mu + h, sigma) - norm.logpdf(z, mu - h, sigma)) / (2 * h)
    found = {"truth": ((mu + h) ** 2 - (mu - h) ** 2) / (2 * h), "ratio": score.var(ddof=1) / path.var(ddof=1)}
    for key, values in (("score", score), ("path", path)):
        found |= {f"{key}_mean": values.mean(), f"{key}_std": values.std(ddof=1)}
    return found


def test_numbers_in_the_page_are_right_over_the_whole_range(explorer):
    one = ReparameterizationExplorer()
    states = [
        {"mu": mu, "sigma": sigma, "samples": samples}
        for mu in np.linspace(-2, 2, 9).tolist()
        for sigma in np.geomspace(0.1, 1.5, 7).tolist()
        for samples in (2, 3, 50, 199, 200)
    ]
    reaches = explorer.calls("reparameterization", "reach", {}, states)
    found = explorer.calls("reparameterization", "numbers", one.state(), states)
    for state, reach, numbers in zip(states, reaches, found, strict=True):
        assert numbers == pytest.approx(by_differences(one.noise, **state), rel=1e-5, abs=1e-5), state
        # The lower picture has room for the truth and three standard deviations, and holds while sigma moves.
        assert reach >= 2 * abs(state["mu"]) + 3 * exact_variances(state["mu"], state["sigma"])[0] ** 0.5
        assert reach == next(r for s, r in zip(states, reaches, strict=True) if s["mu"] == state["mu"])


def test_javascript_agrees_with_python(explorer):
    for values in ({}, {"mu": -2, "sigma": 0.1, "samples": 2}, {"mu": 2, "sigma": 1.5, "samples": 200}):
        widget = ReparameterizationExplorer(**values)
        found = explorer.call("reparameterization", "numbers", widget.state())
        assert found == pytest.approx(widget.numbers(), rel=1e-5, abs=1e-5)


def table_is_pythons(explorer):
    values = {key: explorer.get(key) for key in ("mu", "sigma", "samples")}
    wanted = ReparameterizationExplorer(**values).numbers()
    assert list(explorer.numbers().values()) == pytest.approx(list(wanted.values()), rel=1e-5, abs=1e-5)


def test_keyboard_and_buttons(explorer):
    page = explorer.open(ReparameterizationExplorer())
    table_is_pythons(explorer)
    page.get_by_role("slider", name="μ, mean of q").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    assert explorer.get("mu") == pytest.approx(0.5)
    page.get_by_role("slider", name="σ, width of q").press("Home")
    assert explorer.get("sigma") == pytest.approx(0.1)
    draws = page.get_by_role("slider", name="draws")
    draws.press("ArrowRight")
    assert explorer.get("samples") == 51
    table_is_pythons(explorer)
    draws.press("End")
    assert explorer.get("samples") == 200
    assert "pathwise" in draws.get_attribute("aria-valuetext")
    table_is_pythons(explorer)
    page.get_by_role("button", name="z = ε").click()
    assert [explorer.get("mu"), explorer.get("sigma")] == [0, 1]
    table_is_pythons(explorer)
    page.get_by_role("button", name="reset").click()
    assert [explorer.get("mu"), explorer.get("sigma"), explorer.get("samples")] == [1, 0.5, 50]
    table_is_pythons(explorer)


def test_pointer_moves_mu(explorer):
    page = explorer.open(ReparameterizationExplorer())
    upper, lower = (page.locator(".vx-picture svg").nth(k).bounding_box() for k in (0, 1))

    def at(value):
        return upper["x"] + 14 + (value + 6) / 12 * (upper["width"] - 28)

    page.mouse.move(at(1.0), upper["y"] + 128)
    page.mouse.down()
    page.mouse.move(at(-1.5), upper["y"] + 150, steps=5)
    assert explorer.get("mu") == pytest.approx(-1.5, abs=0.02)
    page.mouse.move(at(-5), upper["y"] + 150)
    page.mouse.up()
    assert explorer.get("mu") == -2  # no further than its bound
    table_is_pythons(explorer)
    page.mouse.move(at(0), upper["y"] + 150)  # lifted: no longer followed
    page.mouse.click(at(0), lower["y"] + 100)  # the lower picture does not move
    assert explorer.get("mu") == -2
