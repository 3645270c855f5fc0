"""The autoregressive likelihood by enumeration of all images; the model around it against a grid in z."""

import importlib.util
import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vae_tutorial import data, evaluation, models, objectives, training
from vae_tutorial.pixelvae import AutoregressiveBernoulli, PixelVAE


def every_image(height, width):
    """All 2^(H W) black-and-white images, (2^(H W), 1, H, W)."""
    bits = torch.arange(2 ** (height * width))[:, None] >> torch.arange(height * width) & 1
    return bits.double().view(-1, 1, height, width)


def likelihood_of(features, reach, seed=0):
    """A likelihood with weights large enough that neighbours matter."""
    torch.manual_seed(seed)
    made = AutoregressiveBernoulli(features, reach).double().eval()
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(2)
    return made


@pytest.fixture
def tiny():
    """A PixelVAE of 4 x 4 pixels and one latent unit, in float64, and its 65,536 images."""
    torch.manual_seed(1)
    model = PixelVAE(1, (2, 3), features=4, reach=2, image_shape=(1, 4, 4)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.3)
    return model, every_image(4, 4)


def test_probabilities_sum_to_one(generator):
    likelihood, x = likelihood_of(5, 2), every_image(3, 4)
    parameters = torch.randn(3, 1, 5, 3, 4, generator=generator, dtype=torch.float64)  # three z
    log_p = likelihood.log_prob(x, parameters)
    assert log_p.shape == (3, 4096)
    assert torch.allclose(log_p.exp().sum(1), torch.ones(3, dtype=torch.float64), rtol=1e-12)


@pytest.mark.parametrize("reach", [1, 2])
def test_a_pixel_sees_its_neighbourhood_and_nothing_else(reach, generator):
    """Flip one pixel. Its own two probabilities add up to one; only later pixels within reach change, and all those."""
    height, width = 4, 7
    likelihood = likelihood_of(32, reach)
    parameters = torch.randn(32, height, width, generator=generator, dtype=torch.float64)
    x = (torch.rand(1, height, width, generator=generator) < 0.5).double()
    before = likelihood.pixel_log_prob(x, parameters)[0]
    for i, j in itertools.product(range(height), range(width)):
        flipped = x.clone()
        flipped[0, i, j] = 1 - flipped[0, i, j]
        after = likelihood.pixel_log_prob(flipped, parameters)[0]
        assert (before[i, j].exp() + after[i, j].exp()).item() == pytest.approx(1, abs=1e-12)
        changed = {tuple(place) for place in ((before - after).abs() > 1e-12).nonzero().tolist()} - {(i, j)}
        inside = itertools.product(range(i, i + reach + 1), range(j - reach, j + reach + 1))
        later = {(a, b) for a, b in inside if (a, b) > (i, j) and a < height and 0 <= b < width}
        assert changed == later


def test_gradients_agree_that_no_pixel_sees_itself_or_later_ones(generator):
    """The second derivative of log p in x_i and x_j: zero unless one is the other's neighbour; for i = j zero too."""
    likelihood = likelihood_of(4, 1)
    parameters = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
    x = torch.rand(1, 3, 3, generator=generator, dtype=torch.float64)

    def logits(x):
        zeros, ones = (likelihood.pixel_log_prob(x * 0 + value, parameters) for value in (0.0, 1.0))
        assert zeros.isfinite().all()
        assert ones.isfinite().all()
        seen = likelihood.look(torch.nn.functional.pad(x, (1, 1, 1, 0))[None])
        return likelihood.logit(parameters + seen).flatten()

    slopes = torch.autograd.functional.jacobian(logits, x).view(9, 9)
    assert (slopes.triu() == 0).all()
    assert (slopes.tril(-1) != 0).any()


def test_draws_are_as_frequent_as_log_prob_says(generator):
    likelihood, x = likelihood_of(4, 2, seed=3), every_image(2, 3)
    parameters = 2 * torch.randn(4, 2, 3, generator=generator, dtype=torch.float64)
    p = likelihood.log_prob(x, parameters).exp()  # (64,)
    n = 50_000
    draws = likelihood.sample(parameters.expand(n, -1, -1, -1), generator)
    counts = torch.bincount((draws.flatten(1).long() << torch.arange(6)).sum(1), minlength=64)
    chi_square = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi_square < 63 + 5 * math.sqrt(2 * 63)
    assert draws.shape == (n, 1, 2, 3)
    one = likelihood.sample(parameters, torch.Generator().manual_seed(1))
    assert one.shape == (1, 2, 3)
    assert torch.equal(one, likelihood.sample(parameters, torch.Generator().manual_seed(1)))


def test_bounds_lie_below_log_p_and_log_p_sums_to_one(tiny, generator):
    model, x = tiny
    some = x[:: len(x) // 8]
    points = torch.linspace(-8, 8, 161, dtype=torch.float64)[:, None]  # (G, Z)
    log_share = (-0.5 * points.square()).log_softmax(0)  # of the prior
    with torch.no_grad():
        exact = (log_share + model.likelihood.log_prob(some, model.decode(points[:, None]))).logsumexp(0)
        three = sum(model.likelihood.log_prob(x, model.decode(z)).exp() for z in points[40::40]) / 4
        assert three.sum().item() == pytest.approx(1, abs=1e-9)
        elbo = objectives.elbo(model, some, samples=2000, generator=generator).elbo
        bounds = torch.stack([objectives.iwae_bound(model, some, 20, generator) for _ in range(100)])
    bound, error = bounds.mean(0), bounds.std(0) / 10
    assert (elbo < bound).all()
    assert (bound < exact + 4 * error).all()
    for estimate in (
        evaluation.log_marginal(model, some, 2000, generator),
        evaluation.log_marginal(model, some, 500, generator, proposal="refined", steps=10),
    ):
        assert ((estimate.value - exact).abs() < 5 * estimate.stderr + 1e-4).all()


def test_trains_by_fit_in_half_precision_and_is_measured_in_float32(tmp_path):
    torch.manual_seed(0)
    images = data.load("digits").images[:640]
    model = PixelVAE(4, (8, 8), features=8, reach=2)
    history = training.fit(model, images, epochs=2, batch_size=32, lr=5e-3, test=images[:100], progress=False)
    assert history["elbo"][-1] > history["elbo"][0] + 5
    assert all(p.dtype == torch.float32 for p in model.parameters())
    x = data.binarize_bytes(images[:50], torch.Generator().manual_seed(0))
    values = []
    for mode in (True, False):
        model.train(mode)
        with torch.no_grad():
            values.append(objectives.elbo(model, x, generator=torch.Generator().manual_seed(0)).elbo)
    assert not torch.equal(*values)  # bfloat16 is in use
    assert (values[0] - values[1]).abs().mean() < 0.5
    models.save(model, tmp_path / "m.safetensors")
    again = models.load(tmp_path / "m.safetensors")
    assert torch.equal(objectives.elbo(again, x, generator=torch.Generator().manual_seed(0)).elbo, values[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": (8,)}, r"channels must be two numbers; got \(8,\)"),
        ({"image_shape": (3, 8, 8)}, r"image_shape must be \(1, H, W\) with H and W multiples of 4"),
        ({"image_shape": (1, 10, 8)}, r"multiples of 4; got \(1, 10, 8\)"),
        ({"image_shape": (64,)}, "that of a vector"),
        ({"reach": 0}, "reach must be"),
        ({"features": 2.5}, "features must be"),
    ],
)
def test_unusable_sizes(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        PixelVAE(**arguments)


def test_shapes_are_checked_and_the_mean_is_refused(tiny):
    model, x = tiny
    with pytest.raises(ValueError, match=r"parameters must be \(..., 4, 4, 4\)"):
        model.likelihood.log_prob(x[:2], torch.zeros(2, 1, 4, 4, dtype=torch.float64))
    with pytest.raises(NotImplementedError, match="average sample"):
        model.likelihood.mean(model.decode(torch.zeros(1, dtype=torch.float64)))


@pytest.mark.parametrize("prior", ["Mixture(2, 5)", "Flow(2, hidden=20)", "TwoLevels(2, upper=1, hidden=20)"])
def test_densities_of_the_learned_priors_integrate_to_one(prior, monkeypatch):
    """Those of ``benchmarks/best.py``, with weights of some size, on a grid of 400 x 400 points."""
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "best.py"
    monkeypatch.syspath_prepend(str(script.parent))
    specification = importlib.util.spec_from_file_location("best", script)
    best = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "best", best)
    specification.loader.exec_module(best)
    torch.manual_seed(0)
    made = eval(prior, vars(best)).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.3 * torch.randn_like(p))
        line = torch.linspace(-15, 15, 401, dtype=torch.float64)
        log_p = made.log_prob(torch.cartesian_prod(line, line))
    assert (log_p.exp().sum() * (30 / 400) ** 2).item() == pytest.approx(1, abs=1e-4)
    assert log_p.exp().view(401, 401)[0].max() < 1e-8  # the grid is wide enough


@pytest.mark.process
def test_a_saved_one_opens_in_a_process_that_has_not_heard_of_it(tmp_path):
    file = tmp_path / "model.safetensors"
    models.save(PixelVAE(latent_dim=2, channels=(2, 2), features=2, reach=1), file)
    code = f"from vae_tutorial import models; print(type(models.load({str(file)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "PixelVAE"


def test_grey_values_are_refused(tiny):
    """As neighbours they would be seen."""
    model, x = tiny
    for use in (
        objectives.elbo,
        lambda model, grey: training.fit(model, grey, epochs=1),
        lambda model, grey: training.fit(model, x, epochs=1, test=grey),
        evaluation.log_marginal,
    ):
        with pytest.raises(ValueError, match=r"holds grey values, .*data\.binarize"):
            use(model, x[:2] / 2)
