"""The explorer that trains: gradients, steps and numbers against autograd; seeds; a page that stays awake."""

import warnings
from pathlib import Path

import pytest
import torch

from vae_tutorial import data
from vae_tutorial.explorers import TrainExplorer, _trainer

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
BOOK = Path(__file__).parents[1] / "book"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    of_mnist = pytest.mark.skipif(data.load("mnist", "test").name != "mnist", reason="MNIST is not here")
# Tasks that kept the page from answering, in milliseconds, from now on.
TASKS = """() => {
  window.tasks = [];
  new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(e => e.duration)))
    .observe({ entryTypes: ['longtask'] });
}"""


@pytest.fixture(scope="module")
def widget():
    return TrainExplorer()


@pytest.fixture(scope="module")
def common(widget):
    return {key: value for key, value in widget.state().items() if key in ("digits", "train", "test")}


@pytest.mark.parametrize("loss", _trainer.LOSSES)
def test_gradients_and_fifty_steps_are_those_of_pytorch(explorer, widget, common, loss):
    explorer.open(widget)
    settings = {**common, "seed": 3, "beta": 2.0, "loss": loss}
    twin = _trainer.Trainer(3, 2.0, loss).run(1)
    wanted = torch.cat([p.grad.flatten() for p in twin.parameters])
    found = torch.tensor(explorer.call("train_one", "gradient", settings), dtype=torch.float64)
    assert torch.allclose(found, wanted, atol=1e-12)
    assert wanted.abs().max() > 1e-3
    numbers = explorer.call("train_one", "numbers", {**settings, "steps": 50})
    assert numbers == pytest.approx({"steps": 50, **twin.run(50).measured()}, abs=1e-7)


def test_random_numbers_are_uniform_and_normal():
    random = _trainer.Random(1)
    uniform, normal = torch.tensor([random.uniform() for _ in range(20_000)]), random.normals(20_000)
    for power, moment in ((1, 1 / 2), (2, 1 / 3), (3, 1 / 4)):
        assert uniform.pow(power).mean() == pytest.approx(moment, abs=0.01)
    for power, moment, within in ((1, 0, 0.03), (2, 1, 0.05), (4, 3, 0.3)):
        assert normal.pow(power).mean() == pytest.approx(moment, abs=within)
    assert sorted(random.order(50)) == list(range(50))


def test_the_twin_is_a_vae_of_torch():
    """By a network of layers, a loss and draws that are written as everybody writes them."""
    trainer = _trainer.Trainer(seed=1, beta=0.5)
    up = torch.nn.Sequential(torch.nn.Linear(196, 64), torch.nn.Tanh(), torch.nn.Linear(64, 4)).double()
    down = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 196)).double()
    with torch.no_grad():
        for layer, k in ((up[0], 0), (up[2], 2), (down[0], 4), (down[2], 6)):
            layer.weight.copy_(trainer.parameters[k].T)
            layer.bias.copy_(trainer.parameters[k + 1])
    mu, logvar = up(trainer.test).chunk(2, 1)
    q, prior = torch.distributions.Normal(mu, logvar.mul(0.5).exp()), torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, prior).sum(1).mean()
    x = torch.distributions.Bernoulli(logits=down(mu + q.stddev * trainer.noise))
    reconstruction = -x.log_prob(trainer.test).sum(1).mean()
    found = trainer.measured()
    assert found["kl"] == pytest.approx(kl.item())
    assert found["reconstruction"] == pytest.approx(reconstruction.item())
    assert found["loss"] == pytest.approx((reconstruction + 0.5 * kl).item())


@of_mnist
@pytest.mark.parametrize("seed", range(5))
def test_what_reply_and_page_say_holds_for_each_seed(seed):
    """Pixels averaged: nothing is left in z, and a digit costs what independent pixels cost; the right loss: less."""
    independent = _trainer.landmarks()["independent pixels"]
    found = _trainer.Trainer(seed, 1.0, "pixels").run(200).measured()
    assert found["kl"] < 0.05
    assert 48 < found["total"] < 49
    assert found["total"] == pytest.approx(independent, abs=1.0)
    assert 46 < _trainer.Trainer(seed).run(200).measured()["total"] < 47


@of_mnist
def test_the_page_names_the_landmarks_and_shows_the_explorer(widget):
    text = (BOOK / "train.md").read_text("utf-8")
    assert (BOOK / "_static" / "fragments" / "train.html").read_text("utf-8") == widget._page() + "\n"  # make figures
    for nats in _trainer.landmarks().values():
        assert f"{nats:.1f}" in text


def test_it_trains_in_the_page(explorer, widget):
    page = explorer.open(widget)
    page.get_by_role("button", name="grey average").click()
    page.get_by_role("button", name="start").click()
    page.wait_for_function(
        "() => Number(document.querySelectorAll('.vx-numbers td[data-exact]')[3].dataset.exact) < 50", timeout=60_000
    )
    page.get_by_role("button", name="pause").click()
    page.wait_for_timeout(300)
    steps = explorer.get("steps")
    page.wait_for_timeout(300)
    assert explorer.get("steps") == steps  # paused
    page.get_by_role("button", name="one step").click()
    page.wait_for_function("n => document.querySelector('[data-explorer]').explorer.get('steps') === n", arg=steps + 1)
    # What it shows is what the same seed gives in PyTorch.
    twin = _trainer.Trainer().run(steps + 1).measured()
    rows = dict(zip(("steps", "reconstruction", "kl", "total", "loss"), explorer.numbers().values(), strict=True))
    assert rows == pytest.approx({"steps": steps + 1, **twin}, abs=1e-6)
    # Another loss begins anew, and goes on to the answer. The run before is in the legend once there is one.
    earlier = page.get_by_text("the run before")
    assert not earlier.is_visible()
    page.get_by_role("button", name="pixels averaged").click()
    assert explorer.get("steps") == 0
    earlier.wait_for()
    page.get_by_role("button", name="start").click()
    page.wait_for_function("() => document.querySelector('.vx-reply').textContent.startsWith('Yes.')", timeout=60_000)
    assert explorer.numbers()["KL, nats"] < 0.05
    # It is about this loss: while another one trains, it is away.
    page.get_by_role("button", name="right").click()
    page.wait_for_function("() => document.querySelector('.vx-numbers td[data-exact]').dataset.exact > 0")
    assert page.get_by_role("status").inner_text() == ""
    page.get_by_role("button", name="pause").click()


def test_on_a_phone_hand_and_picture_are_in_one_sight(explorer, widget):
    page = explorer.open(widget, 390)
    page.set_viewport_size({"width": 390, "height": 600})  # below the page's header, above the browser's bar
    page.get_by_role("button", name="grey average").click()
    losses = page.get_by_role("group", name="the loss")
    losses.evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY)")
    page.get_by_role("button", name="pixels averaged").click()
    page.get_by_role("button", name="start").click()
    page.wait_for_function("() => document.querySelector('.vx-reply').textContent.startsWith('Yes.')", timeout=60_000)
    held = page.locator(".vx-held").bounding_box()
    for seen in [*page.locator("canvas").all(), losses, *page.get_by_role("slider").all()]:
        box = seen.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 600
        if seen.evaluate("e => e.matches('canvas')"):
            assert box["y"] + box["height"] <= held["y"]
    page.get_by_role("button", name="pause").click()
    page.set_viewport_size({"width": 320, "height": 256})  # a laptop at 400 %: nothing may lie over what one reads
    assert page.locator(".vx-held").evaluate("e => getComputedStyle(e).position") == "static"


@pytest.mark.timed
def test_it_is_quick_and_the_page_stays_awake(explorer, widget):
    """Below 50 nats within ten seconds, and no task of the page itself takes 50 ms but the first ones."""
    page = explorer.open(widget)
    page.evaluate(TASKS)
    page.get_by_role("button", name="start").click()
    page.wait_for_function(
        "() => Number(document.querySelectorAll('.vx-numbers td[data-exact]')[3].dataset.exact) < 50", timeout=10_000
    )
    page.wait_for_timeout(2000)
    assert explorer.get("steps") > 200
    long = sorted(page.evaluate("tasks"))
    assert len(long) <= 2, long  # of some hundred pictures


def test_an_address_trains_to_the_same_numbers(explorer, widget):
    page = explorer.open(widget, address="#explorer-train-one?seed=2&loss=batch&steps=30")
    page.wait_for_function("() => document.querySelector('.vx-numbers td[data-exact]').dataset.exact === '30'")
    assert explorer.numbers()["minus ELBO, nats"] == pytest.approx(
        _trainer.Trainer(2, 1.0, "batch").run(30).measured()["total"], abs=1e-6
    )
    page.get_by_role("button", name="reset").click()
    page.wait_for_function("() => document.querySelector('.vx-numbers td[data-exact]').dataset.exact === '0'")
    assert (explorer.get("seed"), explorer.get("loss")) == (0, "right")


def test_without_workers_it_trains_in_slices(explorer, widget):
    explorer.page.add_init_script("window.Worker = undefined")
    page = explorer.open(widget)
    explorer.set(steps=20)
    page.wait_for_function("() => document.querySelector('.vx-numbers td[data-exact]').dataset.exact === '20'")
    twin = _trainer.Trainer().run(20).measured()
    assert explorer.numbers()["minus ELBO, nats"] == pytest.approx(twin["total"], abs=1e-6)
