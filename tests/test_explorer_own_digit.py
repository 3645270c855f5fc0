"""The explorer of one's own digit: the page, MNIST's recipe, the bill, and what a hand does, each by another route."""

import json
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
import traitlets

from vae_tutorial import data, objectives, stored
from vae_tutorial.explorers import OwnDigitExplorer, _drawing, _packed, own_digit

pytestmark = pytest.mark.filterwarnings("ignore::vae_tutorial.data.StandInWarning")
DOUBLE = torch.float64
PAD = ".vx-pad canvas"


@pytest.fixture(scope="module")
def widget():
    return OwnDigitExplorer()


@pytest.fixture(scope="module")
def vae():
    return _packed.vae()


def scrawl(seed):
    """A page with a few thick lines."""
    rng = np.random.RandomState(seed)
    page = np.zeros((56, 56))
    for _ in range(3):
        (a, b), (c, d) = rng.randint(6, 50, (2, 2))
        for t in np.linspace(0, 1, 60):
            y, x = round(a + t * (c - a)), round(b + t * (d - b))
            page[y - 2 : y + 2, x - 2 : x + 3] = 1
    return page


def states(count):
    """States over the whole range of the controls, the first as a page was drawn."""
    rng = np.random.RandomState(1)
    yield {"drawing": _drawing.encode(scrawl(0))}
    for seed in range(1, count):
        yield {
            "drawing": _drawing.encode(scrawl(seed)),
            "turn": float(rng.choice([-90, -35, 0, 12.5, 45, 90])),
            "size": float(rng.choice([0.4, 0.85, 1, 1.6, 2])),
            "right": float(rng.choice([-14, -2.5, 0, 3])),
            "up": float(rng.choice([-1, 0, 0.3, 14])),
            "stroke": int(rng.choice([-3, -1, 0, 1, 3])),
            "centred": bool(rng.choice(2)),
        }


# -- The page as text


def test_a_page_survives_as_text():
    corners = np.zeros((56, 56))
    corners[0, 0] = corners[-1, -1] = 1
    for page in (0 * corners, 1 + 0 * corners, corners, *map(scrawl, range(5)), own_digit.noise()):
        text = _drawing.encode(page)
        assert np.array_equal(_drawing.decode(text), page)
        assert set(text) <= set(_drawing.LETTERS)
    assert max(len(text) for _, text in OwnDigitExplorer().pages) < 400  # the address stays short


@pytest.mark.parametrize("text", ["A", "!", "AAf", "----", "AggggB", "AB CD"])
def test_other_texts_are_refused(text, explorer):
    with pytest.raises(traitlets.TraitError, match="a drawing"):
        OwnDigitExplorer(drawing=text)
    assert explorer.call("own_digit", "decode", text) is None


# -- MNIST's recipe


def by_scipy(page):
    """The recipe by whole numbers of smaller points, and SciPy."""
    rows, columns = scipy.ndimage.find_objects(page.astype(int))[0]
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    height, width = (max(1, math.floor(20 * v / max(tall, wide) + 0.5)) for v in (tall, wide))
    fine = page[rows, columns].repeat(height, 0).repeat(width, 1)
    found = fine.reshape(height, tall, width, wide).mean((1, 3))
    small = np.zeros((84, 84))
    small[28 : 28 + height, 28 : 28 + width] = found
    centre = scipy.ndimage.center_of_mass(small)
    shift = [math.floor(42 - v + 0.5 + 1e-6) for v in centre]  # pixel 14 of the middle third
    shift = [min(max(v, 0), 28 - size) for v, size in zip(shift, (height, width), strict=True)]
    return np.roll(small, shift, (0, 1))[28:56, 28:56]


@pytest.mark.parametrize("seed", range(8))
def test_the_recipe_by_scipy(seed):
    page = scrawl(seed)
    np.testing.assert_allclose(_drawing.centred(page), by_scipy(page), atol=1e-12)
    assert _drawing.centred(page).max() <= 1 + 1e-12


def test_the_recipe_keeps_mnists_images():
    """MNIST's images were made by it: drawn as pages, they come out as they were, and without it much the same."""
    test = data.load("mnist", "test")
    if test.name != "mnist":
        pytest.skip("needs MNIST")
    images = test.images[:200, 0].numpy() / 255
    again = np.stack([_drawing.centred(_drawing.from_image(image)) for image in images])
    apart = np.abs(again - images).mean((1, 2))
    assert np.median(apart) < 0.03
    assert np.abs(np.roll(again, 1, 2) - images).mean() > 2 * apart.mean()  # a pixel to the side is another image
    centres = np.array([scipy.ndimage.center_of_mass(image) for image in images])
    assert np.abs(centres - 14).max() < 0.6  # which is where the recipe says that it lies


def test_wherever_it_was_drawn_it_ends_in_the_middle():
    page = np.zeros((56, 56))
    page[14:34, 30:36] = 1
    middle = _drawing.centred(page)
    for size, right, up in ((1, -5, 3), (2, 3, -5)):  # all still on the page
        other = _drawing.moved(page, size=size, right=right, up=up)
        assert other.sum() == pytest.approx(page.sum() * size**2)
        np.testing.assert_allclose(_drawing.centred(other), middle, atol=1e-12)
    assert not _drawing.centred(0 * page).any()


def test_moves_of_a_page():
    page = scrawl(3)
    assert np.array_equal(_drawing.moved(page), page)
    assert np.array_equal(_drawing.moved(page, turn=90), np.rot90(page))
    assert np.array_equal(_drawing.moved(page, right=2, up=-1)[2:, 4:], page[:-2, :-4])
    disc = np.hypot(*np.mgrid[-2:3, -2:3]) <= 2
    assert np.array_equal(_drawing.moved(page, stroke=2), scipy.ndimage.binary_dilation(page, disc))
    thin = scipy.ndimage.binary_erosion(page, disc, border_value=1)
    assert np.array_equal(_drawing.moved(page, stroke=-2), thin)
    pixels = page.reshape(28, 2, 28, 2).mean((1, 3))
    np.testing.assert_allclose(_drawing.grey(page), pixels, atol=1e-12)


# -- The bill


def test_the_bill_is_minus_the_elbo(vae):
    """By many draws, and by a finer quadrature."""
    x = data.test_binarization()[:40].double()
    with torch.no_grad():
        found = own_digit.bills(vae, x)
        draws = objectives.elbo(vae, x, samples=400, generator=torch.Generator().manual_seed(0))
    assert (found.sum(1).mean() + draws.elbo.mean()).abs() < 0.15
    torch.testing.assert_close(found[:, 1], draws.kl, rtol=1e-9, atol=1e-9)
    at, weight = np.polynomial.hermite.hermgauss(25)  # for exp(-t^2): another convention
    nodes = torch.from_numpy(math.sqrt(2) * np.stack(np.meshgrid(at, at), -1).reshape(-1, 1, 2))
    with torch.no_grad():
        mu, logvar = vae.encode(x)
        logits = vae.decode(mu + (logvar / 2).exp() * nodes)
    cost = -torch.distributions.Bernoulli(logits=logits).log_prob(x).flatten(2).sum(2)
    fine = torch.from_numpy(np.outer(weight, weight).ravel() / math.pi) @ cost
    assert (found[:, 0] - fine).abs().mean() < 0.05
    assert (found[:, 0] - fine).abs().max() < 0.8


def test_coins_are_thrown_as_the_course_does():
    grey = np.full((28, 28), 0.3)
    assert own_digit.thrown(grey).mean().item() == pytest.approx(0.3, abs=0.05)
    assert not own_digit.thrown(0 * grey).any()
    assert own_digit.thrown(0 * grey + 1).all()


def test_what_the_replies_say(widget):
    """And the mean of the test digits: the card of the whole network says 136.7."""
    measured = stored.load("own_digit").values
    pages = dict(widget.pages)
    replies = dict(widget.choices)
    bill = {name: OwnDigitExplorer(drawing=pages[name]).numbers()["bill"] for name in ("blank page", "bar", "8")}
    assert f"{bill['blank page']:.0f} nats" in replies["A blank page"]
    assert f"{bill['bar']:.0f} nats" in replies["A single upright bar"]
    assert f"{bill['8']:.0f} nats" in replies["An 8 from the test set"]
    assert bill["8"] == pytest.approx(measured["classes"][8], abs=0.5)
    cheaper = measured["cheaper"]
    assert round(100 * cheaper["blank"]["ones"]) == 90
    assert cheaper["bar"]["others"] == 0 < cheaper["bar"]["ones"]
    assert round(cheaper["bar"]["ones"] * 1135) == 8  # of the 1,135 ones among the 10,000 test digits
    assert "eight" in replies["A single upright bar"]
    assert OwnDigitExplorer(drawing=pages["bar"]).numbers()["cheaper"] == 8
    both = cheaper["blank"]["ones"] * 1135 + cheaper["blank"]["others"] * 8865
    assert OwnDigitExplorer(drawing="").numbers()["cheaper"] == round(both, -2)
    assert [widget._cheaper(measured[end][k]) for end, k in (("least", 99), ("most", 1))] == [99, 9901]
    assert [widget._cheaper(bill) for bill in (0, 1e4)] == [0, 10_000]
    assert measured["average"]["value"] == pytest.approx(136.68, abs=0.3)
    if data.load("mnist", "test").name != "mnist":
        pytest.skip("the rest needs MNIST")
    some = own_digit.bills(_packed.vae(), data.test_binarization()[:500].double()).sum(1)
    inside = (some < measured["percentiles"][50]).double().mean().item()
    assert inside == pytest.approx(0.5, abs=0.08)
    assert some.mean().item() == pytest.approx(measured["average"]["value"], abs=8)


# -- In the page


def test_javascript_agrees_with_python(explorer, widget):
    """Pages, images and numbers, over the whole range of the controls."""
    common = widget.state()
    tries = list(states(24))
    numbers = explorer.calls("own_digit", "numbers", common, tries)
    pages = explorer.page.evaluate(
        """async ([common, states]) => {
          const { moved, centred, encode, decode } = await import('./explorers/own_digit.js');
          return states.map(state => {
            const page = moved({ ...common, ...state });
            return [encode(page), [...centred(page)], encode(decode(state.drawing)) === state.drawing];
          });
        }""",
        json.loads(json.dumps([{k: common[k] for k in ("turn", "size", "right", "up", "stroke")}, tries])),
    )
    for state, found, (text, image, same) in zip(tries, numbers, pages, strict=True):
        one = OwnDigitExplorer(**state)
        page = _drawing.moved(_drawing.decode(one.drawing), one.turn, one.size, one.right, one.up, one.stroke)
        assert same
        assert text == _drawing.encode(page), state
        np.testing.assert_allclose(np.reshape(image, (28, 28)), _drawing.centred(page), atol=1e-12)
        assert found == pytest.approx(one.numbers(), rel=1e-9, abs=1e-6), state


def test_the_encoder_is_pytorchs_on_100_digits(explorer, widget, vae):
    x = data.test_binarization()[:100].double()
    found = torch.tensor(explorer.call("own_digit", "codesOf", widget.state(), x.flatten(1).tolist()), dtype=DOUBLE)
    with torch.no_grad():
        mu, logvar = vae.encode(x)
    torch.testing.assert_close(found, torch.cat([mu, (logvar / 2).exp()], 1), rtol=0, atol=1e-9)


def stroke_by(page, move, spot, path):
    box = page.locator(PAD).bounding_box()
    x, y = box["x"] + spot[0] * box["width"], box["y"] + spot[1] * box["height"]
    move(x, y, *path)


def test_a_pointer_draws(explorer):
    page = explorer.open(OwnDigitExplorer())

    def drag(x, y, across, down):
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + across, y + down, steps=2)
        page.mouse.up()

    stroke_by(page, drag, (0.5, 0.2), (0, 120))
    first = _drawing.decode(explorer.get("drawing"))
    assert 150 < first.sum() < 450  # a line on a page of its own: the 4 is gone
    assert first.any(1).sum() > 25  # without gaps, however seldom the pointer is heard
    wanted = OwnDigitExplorer(drawing=explorer.get("drawing"))
    assert list(explorer.numbers().values()) == pytest.approx(list(wanted.numbers().values()), abs=1e-6)
    stroke_by(page, drag, (0.2, 0.5), (100, 0))
    second = _drawing.decode(explorer.get("drawing"))
    assert (second >= first).all()  # added
    assert second.sum() > first.sum() + 100
    # What was turned is drawn on as it stands.
    explorer.set(turn=90)
    stroke_by(page, drag, (0.1, 0.1), (5, 5))
    third = _drawing.decode(explorer.get("drawing"))
    assert explorer.get("turn") == 0
    assert (third >= _drawing.moved(second, turn=90)).all()
    # The pad shows the page: ink where a point is.
    shown = page.evaluate(
        """() => {
          const canvas = document.querySelector('.vx-pad canvas');
          return [...canvas.getContext('2d').getImageData(0, 0, 56, 56).data].filter((_, i) => i % 4 === 3);
        }"""
    )
    assert np.array_equal(np.reshape(shown, (56, 56)), 255 * third)
    seen = page.evaluate(
        """() => {
          const canvas = document.querySelector('.vx-digit');
          return [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 3);
        }"""
    )
    wanted = OwnDigitExplorer(drawing=explorer.get("drawing")).image()[0, 0].numpy()
    assert np.array_equal(np.reshape(seen, (28, 28)), 255 * wanted)


def test_a_finger_draws_and_does_not_scroll(explorer):
    page = explorer.open(OwnDigitExplorer(), width=390)
    page.add_style_tag(content="body { padding: 100px 0 900px }")
    page.evaluate("scrollTo(0, 120)")
    first, top = explorer.get("drawing"), page.evaluate("scrollY")
    stroke_by(page, explorer.finger, (0.5, 0.3), (1, 18))
    assert page.evaluate("scrollY") == top
    drawn = explorer.get("drawing")
    assert drawn != first
    rows = _drawing.decode(drawn).any(1)
    assert rows.sum() > 15  # all of the way
    box = page.locator(PAD).bounding_box()
    explorer.finger(box["x"] + 50, box["y"] + 50, 10, 5, end="touchCancel")
    assert explorer.get("drawing") == drawn  # what the browser takes back was no line


def test_keyboard_alone(explorer):
    page = explorer.open(OwnDigitExplorer())
    pad = page.get_by_role("application")
    pad.focus()
    for key in ("ArrowRight", "Shift+ArrowUp", "ArrowDown", "+", "+", "-"):
        page.keyboard.press(key)
    assert [explorer.get(key) for key in ("right", "up", "stroke")] == [1, 3, 1]
    assert pad.evaluate("e => e === document.activeElement")
    assert "a test 4, moved" in pad.get_attribute("aria-label")
    page.get_by_role("button", name="blank page", exact=True).press("Enter")
    assert [explorer.get(key) for key in ("drawing", "right", "up", "stroke")] == ["", 0, 0, 0]
    wanted = OwnDigitExplorer(drawing="").numbers()
    assert list(explorer.numbers().values()) == pytest.approx(list(wanted.values()), abs=1e-6)
    page.get_by_role("button", name="7", exact=True).press("Enter")
    assert page.get_by_role("img", name="average 7").count() == 1  # its class's average in the bill


def test_an_answer_stays_with_the_pages_that_it_is_about(explorer):
    page = explorer.open(OwnDigitExplorer())
    reply, begin = page.get_by_role("status"), page.get_by_role("group", name="begin with")
    page.get_by_role("button", name="An 8").click()
    for name in ("8", "blank page", "bar"):
        begin.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(350)
    assert reply.inner_text().startswith("No: 163 nats")
    for name, there in (("3", False), ("bar", True)):
        begin.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(350)
        assert bool(reply.inner_text()) == there
        assert (page.locator(".vx-numbers.vx-done").count() == 1) == there
    explorer.set(turn=5)
    page.wait_for_function("() => !document.querySelector('.vx-reply').textContent", timeout=200)  # at once


@pytest.mark.parametrize("width", [360, 760])
def test_the_plane_has_a_scale(explorer, width):
    page = explorer.open(OwnDigitExplorer(), width)
    marks = page.locator(".vx-plane .vx-tick").all_text_contents()
    assert [marks.count(v) for v in ("−2", "0", "2")] == [2, 2, 2]


def test_what_centring_is_worth(explorer):
    """A 1 of the test set, shifted by six pixels: the recipe brings it back."""
    one = dict(OwnDigitExplorer().pages)["1"]
    here, away = OwnDigitExplorer(drawing=one).numbers(), OwnDigitExplorer(drawing=one, right=6).numbers()
    assert away["bill"] == pytest.approx(here["bill"], abs=1e-9)
    assert away["saved"] > 100
    page = explorer.open(OwnDigitExplorer(drawing=one, right=6))
    page.get_by_role("button", name="as drawn", exact=True).click()
    assert explorer.get("centred") is False
    assert explorer.numbers()["bill: their sum, −ELBO, nats"] == pytest.approx(here["bill"] + away["saved"], abs=1e-6)
