"""The trade-off explorer: its numbers are the models', its pictures are theirs pixel by pixel, and it can be driven."""

import base64
import io

import pytest
import torch
import traitlets
from PIL import Image

from vae_tutorial import data, evaluation, explorers, objectives, pretrained
from vae_tutorial.explorers.trade_off import BETAS, DIGITS, TradeOffExplorer

# Where MNIST is missing, the explorer draws the stand-in and says so.
pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")


@pytest.fixture(scope="module")
def widget():
    return TradeOffExplorer()


def inks(images, number):
    return list(images[784 * number : 784 * (number + 1)])


def canvases(page):
    """The page's canvases as amounts of ink. PNG is exact; reading pixels back in the page would make it warn."""
    urls = page.locator(".vx-picture canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).getchannel("A") for url in urls]


def digit(canvas, column, line):
    return list(canvas.crop((29 * column, 29 * line, 29 * column + 28, 29 * line + 28)).tobytes())


def test_numbers_are_the_models(widget):
    test = data.test_binarization("mnist")[:1000]
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("the cards are of MNIST, which is not here")
    for beta in (0.1, 1.0, 20.0):
        model = pretrained.load(f"beta-{beta:g}")
        numbers = TradeOffExplorer(beta=beta).numbers()
        with torch.no_grad():
            found = objectives.elbo(model, test, beta=beta, samples=3, generator=torch.Generator().manual_seed(1))
        for key, values in (
            ("objective", found.elbo),
            ("distortion", -found.reconstruction),
            ("rate", found.kl),
            ("elbo", found.reconstruction - found.kl),
        ):
            measured = evaluation.mean(values)
            assert numbers[key] == pytest.approx(measured.value, abs=5 * measured.stderr + 0.05), (beta, key)


def test_the_prediction_holds():
    """What the replies say, and what the picture is to show, of the shipped models."""
    cards = {beta: pretrained.card(f"beta-{beta:g}") for beta in BETAS}
    rates, distortions = ([getattr(card, part).value for card in cards.values()] for part in ("rate", "distortion"))
    assert rates == sorted(rates, reverse=True)
    assert distortions == sorted(distortions)
    assert max(BETAS, key=lambda beta: cards[beta].elbo.value) == 1
    # The ELBO gets worse by far more than its error, although the reconstructions improve.
    one, tenth = cards[1.0], cards[0.1]
    assert one.distortion.value - tenth.distortion.value > 3 * (one.distortion.stderr + tenth.distortion.stderr)
    assert one.elbo.value - tenth.elbo.value > 5 * (one.elbo.stderr + tenth.elbo.stderr)
    yes = next(reply for _, reply in TradeOffExplorer().choices if reply.startswith("Yes"))
    assert f"by {one.elbo.value - tenth.elbo.value:.0f} nats" in yes


def test_images_are_the_models(widget):
    assert (len(widget.images), len(widget.originals)) == (10 * 20 * 784, 10 * 784)
    test = data.load("mnist", "test")
    if test.name != "mnist":
        assert "scikit-learn" in widget.note
        return
    assert widget.note == ""
    assert test.labels[DIGITS].tolist() == list(range(10))
    x = data.test_binarization("mnist")[DIGITS]
    images = torch.frombuffer(bytearray(widget.images), dtype=torch.uint8).view(10, 20, 784).float() / 255
    assert set(widget.originals) == {0, 255}
    for beta, drawn in zip(BETAS, images, strict=True):
        model, off = pretrained.load(f"beta-{beta:g}"), x.flatten(1)
        # The mean picture of many draws of z is near the one drawn, against those of the other nine digits.
        with torch.no_grad():
            mean = torch.sigmoid(model(x, 100, torch.Generator().manual_seed(0))[0]).mean(0).flatten(1)
        assert (mean - drawn[:10]).square().sum(1).mean() < 0.6 * (off - drawn[:10]).square().sum(1).mean()
    # From the ends of the sweep: at beta 20 pictures differ less from each other than at beta 0.1.
    spread = images[:, :10].var(1).sum(-1)
    assert spread[-1] < 0.6 * spread[0]


def test_only_the_ten(widget):
    with pytest.raises(traitlets.TraitError, match=r"one of 0\.1, 0\.2, .* 20: these were trained; got 4"):
        TradeOffExplorer(beta=4)
    with pytest.raises(traitlets.TraitError, match=r"got 0\.3"):
        widget.beta = 0.3
    assert widget.beta == 1
    assert TradeOffExplorer(beta=torch.tensor(0.1)).beta == 0.1  # in float32 it is another number
    with pytest.raises(traitlets.TraitError, match="read-only"):
        widget.rates = [1.0]
    assert widget.betas == BETAS == [pretrained.recipe(f"beta-{beta:g}")["beta"] for beta in BETAS]


def test_javascript_agrees_with_python(explorer):
    for beta in BETAS:
        one = TradeOffExplorer(beta=beta)
        state = {key: value for key, value in one.state().items() if key not in ("images", "originals")}
        assert explorer.call("trade_off", "numbers", state) == pytest.approx(one.numbers(), rel=1e-5, abs=1e-5)


def test_stand_in(monkeypatch):
    load, binarization = data.load, data.test_binarization
    monkeypatch.setattr(data, "load", lambda name, *rest, **named: load("digits", *rest, **named))
    monkeypatch.setattr(data, "test_binarization", lambda name, **named: binarization("digits", **named))
    one = TradeOffExplorer()
    assert one.note in one.picture()
    assert "never seen" in one.note


def test_keyboard_moves_and_only_what_changed_is_painted(explorer, widget):
    page = explorer.open(widget)
    page.evaluate("document.querySelectorAll('.vx-picture canvas').forEach(c => c.kept = true)")
    slider = page.get_by_role("slider", name="β")
    slider.focus()
    for number, key in ((4, "ArrowRight"), (9, "End"), (0, "Home"), (1, "ArrowRight")):
        page.keyboard.press(key)
        assert explorer.get("beta") == BETAS[number]
        assert slider.get_attribute("aria-valuetext").startswith(f"{BETAS[number]:g}, rate ")
        wanted = TradeOffExplorer(beta=BETAS[number]).numbers()
        assert list(explorer.numbers().values()) == pytest.approx(
            [wanted[key] for key, *_ in widget.rows], rel=1e-5, abs=1e-5
        )
        pairs, samples = canvases(page)
        for k in range(10):  # to the grey level
            assert digit(pairs, k, 0) == inks(widget.originals, k)
            assert digit(pairs, k, 1) == inks(widget.images, 20 * number + k)
            assert digit(samples, k, 0) == inks(widget.images, 20 * number + 10 + k)
        for canvas in page.locator(".vx-picture canvas").all():
            assert f"beta {BETAS[number]:g}, as probabilities" in canvas.get_attribute("aria-label")
            assert canvas.evaluate("c => c.kept")  # the same canvas: repainted, not made anew
        asleep = sum(kl < 0.01 for kl in widget.unit_kls[number])
        assert page.locator(".vx-units").get_by_text("×").count() == asleep
        assert page.locator(".vx-bar").count() == 10 - asleep
    assert all(len(svg.get_attribute("aria-label")) > 40 for svg in page.locator(".vx-picture svg").all())


def test_pointer_takes_the_nearest(explorer, widget):
    page = explorer.open(widget)
    plane = page.locator(".vx-picture svg").first
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    dots = plane.locator(".vx-dot").evaluate_all("all => all.map(c => [+c.getAttribute('cx'), +c.getAttribute('cy')])")
    assert len(dots) == 10
    page.mouse.move(box["x"] + dots[7][0] + 3, box["y"] + dots[7][1] - 2)
    page.mouse.down()
    assert explorer.get("beta") == 7
    page.mouse.move(box["x"] + dots[0][0] - 2, box["y"] + dots[0][1] + 3, steps=5)
    page.mouse.up()
    assert explorer.get("beta") == 0.1
    page.mouse.move(box["x"] + dots[9][0], box["y"] + dots[9][1])  # lifted: no longer followed
    assert explorer.get("beta") == 0.1
    page.locator("canvas").first.click()  # no part of the plane
    assert explorer.get("beta") == 0.1


def test_redraws_fast(explorer, widget):
    page = explorer.open(widget)
    milliseconds = page.evaluate(
        """async () => {
          const { explorer } = document.querySelector('[data-explorer]');
          const times = [];
          for (const beta of explorer.get('betas')) {
            const start = performance.now();
            explorer.set('beta', beta);
            await null; // it draws once for several values
            document.body.getBoundingClientRect();
            times.push(performance.now() - start);
          }
          return Math.min(...times); // of a busy machine: the rest is waiting for others
        }"""
    )
    assert milliseconds < 16


def test_its_state_is_small(widget):
    assert explorers.TradeOffExplorer is TradeOffExplorer
    assert len(widget._repr_mimebundle_()[0]["text/html"]) < 260_000
