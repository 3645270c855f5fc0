"""Every likelihood: against torch.distributions, SciPy, sums and integrals to one; at extreme parameters."""

import itertools
import json
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from vae_tutorial import likelihoods
from vae_tutorial.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, MixtureOfLogistics

NAMES = [
    "bernoulli",
    "continuous_bernoulli",
    "gaussian",
    "gaussian_shared",
    "gaussian_learned",
    "gaussian_per_pixel",
    "discretized_logistic",
    "mixture_of_logistics",
]
each_likelihood = pytest.mark.parametrize("name", NAMES)


def parameters_for(likelihood, generator, *lead, scale=2.0):
    shape = (*lead, likelihood.outputs(3), 4, 5)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def pixel(value, dtype=torch.float64):
    return torch.as_tensor(value, dtype=dtype).reshape(-1, 1, 1, 1)


@each_likelihood
def test_shapes_broadcast_over_samples_and_channels(name, generator):
    likelihood = likelihoods.get(name, (3, 4, 5))
    parameters = parameters_for(likelihood, generator, 6, 2)  # (S, B, channels * C, H, W)
    x = torch.randint(0, 2, (2, 3, 4, 5), generator=generator).double()
    log_prob = likelihood.log_prob(x, parameters)
    assert log_prob.shape == (6, 2)
    assert torch.allclose(log_prob[3, 1], likelihood.log_prob(x[1], parameters[3, 1]), rtol=1e-12)
    assert likelihood.mean(parameters).shape == likelihood.sample(parameters, generator).shape == (6, 2, 3, 4, 5)


@each_likelihood
def test_mean_and_sample_agree_and_repeat(name, generator):
    """The mean of 20,000 draws is the mean, within five standard errors."""
    likelihood = likelihoods.get(name, (3, 4, 5))
    parameters = parameters_for(likelihood, generator, 1, scale=1.5).expand(20_000, -1, -1, -1)
    draws, again = (likelihood.sample(parameters, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(draws, again)
    error = (draws.mean(0) - likelihood.mean(parameters[:1])[0]).abs()
    rounding = 1 / 255 if name == "mixture_of_logistics" else 0  # its mean is exact to a level
    assert (error <= 5 * draws.std(0) / math.sqrt(20_000) + 5 / 20_000 + rounding).all()
    if not name.startswith("gaussian"):
        assert draws.min() >= 0
        assert draws.max() <= 1


@each_likelihood
def test_float32_is_stable_at_extreme_parameters(name):
    """All combinations of parameters 0, 1, +-10 and +-100 and pixels 0, 1/2 and 1: finite values and gradients."""
    likelihood = likelihoods.get(name, (1, 1, 1))
    values = torch.tensor([0.0, 1.0, -10.0, 10.0, -100.0, 100.0])
    if likelihood.channels <= 2:
        combined = torch.cartesian_prod(*[values] * likelihood.channels).reshape(-1, likelihood.channels, 1, 1)
    else:  # too many to try all
        picks = torch.randint(6, (5000, likelihood.channels), generator=torch.Generator().manual_seed(0))
        combined = values[picks].reshape(-1, likelihood.channels, 1, 1)
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
    likelihood = likelihoods.get(name, (3, 4, 5)).double()
    likelihood = MixtureOfLogistics(2) if name == "mixture_of_logistics" else likelihood  # fewer numbers to change
    scale = 0.1 if name == "continuous_bernoulli" else 1.0  # near 0, where its formula changes over
    parameters = parameters_for(likelihood, generator, 2, scale=scale).requires_grad_()
    x = (255 * torch.rand(2, 3, 4, 5, generator=generator)).round().double() / 255
    assert torch.autograd.gradcheck(lambda p: likelihood.log_prob(x, p), (parameters,))


def test_unknown_names():
    with pytest.raises(ValueError, match=r"likelihood must be one of 'bernoulli', .*'mixture_of_logistics'; got 'mse'"):
        likelihoods.get("mse")
    own = Gaussian(0.1)
    assert likelihoods.get(own) is own
    assert likelihoods.get(own, (1, 2, 2)) is own


@pytest.mark.parametrize(
    "own",
    [
        *(likelihoods.get(name) for name in NAMES),
        Bernoulli(grey=True),
        Gaussian(np.float32(0.3), floor=1e-4),
        Gaussian("per_pixel", floor=torch.tensor(0.1)),
        Gaussian("learned", shape=(1, 2, 3)),
        MixtureOfLogistics(3),
    ],
    ids=repr,
)
def test_an_architecture_makes_the_same_likelihood(own, generator):
    described = own.architecture
    assert json.loads(json.dumps(described)) == described
    again = likelihoods.get(json.loads(json.dumps(described)), (1, 2, 3))
    own = likelihoods.get(own, (1, 2, 3))
    x = torch.rand(4, 1, 2, 3, generator=generator).round()
    parameters = torch.randn(4, own.outputs(1), 2, 3, generator=generator)
    assert again.architecture == own.architecture
    assert torch.equal(again.log_prob(x, parameters), own.log_prob(x, parameters))


def test_architectures_that_are_none_of_ours():
    class Own(Gaussian):
        pass

    assert Own().architecture is None
    for bad in ({"class": "Own", "arguments": {}}, {"class": "Gaussian"}, {}):
        with pytest.raises(ValueError, match=r"likelihood must be {'class': one of Bernoulli, .*got {"):
            likelihoods.get(bad)


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
    learned = Gaussian("learned", floor=0.01, shape=(3, 4, 5)).double()
    learned.tenth_of_logvar.data = 0.1 * torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    deviation = torch.sqrt(torch.exp(10 * learned.tenth_of_logvar.data) + 0.01)
    reference = torch.distributions.Normal(mean, deviation).log_prob(x).sum((1, 2, 3))
    assert torch.allclose(learned.log_prob(x, mean), reference, rtol=1e-6)


def test_a_learned_variance_finds_the_error_of_each_pixel(generator):
    """Adam at its usual rate, 400 steps: variances from 0.09 to 1, each within a tenth of its squared error."""
    deviations = torch.tensor([0.3, 0.63, 1.0]).view(1, 1, 3)
    x = deviations * torch.randn(400, 1, 1, 3, generator=generator)
    likelihood = Gaussian("learned", shape=(1, 1, 3))
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=1e-3)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, torch.zeros_like(x)).mean()).backward()
        optimizer.step()
    assert likelihood.moments(x)[1].exp().flatten().tolist() == pytest.approx(x.square().mean((0, 1, 2)).tolist(), 0.1)


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
    known = "variance must be a positive number, 'shared', 'learned' or 'per_pixel'; got 'scaled'"
    with pytest.raises(ValueError, match=known):
        Gaussian("scaled")
    with pytest.raises(ValueError, match="shape is for variance='learned' alone"):
        Gaussian("shared", shape=(1, 2, 2))
    with pytest.raises(ValueError, match="variance='learned' has one for each pixel"):
        Gaussian("learned").log_prob(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


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


# Mixture of logistics


def mixture_parameters(channels, components, generator, cases=6, scale=1.0):
    """Unlike components, some narrow and some broad, with means from below 0 to above 1."""
    likelihood = MixtureOfLogistics(components)
    parameters = scale * torch.randn(cases, likelihood.outputs(channels), 1, 1, generator=generator)
    return likelihood, parameters.double()


def by_hand(parameters, channels, components, levels):
    """P of colours ``(N, C)``, by SciPy's logistic in float64, one component and channel at a time."""
    raw = parameters.double().numpy().ravel()
    logits, rest = raw[:components], raw[components:].reshape(-1, components)
    weights = np.exp(logits - scipy.special.logsumexp(logits))
    means = rest[:channels] + (np.arange(components) + 0.5) / components
    scales = np.exp(rest[channels : 2 * channels]) * 0.15 + np.exp(-8)
    coefficients = np.tanh(rest[2 * channels :])  # of green on red, blue on red, blue on green
    total = 0.0
    for k in range(components):
        mass = weights[k]
        for c, level in enumerate(levels.T):
            first = c * (c - 1) // 2
            moved = sum(coefficients[first + j, k] * (levels[:, j] / 255 - means[j, k]) for j in range(c))
            logistic = scipy.stats.logistic(means[c, k] + moved, scales[c, k])
            upper = np.where(level == 255, 1, logistic.cdf((level + 0.5) / 255))
            mass = mass * (upper - np.where(level == 0, 0, logistic.cdf((level - 0.5) / 255)))
        total = total + mass
    return total


@pytest.mark.parametrize("components", [1, 4])
def test_a_grey_mixture_sums_to_one_over_all_levels(components, generator):
    likelihood, parameters = mixture_parameters(1, components, generator)
    levels = torch.arange(256).double().view(256, 1, 1, 1, 1) / 255
    probability = likelihood.log_prob(levels, parameters).exp()  # (256, N)
    assert torch.allclose(probability.sum(0), torch.ones(6, dtype=torch.float64), atol=1e-12)
    mean = (levels.view(256, 1) * probability).sum(0)
    assert torch.allclose(likelihood.mean(parameters).flatten(), mean, atol=1 / 255)


def test_a_mixture_of_colours_against_scipy(generator):
    levels = np.array(list(itertools.product([0, 1, 100, 254, 255], repeat=3)))
    x = torch.tensor(levels).double().view(-1, 3, 1, 1) / 255
    for scale in (0.3, 1.0, 2.0):
        likelihood, parameters = mixture_parameters(3, 3, generator, cases=1, scale=scale)
        expected = by_hand(parameters, 3, 3, levels)
        kept = expected > 1e-9  # SciPy's differences of nearly equal numbers have no digits further out
        assert kept.sum() > 20
        found = likelihood.log_prob(x, parameters).exp().numpy()
        assert found[kept] == pytest.approx(expected[kept], rel=1e-5)
        assert (found[~kept] < 1.1e-9).all()


def without_the_last_channel(parameters, components):
    """Of three channels' parameters those of the first two: 1 logit, 2 means, 2 scales, 1 coefficient of each."""
    parts = parameters.unflatten(-3, (10, components))
    return parts[:, [0, 1, 2, 4, 5, 7]].flatten(1, 2)


def test_a_mixture_of_colours_sums_to_one(generator):
    """All 65,536 of two channels; and of 400 of these, ends included, the sum over blue is what two channels have."""
    likelihood, parameters = mixture_parameters(3, 4, generator, cases=3)
    two = without_the_last_channel(parameters, 4)
    levels = torch.arange(256)
    reds_and_greens = torch.cartesian_prod(levels, levels)
    picks = torch.cat([torch.randint(65_536, (390,), generator=generator), torch.tensor([0, 1, 255, 65_280, 65_535])])
    for case in range(3):
        probability = likelihood.log_prob(reds_and_greens.view(-1, 2, 1, 1).double() / 255, two[case]).exp()
        assert probability.sum().item() == pytest.approx(1, abs=1e-10)
        blues = torch.cat(
            [reds_and_greens[picks].repeat_interleave(256, 0), levels.repeat(len(picks)).unsqueeze(1)], dim=1
        )
        colours = likelihood.log_prob(blues.view(-1, 3, 1, 1).double() / 255, parameters[case]).exp()
        assert torch.allclose(colours.view(-1, 256).sum(1), probability[picks], rtol=1e-9, atol=1e-15)


def test_the_mean_of_a_colour_by_the_sum_over_all_colours(generator):
    """One component: E[blue] is the sum over red and green of P(red, green) times a discretized logistic's mean."""
    likelihood, parameters = mixture_parameters(3, 1, generator, cases=5)
    two, levels = without_the_last_channel(parameters, 1), torch.arange(256).double() / 255
    reds_and_greens = torch.cartesian_prod(levels, levels)
    for case in range(5):
        probability = likelihood.log_prob(reds_and_greens.view(-1, 2, 1, 1), two[case]).exp()
        means, raw, onto_blue = (parameters[case, a:b].flatten() for a, b in ((1, 4), (4, 7), (8, 10)))
        means, raw = means + 0.5, raw + math.log(0.15)
        blue = means[2] + (reds_and_greens - means[:2]) @ torch.tanh(onto_blue)
        logistic = torch.stack([blue, raw[2].expand_as(blue)], 1)[..., None, None]
        expected = [*(probability @ reds_and_greens), probability @ DiscretizedLogistic().mean(logistic).flatten()]
        found = likelihood.mean(parameters[case : case + 1]).flatten()
        assert found.tolist() == pytest.approx([v.item() for v in expected], abs=1 / 255)


def test_samples_of_a_mixture_have_its_distribution(generator):
    """Levels of grey by chi-square; colours by how many fall into boxes of 24 x 24 x 24."""
    likelihood, parameters = mixture_parameters(1, 3, generator, cases=1)
    draws = likelihood.sample(parameters.expand(100_000, -1, -1, -1), generator)
    counts = torch.bincount((draws.flatten() * 255).round().long(), minlength=256).numpy()
    levels = torch.arange(256).double().view(256, 1, 1, 1) / 255
    expected = 100_000 * likelihood.log_prob(levels, parameters).exp().numpy()
    assert expected.min() > 20
    assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3

    likelihood, parameters = mixture_parameters(3, 3, generator, cases=1)
    draws = (likelihood.sample(parameters.expand(100_000, -1, -1, -1), generator)[..., 0, 0] * 255).round()
    for corner in ((0, 0, 0), (232, 0, 232), *draws[:4].clamp(8, 239).sub(8).int().tolist()):
        box = torch.cartesian_prod(*(torch.arange(low, low + 24) for low in corner)).double().view(-1, 3, 1, 1) / 255
        p = likelihood.log_prob(box, parameters).exp().sum().item()
        low = torch.tensor(corner)
        share = ((draws >= low) & (draws < low + 24)).all(1).double().mean().item()
        assert share == pytest.approx(p, abs=5 * math.sqrt(p / 100_000) + 1e-4)


def test_a_mixture_is_stable_far_out():
    """Parameters up to 1e4 in float32: finite values and gradients; a wrong colour costs a lot, and never infinity."""
    values = torch.tensor([0.0, 5.0, -5.0, 100.0, -100.0, 1e4, -1e4])
    likelihood = MixtureOfLogistics(2)
    picks = torch.randint(7, (4000, likelihood.outputs(3)), generator=torch.Generator().manual_seed(0))
    parameters = values[picks].view(4000, -1, 1, 1).requires_grad_()
    for x in (0.0, 0.5, 1.0):
        log_prob = likelihood.log_prob(torch.full((4000, 3, 1, 1), x), parameters)
        (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
        assert log_prob.isfinite().all()
        assert (log_prob <= 1e-5).all()
        assert gradient.isfinite().all()
    for images in (likelihood.mean(parameters), likelihood.sample(parameters, torch.Generator().manual_seed(0))):
        assert images.min() >= 0
        assert images.max() <= 1


@pytest.mark.parametrize(("components", "channels"), [(1, 1), (5, 1), (5, 3), (10, 3)])
def test_a_mixture_begins_with_all_levels_alike(components, channels, generator):
    """Outputs of 0 cost about log 256 nats for each channel, whatever the image."""
    likelihood = MixtureOfLogistics(components)
    x = torch.rand(2000, channels, 1, 1, generator=generator)
    cost = -likelihood.log_prob(x, torch.zeros(2000, likelihood.outputs(channels), 1, 1)).mean().item() / channels
    assert cost == pytest.approx(math.log(256), abs=0.4)


def test_mixture_bad_input():
    with pytest.raises(ValueError, match="components must be a whole number of at least 1; got 0"):
        MixtureOfLogistics(0)
    with pytest.raises(ValueError, match=r"parameters must be \(\.\.\., 50, 2, 2\) for x .*got \(4, 45, 2, 2\)"):
        MixtureOfLogistics().log_prob(torch.zeros(4, 3, 2, 2), torch.zeros(4, 45, 2, 2))
    for use in (MixtureOfLogistics().mean, MixtureOfLogistics().sample):
        with pytest.raises(
            ValueError, match="parameters must have 15 channels for grey images, 50 for colours; got 45"
        ):
            use(torch.zeros(4, 45, 2, 2))


@pytest.mark.parametrize("name", NAMES)
def test_bytes_are_refused(name):
    """x * 255 wrapped in uint8, so that an image had the probability of its negative."""
    likelihood = likelihoods.get(name, (1, 2, 2))
    parameters, x = torch.zeros(1, likelihood.outputs(1), 2, 2), torch.full((1, 1, 2, 2), 200, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"x has dtype torch\.uint8; .*images / 255|x ranges from 200.*by 255"):
        likelihood.log_prob(x, parameters)
    if likelihood.unit:
        with pytest.raises(ValueError, match=r"x ranges from 200 to 200; pixels must lie in \[0, 1\]"):
            likelihood.log_prob(x.float(), parameters)


def test_what_is_no_likelihood():
    for bad in (Gaussian, None, 3):
        with pytest.raises(TypeError, match=r"likelihood must be a name or an object, such as Gaussian\(\); got"):
            likelihoods.get(bad)
