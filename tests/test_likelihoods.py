"""Every likelihood: against torch.distributions, SciPy, sums and integrals to one; at extreme parameters."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from vae_tutorial import likelihoods
from vae_tutorial.likelihoods import ContinuousBernoulli, DiscretizedLogistic, Gaussian

NAMES = [
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "gaussian_shared",
    "gaussian_per_pixel",
    "discretized_logistic",
]
each_likelihood = pytest.mark.parametrize("name", NAMES)


def parameters_for(likelihood, generator, *lead, scale=2.0):
    shape = (*lead, 3 * likelihood.channels, 4, 5)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def pixel(value, dtype=torch.float64):
    return torch.as_tensor(value, dtype=dtype).reshape(-1, 1, 1, 1)


@each_likelihood
def test_shapes_broadcast_over_samples_and_channels(name, generator):
    likelihood = likelihoods.get(name)
    parameters = parameters_for(likelihood, generator, 6, 2)  # (S, B, channels * C, H, W)
    x = torch.randint(0, 2, (2, 3, 4, 5), generator=generator).double()
    log_prob = likelihood.log_prob(x, parameters)
    assert log_prob.shape == (6, 2)
    assert torch.allclose(log_prob[3, 1], likelihood.log_prob(x[1], parameters[3, 1]), rtol=1e-12)
    assert likelihood.mean(parameters).shape == likelihood.sample(parameters, generator).shape == (6, 2, 3, 4, 5)


@each_likelihood
def test_mean_and_sample_agree_and_repeat(name, generator):
    """The mean of 20,000 draws is the mean, within five standard errors."""
    likelihood = likelihoods.get(name)
    parameters = parameters_for(likelihood, generator, 1, scale=1.5).expand(20_000, -1, -1, -1)
    draws, again = (likelihood.sample(parameters, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(draws, again)
    error = (draws.mean(0) - likelihood.mean(parameters[:1])[0]).abs()
    assert (error <= 5 * draws.std(0) / math.sqrt(20_000) + 5 / 20_000).all()
    if not name.startswith("gaussian"):
        assert draws.min() >= 0
        assert draws.max() <= 1


@each_likelihood
def test_float32_is_stable_at_extreme_parameters(name):
    """All combinations of parameters 0, 1, +-10 and +-100 and pixels 0, 1/2 and 1: finite values and gradients."""
    likelihood = likelihoods.get(name)
    values = torch.tensor([0.0, 1.0, -10.0, 10.0, -100.0, 100.0])
    combined = torch.cartesian_prod(*[values] * likelihood.channels).reshape(-1, likelihood.channels, 1, 1)
    for x in (0.0, 0.5, 1.0):
        parameters = combined.clone().requires_grad_()
        log_prob = likelihood.log_prob(torch.full((len(combined), 1, 1, 1), x), parameters)
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert parameters.grad.isfinite().all()
        double = likelihood.double().log_prob(torch.full((len(combined), 1, 1, 1), x).double(), combined.double())
        assert torch.allclose(log_prob.double(), double, rtol=2e-4, atol=1e-5)
        likelihood.float()
    assert likelihood.mean(combined).isfinite().all()
    assert likelihood.sample(combined, torch.Generator().manual_seed(0)).isfinite().all()


@each_likelihood
def test_gradients_by_finite_differences(name, generator):
    likelihood = likelihoods.get(name).double()
    scale = 0.1 if name == "continuous_bernoulli" else 1.0  # near 0, where its formula changes over
    parameters = parameters_for(likelihood, generator, 2, scale=scale).requires_grad_()
    x = (255 * torch.rand(2, 3, 4, 5, generator=generator)).round().double() / 255
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(x, p), (parameters,))


def test_unknown_names():
    with pytest.raises(ValueError, match=r"likelihood must be one of 'bernoulli', .*'discretized_logistic'; got 'mse'"):
        likelihoods.get("mse")
    own = Gaussian(0.1)
    assert likelihoods.get(own) is own


# Continuous Bernoulli


def test_continuous_bernoulli_against_torch(generator):
    logits = torch.cat([torch.linspace(-12, 12, 49), torch.tensor([-0.299, 0.301, 0.02])]).double().view(-1, 1, 1, 1)
    logits = logits[logits.flatten().abs() > 0.01]  # torch switches to a Taylor series there
    x = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    reference = torch.distributions.ContinuousBernoulli(logits=logits, lims=(0.4999999, 0.5000001))
    ours = ContinuousBernoulli()
    assert torch.allclose(ours.log_prob(x, logits), reference.log_prob(x).flatten(), rtol=1e-6, atol=1e-6)
    assert torch.allclose(ours.mean(logits), reference.mean, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("logit", [-50.0, -3.0, -0.31, -0.29, -1e-6, 0.0, 0.1, 0.3, 2.0, 40.0])
def test_continuous_bernoulli_integrates_to_one_and_to_its_mean(logit):
    x, weight = (torch.as_tensor(v) for v in np.polynomial.legendre.leggauss(200))
    x, weight = (x + 1) / 2, weight / 2
    density = ContinuousBernoulli().log_prob(pixel(x), pixel(logit)).exp()
    assert (weight * density).sum().item() == pytest.approx(1, abs=1e-8)
    assert (weight * density * x).sum().item() == pytest.approx(ContinuousBernoulli().mean(pixel(logit)).item(), 1e-8)


@pytest.mark.parametrize("logit", [-100.0, -5.0, -1e-4, 0.0, 5e-4, 0.2, 8.0, 100.0])
def test_continuous_bernoulli_samples_have_its_distribution(logit):
    logits = torch.full((50_000, 1, 1, 1), logit)
    draws = ContinuousBernoulli().sample(logits, torch.Generator().manual_seed(0)).flatten().double().numpy()

    def cdf(x):
        return (
            x if abs(logit) < 1e-6 else np.expm1(logit * x) / np.expm1(logit) if logit < 50 else np.exp(logit * (x - 1))
        )

    assert scipy.stats.kstest(draws, cdf).pvalue > 1e-3


# Gaussian


@pytest.mark.parametrize("variance", [1.0, 0.02])
def test_fixed_gaussian_against_torch(variance, generator):
    mean, x = torch.randn(2, 7, 3, 4, 5, generator=generator, dtype=torch.float64)
    reference = torch.distributions.Normal(mean, math.sqrt(variance)).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(Gaussian(variance).log_prob(x, mean), reference, rtol=1e-12)


def test_variance_one_is_half_the_squared_error(generator):
    mean, x = torch.rand(2, 4, 1, 28, 28, generator=generator)
    squared = (x - mean).square().sum((1, 2, 3))
    expected = -squared / 2 - 784 * math.log(2 * math.pi) / 2
    assert torch.allclose(likelihoods.get("gaussian").log_prob(x, mean), expected, rtol=1e-5)


def test_learned_gaussians_against_torch(generator):
    x = torch.randn(7, 3, 4, 5, generator=generator, dtype=torch.float64)
    parameters = torch.randn(7, 6, 4, 5, generator=generator, dtype=torch.float64)
    mean, raw = parameters[:, :3], parameters[:, 3:]
    reference = torch.distributions.Normal(mean, torch.sqrt(raw.exp() + 0.01)).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(Gaussian("per_pixel", floor=0.01).log_prob(x, parameters), reference, rtol=1e-6)
    shared = Gaussian("shared").double()
    shared.tenth_of_logvar.data.fill_(-0.13)
    deviation = math.sqrt(math.exp(-1.3) + 1 / 255**2)
    reference = torch.distributions.Normal(mean, deviation).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(shared.log_prob(x, mean), reference, rtol=1e-12)


def test_the_shared_variance_learns_the_mean_squared_error(generator):
    """Its best value is the mean squared error less the floor (Rybkin et al., 2021)."""
    x = 0.3 * torch.randn(50, 1, 8, 8, generator=generator)
    likelihood = Gaussian("shared")
    optimizer = torch.optim.LBFGS(likelihood.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -likelihood.log_prob(x, torch.zeros_like(x)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    learned = likelihood.moments(x)[1].exp().item()
    assert learned == pytest.approx(x.square().mean().item(), rel=1e-3)


def test_the_shared_variance_is_found_in_a_short_training(generator):
    """800 steps of Adam at its usual rate: from variance 1 to 0.02, which one parameter of its own would not reach."""
    x = math.sqrt(0.02) * torch.randn(100, 1, 8, 8, generator=generator)
    likelihood = Gaussian("shared")
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=1e-3)
    for _ in range(800):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, torch.zeros_like(x)).mean()).backward()
        optimizer.step()
    assert likelihood.moments(x)[1].exp().item() == pytest.approx(x.square().mean().item(), rel=0.1)


def test_the_floor_bounds_the_density(generator):
    likelihood = Gaussian("per_pixel")
    parameters = torch.zeros(1, 2, 1, 1)
    parameters[:, 1] = -1e4
    bound = math.log(255) - 0.5 * math.log(2 * math.pi)
    assert likelihood.log_prob(torch.zeros(1, 1, 1, 1), parameters).item() == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize("bad", [{"variance": 0.0}, {"variance": -1}, {"variance": math.nan}, {"floor": 0.0}])
def test_gaussian_bad_numbers(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be a positive number"):
        Gaussian(**bad)


def test_gaussian_bad_word():
    with pytest.raises(ValueError, match="variance must be a positive number, 'shared' or 'per_pixel'; got 'learned'"):
        Gaussian("learned")


# Discretized logistic


def logistic_cases():
    means, scales = (
        torch.tensor([-3.0, 0.0, 0.1234, 0.5, 0.998, 1.7]),
        torch.tensor([-100.0, -6.0, -3.0, 0.0, 4.0, 100.0]),
    )
    return torch.cartesian_prod(means, scales).double().view(-1, 2, 1, 1)


def test_discretized_logistic_sums_to_one_over_all_levels():
    parameters = logistic_cases()  # (N, 2, 1, 1)
    levels = torch.arange(256).double().view(256, 1, 1, 1, 1) / 255
    probability = DiscretizedLogistic().log_prob(levels, parameters).exp()  # (256, N)
    assert torch.allclose(probability.sum(0), torch.ones(len(parameters), dtype=torch.float64), atol=1e-12)
    mean = (levels.view(256, 1) * probability).sum(0)
    assert torch.allclose(DiscretizedLogistic().mean(parameters).flatten(), mean, atol=1e-9)


def test_discretized_logistic_against_scipy():
    likelihood, levels = DiscretizedLogistic(), np.array([0, 1, 17, 128, 254, 255])
    for mean, raw in ((0.3, -2.0), (0.9, -4.0), (0.02, 0.5)):
        logistic = scipy.stats.logistic(mean, np.exp(raw) + np.exp(-8))
        upper = np.where(levels == 255, 1, logistic.cdf((levels + 0.5) / 255))
        lower = np.where(levels == 0, 0, logistic.cdf((levels - 0.5) / 255))
        parameters = torch.tensor([mean, raw], dtype=torch.float64).view(1, 2, 1, 1)
        ours = likelihood.log_prob(pixel(levels / 255), parameters)
        assert ours.numpy() == pytest.approx(np.log(upper - lower), rel=1e-8)


def test_discretized_logistic_takes_float32_levels():
    """k / 255 in float32 is not exact; every level must still be found."""
    levels = (torch.arange(256, dtype=torch.uint8).float() / 255).view(256, 1, 1, 1)
    parameters = torch.tensor([0.5, -5.0]).view(1, 2, 1, 1)
    total = DiscretizedLogistic().log_prob(levels, parameters).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_discretized_logistic_samples_have_its_distribution():
    likelihood, parameters = DiscretizedLogistic(), torch.tensor([0.02, -3.0]).view(1, 2, 1, 1)
    draws = likelihood.sample(parameters.expand(100_000, -1, -1, -1), torch.Generator().manual_seed(0))
    counts = torch.bincount((draws.flatten() * 255).round().long(), minlength=256).numpy()
    levels = torch.arange(256).float().view(256, 1, 1, 1) / 255
    expected = 100_000 * likelihood.log_prob(levels, parameters).exp().double().numpy()
    often = expected > 20
    observed = [*counts[often], counts[~often].sum()]
    predicted = np.array([*expected[often], expected[~often].sum()])
    assert scipy.stats.chisquare(observed, predicted * sum(observed) / predicted.sum()).pvalue > 1e-3
