"""The check-up: each gauge fires on its fault and is silent on sound VAEs; what it reads of a loss, by other routes."""

import copy
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from checkup_cases.faults import FAULTS, FOLDER, HELD_OUT, SOUND, arguments_of, broken, small_digits, source
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_tutorial import checkup, cli, evaluation, models, pretrained
from vae_tutorial.checkup import examine
from vae_tutorial.checkup.form import CONVENTIONS, form_of
from vae_tutorial.checkup.gauge import CERTAIN, LIKELY, PERHAPS
from vae_tutorial.checkup.halves import halved
from vae_tutorial.checkup.nats import per_image, reference
from vae_tutorial.checkup.reading import read
from vae_tutorial.checkup.spread import spread_of
from vae_tutorial.information import gaussian_kl


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def examined(text, seed=0, steps=0, rate=False, **more):
    arguments = arguments_of(text, seed, steps, small=True)
    if not rate:
        arguments.pop("lr", None)
    return examine(**arguments, seed=seed, **more)


def told(report):
    return [(one.gauge, one.fault.key, one.says) for one in report.found]


# Faults and sound VAEs


@pytest.mark.parametrize("case", [case for case in FAULTS if case.quick], ids=lambda case: case.name)
def test_each_fault_is_found_by_its_gauge(case):
    report = examined(broken(case, small=True), steps=case.steps, rate="learning rate" in case.name)
    assert any(one.fault.key in case.keys and one.gauge in case.gauges for one in report.found), told(report)


# All are trained in benchmarks/checkup.py, at full size.
@pytest.mark.parametrize(
    ("base", "steps"), [(base, 0) for base in SOUND] + [("usual", 150), ("gaussian", 150), ("batch_norm", 30)]
)
def test_nothing_is_found_in_sound_scripts(base, steps):
    report = examined(source(base, small=True), steps=steps)
    assert not report.found, told(report)
    assert not [why for why in report.not_tested.values() if "failed" in why]
    assert {one.fault.key for one in report.notes} <= {"grey_bernoulli"}
    assert base != "drawn" or not report.notes  # it draws black and white itself


def test_a_usual_learning_rate_is_not_too_high():
    report = examined(source("usual", small=True), rate=True)
    assert "learning_rate" in report.silent


@pytest.mark.parametrize("name", ["mlp", "mlp-2d", "conv", "beta-0.1", "beta-20"])
def test_nothing_is_found_in_shipped_models(name):
    model = pretrained.load(name)
    images = model.sample(256, torch.Generator().manual_seed(1))
    report = examine(model, images, beta=float(pretrained.recipe(name)["beta"]))
    assert not report.found, told(report)
    assert set(report.not_tested) == {"floor", "warm_up", "learning_rate"}


@pytest.mark.parametrize(
    "likelihood", ["continuous_bernoulli", "gaussian", "gaussian_per_pixel", "discretized_logistic"]
)
def test_nothing_is_found_with_other_likelihoods(likelihood):
    torch.manual_seed(0)
    model = models.MLPVAE(4, (32,), likelihood, (1, 8, 8))
    report = examine(model, small_digits())
    assert not report.found, told(report)
    assert "unit" in report.silent
    assert "kl" in report.silent


def test_every_fault_that_a_gauge_can_name_is_among_the_cases():
    """So that none of them is a name that nothing reaches; and each has its words."""
    code = "".join(path.read_text("utf-8") for path in Path(checkup.__file__).parent.glob("*.py"))
    named = set(re.findall(r'Finding\(\s*"(\w+)"', code)) | set(re.findall(r'\("(\w+)", [D12\d]', code))
    assert named | {"mean_pixels", "kl_weight"} == set(checkup.faults())
    notes = {key for key, fault in checkup.faults().items() if fault.note}
    assert {key for case in FAULTS for key in case.keys} == set(checkup.faults()) - notes
    assert {gauge for case in FAULTS for gauge in case.gauges} == set(checkup.GAUGES)
    assert len(FAULTS) >= 16


@pytest.mark.parametrize("key", checkup.faults())
def test_every_fault_has_its_words(key):
    fault = checkup.faults()[key]
    for words in (fault.name, fault.see, fault.mend):
        assert words[0].isupper() or words.startswith(
            ("torch", "0.5", "z =", "output", "evaluation", "rsample", "[", "exp")
        )
        assert len(words) < 200
    assert fault.see.endswith((".", "?"))
    assert fault.mend.endswith((".", "?"))
    assert fault.symptom
    assert fault.chapter.isdigit()


def test_notes_are_no_faults():
    report = examined(source("functions", small=True))
    assert [one.fault.key for one in report.notes] == ["grey_bernoulli"]
    assert not report.found
    text = source("usual", small=True).replace("self.fc4 = nn", "self.unused = nn.Linear(3, 3)\n        self.fc4 = nn")
    report = examined(text)
    assert "unreached" in {one.fault.key for one in report.notes}
    assert "unused.weight" in str(report)
    linear = examined(source("usual", small=True).replace("F.relu(self.fc3(z))", "self.fc3(z)"))
    assert not linear.found
    assert "linear_decoder" in {one.fault.key for one in linear.notes}


def test_what_a_training_did_is_not_taken_for_what_a_network_cannot_do():
    """All log-variances above 0: a bias did it, and no ReLU."""
    text = source("usual", small=True) + "with torch.no_grad():\n    model.fc22.bias.fill_(3.0)\n"
    assert examined(text).faults == ()


@pytest.mark.parametrize(
    ("base", "before", "after"),
    [
        ("colour", "return self.decoder(z)", "return self.decoder(z).permute(0, 2, 3, 1)"),
        ("colour", "((x - x_hat)", "((x - x_hat.flip(1).flip(1))"),
        ("colour", "nn.ConvTranspose2d(16, 3, 4, 2, 1)", "nn.ConvTranspose2d(16, 1, 4, 2, 1)"),
        ("usual", "recon_x, x.view(-1, 64)", "recon_x.view(-1, 1, 8, 8), x"),
    ],
)
def test_other_orders_of_the_pixels_are_no_fault(base, before, after):
    """Channels last, and one channel for images that are grey in all three."""
    text = source(base, small=True)
    assert before in text
    text = text.replace(before, after)
    if "permute" in after:
        text = text.replace("((x - x_hat)", "((x - x_hat.permute(0, 3, 1, 2))")
    if "16, 1," in after:
        text += "images = images[:, :1].expand(-1, 3, -1, -1)\n"
    report = examined(text)
    assert report.faults == (), told(report)


def test_a_gradient_that_is_nan_is_not_said_to_be_missing():
    text = source("usual", small=True).replace("return BCE + KLD", "return BCE + KLD + 0 * (mu - mu).norm().sqrt()")
    report = examined(text)
    assert report.faults == ("not_finite",)
    assert "The gradient is NaN or infinite for" in report.found[0].says
    assert "unreached" not in {one.fault.key for one in report.notes}


# What is read of a loss, by other routes


def subject_of(loss, convention="log-variance", images=None, latent=3):
    """A VAE of functions, whose noise has the convention that is asked for."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(64, 2 * latent), nn.Linear(latent, 64)

    def encode(x):
        mu, second = encoder(x.flatten(1)).chunk(2, 1)
        return mu, second.abs() + 0.1 if convention in ("standard deviation", "variance") else second

    def reparameterize(mu, second):
        return mu + CONVENTIONS[convention](second) * torch.randn_like(mu)

    images = torch.rand(64, 1, 8, 8) if images is None else images
    return read(None, images, encode, decoder, loss, reparameterize, None, beta=1.0)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("weight", [1.0, 0.37])
def test_weights_and_conventions_are_read(convention, weight):
    def loss(output, x, mu, second):
        kl = kl_divergence(Normal(mu, CONVENTIONS[convention](second)), Normal(0.0, 1.0)).sum()
        return (-Bernoulli(logits=output, validate_args=False).log_prob(x.flatten(1)).sum() + weight * kl) / len(x)

    subject = subject_of(loss, convention)
    form = form_of(subject)
    assert (form.family, form.convention) == ("logits", convention)
    assert form.ratio == pytest.approx(weight, rel=1e-6)
    assert (form.rec_batch, form.kl_batch, form.kl_latent, form.rec_pixels) == (-1, -1, 0, 0)
    spread = spread_of(subject)
    assert spread.convention == convention
    assert spread.factor == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("rec", "family", "factor"),
    [
        (lambda o, x: F.mse_loss(o, x, reduction="sum"), "squares", 1.0),
        (lambda o, x: F.mse_loss(o, x), "squares", 1 / 8 / 64),
        (lambda o, x: 0.5 * (o - x).square().sum(), "squares", 0.5),
        (lambda o, x: F.l1_loss(o, x, reduction="sum"), "absolute", 1.0),
        (lambda o, x: F.binary_cross_entropy(o.sigmoid(), x, reduction="sum"), "logits", 1.0),
        (lambda o, x: F.binary_cross_entropy(o.clamp(0, 1), x, reduction="sum"), "bce", 1.0),
        (lambda o, x: (o - x).square().sum().sqrt(), None, math.nan),
        (lambda o, x: 32 * (o - x).square().mean().log(), None, math.nan),
    ],
)
def test_families_are_recognized(rec, family, factor):
    def loss(output, x, mu, logvar):
        return rec(output, x.flatten(1)) + gaussian_kl(mu, logvar).sum()

    form = form_of(subject_of(loss))
    assert form.family == family
    assert form.rec == pytest.approx(factor, rel=1e-3, nan_ok=True)
    assert form.kl == pytest.approx(1, rel=1e-6)


def test_a_loss_in_nats_an_image_whatever_it_sums():
    def summed(output, x, mu, logvar):
        rec = F.binary_cross_entropy_with_logits(output, x.flatten(1), reduction="sum")
        return rec + gaussian_kl(mu, logvar).sum()

    for loss, scale in ((summed, 1 / 32), (lambda *four: summed(*four) / len(four[1]), 1.0)):
        assert per_image(form_of(subject_of(loss)), 32) == pytest.approx(scale)


def test_the_bound_and_log_p_are_those_of_the_package():
    model = pretrained.load("mlp-2d")
    x = model.sample(32, torch.Generator().manual_seed(3))
    subject = read(model, x, None, None, None, None, None, beta=1.0)
    torch.manual_seed(0)
    with torch.no_grad():
        costs, log_p = reference(subject, x)
    negative = evaluation.rate_distortion(model, x, samples=20).negative_elbo.value
    exact = evaluation.mean(evaluation.log_marginal_grid(model, x).value).value  # no sampling
    assert costs.mean().item() == pytest.approx(negative, abs=1.0)
    estimate = evaluation.log_marginal(model, x, 64, torch.Generator().manual_seed(1)).summary().value
    assert log_p == pytest.approx(estimate, abs=0.4)
    assert log_p < exact + 0.3  # a lower bound, on average
    assert log_p > -negative


def test_what_was_learned_is_not_examined_on_other_images():
    """Without images digits stand in, which say nothing of codes that were learned from others."""
    arguments = arguments_of(source("usual"), 0)
    report = examine(**arguments, trained=True)
    assert {"units", "mean_image", "aggregate"} <= set(report.not_tested)
    assert "digits stood in" in report.not_tested["units"]
    assert "units" not in examine(**arguments, trained=True, images=torch.rand(64, 1, 28, 28)).not_tested


def test_names_of_arguments_decide_their_order():
    text = source("usual", small=True)
    turned = text.replace("def loss_function(recon_x, x, mu, logvar)", "def loss_function(x, recon_x, logvar, mu)")
    assert turned != text
    assert examined(turned).faults == examined(text).faults == ()
    unknown = (
        text.replace("recon_x", "a")
        .replace("def loss_function(a, x,", "def loss_function(a, b,")
        .replace("x.view(-1, 64), r", "b.view(-1, 64), r")
    )
    assert examined(unknown).faults == ()


def test_a_model_with_its_own_forward_is_examined_as_it_trains():
    """The fault is in forward alone; encode, reparameterize and decode are sound."""
    text = source("usual", small=True).replace(
        "z = self.reparameterize(mu, logvar)", "z = mu + torch.exp(logvar) * 0 + mu * 0"
    )
    assert "no_noise" in examined(text).faults


HEADS = {
    "two layers": (
        "self.hidden, self.mu, self.lv = nn.Linear(64, 32), nn.Linear(32, 3), nn.Linear(32, 3)",
        "h = torch.relu(self.hidden(x.flatten(1))); mu, lv = self.mu(h), self.lv(h)",
    ),
    "one layer, cut in two": (
        "self.code = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 6))",
        "mu, lv = self.code(x).chunk(2, 1)",
    ),
}
ALONE = """
import torch, torch.nn.functional as F
from torch import nn

class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        LAYERS
        self.up, self.out = nn.Linear(3, 32), nn.Linear(32, 64)

    def forward(self, x):
        CODE
        z = mu + torch.exp(0.5 * lv) * torch.randn_like(mu)
        return torch.sigmoid(self.out(F.relu(self.up(z)))), mu, lv

def loss_function(out, x, mu, logvar):
    rec = F.binary_cross_entropy(out, x.flatten(1), reduction="sum")
    return rec - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

model = VAE()
"""


@pytest.mark.parametrize(("layers", "code"), HEADS.values(), ids=HEADS)
def test_a_model_with_forward_alone_is_taken_apart(layers, code):
    text = ALONE.replace("LAYERS", layers).replace("CODE", code)
    assert examined(text).faults == ()
    assert {"noise", "spread", "kl", "gradient", "sees_x"} <= set(examined(text).silent)
    for before, after, fault in (
        ("0.5 * lv", "lv", "spread_mismatch"),
        ("torch.exp(0.5 * lv) *", "0 *", "no_noise"),
        ("- mu.pow(2)", "+ mu.pow(2)", "kl_sign"),
        ("torch.randn_like(mu)", "torch.rand_like(mu)", "not_normal"),
    ):
        assert before in text
        assert fault in examined(text.replace(before, after)).faults

    space = {}
    exec(text, space)
    model, x = space["model"], small_digits()[:5] / 255
    halves = halved(model, x)
    z = torch.randn(5, 3)
    with torch.no_grad():
        assert torch.equal(halves.encode(x)[1], model(x)[2])
        assert torch.equal(halves.decode(z), torch.sigmoid(model.out(torch.relu(model.up(z)))))


class Sampling(nn.Module):
    def forward(self, mu, logvar):
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


class Unusual(nn.Module):
    """Sound, with layers before the decoder whose inputs have the shape of z."""

    def __init__(self, hidden, sampling):
        super().__init__()
        self.hidden, self.mu, self.lv = nn.Linear(64, hidden), nn.Linear(hidden, 3), nn.Linear(hidden, 3)
        self.sampling, self.up, self.out = sampling, nn.Linear(3, 3), nn.Linear(3, 64)
        self.lv_range, self.of_mu = nn.Hardtanh(-6, 6), nn.Linear(3, 10)

    def forward(self, x):
        h = torch.relu(self.hidden(x.flatten(1)))
        mu, lv = self.mu(h), self.lv_range(self.lv(h))
        self.classes = self.of_mu(mu)
        z = self.sampling(mu, lv) if self.sampling else mu + torch.exp(0.5 * lv) * torch.randn_like(mu)
        return torch.sigmoid(self.out(torch.tanh(self.up(z)))), mu, lv


@pytest.mark.parametrize("sampling", [None, Sampling()], ids=["inline", "a module"])
@pytest.mark.parametrize("hidden", [32, 3])
def test_layers_before_the_decoder_are_not_taken_for_it(hidden, sampling):
    space = {}
    exec(ALONE.replace("LAYERS", HEADS["two layers"][0]).replace("CODE", HEADS["two layers"][1]), space)
    torch.manual_seed(0)
    model, images = Unusual(hidden, sampling), small_digits()[:64].float().div(255).round()
    assert examine(model, images, loss=space["loss_function"]).faults == ()
    assert halved(model, images).entry is model.up


# What people's forward returns, with a loss of (output, x, mu, logvar) and with one of what was returned.
RETURNED = {
    "z before mu": ("out, z, mu, lv", "out[0], x, out[2], out[3]"),
    "z last": ("out, mu, lv, z", "out[0], x, out[1], out[2]"),
    "the output last": ("mu, lv, out", "out[2], x, out[0], out[1]"),
    "the images, too": ("[out, x, mu, lv]", "out[0], x, out[2], out[3]"),
    "a dict": (
        "{'z': z, 'mean': mu, 'log_var': lv, 'x_hat': out, 'epoch': 3}",
        "out['x_hat'], x, out['mean'], out['log_var']",
    ),
    "an object": ("SimpleNamespace(recon_x=out, mu=mu, logvar=lv)", "out.recon_x, x, out.mu, out.logvar"),
    "a dataclass": ("Out(z, out, mu, lv)", "out.reconstruction, x, out.mu, out.logvar"),
    "a named tuple": ("Named(mu, lv, out)", "out.recon, x, out.mu, out.logvar"),
    "distributions": (
        "z, out, Normal(0 * mu, 1.0), Normal(mu, torch.exp(0.5 * lv))",
        "out[1], x, out[3].mean + out[2].mean, 2 * out[3].stddev.log()",
    ),
}
KINDS = """
from collections import namedtuple
from dataclasses import make_dataclass
from types import SimpleNamespace
from torch.distributions import Normal
Named = namedtuple("Named", "mu logvar recon")
Out = make_dataclass("Out", ["z", "reconstruction", "mu", "logvar"])
"""


def returning(what, layers="two layers"):
    """The script of a model with forward alone, which returns ``what``."""
    text = ALONE.replace("LAYERS", HEADS[layers][0]).replace("CODE", HEADS[layers][1])
    text = text.replace(
        "return torch.sigmoid(self.out(F.relu(self.up(z)))), mu, lv",
        f"out = torch.sigmoid(self.out(F.relu(self.up(z))))\n        return {what}",
    )
    assert what in text
    return KINDS + text


@pytest.mark.parametrize(("what", "parts"), RETURNED.values(), ids=RETURNED)
def test_what_a_forward_returns_is_told_apart(what, parts):
    text = returning(what)
    whole = text + f"\nfour = loss_function\n\ndef loss_function(out, x):\n    return four({parts})\n"
    for script in (text, whole):
        report = examined(script)
        assert report.faults == (), told(report)
        assert {"noise", "spread", "kl", "unit", "broadcast", "sees_x"} <= set(report.silent)
        assert "z enters the layer up; mu and logvar leave mu and lv" in " ".join(str(report).split())
    both = whole.replace("torch.randn_like(mu)", "torch.rand_like(mu)").replace("- mu.pow(2)", "+ mu.pow(2)")
    found = {(one.fault.key, one.sure) for one in examined(both).found}
    assert {("not_normal", CERTAIN), ("kl_sign", CERTAIN)} <= found


def test_a_loss_of_what_was_returned_may_look_at_z():
    text = (
        returning("out, z, mu, lv")
        + """
def loss_function(out, x):
    recon, z, mu, logvar = out
    log_q = Normal(mu, torch.exp(0.5 * logvar)).log_prob(z).sum()
    rec = F.binary_cross_entropy(recon, x.flatten(1), reduction="sum")
    return rec + log_q - Normal(0.0, 1.0).log_prob(z).sum()
"""
    )
    report = examined(text)
    assert report.faults == (), told(report)
    assert "the loss takes x alone" in report.not_tested["kl"]
    assert "no_noise" in examined(text.replace("torch.exp(0.5 * lv) *", "0 *")).faults


@pytest.mark.parametrize(
    ("layers", "function"), [(layers, "torch.tanh(z)") for layers in HEADS] + [("two layers", "2 * z + 1")]
)
def test_a_function_of_z_before_the_decoder_is_no_fault(layers, function):
    text = returning("out, mu, lv", layers).replace("self.up(z)", f"self.up({function})")
    report = examined(text)
    assert report.faults == (), told(report)
    assert "as a function of it" in " ".join(str(report).split())
    space = {}
    exec(text, space)
    model, x = space["model"], small_digits()[:5] / 255
    with torch.no_grad():
        z = torch.randn(5, 3)
        entered = eval(function, {"z": z, "torch": torch, "F": F})
        assert torch.allclose(halved(model, x).decode(z), torch.sigmoid(model.out(torch.relu(model.up(entered)))))
    trained = examined(text, steps=100)
    assert trained.faults == (), told(trained)
    assert "no_noise" in examined(text.replace("torch.exp(0.5 * lv) *", "0 *")).faults


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("out, mu", "yours returns a tuple of (8, 64), (8, 3). Else give functions: encode= from x to (mu, logvar)"),
        ("{'loss': out.sum(), 'recon_x': out, 'z': z}", "a dict of loss (), recon_x (8, 64), z (8, 3). Else give"),
        ("out, z, lv", "what stands where mu belongs is another in each pass: is it z? The KL needs mu and logvar"),
        ("out, mu, lv, h[:, :3], mu", "a tuple of (8, 64), (8, 3), (8, 3), (8, 3), (8, 3)"),
    ],
)
def test_what_a_forward_returns_is_refused_where_it_is_not_certain(what, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        examined(returning(what))


def test_a_batch_size_that_is_written_down_is_said():
    text = returning("out, mu, lv").replace("torch.randn_like(mu)", "torch.randn(100, 3)")
    with pytest.raises(ValueError, match=re.escape("forward takes batches of 100 alone: that size is written into it")):
        examined(text)


def test_a_forward_that_cannot_be_taken_apart_is_told():
    class Inline(nn.Module):
        def __init__(self):
            super().__init__()
            self.code, self.matrix = nn.Linear(64, 6), nn.Parameter(torch.randn(3, 64))

        def forward(self, x):
            mu, logvar = self.code(x.flatten(1)).chunk(2, 1)
            return mu @ self.matrix, mu, logvar

    for model, message in (
        (Inline(), "no layer in it takes a z of shape (8, 3): give its halves"),
        (nn.Linear(64, 64), "with these names; yours returns (8, 64). Else give functions: encode="),
        (nn.Linear(63, 64), "forward cannot take images of (32, 1, 8, 8), nor flattened"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            examine(model, torch.rand(32, 1, 8, 8), loss=sound()["loss"])


def test_the_warm_up_is_judged_by_its_end():
    model, images = models.MLPVAE(3, (16,), "bernoulli", (1, 8, 8)), small_digits()
    for schedule, found in (
        (lambda t: min(1.0, 5 * t), ()),
        (lambda t: 0.5 * min(1.0, 5 * t), ()),  # a beta of 1/2, which is meant
        (lambda t: 4.0 * t, ()),
        (lambda t: t / 20, ("warm_up",)),
    ):
        report = examine(model, images, beta=schedule)
        assert report.faults == found
        assert "warm_up" not in report.not_tested


# It leaves the VAE as it was, and says what it did not test


def test_the_vae_is_left_as_it_was():
    arguments = arguments_of(source("batch_norm", small=True), 0, small=True)
    model = arguments["model"]
    model.train()
    model.encoder[1].eval()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before, modes = copy.deepcopy(model.state_dict()), [part.training for part in model.modules()]
    names = set(vars(model))
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    examine(**arguments)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in model.parameters())
    assert set(vars(model)) == names


def test_the_same_seed_gives_the_same_report():
    text = broken(next(case for case in FAULTS if case.name == "rand for randn"), small=True)
    one, other = examined(text), examined(text)
    assert told(one) == told(other)


def test_a_report_never_says_healthy():
    report = examined(source("usual", small=True))
    text = str(report)
    assert not re.search(r"healthy|sound|all is well|correct|no fault", text, re.IGNORECASE)
    assert "Nothing found by these" in text
    assert text.index("Not tested:") > text.index("Nothing found by:")
    for gauge in checkup.GAUGES:
        assert (gauge in report.silent) != (gauge in report.not_tested)
        assert gauge in text
    joined = " ".join(text.split())
    assert all(words in joined for words in checkup.BEYOND)
    assert all(report.not_tested.values())


def test_a_fault_is_told_with_how_to_see_and_to_mend_it():
    case = next(case for case in FAULTS if case.name == "a KL averaged over the codes")
    report = examined(broken(case, small=True), name="mine")
    text = " ".join(str(report).split())
    fault = checkup.faults()["kl_mean_latent"]
    assert text.startswith("mine: 1 fault found; ")
    for words in (fault.name, fault.see, fault.mend, "averaged over the 20 latent dimensions", "[certain; unit]"):
        assert words in text
    parsed = json.loads(report.to_json())
    assert parsed["status"] == "found"
    assert [one["fault"] for one in parsed["found"]] == ["kl_mean_latent"]
    assert parsed["found"][0]["mend"] == fault.mend
    assert {*parsed["silent"], *parsed["not_tested"], "unit"} == set(checkup.GAUGES)
    assert parsed["beyond"] == list(checkup.BEYOND)


def test_the_surest_comes_first():
    case = next(case for case in FAULTS if case.name == "a residual round the code")
    found = examined(broken(case, small=True)).found
    assert [(CERTAIN, LIKELY, PERHAPS).index(one.sure) for one in found] == sorted(
        (CERTAIN, LIKELY, PERHAPS).index(one.sure) for one in found
    )


def test_a_picture(tmp_path):
    case = next(case for case in FAULTS if case.name == "collapse")
    report = examined(broken(case, small=True), steps=100)
    figure = report.plot()
    texts = [text.get_text() for ax in figure.findobj(plt.Axes) for text in ax.texts]
    assert set(checkup.GAUGES) <= set(texts)
    assert sum(text == "?" for text in texts) == len(report.not_tested)
    report.save(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    examined(source("colour", small=True)).plot()
    examined(source("loss_of_x", small=True)).plot()


# Bad input


def sound(**changed):
    parts = {
        "encode": lambda x: (x.flatten(1)[:, :3], 0.1 * x.flatten(1)[:, 3:6]),
        "decode": lambda z: z.repeat(1, 22)[:, :64],
        "loss": lambda output, x, mu, logvar: output.sum() + mu.sum(),
        "images": torch.rand(32, 1, 8, 8),
    }
    return {**parts, **changed}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"encode": None}, "encode is missing: a function from x to (mu, logvar); got None"),
        ({"decode": None}, "decode is missing"),
        ({"loss": None}, "loss is missing: a function from (output, x, mu, logvar) to one number"),
        ({"images": torch.rand(3, 1, 8, 8)}, "images must be at least 16"),
        ({"encode": lambda x: x}, "encode must return (mu, logvar), two tensors; got a Tensor"),
        ({"encode": lambda x: {}[0]}, "encode cannot take images of (32, 1, 8, 8), nor flattened"),
        ({"decode": lambda z: None}, "decode must return a tensor, or a tuple of tensors; got a NoneType"),
        ({"decode": lambda z: 1 / 0}, "decode failed on four images. Your function raises ZeroDivisionError"),
        ({"loss": lambda a, b, c: a}, "loss must take (output, x, mu, logvar), or x alone; yours takes (a, b, c)"),
        ({"loss": lambda o, x, m, v, why: o.sum()}, "yours takes (o, x, m, v, why)"),
        ({"loss": lambda o, x, m, v: 3.0}, "loss must return a tensor of one number; got a float"),
        ({"loss": lambda o, x, m, v: o.nope()}, "loss failed on four images"),
        ({"reparameterize": lambda m, v: m.nope()}, "reparameterize failed on four images"),
        ({"beta": 0.0}, "beta is 0: without a KL it is an autoencoder"),
        ({"beta": -1.0}, "beta must be a number of at least 0"),
        ({"lr": "fast"}, "lr must be a number of at least 0; got 'fast'"),
        ({"model": models.Autoencoder()}, "model is an autoencoder"),
    ],
)
def test_what_cannot_be_examined_is_said(changed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        examine(**sound(**changed))


def test_images_of_our_models_pass_the_gate():
    with pytest.raises(ValueError, match="pixels must lie in"):
        examine(models.MLPVAE(), torch.full((32, 1, 28, 28), 2.0))


def test_a_gauge_that_fails_says_so_and_the_others_go_on():
    calls = []

    def decode(z):
        calls.append(len(z))
        if z.abs().max() > 20:
            raise RuntimeError("too far")
        return z.repeat(1, 22)[:, :64]

    report = examine(**sound(decode=decode))
    assert "too far" in report.not_tested["last_layer"]
    assert "kl_form" in report.faults


# Scripts and the command


def test_a_script_is_examined_by_the_command(tmp_path, capsys):
    file = tmp_path / "mine.py"
    text = source("usual").replace("mu + eps * std", "mu + 0.1 * eps * std") + 'print("a script of mine")\n'
    file.write_text(text, "utf-8")
    picture = tmp_path / "report.png"
    assert cli.main(["checkup", str(file), "--json", "--picture", str(picture)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["name"] == "mine.py"
    assert report["found"][0]["fault"] == "shrunk_noise"
    assert picture.stat().st_size > 10_000
    picture.write_bytes(b"a photograph")
    for option, message in ((picture, "report.png exists already; give another name, or --overwrite"), (file, ".png")):
        assert cli.main(["checkup", str(file), "--picture", str(option)]) == 2
        said, error = capsys.readouterr()
        assert message in error
        assert not said
    assert picture.read_bytes() == b"a photograph"
    assert cli.main(["checkup", str(file), "--picture", str(picture), "--overwrite"]) == 1
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("import torch\nx = 1 / 0\n", "mine.py could not be run. Your function raises ZeroDivisionError"),
        ("raise SystemExit(2)\n", "mine.py could not be run"),
        ("def (:\n", "mine.py could not be run. Your function raises SyntaxError"),
        ("x = 1\n", "the script defines no VAE that can be seen"),
        ("encode = decode = lambda x: x\n", "the script defines no loss"),
        (
            "from torch import nn\nclass V(nn.Module):\n  def __init__(self, n): super().__init__()\n"
            "  def encode(self, x): pass\n  def decode(self, z): pass\ndef loss(a, b, c, d): pass\n",
            "V() failed; make an object named model.",
        ),
    ],
)
def test_a_script_that_will_not_do(tmp_path, capsys, text, message):
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text, "utf-8")
    assert cli.main(["checkup", str(file)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_below_main_nothing_runs_and_a_class_is_enough(tmp_path):
    text = source("usual").replace("model = VAE()\n", 'if __name__ == "__main__":\n    raise SystemExit(1)\n')
    (tmp_path / "mine.py").write_text(text, "utf-8")
    report = checkup.examine_file(tmp_path / "mine.py")
    assert report.faults == ()
    assert "652,824 weights" in str(report)


@pytest.mark.process
def test_words_on_faults_need_no_torch():
    code = "import sys; from vae_tutorial import checkup; print(len(checkup.faults()), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(len(checkup.faults())), "False"]


@pytest.mark.timed
def test_it_takes_seconds():
    for base in ("usual", "batch_norm"):
        report = checkup.examine_file(FOLDER / f"{base}.py")
        assert report.seconds < 30


def test_an_attribute_is_not_taken_for_a_global_of_its_name():
    space = {"mean": nn.Linear(3, 3), "used": nn.Linear(2, 2)}
    exec("def loss(x):\n    return used(x).mean()", space)
    from vae_tutorial.checkup.weights import find

    assert find(space["loss"]).roots == [space["used"]]


def test_what_was_said_falsely_of_held_out_faults_is_no_longer_said():
    """Both sayings of the first trial: no noise where z is written over mu, an uneven KL where it has another prior."""
    cases = {tried.fault.name: tried for tried in HELD_OUT if tried.verdict == "false"}
    assert len(cases) == 2
    assert examined(broken(cases["z written over mu"].fault, small=True)).faults == ("mu_overwritten",)
    assert examined(broken(cases["a KL to N(1, I)"].fault, small=True)).faults == ("kl_form",)
