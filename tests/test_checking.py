"""``exercises.check``: right functions of any kind are accepted, each known mistake is named, bad input is told."""

import contextlib
import json
import math
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import nn
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

import vae_tutorial.exercises
from vae_tutorial.exercises import _run, catalogue, checking
from vae_tutorial.exercises.checking import check, verdict

NUMBERS = json.loads((Path(catalogue.__file__).parents[1] / "answers" / "numbers.json").read_text("utf-8"))
CODE = [entry for number in NUMBERS for entry in catalogue.entries(number, "code")]
MISTAKES = [(entry, part) for entry in CODE for part in entry["wrong"]]
decoder = log_p_xz = "the reader's own"  # the checker lends its own while a function runs


def made(entry, source):
    """A function of the catalogue, as if a reader had written it."""
    space = {"np": np, "math": math, "special": special, "torch": torch, "F": F, "nn": nn}
    exec(entry["cases"], space)
    exec(source, space)
    return space[entry["name"]]


def title(value):
    return f"{value['exercise']}-{value['name']}" if "exercise" in value else value["reply"][:40]


def kl_code():
    return catalogue.entries("2.5", "code")[0]


@pytest.fixture(autouse=True)
def nothing_said_before():
    checking._said.clear()


# Each known mistake is named, and what is right is accepted.


@pytest.mark.parametrize(("entry", "part"), MISTAKES, ids=[f"{title(e)}: {title(p)}" for e, p in MISTAKES])
def test_a_known_mistake_is_named(entry, part):
    found = verdict(entry["exercise"], made(entry, part["code"]))
    assert not found.right
    assert found.message == part["reply"]


@pytest.mark.parametrize("entry", CODE, ids=title)
def test_the_right_function_is_accepted(entry):
    found = verdict(entry["exercise"], made(entry, entry["right"]))
    assert found.right, found.message
    assert found.message == "right."


def test_every_chapter_has_a_checker_and_four_have_three():
    count = {}
    for number in NUMBERS:
        chapter = number.partition(".")[0]
        count[chapter] = count.get(chapter, 0) + len(catalogue.entries(number, "code"))
    assert all(count[str(chapter)] >= 1 for chapter in range(13))
    assert all(count[chapter] >= 3 for chapter in "258")
    assert count["6"] >= 2
    assert len(MISTAKES) >= 142


# Right functions that the catalogue does not have.

RIGHT = []


def right_for(exercise, name):
    """Note a function as right for an exercise, under the name that the exercise gives it."""

    def note(function):
        RIGHT.append((exercise, name, function))
        return function

    return note


@right_for("0.3", "draw")
def by_distributions(n):
    return Bernoulli(logits=decoder(torch.randn(n, 20))).sample().reshape(n, 1, 28, 28)


@right_for("0.3", "draw")
@torch.no_grad()
def by_distributions_without_gradients(n):
    return by_distributions(n)


@right_for("0.3", "draw")
def by_comparing(n):
    p = torch.sigmoid(decoder(Normal(0.0, 1.0).sample((n, 20)))).view(n, 1, 28, 28)
    return (torch.rand_like(p) < p).long()


@right_for("0.3", "draw")
def one_by_one(n):
    images = [torch.bernoulli(torch.sigmoid(decoder(torch.randn(1, 20)))).view(1, 28, 28) for _ in range(n)]
    return torch.stack(images)


@right_for("1.4", "nats_given_label")
def by_indexing(images, labels, x, y):
    theta = torch.stack([(images[labels == k].sum(0) + 0.5) / ((labels == k).sum() + 1) for k in labels.unique()])
    return -Bernoulli(theta[y]).log_prob(x).sum(1)


@right_for("1.4", "nats_given_label")
def by_python_loops(images, labels, x, y):
    nats = []
    for row, label in zip(x, y, strict=True):
        mine = images[labels == label]
        theta = (mine.sum(0) + 0.5) / (len(mine) + 1)
        nats.append(sum(-math.log(t if on else 1 - t) for t, on in zip(theta.tolist(), row.tolist(), strict=True)))
    return nats


@right_for("2.5", "kl")
def kl_by_einsum(p, q):
    ratio = torch.where(p > 0, torch.log(p / q), 0)
    return torch.einsum("nk,nk->n", p, ratio)


@right_for("2.5", "kl")
def kl_by_loops(p, q):
    return [sum(a * math.log(a / b) if b else math.inf for a, b in zip(*pq, strict=True) if a) for pq in zip(p, q)]  # noqa: B905


@right_for("2.5", "kl")
def kl_by_distributions(p, q):
    return kl_divergence(Categorical(p, validate_args=False), Categorical(q, validate_args=False))


@right_for("2.5", "kl")
def kl_by_scipy(p, q):
    return special.rel_entr(p, q).sum(axis=-1)


@right_for("2.5", "kl")
def kl_in_float64(p, q):
    p, q = p.double(), q.double()
    return torch.xlogy(p, p / q).sum(-1)


@right_for("2.5", "kl")
def kl_with_an_axis_too_many(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1, keepdim=True)


@right_for("2.5", "gaussian_kl")
def gaussian_kl_by_distributions(mu, logvar):
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    return kl_divergence(q, Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1))


@right_for("2.6", "floor_of")
def floor_as_a_python_float(grey):
    return float(Bernoulli(grey).entropy().sum(-1).mean())


@right_for("2.6", "floor_of")
def floor_of_shape_1(grey):
    inside = np.clip(np.asarray(grey), 1e-12, 1)
    outside = np.clip(1 - np.asarray(grey), 1e-12, 1)
    return np.array([-(inside * np.log(inside) + outside * np.log(outside)).sum() / len(inside)])


@right_for("3.6", "responsibilities")
def responsibilities_by_softmax(x, weights, probs):
    log_p = torch.stack([Bernoulli(theta).log_prob(x).sum(1) for theta in probs], 1)
    return torch.softmax(torch.log(weights) + log_p, 1)


@right_for("3.6", "responsibilities")
def responsibilities_by_einsum(x, weights, probs):
    a, b = probs.double().log(), (1 - probs.double()).log()
    joint = weights.log() + torch.einsum("nd,kd->nk", x.double(), a) + torch.einsum("nd,kd->nk", 1 - x.double(), b)
    joint = (joint - joint.amax(1, keepdim=True)).exp()
    return joint / joint.sum(1, keepdim=True)


@right_for("4.6", "log_mean")
def log_mean_by_torch(log_w):
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


@right_for("4.6", "log_mean")
def log_mean_by_loops(log_w):
    found = []
    for column in log_w.T.tolist():
        top = max(column)
        found.append(top + math.log(sum(math.exp(w - top) for w in column) / len(column)))
    return tuple(found)


@right_for("5.5", "elbo_by_draws")
def elbo_by_draws_of_torch(x, mu, sigma, draws=100_000):
    z = mu + sigma * torch.randn(draws)
    return (log_p_xz(x, z) - Normal(mu, sigma).log_prob(z)).mean().item()


@right_for("5.5", "elbo_by_draws")
def elbo_by_numpys_generator(x, mu, sigma, draws=100_000):
    z = np.random.default_rng().normal(mu, sigma, draws)
    log_q = -0.5 * ((z - mu) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
    return np.mean(log_p_xz(x, z) - log_q)


@right_for("6.3", "reparameterize")
def reparameterize_by_addcmul(mu, logvar, eps):
    return torch.addcmul(mu, torch.sqrt(torch.exp(logvar)), eps)


@right_for("6.3", "reparameterize")
def reparameterize_by_loops(mu, logvar, eps):
    sigma = logvar.div(2).exp()
    return torch.stack([mu + sigma * noise for noise in eps]).double()


@right_for("7.3", "loss")
def vae_by_distributions(encoder, decoder, x):
    mu, logvar = encoder(x).chunk(2, -1)
    q = Normal(mu, (logvar / 2).exp())
    log_p = Bernoulli(logits=decoder(q.rsample())).log_prob(x).sum(-1)
    return (kl_divergence(q, Normal(0.0, 1.0)).sum(-1) - log_p).mean()


@right_for("7.3", "loss")
def vae_image_by_image(encoder, decoder, x):
    total = 0
    for image in x:
        mu, logvar = encoder(image).chunk(2)
        z = Normal(mu, (logvar / 2).exp()).sample()
        total += F.binary_cross_entropy_with_logits(decoder(z), image, reduction="sum")
        total += 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum()
    return total / len(x)


@right_for("8.6", "elbo")
def elbo_by_distributions(x, logits, mu, logvar):
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    pixels = Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    return pixels - kl_divergence(Normal(mu, (logvar / 2).exp()), prior).sum(1)


@right_for("12.4", "unit_kl")
def unit_kl_in_numpy(mu, logvar):
    mu, logvar = mu.numpy(), logvar.numpy()
    return ((mu**2 + np.exp(logvar) - logvar - 1) / 2).mean(axis=0)


@right_for("12.4", "active")
def active_as_an_integer(mu, logvar):
    return int(np.sum(np.var(mu.numpy(), axis=0) > 0.01))


@pytest.mark.parametrize(("exercise", "name", "function"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_other_right_functions_are_accepted(exercise, name, function):
    found = verdict(exercise, function, name=name)
    assert found.right, found.message


def test_an_axis_of_length_1_is_accepted_with_a_word():
    assert "axis of length 1" in verdict("2.5", kl_with_an_axis_too_many, name="kl").message
    assert verdict("2.5", kl_by_einsum, name="kl").message == "right."


def test_numpy_alone_is_given_where_tensors_fail():
    def kl(p, q):
        assert isinstance(p, np.ndarray), p.no_such_attribute
        return special.rel_entr(p, q).sum(axis=-1)

    assert verdict("2.5", kl).right


# Mistakes that the catalogue does not have, as learners write them.

TRIED = []


def tried(exercise, name, said):
    """Note a wrong function, and what is to be said of it."""

    def note(function):
        TRIED.append((exercise, name, function, said))
        return function

    return note


@tried("0.3", "draw", "over many draws, yours are not distributed as those that are asked for")
def one_code_for_all(n):
    p = torch.sigmoid(decoder(torch.randn(1, 20).expand(n, 20)))
    return torch.bernoulli(p).view(n, 1, 28, 28)


@tried("1.4", "nats_given_label", "Your result stays the same when images changes.")
def fitted_to_the_test_images(images, labels, x, y):
    theta = torch.stack([(x[y == k].sum(0) + 0.5) / ((y == k).sum() + 1) for k in range(int(labels.max()) + 1)])
    return -Bernoulli(theta[y]).log_prob(x).sum(1)


@tried("1.4", "nats_given_label", "You returned shape (6,); asked is shape (9,): one number for each row of x.")
def summed_over_images(images, labels, x, y):
    theta = torch.stack([(images[labels == k].sum(0) + 0.5) / ((labels == k).sum() + 1) for k in labels.unique()])
    return -Bernoulli(theta[y]).log_prob(x).sum(0)


@tried("2.5", "kl", "These are bits: leave the logarithm natural. And some of it is NaN.")
def bits_and_nan(p, q):
    return torch.sum(p * torch.log2(p / q), -1)


@tried("2.5", "kl", "You left the terms with q = 0 out")
def masked_by_q(p, q):
    inside = q > 0
    return torch.where(inside, torch.xlogy(p, p) - torch.xlogy(p, torch.where(inside, q, 1)), 0).sum(-1)


@tried("2.5", "kl", "Yours is finite where infinity belongs. A mask, a clamp or a small number hides it.")
def clamped_at_1e_6(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q.clamp(min=1e-6))).sum(-1)


@tried("2.5", "kl", "The sign is turned. A KL is never negative")
def negated(p, q):
    return -kl_by_einsum(p, q)


@tried("2.5", "kl", "The sign is turned round. These are bits")
def negated_in_bits(p, q):
    return -kl_by_einsum(p, q) / math.log(2)


@tried("2.5", "kl", "Infinite as it should be, but with the other sign")
def negated_and_shifted(p, q):
    return 1 - 3 * kl_by_einsum(p, q) + p[:, 0]


@tried("2.5", "gaussian_kl", "You took the sum of the numbers that are asked for. Leave them apart. The sign is turned")
def printout_without_its_minus(mu, logvar):
    return 0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())


@tried(
    "2.6", "floor_of", "These are bits: leave the logarithm natural. Too small by a factor, the size of axis 1 of grey"
)
def bits_per_pixel(grey):
    return Bernoulli(grey).entropy().mean() / math.log(2)


@tried("2.6", "floor_of", "These are logarithms to base 10")
def base_10(grey):
    return float(Bernoulli(grey).entropy().sum(-1).mean()) / math.log(10)


@tried("3.6", "responsibilities", "Your result is transposed")
def components_by_images(x, weights, probs):
    return responsibilities_by_softmax(x, weights, probs).T


@tried("4.6", "log_mean", "Too low by the logarithm of the size of axis 1 of log_w. Is there one division too many?")
def divided_by_all(log_w):
    return torch.logsumexp(log_w, 0) - math.log(log_w.numel())


@tried("4.6", "log_mean", "The logarithm of the size of axis 0 of log_w has the wrong sign")
def multiplied_by_k(log_w):
    return torch.logsumexp(log_w, 0) + math.log(len(log_w))


@tried("5.5", "elbo_by_draws", "You ignore draws")
def a_single_draw(x, mu, sigma, draws=100_000):
    return elbo_by_draws_of_torch(x, mu, sigma, 1)


@tried("5.5", "elbo_by_draws", "You ignore draws")
def a_thousand_draws(x, mu, sigma, draws=100_000):
    return elbo_by_draws_of_torch(x, mu, sigma, 1000)


@tried("5.5", "elbo_by_draws", "You ignore draws")
def many_draws_of_numpys_generator(x, mu, sigma, draws=100_000):
    return elbo_by_numpys_generator(x, mu, sigma, 100_000)


@tried("5.5", "elbo_by_draws", "Your result scatters more than a mean of that many draws does.")
def a_few_of_the_draws(x, mu, sigma, draws=100_000):
    return elbo_by_draws_of_torch(x, mu, sigma, max(1, draws // 5000))


@tried("5.5", "elbo_by_draws", "That is the value at the mean code.")
def at_the_mean_without_draws(x, mu, sigma, draws=100_000):
    z = torch.tensor(mu)
    return log_p_xz(x, z) - Normal(mu, sigma).log_prob(z)


@tried("6.3", "reparameterize", "The numbers are right, but no gradient gets through to logvar")
def width_detached(mu, logvar, eps):
    return mu + torch.exp(0.5 * logvar).detach() * eps


@tried("6.3", "reparameterize", "Your numbers are right, with axes 0 and 1 exchanged.")
def images_first(mu, logvar, eps):
    return (mu + torch.exp(0.5 * logvar) * eps).transpose(0, 1)


@tried("6.3", "reparameterize", "Your function gives other numbers each time it is called, and nothing is random here.")
def other_noise(mu, logvar, eps):
    return mu + torch.exp(0.5 * logvar) * torch.rand_like(eps)


@tried("8.6", "elbo", "Not yet: it differs from what is asked for x of shape (5, 1, 28, 28)")
def with_a_weight(x, logits, mu, logvar):
    return elbo_by_distributions(x, logits, mu, logvar) - 0.5 * logvar.exp().sum(1)


@tried("8.6", "elbo", "RuntimeError: The size of tensor a (28) must match the size of tensor b (5)")
def summed_over_columns_alone(x, logits, mu, logvar):
    return Bernoulli(logits=logits).log_prob(x).sum(-1) - mu.sum(-1)


def elbo_with_kl(change):
    """An ELBO whose KL, one number for each image and unit, is put together in another way."""

    def elbo(x, logits, mu, logvar):
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1)
        return Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1) - change(kl)

    return elbo


WEIGHED = [
    (lambda kl: kl.sum(1) / len(kl), "You divided the KL by the batch."),
    (lambda kl: kl.sum(1).sum() / len(kl), "Every image gets the mean KL of the batch."),
    (lambda kl: kl.sum(), "Every image pays the KL of the whole batch."),
    (lambda kl: kl.mean(), "Your KL is a mean over everything"),
    (lambda kl: kl.sum(1) / 128, "You divided the KL by 128"),
    (lambda kl: kl.sum(1) / 20, "You divided the KL by 20"),
    (lambda kl: kl.sum(1) / 784, "Not yet: it differs"),
    (lambda kl: kl.sum(1) / 5000, "Not yet: it differs"),
    (lambda kl: kl.sum() / 128, "Not yet: it differs"),
    (lambda kl: kl.mean(0).sum() / 7, "Not yet: it differs"),
    (lambda kl: kl.sum(1) / 2, "Your KL is half of it"),
]


@pytest.mark.parametrize(("change", "said"), WEIGHED, ids=[said for _, said in WEIGHED])
def test_a_kl_that_is_weighed_wrongly_is_used(change, said):
    message = verdict("8.6", elbo_with_kl(change)).message
    assert message.startswith(said)
    assert "stays the same" not in message


@tried("10.5", "loss", "Not yet: it differs")
def with_a_kl_per_pixel(x, mean, kl):
    return 392 * torch.log((x - mean).square().mean()) + kl.mean() / 784


@tried("8.6", "elbo", "Your result stays the same when logvar changes.")
def width_from_mu(x, logits, mu, logvar):
    return elbo_by_distributions(x, logits, mu, mu)


@tried("10.5", "loss", "Too high by the same amount everywhere: a constant is missing or too much.")
def with_log_2_pi(x, mean, kl):
    return 392 * torch.log(2 * math.pi * (x - mean).square().mean()) + kl.mean()


@tried("12.4", "unit_kl", "The sign is turned round. Twice what is asked: look at the factors ½ and 2.")
def twice_and_turned(mu, logvar):
    return (1 + logvar - mu**2 - logvar.exp()).mean(0)


@tried("12.4", "unit_kl", "Too small by a factor, the size of axis 0 of mu: is there one division too many?")
def divided_twice(mu, logvar):
    return unit_kl_in_numpy(mu, logvar) / len(mu)


@pytest.mark.parametrize(("exercise", "name", "function", "said"), TRIED, ids=lambda v: getattr(v, "__name__", None))
def test_mistakes_that_are_not_in_the_catalogue(exercise, name, function, said):
    found = verdict(exercise, function, name=name)
    assert not found.right
    assert said in found.message


# What is no result at all.


def nothing(p, q):
    torch.xlogy(p, p).sum(-1)


def stub(p, q):
    """Not written."""


def stub_of_dots(p, q): ...


def stub_that_raises(p, q):
    raise NotImplementedError


def result_of_dots(p, q):
    result = ...
    return result


@pytest.mark.parametrize(
    "function",
    [None, ..., stub, stub_of_dots, stub_that_raises, result_of_dots],
    ids=lambda f: getattr(f, "__name__", str(f)),
)
def test_what_is_not_filled_in_is_said_in_a_line(function, capsys):
    for _ in range(3):
        check("2.5", function, name="kl")
    assert capsys.readouterr().out == 3 * "2.5 kl: Nothing is filled in yet. Write the function, and check it again.\n"


def tensors_square(p, q):
    kl = (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1, keepdim=True)
    return kl + 0 * kl.T


BAD = [
    (nothing, "returns nothing: is there a return?"),
    (lambda p, q: (a for a in p), "returns a generator"),
    (lambda p, q: "0.5", "returns a text"),
    (lambda p, q: {"kl": 1}, "returns a dict"),
    (lambda p, q: kl_by_einsum, "returns a function"),
    (lambda p, q: Categorical(p), "returns a Categorical"),
    (lambda p, q: [[1.0], [1.0, 2.0]], "several shapes"),
    (lambda p, q: p.max(0), "returns 2 things, and one is asked for. torch.max gives values and places"),
    (lambda p, q: torch.full((len(p),), 1j), "complex"),
    (lambda p, q: p[:, 0] * math.nan, "NaN in 5 of 5 numbers"),
    (tensors_square, "You returned shape (5, 5); asked is shape (5,): one number for each row of p."),
    (lambda p, q: p.new_zeros(len(p) + 1), "You returned shape (6,); asked is shape (5,)"),
    (lambda p: p, "takes (p); it is called with 2 arguments: (p, q)"),
    (torch.zeros(5), "This is a Tensor, not a function"),
    (0.5, "This is a float, not a function"),
]


@pytest.mark.parametrize(("function", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_result_is_said_in_words(function, said):
    found = verdict("2.5", function, name="kl")
    assert not found.right
    assert said in found.message


def test_an_exception_is_told_with_the_readers_own_line(capsys):
    def kl(p, q):
        return p.reshape(2, 2, 2)  # the line

    check("2.5", kl)
    out, err = capsys.readouterr()
    assert "Your function raises RuntimeError: shape '[2, 2, 2]' is invalid for input of size 15" in out
    assert ": return p.reshape(2, 2, 2)  # the line)." in out
    assert "Traceback" not in out + err
    assert out.count("\n") == 1


def test_of_a_library_the_readers_line_is_told_and_not_ours():
    def helper(p):
        return json.loads("{")

    def kl(p, q):
        return helper(p)

    assert 'return json.loads("{")' in verdict("2.5", kl).message


def test_exiting_and_endless_recursion_are_told():
    def leave(p, q):
        sys.exit("bye")

    def recursive(p, q):
        return recursive(p, q)

    assert "raises SystemExit: bye" in verdict("2.5", leave, name="kl").message
    assert "calls itself without end" in verdict("2.5", recursive, name="kl").message


@pytest.mark.timed
def test_an_endless_loop_ends(monkeypatch):
    def kl(p, q):
        while True:
            with contextlib.suppress(Exception):
                p = p + 0

    assert _run.SECONDS == 10
    monkeypatch.setattr(_run, "SECONDS", 0.3)
    start = time.perf_counter()
    assert verdict("2.5", kl).message == "It still ran after 0.3 s, and was stopped. Is there a loop without end?"
    assert time.perf_counter() - start < 3


@pytest.mark.timed
def test_what_cannot_be_ended_is_said(monkeypatch):
    def kl(p, q):
        time.sleep(4)  # waits where Python cannot interrupt it

    monkeypatch.setattr(_run, "SECONDS", 0.1)
    stdout = sys.stdout
    assert "could not be stopped: restart the kernel" in verdict("2.5", kl).message
    assert sys.stdout is stdout


def test_a_catalogue_whose_right_function_fails_is_no_checker(monkeypatch):
    entry = kl_code() | {"right": "def kl(p, q):\n    raise ValueError('no')"}
    monkeypatch.setattr(catalogue, "entries", lambda *names: [entry])
    checking.job_of.cache_clear()
    with pytest.raises(RuntimeError, match="the checker of ex-kl-code kl does not work here: ValueError: no"):
        verdict("2.5", kl)
    checking.job_of.cache_clear()


# What a check leaves as it was.


def test_an_argument_that_was_changed_is_told_and_the_next_check_is_not_hurt():
    def kl(p, q):
        p /= p.sum(-1, keepdims=True)
        q += 1
        return special.rel_entr(p, q - 1).sum(-1)

    found = verdict("2.5", kl)
    assert "But your function changed its argument" in found.message
    assert "q" in found.message.split("argument")[1]
    assert verdict("2.5", kl_by_einsum, name="kl").message == "right."


def test_printing_is_let_through_once(capsys):
    def kl(p, q):
        print("shape", tuple(p.shape))
        return kl_by_einsum(p, q)

    check("2.5", kl)
    assert capsys.readouterr().out == "shape (5, 3)\n2.5 kl: right.\n"


def test_random_numbers_gradients_and_globals_are_left_as_they_were():
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with torch.no_grad():
        assert verdict("0.3", by_distributions, name="draw").right
        assert verdict("6.3", reparameterize_by_loops, name="reparameterize").right
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    assert decoder == log_p_xz == "the reader's own"


def test_the_readers_grad_mode_holds_inside():
    seen = []

    def kl(p, q):
        seen.append(torch.is_grad_enabled())
        return kl_by_einsum(p, q)

    with torch.no_grad():
        verdict("2.5", kl)
    verdict("2.5", kl)
    assert set(seen[:2]) == {False}
    assert set(seen[2:]) == {True}


# Which exercise is meant.


def test_of_several_functions_the_name_says_which():
    assert verdict("12.4", unit_kl_in_numpy, name="unit_kl").right

    def active(mu, logvar):
        return active_as_an_integer(mu, logvar)

    assert verdict("ex-kl-units", active).right
    with pytest.raises(ValueError, match="asks for unit_kl and active: say which with name='unit_kl'"):
        verdict("12.4", unit_kl_in_numpy)
    with pytest.raises(ValueError, match="no function 'passive', but for unit_kl and active"):
        verdict("12.4", active, name="passive")
    with pytest.raises(ValueError, match=r"exercise '8.1' asks for no function; these do: 0.3, 1.4, 2.5"):
        check("8.1", active)
    with pytest.raises(ValueError, match="there is no exercise"):
        check("99.1", active)


def test_it_is_there_without_importing_it_first():
    assert vae_tutorial.exercises.check is check


# The same mistake again.


def test_the_same_mistake_again_shows_an_input_and_then_the_solution(capsys):
    def kl(p, q):
        return (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(-1)

    first, second, third = (escalation(kl, capsys) for _ in range(3))
    assert "The other way round" in first
    assert "\n" not in first.strip()
    assert "The smallest input where it shows:\np =\n" in second
    assert "Your function returns\n" in second
    assert "solution" not in second
    assert third.endswith("The solution is folded below the exercise.\n")
    check("2.5", kl_by_einsum, name="kl")
    capsys.readouterr()
    assert escalation(kl, capsys) == first


def escalation(function, capsys):
    check("2.5", function)
    return capsys.readouterr().out


EXAMPLES = [(entry, entry["wrong"][-1]["code"]) for entry in CODE]


@pytest.mark.parametrize(("entry", "source"), EXAMPLES, ids=[title(entry) for entry in CODE])
def test_the_input_that_is_shown_is_short(entry, source):
    shown = verdict(entry["exercise"], made(entry, source)).example
    assert " at 0x" not in shown
    assert "..." not in shown
    assert all(len(re.findall(r"-?\d+\.?\d*", part)) <= 20 for part in re.split(r"\n(?=\w+ =|Your)", shown))
    assert len(shown) < 1200


def test_of_many_numbers_the_shape_and_the_first_row_are_shown():
    shown = verdict("8.6", elbo_with_kl(lambda kl: kl.sum(1) / 784)).example
    assert "shape (4, 1, 28, 28), of which the first is [" in shown
    assert "p =\nshape (5, 3), of which [1] is [" in verdict("2.5", clamped_at_1e_6, name="kl").example
    assert "f = bend: the squares of z" in verdict("6.5", lambda f, mu, logvar, eps: eps, name="score").example


def test_another_mistake_between_begins_anew(capsys):
    assert "\n" not in escalation(kl_swapped, capsys).strip()
    check("2.5", lambda p, q: "text", name="kl")
    capsys.readouterr()
    check("2.5", kl_swapped, name="kl")
    assert "smallest" not in capsys.readouterr().out


def kl(p, q):
    return (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(-1)


kl_swapped = kl


COUNTS = {"draw", "elbo_by_draws", "encoder", "active"}  # draws and counts have no digits of their own


@pytest.mark.parametrize("entry", [entry for entry in CODE if entry["name"] not in COUNTS], ids=title)
def test_the_number_that_is_asked_for_is_never_told(entry):
    """No number of the right result, to three digits, stands in what is said."""
    job = checking.job_of(entry["exercise"], entry["name"], True)
    asked = {f"{abs(x):.3g}" for part in job.right[0].parts for x in np.ravel(part)[:50] if math.isfinite(x)}
    asked = {digits for digits in asked if len(digits.strip("0.")) >= 3}
    for part in entry["wrong"]:
        message = verdict(entry["exercise"], made(entry, part["code"])).message
        assert not any(digits in message for digits in asked), message


# A checker that was broken on purpose: the assertion that holds the whole one does not hold.


def guard_mistakes():
    for entry, part in MISTAKES[15:40:4]:
        found = verdict(entry["exercise"], made(entry, part["code"]))
        assert not found.right
        assert found.message == part["reply"]


def guard_right():
    for exercise, name, function in RIGHT[5:8]:
        assert verdict(exercise, function, name=name).right


def guard_escalation(capsys):
    assert escalation(kl, capsys) != escalation(kl, capsys)


def test_the_guards_hold_for_the_whole_checker(capsys):
    guard_mistakes()
    guard_right()
    guard_escalation(capsys)


def without_cases(job):
    empty = [(reply, [], limits) for reply, _, limits in job.wrong]
    return job._replace(cases=[], right=[], wrong=empty)


def test_without_cases_the_guard_fails(monkeypatch):
    whole = checking.job_of
    monkeypatch.setattr(checking, "job_of", lambda *names: without_cases(whole(*names)))
    with pytest.raises(AssertionError):
        guard_mistakes()


def test_with_a_comparison_that_is_always_true_the_guard_fails(monkeypatch):
    monkeypatch.setattr(checking, "agree", lambda *results: True)
    with pytest.raises(AssertionError):
        guard_mistakes()


def test_with_a_comparison_that_is_never_true_the_guard_fails(monkeypatch):
    monkeypatch.setattr(checking, "agree", lambda *results: False)
    with pytest.raises(AssertionError):
        guard_right()


def test_with_a_diagnosis_that_is_always_the_first_the_guard_fails(monkeypatch):
    monkeypatch.setattr(checking, "_named", lambda got, job: job.wrong[0][0])
    with pytest.raises(AssertionError):
        guard_mistakes()


def test_without_escalation_the_guard_fails(monkeypatch, capsys):
    monkeypatch.setattr(checking, "_escalated", lambda key, found: found.message)
    with pytest.raises(AssertionError):
        guard_escalation(capsys)


# Where there is no PyTorch, and how long it takes.

WITHOUT_TORCH = """
import json, math, sys


class NoTorch:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("no torch here", name=name)


sys.meta_path.insert(0, NoTorch())
import numpy as np
from scipy import special
from vae_tutorial.exercises import catalogue
from vae_tutorial.exercises.checking import verdict

count = 0
for number in json.loads(sys.argv[1]):
    if number[0] not in "12345" or number[1] != ".":
        continue
    for entry in catalogue.entries(number, "code"):
        parts = [(None, entry["right"]), *((part["reply"], part["code"]) for part in entry["wrong"])]
        for reply, source in parts:
            space = {"np": np, "math": math, "special": special}
            exec(entry["cases"], space)
            exec(source, space)
            found = verdict(number, space[entry["name"]])
            assert found.message == (reply or "right."), (entry["name"], found.message)
            count += 1
print(count)
"""


@pytest.mark.process
def test_chapters_1_to_5_are_checked_where_there_is_no_pytorch():
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, json.dumps(list(NUMBERS))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60


@pytest.mark.process
def test_importing_the_exercises_needs_no_pytorch():
    code = "import sys, vae_tutorial.exercises as e, vae_tutorial.exercises.checking; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.timed
def test_a_check_takes_less_than_a_second():
    for entry in CODE:
        checking.job_of.cache_clear()  # the first check computes the mistakes too
        for source in (entry["wrong"][-1]["code"], "def other(*arguments):\n    return arguments[0]"):
            name = entry["name"]
            function = made({**entry, "name": "other"} if "other" in source else entry, source)
            start = time.perf_counter()
            verdict(entry["exercise"], function, name=name)
            assert time.perf_counter() - start < 1, entry["exercise"]
