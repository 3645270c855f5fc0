"""Likelihood, models and objectives: against torch.distributions, quadrature and gradients by finite differences."""

import math

import pytest
import torch

from vae_tutorial import likelihoods, models, objectives
from vae_tutorial.information import gaussian_kl

SMALL = {"latent_dim": 3, "hidden": (16, 8), "image_shape": (1, 4, 4)}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.MLPVAE(**SMALL)


@pytest.fixture
def x(generator):
    return torch.randint(0, 2, (5, 1, 4, 4), generator=generator).float()


def test_bernoulli_against_torch(generator):
    logits = 4 * torch.randn(7, 1, 4, 4, generator=generator, dtype=torch.float64)
    x = torch.randint(0, 2, logits.shape, generator=generator).double()
    bernoulli = likelihoods.Bernoulli()
    reference = torch.distributions.Bernoulli(logits=logits)
    assert torch.allclose(bernoulli.log_prob(x, logits), reference.log_prob(x).sum((1, 2, 3)), rtol=1e-12)
    assert torch.allclose(bernoulli.mean(logits), reference.mean)
    builtin = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    assert torch.allclose(bernoulli.log_prob(x, logits), builtin, rtol=1e-12)


def test_bernoulli_sums_to_one_over_all_images(generator):
    logits = torch.randn(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6).view(64, 1, 2, 3)
    assert likelihoods.Bernoulli().log_prob(images, logits).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_bernoulli_is_stable_in_float32():
    logits = torch.tensor([-100.0, 100.0, -1e4, 1e4, 0.0]).view(5, 1, 1, 1).requires_grad_()
    bernoulli = likelihoods.Bernoulli()
    off, on = bernoulli.log_prob(torch.zeros(5, 1, 1, 1), logits), bernoulli.log_prob(torch.ones(5, 1, 1, 1), logits)
    assert off.tolist() == pytest.approx([0, -100, 0, -1e4, -math.log(2)])
    assert on.tolist() == pytest.approx([-100, 0, -1e4, 0, -math.log(2)])
    (off.sum() + on.sum()).backward()
    assert logits.grad.flatten().tolist() == pytest.approx([1, -1, 1, -1, 0], abs=1e-6)


def test_bernoulli_takes_images_of_another_dtype():
    x, logits = torch.rand(3, 1, 4, 4).round(), torch.randn(3, 1, 4, 4)
    expected = likelihoods.Bernoulli().log_prob(x, logits)
    for dtype in (torch.uint8, torch.float64):
        assert torch.equal(likelihoods.Bernoulli().log_prob(x.to(dtype), logits), expected)


def test_bernoulli_gradients(generator):
    x = torch.rand(2, 1, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(3, 2, 1, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(likelihoods.Bernoulli().log_prob, (x, logits))
    assert torch.autograd.gradgradcheck(likelihoods.Bernoulli().log_prob, (x, logits))


def test_bernoulli_samples(generator):
    logits = torch.tensor([-2.0, 0.0, 3.0]).view(3, 1, 1, 1).expand(3, 1, 200, 200)
    draws = likelihoods.Bernoulli().sample(logits, generator)
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert draws.mean((1, 2, 3)).tolist() == pytest.approx(torch.sigmoid(logits[:, 0, 0, 0]).tolist(), abs=0.01)


def test_shapes(model, x):
    mu, logvar = model.encode(x)
    assert mu.shape == logvar.shape == (5, 3)
    assert model.decode(mu).shape == (5, 1, 4, 4)
    assert model.decode(torch.zeros(7, 5, 3)).shape == (7, 5, 1, 4, 4)
    assert model(x, samples=6)[0].shape == (6, 5, 1, 4, 4)
    assert model.sample(9).shape == (9, 1, 4, 4)
    default = models.MLPVAE()
    assert [tuple(p.shape) for p in default.parameters() if p.ndim == 2] == [
        (400, 784),
        (40, 400),
        (400, 20),
        (784, 400),
    ]


def test_sampling_repeats_with_a_seed(model):
    first, again = (model.sample(50, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert set(first.unique().tolist()) <= {0.0, 1.0}


def test_reparameterize_has_the_right_moments_and_gradient(generator):
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -1.0]], requires_grad=True)
    z = models.reparameterize(mu, logvar, 100_000, generator)
    assert z.shape == (100_000, 1, 2)
    assert z.mean(0).tolist()[0] == pytest.approx([1, -2], abs=0.02)
    assert z.std(0).tolist()[0] == pytest.approx([1, math.exp(-0.5)], rel=0.02)
    # E[z^2] = mu^2 + exp(logvar), whose derivative by logvar is exp(logvar)
    (z**2).mean(0).sum().backward()
    assert logvar.grad.tolist()[0] == pytest.approx([1, math.exp(-1)], abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(torch.zeros(5, 16)), r"x must be images of shape \(B, 1, 4, 4\); got \(5, 16\)"),
        (lambda m: m.encode(torch.zeros(5, 1, 5, 4)), r"got \(5, 1, 5, 4\)"),
        (lambda m: m.encode(torch.zeros(5, 1, 4, 4, dtype=torch.uint8)), r"dtype torch\.uint8"),
        (lambda m: m.decode(torch.zeros(5, 4)), r"z must have shape \(\.\.\., 3\); got \(5, 4\)"),
        (lambda m: objectives.elbo(m, torch.full((2, 1, 4, 4), 1.5)), r"x ranges from 1\.5 to 1\.5"),
        (lambda m: objectives.elbo(m, torch.full((2, 1, 4, 4), float("nan"))), "x ranges from nan"),
        (lambda m: objectives.elbo(m, torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), r"x has dtype torch\.uint8"),
        (lambda m: objectives.elbo(m, torch.zeros(2, 1, 4, 4), samples=0), "samples must be at least 1; got 0"),
        (lambda _: models.MLPVAE(latent_dim=0), "latent_dim must be made of whole numbers of at least 1; got 0"),
        (lambda _: models.MLPVAE(hidden=(400, 0)), "hidden must be .* got 400, 0"),
        (lambda _: models.MLPVAE(latent_dim=2.5), r"latent_dim must .* got 2\.5"),
    ],
)
def test_bad_input(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_elbo_and_its_parts(model, x):
    parts = objectives.elbo(model, x, beta=3.0, samples=4)
    assert all(part.shape == (5,) for part in parts)
    assert torch.allclose(parts.elbo, parts.reconstruction - 3 * parts.kl)
    mu, logvar = model.encode(x)
    reference = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(-1)
    assert torch.allclose(parts.kl, reference, atol=1e-6)
    assert (parts.reconstruction < 0).all()


def test_elbo_plus_gap_is_log_p_by_quadrature():
    """With one latent dimension, log p(x) and KL(q || p(z | x)) can be integrated: ELBO + KL is the former."""
    torch.manual_seed(1)
    model = models.MLPVAE(latent_dim=1, hidden=(8,), image_shape=(1, 2, 2)).double()
    for parameter in model.decoder.parameters():
        parameter.data *= 4  # a curved decoder, so that the posterior is no Gaussian
    x = torch.tensor([1.0, 0, 0, 1, 1, 1, 0, 1]).double().view(2, 1, 2, 2)
    z = torch.linspace(-12, 12, 20_001).double().view(-1, 1, 1)  # (grid, 1, Z)
    log_p_z = torch.distributions.Normal(0.0, 1.0).log_prob(z)[..., 0]
    joint = model.likelihood.log_prob(x, model.decode(z)) + log_p_z  # (grid, B)
    log_p_x = torch.trapezoid(joint.exp(), z[:, 0, 0], dim=0).log()
    mu, logvar = model.encode(x)
    log_q = torch.distributions.Normal(mu, (0.5 * logvar).exp()).log_prob(z)[..., 0]  # (grid, B)
    gap = torch.trapezoid(log_q.exp() * (log_q - (joint - log_p_x)), z[:, 0, 0], dim=0)
    reconstruction = torch.trapezoid(log_q.exp() * (joint - log_p_z), z[:, 0, 0], dim=0)
    exact = reconstruction - gaussian_kl(mu, logvar)
    assert torch.allclose(exact + gap, log_p_x, atol=1e-6)
    assert (gap > 1e-3).all()

    parts = objectives.elbo(model, x, samples=200_000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(parts.elbo, exact, atol=0.02)


def test_the_gradient_of_the_elbo_by_finite_differences(model, x):
    model.double()

    def value():
        return objectives.elbo(model, x.double(), samples=2, generator=torch.Generator().manual_seed(5)).elbo.sum()

    value().backward()
    weight = model.encoder.layers[0].weight
    for index in [(0, 0), (3, 7), (15, 15)]:
        with torch.no_grad():
            weight[index] += 1e-5
            up = value()
            weight[index] -= 2e-5
            down = value()
            weight[index] += 1e-5
        assert weight.grad[index].item() == pytest.approx((up - down).item() / 2e-5, rel=1e-4, abs=1e-6)
