"""The page "The loss that you have seen": each line of its table, run as it stands, against torch.distributions."""

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from vae_tutorial import data

PAGE = (Path(__file__).resolve().parents[1] / "book" / "loss.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (.*) \| \[", PAGE, re.MULTILINE))
N, D, Z, W = 5, 7, 3, 0.4
torch.manual_seed(0)
MU, LOGVAR = torch.randn(2, N, Z).double()
LOGITS, X = torch.randn(N, D).double(), torch.rand(N, D).double().round()
RECON, REAL = torch.rand(2, N, D).double()
LEVELS, GREY = torch.randn(N, 256).double(), torch.randint(256, (N,))
KL = kl_divergence(Normal(MU, torch.exp(0.5 * LOGVAR)), Normal(0.0, 1.0)).sum(1)
SCOPE = {"torch": torch, "nn": nn, "F": F, "N": N, "mu": MU, "logvar": LOGVAR, "w": W, "KL": KL.mean()}


def value(line, **names):
    return eval(line, SCOPE | names).item()


def gaussian(variance):
    return -Normal(RECON, math.sqrt(variance)).log_prob(REAL).sum() - N * D / 2 * math.log(2 * math.pi * variance)


def test_every_line_has_its_row():
    assert len(ROWS) == 8


def test_the_loss_at_the_top_is_what_everybody_writes():
    top = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    scope = SCOPE | {"recon": torch.sigmoid(LOGITS), "x": X}
    exec(top, scope)
    surprise = -Bernoulli(logits=LOGITS).log_prob(X).sum()
    assert scope["loss"].item() == pytest.approx((surprise + KL.sum()).item())


def test_classification():
    y = torch.randint(4, (N,))
    logits = torch.randn(N, 4).double()
    line = "nn.CrossEntropyLoss()(logits, y)"
    assert line in ROWS
    assert value(line, logits=logits, y=y) == pytest.approx(-Categorical(logits=logits).log_prob(y).mean().item())
    line = "nn.CrossEntropyLoss()(levels, grey)"
    assert line in ROWS
    nats = -Categorical(logits=LEVELS).log_prob(GREY).mean().item()
    assert value(line, levels=LEVELS, grey=GREY) == pytest.approx(nats)


def test_cross_entropy_of_pixels():
    line = 'F.binary_cross_entropy(theta, x, reduction="sum") / N'
    assert line in ROWS
    theta = torch.sigmoid(LOGITS)
    surprise = -Bernoulli(theta).log_prob(X).sum(1).mean().item()
    assert value(line, theta=theta, x=X) == pytest.approx(surprise)
    assert F.binary_cross_entropy(theta, X).item() == pytest.approx(surprise / D)


def test_the_price_of_z():
    line = "-0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())"
    assert line in ROWS
    assert value(line) == pytest.approx(KL.sum().item())
    assert value(line.replace("sum", "mean")) == pytest.approx(KL.sum().item() / (N * Z))  # and of the mean: 1 / Z
    assert value(line.replace("sum", "mean")) == pytest.approx(KL.mean().item() / Z)


def test_a_sigmoid_first():
    line = 'F.binary_cross_entropy(recon, x, reduction="sum")'
    assert line in ROWS
    with_logits = re.search(r"`(F.binary_cross_entropy_with_logits[^`]*)`", ROWS[line])[1]
    logits = LOGITS.float().requires_grad_()
    assert value(line, recon=torch.sigmoid(logits), x=X.float()) == pytest.approx(
        value(with_logits, logits=logits, x=X)
    )
    for sure in (120.0, 1000.0):  # and wrong
        logit, zero = torch.tensor([sure], requires_grad=True), torch.zeros(1)
        loss = F.binary_cross_entropy(torch.sigmoid(logit), zero, reduction="sum")
        loss.backward()
        assert loss.item() == 100
        assert logit.grad.item() == 0
        assert value(with_logits, logits=logit, x=zero) == sure


def test_squares():
    line = 'nn.MSELoss(reduction="sum")(recon, x) / N'
    assert line in ROWS
    assert value(line, recon=RECON, x=REAL) == pytest.approx(gaussian(0.5).item() / N)
    line = "nn.MSELoss()(recon, x) + w * KL"
    assert line in ROWS
    assert value(line, recon=RECON, x=REAL) / W == pytest.approx(gaussian(W * D / 2).item() / N + KL.mean().item())


def test_the_numbers_of_the_page():
    assert f"{784 * math.log(2):.0f}" == "543"
    assert f"{12_288 / 2 * math.log(2 * math.pi):,.0f}" == "11,292"
    assert f"{784 * math.log(256):,.0f}" == "4,347"
    for number in ("543", "11,292", "4,347", "392", "205.8", "0.262"):
        assert number in PAGE
    images = data.load("mnist", "test")
    if images.name == "mnist":
        grey = images.images.flatten(1).double() / 255
        assert grey.var(0).sum() / (2 * 392) < 0.1
        theta = data.load("mnist", "train").images.flatten(1).double().mean(0) / 255
        x = data.test_binarization().flatten(1).double()
        nats = F.binary_cross_entropy(theta.expand_as(x), x, reduction="sum").item() / len(x)
        assert abs(nats - 205.8) < 0.1, nats
        assert abs(nats / 784 - 0.262) < 0.001
