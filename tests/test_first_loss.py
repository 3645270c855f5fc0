"""Is my loss right? What is said of right first losses and of known wrong ones, in Python and in the page."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import serve, watched_page

from vae_tutorial import data, exercises, ledger, likelihoods, models
from vae_tutorial.exercises.losses import first_loss, judge

ROOT = Path(__file__).resolve().parents[1]
RULES = json.loads((ROOT / "vae_tutorial" / "exercises" / "first_loss.json").read_text("utf-8"))
DIGIT, COLOUR = (1, 28, 28), (3, 64, 64)
NAMES = [*RULES["likelihoods"], *RULES["same"]]

KNOWN = {  # for each set-up: a first loss and the verdict on it
    (DIGIT, "bce"): [
        *((550, "right"), (543.5, "right"), (0.70, "mean_pixels"), (70_400, "batch_summed"), (4.3, "divided_twice")),
        *((0.82, "mean_pixels_sum_kl"), (793, "bits"), (1.01, "bits_per_pixel"), (-550, "sign"), (0, "zero")),
        *((-0.0, "zero"), (math.nan, "nan"), (math.inf, "infinite"), (-math.inf, "infinite"), (1e6, "bytes")),
        *((713, "sigmoid_twice"), (39_000, "saturated"), (4347, "levels"), (600, "right"), (5000, "higher")),
        *((-0.70, "sign and mean_pixels"), (-70_400, "sign and batch_summed"), (89.5, "mean_pixels and batch_summed")),
        *((307, "later_shared"), (206, "later_independent"), (167, "later_mixture_10"), (137, "later_mixture_100")),
        *((102, "later_mlp_vae"), (250, "later"), (45, "impossible"), (20, "impossible")),
        *((0.262, "mean_pixels and later_independent"), (0.26, "mean_pixels and later_independent")),
        *((0.5, "mean_pixels and later"), (0.39, "mean_pixels and later_shared"), (0.65, "mean_pixels")),
        *((0.051, "mean_pixels and impossible"), (0.04, "impossible"), (5.5, "levels and mean_pixels")),
        *((-0.26, "sign and mean_pixels and later_independent"), (-0.3, "sign and mean_pixels and later")),
        (-89.5, "sign"),
    ],
    (COLOUR, "bernoulli"): [
        *(
            (8550, "right"),
            (2850, "channels"),
            (0.70, "mean_pixels"),
            (2.1, "mean_places"),
            (1_094_000, "batch_summed"),
        ),
        *((12_300, "bits"), (66.7, "divided_twice"), (8900, "sigmoid_twice"), (206, "lower"), (-8550, "sign")),
        (1.01, "bits_per_pixel or mean_pixels_sum_kl"),
    ],
    (DIGIT, "gaussian"): [
        *((780, "right"), (30, "no_constant"), (60, "no_constant or whole_squares"), (300, "whole_squares")),
        *((1.02, "mean_pixels"), (99_000, "batch_summed"), (6.5, "divided_twice"), (5160, "levels"), (5e6, "bytes")),
        *((1100, "scaled or bits"), (500, "other_variance"), (0, "zero"), (-780, "sign"), (math.nan, "nan")),
        (0.5, "mean_standardized"),
    ],
    (COLOUR, "mse"): [
        *(
            (3000, "right"),
            (200, "channels"),
            (400, "half or channels"),
            (0.1, "mean_pixels"),
            (0.2, "mean_pixels or mean_places"),
            (8000, "scaled"),
            (12_000, "scaled or constant"),
            (300_000, "batch_summed"),
        ),
        *((1e8, "bytes"), (-3000, "sign"), (0, "zero"), (12.0, "divided_twice"), (3, "scaled and mean_places")),
        (1.0, "mean_standardized or mean_places"),
    ],
    (DIGIT, "mse"): [
        *((1.0, "mean_standardized or divided_twice"), (0.97, "mean_standardized or divided_twice"), (200, "right")),
        *((784, "scaled or constant"), (-1.0, "sign and mean_standardized"), (0.1, "mean_pixels")),
    ],
    (DIGIT, "continuous_bernoulli"): [
        *((0, "right"), (-3, "right"), (50, "right"), (-50, "right"), (543.4, "constant_missing"), (4347, "levels")),
        *((0.69, "constant_missing and mean_pixels"), (0.7, "constant_missing and mean_pixels"), (-0.69, "right")),
        *((900, "batch_summed"), (-900, "batch_summed"), (math.nan, "nan")),
    ],
    (DIGIT, "discretized_logistic"): [
        *((1480, "right"), (3000, "right"), (1.9, "mean_pixels"), (190_000, "batch_summed"), (6500, "bits")),
        *((1090, "density"), (-1480, "sign"), (0, "zero"), (5e7, "bytes")),
    ],
    (DIGIT, "cross_entropy"): [
        *(
            (4347, "right"),
            (5.55, "mean_pixels"),
            (5.5, "mean_pixels"),
            (5.6, "mean_pixels"),
            (8.0, "bits_per_pixel"),
            (543.4, "binary"),
            (6272, "bits"),
        ),
        *((5.54, "mean_pixels"), (556_400, "batch_summed"), (34, "divided_twice"), (-4347, "sign")),
    ],
}
PAIRS = [(shape, name, loss, verdict) for (shape, name), rows in KNOWN.items() for loss, verdict in rows]


@pytest.mark.parametrize(("shape", "name", "loss", "verdict"), PAIRS)
def test_what_is_known_is_named(shape, name, loss, verdict):
    said, message = judge(shape, name, loss)
    assert said == verdict, message
    assert message[0].isupper()
    assert message[-1] in ".?"
    assert not re.search(r"[{}]|undefined|None|nan", message), message
    if " or " in verdict:
        assert "Either: " in message
        assert "Or: " in message


def test_what_must_be_said():
    message = judge(DIGIT, "gaussian", 60)[1]
    assert "constant" in message
    assert "whole squares" in message
    assert "537 to 561" in judge(DIGIT, "bce", 0.7)[1]
    assert "not black and white" in judge(COLOUR, "bce", 8550)[1]
    assert "posterior collapse" in judge(DIGIT, "bce", 206)[1]
    assert "45.5" in judge(DIGIT, "bce", 20)[1]
    assert (
        "density" in judge(DIGIT, "gaussian_shared", -300)[1] or "squares" in judge(DIGIT, "gaussian_shared", -300)[1]
    )


def test_a_mean_over_the_pixels_is_read_before_a_later_loss():
    for loss, nats in ((0.262, "205 nats"), (0.26, "204 nats"), (0.5, "392 nats")):
        message = judge(DIGIT, "bce", loss)[1]
        assert message.startswith(f"It is averaged over the pixels: times 784 that is {nats} an image."), message
        assert "No model" not in message
    assert "the mean image" in judge(DIGIT, "bce", 0.262)[1]


def test_words_are_those_of_the_menu():
    text = json.dumps(RULES, ensure_ascii=False)
    chosen = re.findall(r"Choose (.*?)\.\"", text)
    assert chosen
    assert {*chosen} <= {likelihood["label"] for likelihood in RULES["likelihoods"].values()}
    for name in RULES["same"]:
        assert not re.search(rf"\b{name}\b", text.replace(f'"{name}": "', "")), name


def test_little_is_said():
    sizes = [float(sign * size) for size in np.geomspace(1e-5, 1e15, 300) for sign in (1, -1)]
    shapes = (DIGIT, COLOUR, (3, 32, 32))
    sweep = ((shape, name, loss, 128, 20) for shape in shapes for name in RULES["likelihoods"] for loss in sizes)
    for shape, name, loss, batch, latent in [*inputs(), *sweep]:
        verdict, message = judge(shape, name, loss, batch_size=batch, latent_dim=latent)
        assert len(message.split()) <= 60, (verdict, message)
        assert verdict.count(" or ") <= 1, verdict
        double = RULES["words"]["both"]
        assert message.count(double) <= 1, message
        assert not (double in message and " or " in verdict), "a double beside another cause"


@pytest.mark.parametrize("batch", [16, 64, 100, 256])
def test_the_batch_that_was_given_is_the_one_that_is_meant(batch):
    assert judge(DIGIT, "bce", 550 * batch, batch_size=batch)[0] == "batch_summed"
    assert f"batch of {batch}" in judge(DIGIT, "bce", 550 * batch, batch_size=batch)[1]
    assert judge(DIGIT, "bce", 550, batch_size=1)[0] == "right"


def test_the_ledger_is_where_the_landmarks_are():
    marks = RULES["landmarks"]
    nats = {row.key: row.nats for row in ledger.rows()}
    for row in marks["rows"]:
        assert row["range"][0] < nats[row["key"]] < row["range"][1]
        assert f"{nats[row['key']]:.0f}" in row["says"]
    assert f"{ledger.floor().nats:.1f}" == str(marks["floor"])


def test_boundaries():
    low, high = 0.685 * 784 + 0.01, 0.715 * 784 + 0.21  # 20 latent dimensions cost 0.01 to 0.21 nats
    assert judge(DIGIT, "bce", low + 1e-9)[1].startswith("Right. ")
    assert judge(DIGIT, "bce", high - 1e-9)[1].startswith("Right. ")
    assert judge(DIGIT, "bce", low - 1e-3)[1].startswith("Right for a convolution")
    assert judge(DIGIT, "bce", high + 1e-3)[1].startswith("Right for a convolution")
    assert judge(COLOUR, "bce", 0.715 * 12_288 + 1)[0] == "sigmoid_twice"
    for verdict in (judge(DIGIT, "bce", tiny)[0] for tiny in (5e-324, 1e-9)):
        assert verdict == "impossible"
    assert judge(DIGIT, "bce", 1e300)[0] == "bytes"
    assert judge(DIGIT, "bce", 10**400)[0] == "infinite"
    assert judge(DIGIT, "cross_entropy", 1e300)[0] == "higher"


def images(name, seed):
    draw = torch.Generator().manual_seed(seed)
    if name == "colour":
        return torch.randint(256, (128, 3, 32, 32), generator=draw) / 255
    found = data.load(name, "test")
    if found.name != name:
        pytest.skip(f"{name} is not here")
    return found.images[torch.randperm(len(found), generator=draw)[:128]] / 255


@pytest.mark.parametrize("likelihood", likelihoods.NAMES)
@pytest.mark.parametrize("name", ["mnist", "fashion", "colour"])
@pytest.mark.parametrize("network", [models.MLPVAE, models.ConvVAE])
@torch.no_grad()
def test_networks_that_know_nothing_are_right(likelihood, name, network):
    for seed in range(10):
        torch.manual_seed(seed)
        x = images(name, 1000 + seed)
        shape = tuple(x.shape[1:])
        model = network(likelihood=likelihood, image_shape=shape)
        parameters, mu, logvar = model(x)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        loss = (kl - model.likelihood.log_prob(x, parameters)).mean()
        verdict, message = judge(shape, likelihood, loss)
        assert verdict == "right", (seed, loss.item(), message)
        if likelihood == "bernoulli":
            for factor, said in ((len(x), "batch_summed"), (1 / len(x), "divided_twice"), (-1, "sign")):
                assert judge(shape, likelihood, factor * loss)[0] == said, (seed, loss.item())


def test_a_sigmoid_too_many_and_bytes_are_seen():
    torch.manual_seed(0)
    x = images("mnist", 0)
    model = models.MLPVAE()
    with torch.no_grad():
        logits = model(x)[0][0]
        twice = torch.nn.functional.binary_cross_entropy_with_logits(torch.sigmoid(logits), x, reduction="sum") / len(x)
        assert judge(DIGIT, "bce", twice)[0] == "sigmoid_twice"
        mu, logvar = model.encoder(x * 255)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()
        assert judge(DIGIT, "bce", kl)[0] in ("bytes", "infinite")


# What is no set-up


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        *(("1,28,28", "'1,28,28'"), (784, "784"), ((784,), "784,"), (None, "None"), ((1, 28, 0), "28, 0")),
        *(((1, 28, 27.5), "27.5"), ((1, -28, 28), "-28"), ((True, 28, 28), "True"), ((math.inf, 1, 1), "inf")),
        *(((128, 1, 28, 28), "without the batch"), ((64, 64, 3), r"\(3, 64, 64\)")),
    ],
)
def test_no_shape(shape, said):
    with pytest.raises(ValueError, match=r"image_shape must .*" + said):
        first_loss(shape, "bce", 550)


def test_no_likelihood():
    for given in ("bernouli", "BCE ", None, 3, likelihoods.Bernoulli()):
        with pytest.raises(ValueError, match=r"likelihood must be one of 'bernoulli', .*'bce'; got "):
            first_loss(DIGIT, given, 550)


def test_no_loss():
    for given in (torch.ones(128), np.ones((2, 2)), torch.ones(0)):
        with pytest.raises(ValueError, match=r"loss must be one number; got shape .*loss\.mean\(\)"):
            first_loss(DIGIT, "bce", given)
    for given in ("550", None, True, 1j, [550.0], object()):
        with pytest.raises(TypeError, match="loss must be one number, such as"):
            first_loss(DIGIT, "bce", given)


@pytest.mark.parametrize("name", ["batch_size", "latent_dim"])
def test_no_size(name):
    for given in (0, -1, 2.5, "128", None, True, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1; got "):
            first_loss(DIGIT, "bce", 550, **{name: given})


def test_numbers_of_every_kind_are_taken(capsys):
    for loss in (550, 550.0, np.float32(550), np.array([550.0]), torch.tensor(550.0), torch.tensor([[550]])):
        assert judge(list(DIGIT), "bce", loss) == judge((28, 28), "bernoulli", 550.0)
    assert exercises.first_loss(torch.Size(DIGIT), "bce", torch.tensor(550.0, requires_grad=True)) is None
    assert capsys.readouterr().out.startswith("Right. An untrained network costs 537 to 561 nats")


@pytest.mark.process
def test_it_needs_neither_torch_nor_numpy():
    code = "import sys; from vae_tutorial import exercises; exercises.first_loss((1, 28, 28), 'bce', 550); "
    code += "sys.exit(str({'torch', 'numpy'} & set(sys.modules)) if {'torch', 'numpy'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


# The page


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):
    """A page with the field of book/loss.md, its script and style, and nothing else; and its address."""
    folder = tmp_path_factory.mktemp("field")
    text = (ROOT / "book" / "loss.md").read_text("utf-8")
    blocks = [
        (ROOT / "book" / block.removeprefix(":file: ").strip()).read_text("utf-8") if block[0] == ":" else block
        for block in re.findall(r"```\{raw\} html\n(.*?)```", text, re.DOTALL)
    ]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>One field</title><link rel="icon" href="data:,">'
    )
    page += (
        '<link rel="stylesheet" href="course.css"><script defer src="first_loss.js"></script><main><h1>One field</h1>'
    )
    (folder / "index.html").write_text(page + "".join(blocks), "utf-8")
    for name in ("first_loss.js", "course.css"):
        (folder / name).write_bytes((ROOT / "book" / "_static" / name).read_bytes())
    (folder / "other.html").write_text(page, "utf-8")
    with serve(folder, "/") as url, watched_page(chromium, url) as (page, wrong, _):
        yield page, url, wrong


@pytest.fixture
def field(site):
    """The page, as somebody finds it who comes for the first time."""
    page, url, wrong = site
    page.goto(url)
    yield page
    assert not wrong, wrong


def inputs():
    """More than 200 set-ups and losses: all that is known, both ends of every range, and random ones."""
    draw = np.random.default_rng(0)
    yield from ((shape, name, loss, 128, 20) for shape, name, loss, _ in PAIRS)
    for _ in range(400):
        shape = [int(size) for size in (draw.choice([1, 3]), *draw.integers(1, 100, 2))]
        loss = float(draw.choice([-1, 1, 1, 1]) * 10 ** draw.uniform(-6, 12))
        yield shape, str(draw.choice(NAMES)), loss, int(draw.choice([1, 16, 128, 1000])), int(draw.integers(1, 64))
    for name in RULES["likelihoods"]:  # near to where something begins or ends
        for loss in draw.uniform(-1, 2, 20) * 784 * draw.choice([1 / 784, 1, 128, 1 / 128], 20):
            yield DIGIT, name, float(loss), 128, 20
    yield from ((DIGIT, "bce", loss, 128, 20) for loss in (1e300, 5e-324, -1e300, 999.5, 0.005, 1e12, 99.95))


def test_python_and_the_page_say_the_same(field):
    given = list(inputs())
    assert len(given) > 600
    strings = [[shape, name, str(loss), *rest] for shape, name, loss, *rest in given]  # JSON has no infinity
    said = field.evaluate(
        """rows => rows.map(([shape, name, loss, B, Z]) => document.querySelector(".first-loss").judge(
          shape, name, Number(loss.replace("inf", "Infinity")), B, Z))""",
        strings,
    )
    for (shape, name, loss, batch, latent), words in zip(given, said, strict=True):
        expected = judge(shape, name, loss, batch_size=batch, latent_dim=latent)
        assert tuple(words) == expected, (shape, name, loss, batch, latent)
    assert len({verdict for verdict, _ in said}) > 40


TYPED = {
    **{"550": "right", " 550.2 ": "right", "5.5e2": "right", "70,400": "batch_summed", "70 400": "batch_summed"},
    **{
        "0,82": "mean_pixels_sum_kl",
        "0,820": "mean_pixels_sum_kl",
        ".7": "mean_pixels",
        "−550": "sign",
        "+550": "right",
    },
    **{"tensor(550.1, grad_fn=<AddBackward0>)": "right", "tensor(nan)": "nan", "nan": "nan", "-inf": "infinite"},
    **{"1e999": "infinite", "-0": "zero", "0": "zero", "abc": "unreadable", "5,5,0": "unreadable", "--5": "unreadable"},
    **{"9" * 10_000: "unreadable", "1" + ",111" * 2500: "unreadable", "<img src=x onerror=alert(1)>": "unreadable"},
    **{
        "550 nats": "right",
        "550nats": "right",
        "0.7 nat": "mean_pixels",
        "784 bits": "unreadable",
        "nats": "unreadable",
    },
    **{
        "550 nats per image": "right",
        "0.262 nats/image": "mean_pixels and later_independent",
        "": "",
        "   ": "",
        "٥٥٠": "unreadable",
        "0x10": "unreadable",
        "$&": "unreadable",
    },
}


def test_what_people_type(field):
    reply, loss = field.get_by_role("status"), field.get_by_label("Your first loss")
    field.get_by_label("Likelihood").select_option("bernoulli")
    for typed, verdict in TYPED.items():
        loss.fill(typed)
        loss.press("Enter")
        assert reply.get_attribute("data-verdict") == verdict, typed[:40]
        assert bool(reply.text_content()) == bool(verdict)
        if verdict:
            assert loss.get_attribute("aria-invalid") == str(verdict == "unreadable").lower()
        assert field.locator(".first-loss img").count() == 0


def test_bits_are_told(field):
    field.get_by_label("Your first loss").fill("784 bits")
    field.get_by_label("Your first loss").press("Enter")
    assert field.get_by_role("status").text_content() == "In nats, please: 784 bits are 543 nats."


def test_it_answers_as_one_types_and_by_keys_alone(field):
    reply = field.get_by_role("status")
    field.get_by_label("Channels").focus()
    for _ in range(3):
        field.keyboard.press("Tab")
    field.keyboard.type("0.7")
    field.wait_for_function("document.querySelector('.first-loss output').dataset.verdict === 'mean_pixels'")
    assert "537 to 561" in reply.text_content()
    field.get_by_label("Likelihood").select_option(label=RULES["likelihoods"]["cross_entropy"]["label"])
    field.wait_for_function("document.querySelector('.first-loss output').dataset.verdict !== 'mean_pixels'")
    assert "4,304 to 4,430" in reply.text_content()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        *(("28x28", "Right"), ("(1, 28, 28)", "Right"), ("[1, 28, 28]", "Right"), ("1 × 28 × 28", "Right")),
        *(
            ("torch.Size([1, 28, 28])", "Right"),
            ("28, 28, 1", "Channels come first: 1, 28, 28."),
            ("784", "Type the shape"),
        ),
        *(
            ("1, 0, 28", "at least 1"),
            ("", "Type the shape"),
            ("1, 28, 28, 1", "Type"),
            ("<b>", "Type"),
            ("9" * 10_000, "Type"),
        ),
    ],
)
def test_shapes_that_people_type(field, shape, said):
    field.get_by_label("Your first loss").fill("550")
    field.get_by_label("Channels").fill(shape)
    field.get_by_label("Channels").press("Enter")
    assert said in field.get_by_role("status").text_content()
    field.get_by_label("Channels").fill("1, 28, 28")
    field.get_by_label("Images in a batch").fill("many")
    field.get_by_label("Images in a batch").press("Enter")
    assert "whole number" in field.get_by_role("status").text_content()


def test_other_pages_and_pages_without_scripts_are_left_alone(field, chromium):
    field.goto(field.url + "other.html")
    assert field.locator("form").count() == 0
    field.go_back()
    still = chromium.new_context(java_script_enabled=False)
    page = still.new_page()
    page.goto(field.url)
    assert not page.locator(".first-loss").is_visible()
    still.close()
