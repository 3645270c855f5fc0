"""Likelihood, models and objectives: against torch.distributions, quadrature and gradients by finite differences."""

import copy
import json
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
        (lambda m: m.encode(torch.zeros(5, 16)), r"x must have shape \(B, 1, 4, 4\) with B >= 1; got \(5, 16\)"),
        (lambda m: m.encode(torch.zeros(5, 1, 5, 4)), r"got \(5, 1, 5, 4\)"),
        (lambda m: m.encode(torch.zeros(5, 1, 4, 4, dtype=torch.uint8)), r"dtype torch\.uint8"),
        (lambda m: m.decode(torch.zeros(5, 4)), r"z must have shape \(\.\.\., 3\); got \(5, 4\)"),
        (lambda m: objectives.elbo(m, torch.full((2, 1, 4, 4), 1.5)), r"x ranges from 1\.5 to 1\.5"),
        (lambda m: objectives.elbo(m, torch.full((2, 1, 4, 4), float("nan"))), "x ranges from nan"),
        (lambda m: objectives.elbo(m, torch.zeros(2, 1, 4, 4, dtype=torch.uint8)), r"x has dtype torch\.uint8"),
        (
            lambda m: objectives.elbo(m, torch.zeros(2, 1, 4, 4), samples=0),
            "samples must be a whole number of at least 1; got 0",
        ),
        (lambda _: models.MLPVAE(latent_dim=0), "latent_dim must be a whole number of at least 1; got 0"),
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


@pytest.mark.parametrize("likelihood", likelihoods.NAMES)
@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 13, 10)])
def test_every_likelihood_works_with_every_model(likelihood, image_shape):
    """Shapes, and a gradient for every parameter."""
    x = torch.rand(4, *image_shape, generator=torch.Generator().manual_seed(0))
    for make in (models.Autoencoder, models.MLPVAE, models.ConvVAE):
        torch.manual_seed(0)
        model = make(latent_dim=3, likelihood=likelihood, image_shape=image_shape)
        parameters, mu, logvar = model(x, samples=2)
        channels = model.likelihood.outputs(image_shape[0])
        assert parameters.shape == (1 if logvar is None else 2, 4, channels, *image_shape[1:])
        assert mu.shape == (4, 3)
        assert model.likelihood.mean(model.decode(mu)).shape == x.shape
        objectives.elbo(model, x).elbo.mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert sum((p.grad != 0).any().item() for p in model.parameters()) == len(list(model.parameters()))
        if make is not models.Autoencoder:
            assert model.sample(5).shape == (5, *image_shape)


ARCHITECTURES = {
    "MLPVAE": lambda: models.MLPVAE(3, (16, 8), "discretized_logistic", (1, 5, 4)),
    "ConvVAE": lambda: models.ConvVAE(3, (4, 5), likelihoods.Gaussian("per_pixel", floor=0.01), (3, 9, 8)),
    "Autoencoder": lambda: models.Autoencoder(hidden=[7], likelihood=likelihoods.Gaussian(0.3), image_shape=(2, 4, 4)),
    "MLPVAE of columns": lambda: models.MLPVAE(2, (7,), "bernoulli", (4,)),
    "ConvVAE of colours": lambda: models.ConvVAE(2, (7,), likelihoods.MixtureOfLogistics(2), (3, 6, 6)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_model_can_be_made_again_from_its_architecture(name):
    """Through JSON: the same layers, and with the same weights the same numbers."""
    model = ARCHITECTURES[name]()
    made = json.loads(json.dumps(model.architecture))
    assert made == model.architecture
    assert set(made) == {"class", "arguments"}
    assert made["class"] == name.split()[0] == type(model).__name__
    torch.manual_seed(5)
    again = getattr(models, made["class"])(**made["arguments"])
    again.load_state_dict(model.state_dict())
    assert repr(again) == repr(model)
    assert again.architecture == made
    x = torch.rand(4, *model.image_shape).round()
    one, other = (objectives.elbo(m, x, generator=torch.Generator().manual_seed(0)).elbo for m in (model, again))
    assert torch.equal(one, other)
    made["arguments"]["image_shape"].append(9)  # what was returned is a copy
    assert len(model.architecture["arguments"]["image_shape"]) == len(model.image_shape)
    assert copy.deepcopy(model.double()).architecture == model.architecture is not None


def test_models_that_no_class_and_arguments_describe():
    class Own(models.MLPVAE):
        pass

    class OwnLikelihood(likelihoods.Gaussian):
        pass

    assert models.VAE(models.MLPEncoder(2), models.MLPDecoder(2), latent_dim=2).architecture is None
    assert Own().architecture is None
    assert models.ConvVAE(likelihood=OwnLikelihood()).architecture is None
    for change in (
        lambda m: setattr(m, "likelihood", likelihoods.Gaussian()),
        lambda m: setattr(m, "encoder", models.ConvEncoder(20)),
        lambda m: m.decoder.layers.append(torch.nn.Tanh()),
        lambda m: m.decoder.layers.__setitem__(1, torch.nn.SiLU()),
    ):
        model = models.MLPVAE()
        assert model.architecture is not None
        change(model)
        assert model.architecture is None


def test_the_convolutions_halve_and_double_any_size():
    for height, width, depth in ((28, 28, 2), (7, 9, 2), (64, 48, 5), (11, 31, 3), (2, 2, 1)):
        model = models.ConvVAE(latent_dim=2, channels=(3,) * depth, image_shape=(2, height, width))
        features, sizes = torch.rand(5, 2, height, width), []
        assert model(features)[0].shape == (1, 5, 2, height, width)
        for layer in model.encoder.layers[:-2]:
            features = layer(features)
            sizes.append(tuple(features.shape[2:]))
        assert sizes[::2] == [(height >> k, width >> k) for k in range(1, depth + 1)]
    assert [tuple(p.shape) for p in models.ConvVAE().parameters() if p.ndim > 1] == [
        (32, 1, 4, 4),
        (64, 32, 4, 4),
        (40, 64 * 7 * 7),
        (64 * 7 * 7, 20),
        (64, 32, 4, 4),
        (32, 1, 4, 4),
    ]


def test_one_sample_axis_or_many_decode_alike():
    model = models.ConvVAE(latent_dim=3, channels=(4,), image_shape=(1, 6, 6))
    z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model.decode(z)[1, 2], model.decode(z[1, 2]), atol=1e-6)


def test_an_autoencoder_is_deterministic_and_has_no_prior(x):
    model = models.Autoencoder(**SMALL)
    one, other = (objectives.elbo(model, x, samples=3) for _ in range(2))
    assert torch.equal(one.elbo, other.elbo)
    assert torch.equal(one.elbo, one.reconstruction)
    assert torch.equal(one.elbo, model.likelihood.log_prob(x, model.decode(model.encode(x))))
    assert one.kl.tolist() == [0.0] * 5
    assert not hasattr(model, "sample")


def test_any_encoder_and_decoder_join():
    model = models.VAE(models.MLPEncoder(2), models.ConvDecoder(2), latent_dim=2)
    assert model(torch.rand(3, 1, 28, 28))[0].shape == (1, 3, 1, 28, 28)


def test_free_bits_raise_the_floor_of_each_dimension(model, x):
    """By hand, in a loop over dimensions; and no gradient through a dimension below the floor."""
    mu, logvar = model.encode(x)
    normal = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))  # (B, Z)
    means = kl.mean(0)
    free_bits = means.sort().values[1].item() + 1e-4  # two of three dimensions are below
    parts, plain = (
        objectives.elbo(model, x, 2.0, free_bits=f, generator=torch.Generator().manual_seed(1))
        for f in (free_bits, 0.0)
    )
    assert torch.equal(parts.reconstruction, plain.reconstruction)
    assert torch.allclose(parts.kl, plain.kl)
    expected = sum(max(free_bits, m) for m in means.tolist())
    paid = (parts.reconstruction - parts.elbo).mean().item() / 2
    assert paid == pytest.approx(expected, rel=1e-5)
    (gradient,) = torch.autograd.grad(-(parts.elbo - parts.reconstruction).sum(), model.encoder.layers[-1].bias)
    below = means < free_bits
    assert (gradient[:3][below] == 0).all()
    assert (gradient[:3][~below] != 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.ConvVAE(latent_dim=0), "latent_dim must be a whole number of at least 1; got 0"),
        (lambda: models.ConvVAE(channels=()), "channels must name at least one layer"),
        (lambda: models.ConvVAE(channels=(32, 0)), "channels must .* got 32, 0"),
        (lambda: models.ConvVAE(channels=(8,) * 5), r"\(1, 28, 28\) cannot be halved 5 times; give fewer channels"),
        (lambda: models.Autoencoder(latent_dim=0), "latent_dim must be a whole number of at least 1; got 0"),
        (lambda: models.MLPVAE(image_shape=(1, 28, -1)), "image_shape must .* got 1, 28, -1"),
        (lambda: models.ConvVAE(likelihood="mse"), "likelihood must be one of 'bernoulli'"),
        (
            lambda: models.MLPVAE().encode(torch.zeros(2, 1, 28, 28, device="meta")),
            r"x is on meta, the model on cpu; move one of them: x\.to\('cpu'\)",
        ),
        (
            lambda: models.Autoencoder().encode(torch.zeros(2, 784)),
            r"x must have shape \(B, 1, 28, 28\) with B >= 1; got \(2, 784\)",
        ),
        (
            lambda: objectives.elbo(models.MLPVAE(), torch.zeros(2, 1, 28, 28), free_bits=-1.0),
            r"free_bits must be a number of at least 0; got -1\.0",
        ),
    ],
)
def test_more_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
