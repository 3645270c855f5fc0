"""The self-tests of the three parts: every number once more by another route, every wrong one by making the mistake."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from browser import serve, watched_page
from test_answers import FIELDS, near, numbers, replies_of, value
from test_fields import ALL
from torch.distributions import Categorical, MixtureSameFamily, Normal

from vae_tutorial import exact, information, ledger, likelihoods
from vae_tutorial.exercises import catalogue

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import clock  # noqa: E402
import self_tests as pictures  # noqa: E402

PAGES = {part: (ROOT / "book" / f"self_test_{part}.md").read_text("utf-8") for part in (1, 2, 3)}
CHAPTERS = {1: range(1, 3), 2: range(3, 7), 3: range(7, 13)}
ENTRIES = [
    entry
    for part in PAGES
    for entry in json.loads((ROOT / "vae_tutorial" / "answers" / f"self_{part}.json").read_text("utf-8"))
]
NUMBERS = [entry for entry in ENTRIES if entry["kind"] == "number"]
CHOICES = [entry for entry in ENTRIES if entry["kind"] == "choice"]
every = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['exercise']}-{entry['ask'][:3]}")
e = math.e


def questions(part):
    """The text of each question of a page, by its number."""
    found = re.split(r"^## (?:(\d+)\. .*|What to read again)$", PAGES[part], flags=re.M)[1:]
    return {int(number): text for number, text in zip(found[::2], found[1::2], strict=True) if number}


def folded(exercise):
    _, part, number = exercise.split("-")
    return re.search(r"^````\{dropdown\} Answer\n(.*?)^````$", questions(int(part))[int(number)], re.M | re.S)[1]


def code(exercise):
    _, part, number = exercise.split("-")
    block = r"^```\{code-block\} python\n:linenos:\n\n(.*?)^```$"
    return re.search(block, questions(int(part))[int(number)], re.M | re.S)[1]


def of(exercise):
    return next(entry for entry in ENTRIES if entry["exercise"] == exercise)


def right(exercise):
    return [c["says"] for entry in ENTRIES if entry["exercise"] == exercise for c in entry["choices"] if c["right"]]


def headings(chapter):
    """The headings of a chapter's file, and the labels beside them."""
    path = next((ROOT / "notebooks").glob(f"{chapter:02d}_*.ipynb"))
    text = "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"])
    return path.name, re.findall(r"^#+ (.*)$", text, re.M), re.findall(r"^\(([\w-]+)\)=$", text, re.M)


# The form of pages and entries


@pytest.mark.parametrize("part", PAGES)
def test_each_question_has_one_field_one_answer_and_one_row(part):
    asked = questions(part)
    assert list(asked) == list(range(1, 11))
    for number, text in asked.items():
        assert re.findall(r"^```\{answer-field\} (\S+)\n```$", text, re.M) == [f"self-{part}-{number}"]
        assert text.count("{dropdown} Answer") == 1
        assert text.index("{answer-field}") < text.index("{dropdown}")
        assert not re.search(r"^\d+[.)] ", text, re.M), "Markdown takes this for a list"
    assert re.findall(r"^\| (\d+) \|", PAGES[part], re.M) == [str(number) for number in asked]
    labels = [entry["exercise"] for entry in ENTRIES if entry["exercise"].startswith(f"self-{part}-")]
    assert list(dict.fromkeys(labels)) == [f"self-{part}-{number}" for number in asked]
    kinds = [entry["kind"] for entry in ENTRIES if entry["exercise"].startswith(f"self-{part}-")]
    assert min(kinds.count("number"), kinds.count("choice")) >= 4
    assert PAGES[part].count("## ") == 11
    assert len(re.findall(r"^## \d+\. Find the bug", PAGES[part], re.M)) >= 2
    for block in map(code, (f"self-{part}-{n}" for n, text in asked.items() if "Find the bug" in text)):
        assert 2 <= len(block.splitlines()) <= 8


@pytest.mark.parametrize("part", PAGES)
def test_sections_to_read_again_exist(part):
    links = re.findall(r"\[([^]]+)\]\(\.\./notebooks/(\w+\.ipynb)(?:#([\w-]+))?\)", PAGES[part])
    assert len(links) > 10
    for text, name, anchor in links:
        file, heads, labels = headings(int(name[:2]))
        assert file == name
        assert int(name[:2]) in CHAPTERS[part]
        assert not anchor or anchor in [*map(clock.slug, heads), *labels], f"{name}#{anchor}"
        assert not anchor or any(head.startswith(text) for head in heads), text


@every
def test_an_entry_is_whole_and_its_replies_lead_to_sections_of_its_part(entry):
    assert set(entry) == FIELDS[entry["kind"]]
    for reply in replies_of(entry):
        for chapter, title in re.findall(r"Chapter (\d+), (.+?[.?])(?:$| )", reply):
            assert int(chapter) in CHAPTERS[int(entry["exercise"][5])], reply
            assert any(head.startswith(title.rstrip(".")) for head in headings(int(chapter))[1]), reply


@pytest.mark.parametrize("entry", CHOICES, ids=lambda entry: entry["exercise"] + entry["ask"][:3])
def test_one_choice_is_right_and_the_answer_begins_with_it(entry):
    assert 3 <= len(entry["choices"]) <= 5
    assert all(set(choice) == {"says", "right", "reply"} for choice in entry["choices"])
    [says] = [choice["says"] for choice in entry["choices"] if choice["right"]]
    assert len({choice["says"] for choice in entry["choices"]}) == len(entry["choices"])
    mark = re.match(r"\(\d\) ", entry["ask"])
    told = folded(entry["exercise"])
    assert told[told.index(mark[0]) + 4 :].startswith(says + ".") if mark else told.lower().startswith(says.lower())


# Numbers, by another route


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def density_entropy(length):
    """Differential entropy of a uniform number, as a sum over a grid."""
    x = (torch.arange(1000, dtype=torch.float64) + 0.5) * length / 1000
    log_p = torch.distributions.Uniform(0.0, tensor(length)).log_prob(x)
    return float((-log_p.exp() * log_p).sum() * length / 1000)


def pixel_and_kind():
    joint = tensor([3, 1], [1, 3]) / 8  # kind, pixel on and off
    apart = joint.sum(1, keepdim=True) * joint.sum(0)
    told = information.kl_divergence(joint.flatten(), apart.flatten())
    left = information.entropy(joint / joint.sum(1, keepdim=True)).mean()
    bits = information.kl_divergence(joint.flatten(), apart.flatten(), unit="bits")
    points = 2 * 3 / 8 * torch.log(joint[0, 0] / apart[0, 0])
    other = information.kl_divergence(2 * joint[0], 2 * joint[1])
    return [told, left, information.entropy(joint.sum(1)), bits, information.entropy(joint.flatten()), points, other]


def hundred_pixels():
    p, q = tensor(0.5, 0.5), tensor(0.25, 0.75)
    waste = information.kl_divergence(p, q)
    on = 0.5 * torch.log(p[0] / q[0])
    back, bits = information.kl_divergence(q, p), information.kl_divergence(p, q, unit="bits")
    each = [waste, back, bits, information.cross_entropy(p, q), information.entropy(p), on, -waste]
    return [100 * waste, *(number if n == 0 else 100 * number for n, number in enumerate(each))]


def mean_of_the_kl():
    scope = {"torch": torch, "F": F, "x": torch.rand(128, 784).round(), "theta": torch.full((128, 784), 0.4)}
    drawn = torch.randn(2, 128, 20, generator=torch.Generator().manual_seed(0))
    exec(code("self-1-8"), scope | {"encoder": lambda x: drawn}, scope)
    per_image = information.gaussian_kl(*drawn).mean()
    times = float(per_image / scope["kl"])
    summed = float(information.gaussian_kl(*drawn).sum() / scope["kl"])
    return [times, 128, summed, 28 * 28, 1 / 0.5, 1 / times, 28 * 28 / times]


PEN = tensor([0.2, 0.8])[0]
ON = tensor([0.9, 0.25])[0]


def thick():
    joint = PEN * ON**2
    one, both = PEN * ON, ON**2
    return [joint[0] / joint.sum(), both[0], both[0] / both.sum(), joint[0], one[0] / one.sum(), joint.sum(),
            joint[1] / joint.sum(), PEN[0]]  # fmt: skip


def bound_by_hand():
    joint, q, likelihood = PEN * ON**2, tensor(0.5, 0.5), ON**2
    posterior = joint / joint.sum()
    gap, log_p = information.kl_divergence(q, posterior), joint.sum().log()
    reconstruction, length, refund = (q * likelihood.log()).sum(), -(q * joint.log()).sum(), information.entropy(q)
    elbo = reconstruction - information.kl_divergence(q, PEN)
    assert elbo == pytest.approx(float(log_p - gap))
    return [elbo, -length, -length - refund, log_p, reconstruction, reconstruction + refund, gap, -elbo,
            elbo / math.log(2)]  # fmt: skip


def bill():
    """The parts of the picture by sums over a grid of z, to the two digits that stand in it."""
    x, noise, mean, deviation = pictures.BILL
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    q, step = Normal(tensor(mean), tensor(deviation)), 18 / 20_000
    log_likelihood, log_prior = Normal(z, noise**0.5).log_prob(tensor(x)), Normal(0.0, 1.0).log_prob(z)
    log_p = torch.logsumexp(log_likelihood + log_prior, 0) + math.log(step)
    weight = q.log_prob(z).exp() * step
    gap = (weight * (q.log_prob(z) - log_likelihood - log_prior + log_p)).sum()
    pixels, price = -(weight * log_likelihood).sum(), (weight * (q.log_prob(z) - log_prior)).sum()
    parts = [float(part) for part in (-log_p, gap, pixels, price)]
    assert parts == pytest.approx(pictures.bill_parts(), abs=1e-4)
    evidence, gap, pixels, price = (round(part, 2) for part in parts)
    return [gap, price, evidence, pixels, evidence + gap, price - gap]


def noise():
    eps, scope = torch.ones(1, 3).double(), {}
    told = torch.zeros(1, 3).double(), torch.full((1, 3), -4.0).double()
    fake = type("T", (), {"exp": torch.exp, "randn_like": lambda mu: eps})
    exec(code("self-2-8"), {"encoder": lambda x: told, "x": None, "torch": fake}, scope)
    used, sigma = float(scope["z"][0, 0]), float(told[1][0, 0].exp().sqrt())
    assert float(scope["kl"]) == pytest.approx(float(information.gaussian_kl(*told)))
    return [sigma / used, 1 / used, 4 / 2, (sigma / used) ** 0.5, sigma, used, 4]


def estimate():
    """Weights for which the code prints 78.5; then what it should have printed."""
    log_w = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0)).double()
    log_w -= torch.logsumexp(log_w, 0) + 78.5
    scope = {"torch": torch, "print": lambda nats: said.append(float(nats)), "x": None}
    said, zero = [], torch.zeros(5000, 3).double()
    q = type("Q", (), {"sample": lambda self, shape: torch.zeros(*shape, 3, 2)})()
    exec(code("self-2-9"), scope | {"log_p_xz": lambda x, z: log_w, "log_q": lambda z: zero, "q": q})
    true = float(-log_w.exp().mean(0).log().mean())
    assert said == [pytest.approx(78.5)]
    k = true - said[0]  # log k
    return [true, 78.5 - k, 78.5 / e**k, 78.5 + math.log10(e**k), 78.5 + math.log2(e**k), 78.5 * e**k, said[0]]


def precision():
    mu = torch.randn(8, generator=torch.Generator().manual_seed(0)).double()
    before, after = (information.gaussian_kl(mu, torch.full((8,), 2 * math.log(s)).double()) for s in (0.1, 0.025))
    rise, one, halving = float(after - before), math.log(0.1) - math.log(0.025), math.log(0.1) - math.log(0.05)
    return [rise, one, 8 * math.log2(0.1 / 0.025), 8 * halving, 2 * 8 * one, -rise, 8 * one - rise]


def twice():
    """The least by trying all outputs of the decoder on a grid."""
    x = torch.zeros(1, 784).double()
    x[0, :100] = 1
    costs = {}
    for logit in torch.linspace(-40, 40, 41).double():
        scope = {"torch": torch, "F": F, "x": x, "z": None, "decoder": lambda z, at=logit: at.expand(1, 784)}
        exec(code("self-3-4").replace('reduction="sum"', 'reduction="none"').replace("/ len(x)", ""), scope)
        costs[float(logit)] = scope["pixels"][0]
    least = torch.stack(list(costs.values())).amin(0)
    return [least.sum(), F.binary_cross_entropy_with_logits(80 * x - 40, x), costs[-40.0].sum(), 784 * least[0],
            least[100:].sum(), least[:100].sum(), costs[40.0].sum()]  # fmt: skip


def smaller_error():
    D, means = 3 * 32 * 32, []
    for mse in (0.018, 0.020):
        errors = torch.full((D,), mse**0.5).double()
        means.append(Normal(0.0, tensor(mse).sqrt()).log_prob(errors).sum())
    rise = means[0] - means[1]
    one = Normal(0.0, 1.0).log_prob(tensor(0.018).sqrt()) - Normal(0.0, 1.0).log_prob(tensor(0.020).sqrt())
    return [rise, 2 * rise, rise / D, rise / 3, 2 * D * one, D * one, -rise, rise / math.log(2)]


def halfway():
    a, b = torch.randn(2, 20_000, 50, generator=torch.Generator().manual_seed(0)).double()
    middle, end = ((a + b) / 2).norm(dim=1), a.norm(dim=1)
    return [
        middle.mean(),
        end.mean(),
        middle.square().mean(),
        end.mean() / 2,
        ((a - a) / 2).norm(),
        end.square().mean(),
    ]


def weight():
    seen = []
    scope = {"batches": [None], "model": None, "parts": lambda model, x: (tensor(0.0), tensor(1.0))}
    exec(code("self-3-10") + "    seen.append(beta)\n", scope | {"seen": seen})
    assert len(seen) == 50
    return [seen[-1], min(1, 400 / 400), seen[-1] + seen[1], 49 / len(seen), 1 / seen[-1], len(seen) - 1, seen[0]]


nats = 120 * 1000
ROUTES = {
    "self-1-1": [nats / math.log(256) / 1e3, nats / 8e3, nats / math.log2(e) / 8e3, math.log2(e) * nats / 1e3,
                 nats / 1e3, 120 / math.log(256) / 1e3, 28 * 28 * nats / math.log(256) / 1e3],
    "self-1-3": [density_entropy(50), density_entropy(0.5), 100 * density_entropy(0.5), density_entropy(100),
                 density_entropy(100) - density_entropy(0.5), -density_entropy(50), math.log2(50)],
    "self-1-5": pixel_and_kind,
    "self-1-8": mean_of_the_kl,
    "self-1-10": hundred_pixels,
    "self-2-1": thick,
    "self-2-2": bound_by_hand,
    "self-2-4": [e**17 / e**14, 17 - 14, 17 / 14, 2**17 / 2**14, 10**17 / 10**14, e**17, e**14, e**14 / e**17],
    "self-2-6": bill,
    "self-2-8": noise,
    "self-2-9": estimate,
    "self-3-1": precision,
    "self-3-4": twice,
    "self-3-6": smaller_error,
    "self-3-7": halfway,
    "self-3-10": weight,
}  # fmt: skip


@pytest.mark.parametrize("entry", NUMBERS, ids=lambda entry: entry["exercise"])
def test_numbers_are_right_and_wrong_as_they_say(entry):
    route = ROUTES[entry["exercise"]]
    found = [float(number) for number in (route() if callable(route) else route)]
    stored = [value(entry["answer"]), *(value(part["answer"]) for part in entry["wrong"])]
    tolerance = 0.01 if entry["exercise"] == "self-3-7" else 1e-4
    assert stored == pytest.approx(found, rel=tolerance, abs=1e-9)
    for i, a in enumerate(stored):
        assert not any(near(a, b) for b in stored[:i] + stored[i + 1 :]), f"{a} cannot be told apart"
    for part in entry["wrong"]:
        assert not any(near(n, stored[0]) for n in numbers(part["reply"])), f"it gives the answer away: {part['reply']}"
    said = numbers(re.sub(r"(\d+)/(\d+)", "", folded(entry["exercise"])))
    assert any(near(n, stored[0]) for n in said), "not what the folded answer says"


# Choices: what is claimed is computed


def test_maps_have_the_entropies_that_the_answer_says():
    entropies = {}
    for name, pixels in pictures.MAPS.items():
        values = torch.tensor([p for p, count in pixels.items() for _ in range(count)], dtype=torch.float64)
        assert len(values) == 36
        entropies[name] = float(information.entropy(torch.stack([values, 1 - values], -1)).sum())
        assert f"{entropies[name]:.1f}".removesuffix(".0") in folded("self-1-2")
    assert right("self-1-2") == [max(entropies, key=entropies.get)]
    assert entropies["C"] == 0
    drawn = pictures.maps()
    assert drawn.count('fill-opacity="0.95"') == 14
    assert drawn.count('fill-opacity="0.5"') == 12
    assert drawn.count('fill-opacity="1"') == 18


def test_one_digit_of_probability_0_makes_the_mean_infinite():
    theta = tensor(0.5, 0.0)
    images = torch.zeros(1000, 2).double()
    images[0, 1] = 1  # ink that training never had
    cost = -torch.where(images == 1, theta.log(), (1 - theta).log()).sum(-1)
    assert cost[1:].isfinite().all()
    assert cost.mean() == math.inf
    assert right("self-1-4") == ["infinitely many nats"]


def test_stand_ins_have_the_kls_that_the_answer_says():
    shares, means, deviation = pictures.BUMPS
    p = MixtureSameFamily(Categorical(tensor(*shares)), Normal(tensor(*means), tensor(deviation)))
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    forward, reverse = {}, {}
    for name, (mean, width) in pictures.STAND_INS.items():
        q = Normal(tensor(mean), tensor(width))
        log_p, log_q = p.log_prob(x), q.log_prob(x)
        forward[name] = float(torch.trapezoid(log_p.exp() * (log_p - log_q), x))
        reverse[name] = float(torch.trapezoid(log_q.exp() * (log_q - log_p), x))
    assert right("self-1-6") == [min(forward, key=forward.get), min(reverse, key=reverse.get)]
    assert reverse["A"] == pytest.approx(-math.log(0.4), rel=0.01)
    said = numbers(folded("self-1-6"))
    assert all(any(near(n, kl) or abs(n - kl) <= 0.06 for n in said) for kl in [*forward.values(), *reverse.values()])
    assert pictures.STAND_INS["D"][1] == pytest.approx(float(p.variance.sqrt()), rel=0.05)


def test_the_kl_from_draws_returns_what_the_page_says():
    p, q, results = Normal(0.0, 1.0), Normal(1.0, 2.0), {}
    true, back = torch.distributions.kl_divergence(p, q), torch.distributions.kl_divergence(q, p)
    changes = {"": ("", ""), "Line 3": ("q.sample", "p.sample"), "Line 4": ("p.log_prob(x) - q", "q.log_prob(x) - p")}
    changes["Line 5"] = ("felt.mean()", "felt.exp().mean().log()")
    for line, change in changes.items():
        scope = {}
        exec(code("self-1-7").replace(*change) if line else code("self-1-7"), scope)
        torch.manual_seed(0)
        results[line] = float(scope["kl"](p, q))
    assert [line for line in changes if results[line] == pytest.approx(float(true), abs=0.02)] == right("self-1-7")
    assert [results[""], results["Line 4"]] == pytest.approx([-float(back), float(back)], abs=0.03)
    assert results["Line 5"] == pytest.approx(0, abs=0.03)
    assert f"{-back:.2f}".replace("-", "−") in questions(1)[7]
    assert f"is {true:.2f}." in questions(1)[7]


def test_the_floor_is_the_ledgers():
    floor = ledger.floor()
    assert f"{floor.nats:.2f} ± {floor.stderr:.2f}" in questions(1)[9]
    assert 43.9 + 3 * (0.3 + floor.stderr) < floor.nats


def test_the_average_posterior_is_the_prior_for_the_models_own_images_only():
    torch.manual_seed(0)
    model = exact.BernoulliMixture(tensor(0.1, 0.9), torch.rand(2, 1, 3, 3).double())
    kinds = Categorical(model.weights).sample((40_000,))
    own = torch.bernoulli(model.probs[kinds])
    assert model.responsibilities(own)[:, 0].mean() == pytest.approx(0.1, abs=0.01)
    other = torch.bernoulli(model.probs[1 - kinds])
    assert abs(float(model.responsibilities(other)[:, 0].mean()) - 0.1) > 0.05
    error = (0.1 * 0.9 / 10_000) ** 0.5
    assert error < 0.005
    assert 5 * error < 0.15 - 0.10


def test_all_draws_together_say_what_the_answer_says():
    said = {choice["says"] for choice in of("self-2-5")["choices"]}
    a, b = tensor(-91.0, -95.0)
    together = torch.logsumexp(torch.stack([a, b]), 0) - math.log(2)
    assert {f"{n:.1f}".replace("-", "−") for n in (a, together, (a + b) / 2, b)} == said
    assert right("self-2-5") == [f"{together:.1f}".replace("-", "−")]


def test_of_two_encoders_the_gaps_differ_as_the_elbos_do():
    model, x = exact.curved(), tensor([0.1, 0.5])
    found = []
    for mu, sigma in ((1.1, 0.15), (0.9, 0.2)):
        q = torch.full((1, 1), mu).double(), torch.full((1, 1), 2 * math.log(sigma)).double()
        found.append((model.elbo(x, *q), model.kl_to_posterior(x, *q), information.gaussian_kl(*q)))
    (elbo, gap, price), (elbo2, gap2, price2) = found
    assert float(elbo - elbo2) == pytest.approx(float(gap2 - gap), abs=1e-6)
    assert abs(float(elbo - elbo2) - float(price2 - price)) > 0.1


def test_at_a_jump_only_the_score_function_sees_the_slope():
    torch.manual_seed(0)
    eps, mu, sigma = torch.randn(400_000), torch.tensor(0.3, requires_grad=True), 1.0
    z = mu + sigma * eps
    f = (z > 0).float() + 0 * z  # a jump; its slope is 0 at every draw
    (path,) = torch.autograd.grad(f.mean(), mu)
    score = (f * eps / sigma).mean().item()
    true = float(Normal(0.0, 1.0).log_prob(torch.tensor(0.3)).exp())
    assert path == 0
    assert score == pytest.approx(true, abs=0.01)
    assert right("self-2-10") == ["The score function alone"]


def test_encoders_are_what_the_question_says():
    """What z tells of the image, and the share of the prior's draws where codes are much rarer than the prior."""
    told, far = {}, {}
    generator = torch.Generator().manual_seed(0)
    for name, (means, deviation) in pictures.ENCODERS.items():
        mu = torch.tensor(means, dtype=torch.float64)
        n = torch.randint(12, (20_000,), generator=generator)
        draws = torch.randn(2, 20_000, 2, generator=generator, dtype=torch.float64)

        def log_q(z, mu=mu, deviation=deviation):
            return Normal(mu, deviation).log_prob(z[:, None]).sum(-1)  # (draws, 12)

        of_codes = log_q(mu[n] + deviation * draws[0])
        told[name] = float((of_codes[range(20_000), n] - torch.logsumexp(of_codes, 1)).mean() + math.log(12))
        at_prior = torch.logsumexp(log_q(draws[1]), 1) - math.log(12)
        far[name] = float((at_prior < Normal(0.0, 1.0).log_prob(draws[1]).sum(-1) - math.log(3)).double().mean())
    assert told["A"] > 2.4  # of log 12 = 2.48
    assert told["B"] < 0.01
    assert far["A"] > 0.9
    assert max(far["B"], far["C"]) < 0.1
    assert right("self-3-2") == ["A"]


def test_the_mean_code_scores_better_than_a_draw():
    """For a decoder that is linear in z, log p(x | z) bends down: no mean code is worse than its draws on average."""
    torch.manual_seed(0)
    W, x = torch.randn(4, 784), torch.rand(50, 1, 28, 28).round()
    encoded = torch.randn(50, 4), torch.zeros(50, 4)
    model = type("M", (), {"encode": lambda self, x: encoded, "decode": lambda self, z: (z @ W).view(-1, 1, 28, 28)})()
    scope = {"gaussian_kl": information.gaussian_kl, "bernoulli_log_prob": likelihoods.Bernoulli().log_prob}
    exec(code("self-3-3"), scope)
    said = scope["test_elbo"](model, x)
    mended = code("self-3-3").replace("decode(mu)", "decode(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))")
    scope["torch"] = torch
    exec(mended, scope)
    draws = torch.stack([scope["test_elbo"](model, x) for _ in range(20)])
    assert said > draws.max() + 10


def test_stamps_are_even_for_the_right_kernel_only():
    even = []
    for choice in of("self-3-5")["choices"]:
        kernel = torch.ones(1, 1, int(choice["says"]), 1)
        stamps = F.conv_transpose2d(torch.ones(1, 1, 9, 1), kernel, stride=(3, 1))[0, 0, 8:-8, 0]
        counts = sorted({int(n) for n in stamps})
        if len(counts) == 1:
            even.append(choice["says"])
        elif f"with {choice['says']} it gets" in folded("self-3-5").replace("With", "with"):
            assert f"{counts[1]} or {counts[0]}" in folded("self-3-5")
    assert even == right("self-3-5")


def test_the_curve_has_the_best_elbo_where_the_answer_says():
    sums = {name: rate + distortion for name, (rate, distortion) in pictures.points().items()}
    assert right("self-3-9") == [min(sums, key=sums.get)]
    for name, total in sums.items():
        assert f"{total:.1f} for {name}" in folded("self-3-9")
    assert "3, 0.1, 1 and 5" in folded("self-3-9")
    assert list(pictures.PRICES.values()) == ["3", "0.1", "1", "5"]


@pytest.mark.parametrize("file", pictures.draw(), ids=lambda file: file.stem)
def test_a_picture_is_what_its_tool_draws_and_stands_in_one_page(file):
    drawn = file.read_text("utf-8")
    assert drawn == pictures.draw()[file], "edit tools/self_tests.py and run tools/figures.py, not the SVG"
    label = re.search(r'role="img" aria-label="([^"]{80,})"', drawn)[1]
    assert "  " not in label
    where = [part for part, text in PAGES.items() if f":file: _static/figures/{file.name}\n" in text]
    assert where == [int(file.stem.split("_")[1])]


# In the built page


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
@pytest.mark.parametrize("part", PAGES)
def test_right_and_wrong_answers_are_told_in_the_page(built, chromium, part, theme, width):
    fields = [field for n in range(1, 11) for field in catalogue.fields(f"self-{part}-{n}")]
    inputs, wanted = [], []
    for field in fields:
        if "choices" in field:
            inputs.append(list(range(len(field["choices"]))))
            wanted.append([("right" if ok else "wrong", reply) for _, ok, reply in field["choices"]])
        else:
            inputs.append([repr(number) for number, _ in field["wrong"]] + [str(field["answer"])])
            wanted.append([("wrong", reply) for _, reply in field["wrong"]] + [("right", "Right.")])
    with serve(built, "/") as site, watched_page(chromium, site) as (opened, wrong, _):
        opened.set_viewport_size({"width": width, "height": 900})
        opened.emulate_media(color_scheme=theme)
        opened.goto(f"{site}book/self_test_{part}.html")
        told = opened.evaluate(ALL, inputs)
        assert [[(state, said) for state, _, said, _ in answers] for answers in told] == wanted
        for box in opened.locator(".answers").all():
            assert box.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert not wrong
