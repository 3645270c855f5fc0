"""What is measured on a trained model, against quadrature, closed forms, torch.distributions, SciPy, scikit-learn."""

import math

import pytest
import scipy.stats
import torch
from torch import distributions as D

from vae_tutorial import data, evaluation, exact, likelihoods, models, objectives


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=2, hidden=(16,), image_shape=(1, 4, 4))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)  # so that the decoder and the codes are worth measuring
    x = (torch.rand(60, 1, 4, 4) < 0.4).float()
    return model, x


def test_mean_and_its_error():
    values = torch.tensor([1.0, 2.0, 4.0])
    found = evaluation.mean(values)
    assert found.value == pytest.approx(7 / 3)
    assert found.stderr == pytest.approx(scipy.stats.sem(values.numpy()))
    assert str(evaluation.Mean(-98.764, 0.256)) == "-98.76 ± 0.26"
    for wrong in (values[:1], values[None]):
        with pytest.raises(ValueError, match="values must have shape"):
            evaluation.mean(wrong)


def test_encode_takes_both_kinds_of_images(small):
    model, x = small
    grey = (255 * torch.rand(70, 1, 4, 4)).to(torch.uint8)
    mu, logvar = evaluation.encode(model, grey, batch_size=32)
    wanted = model.encode(grey.float() / 255)
    torch.testing.assert_close((mu, logvar), tuple(w.detach() for w in wanted))
    assert evaluation.encode(model, x)[0].shape == (60, 2)
    assert not mu.requires_grad


def test_log_marginal_against_quadrature(small):
    model, x = small
    grid = exact.GridLatent(model.decode, model.likelihood.log_prob, latent_dim=2, points=201)
    with torch.no_grad():
        wanted = grid.log_prob(x)
    found = evaluation.log_marginal(model, x, samples=4000, generator=torch.Generator().manual_seed(1))
    deviations = (found.value - wanted) / found.stderr
    assert deviations.abs().max() < 4.5  # 60 of them
    assert 0.7 < deviations.std() < 1.4  # the errors are neither too large nor too small
    assert (found.ess > 1).all()
    assert (found.ess < 4000).all()


def test_log_marginal_of_the_exact_posterior_has_no_error():
    torch.manual_seed(2)
    # Orthogonal columns: then the posterior's covariance is diagonal, and q can be the posterior.
    w, b, var = torch.linalg.qr(torch.randn(6, 2)).Q * torch.tensor([1.5, 0.7]), torch.rand(6), 0.3
    linear = exact.LinearGaussian(w.double(), b.double(), var)

    class Encoder(torch.nn.Module):
        def forward(self, x):
            mean, covariance = linear.posterior(x.flatten(1).double())
            return mean, covariance.diagonal(dim1=-2, dim2=-1).log().expand_as(mean)

    class Decoder(torch.nn.Module):
        def forward(self, z):
            return (z @ w.T.double() + b.double()).unflatten(-1, (1, 2, 3))

    model = models.VAE(Encoder(), Decoder(), 2, (1, 2, 3), likelihoods.Gaussian(var))
    model.dummy = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    x = torch.rand(9, 1, 2, 3, dtype=torch.float64)
    found = evaluation.log_marginal(model, x, samples=7, batch_size=4)
    torch.testing.assert_close(found.value, linear.log_prob(x.flatten(1)))
    assert found.stderr.max() < 1e-5
    torch.testing.assert_close(found.ess, torch.full((9,), 7.0, dtype=torch.float64))


def test_log_marginal_with_one_sample_is_an_elbo(small):
    model, x = small
    x = x[:1].expand(4000, -1, -1, -1)
    one = evaluation.log_marginal(model, x, samples=1, generator=torch.Generator().manual_seed(3)).value
    with torch.no_grad():
        elbo = objectives.elbo(model, x[:1], samples=20_000, generator=torch.Generator().manual_seed(4)).elbo.item()
    assert one.mean().item() == pytest.approx(elbo, abs=5 * one.std().item() / 4000**0.5)
    more = evaluation.log_marginal(model, x, samples=10, generator=torch.Generator().manual_seed(3)).value
    assert more.mean() > one.mean()


def test_bad_input_of_the_estimators():
    mu = torch.zeros(5, 2)
    with pytest.raises(ValueError, match="samples must be a whole number of at least 1; got 0"):
        evaluation.split_kl(mu, mu, samples=0)
    with pytest.raises(ValueError, match="mu and logvar must have one shape"):
        evaluation.split_kl(mu, mu[:4])
    with pytest.raises(ValueError, match="mu must have shape"):
        evaluation.active_units(mu[0])
    with pytest.raises(ValueError, match="mu is NaN or infinite in 5 of 5 rows"):
        evaluation.active_units(mu * math.nan)
    with pytest.raises(ValueError, match="threshold must be a number of at least 0; got nan"):
        evaluation.active_units(mu, math.nan)


def test_rate_and_distortion_are_the_parts_of_the_elbo(small):
    model, x = small
    found = evaluation.rate_distortion(model, x, samples=3, generator=torch.Generator().manual_seed(5), batch_size=60)
    with torch.no_grad():
        parts = objectives.elbo(model, x, samples=3, generator=torch.Generator().manual_seed(5))
    assert found.rate.value == pytest.approx(parts.kl.mean().item(), rel=1e-5)
    assert found.distortion.value == pytest.approx(-parts.reconstruction.mean().item(), rel=1e-5)
    assert found.negative_elbo.value == pytest.approx(found.rate.value + found.distortion.value, rel=1e-5)
    assert found.negative_elbo.stderr == pytest.approx(scipy.stats.sem(parts.elbo.numpy()), rel=1e-4)


def test_unit_kl_and_active_units():
    torch.manual_seed(6)
    mu, logvar = torch.randn(500, 3) * torch.tensor([1.0, 0.05, 0.2]), torch.randn(500, 3) - 1
    each = D.kl_divergence(D.Normal(mu, (logvar / 2).exp()), D.Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(evaluation.unit_kl(mu, logvar), each)
    assert evaluation.active_units(mu).tolist() == [True, False, True]  # variances 1, 0.0025, 0.04
    assert evaluation.active_units(mu, threshold=0.1).tolist() == [True, False, False]
    # A mean that is far from 0 but the same for every image says nothing of the image.
    assert not evaluation.active_units(torch.full((9, 1), 3.0)).item()


def test_split_kl_against_the_grid_and_torch():
    torch.manual_seed(7)
    mu, logvar = torch.randn(40, 2) * torch.tensor([1.2, 0.8]) + torch.tensor([0.5, 0.0]), torch.randn(40, 2) * 0.4 - 2
    wanted = exact.GridLatent(lambda z: z, lambda x, p: x, latent_dim=2).split_kl(mu, logvar)
    found = evaluation.split_kl(mu, logvar, samples=200, generator=torch.Generator().manual_seed(8), batch_size=17)
    assert found.expected_kl.value == pytest.approx(wanted.expected_kl, rel=1e-9)
    # 8,000 draws: the spread of log q(z | x) - log q(z) is about a nat
    assert found.mutual_information.value == pytest.approx(wanted.mutual_information, abs=0.04)
    assert found.aggregate_kl.value == pytest.approx(wanted.aggregate_kl, abs=0.04)
    assert found.expected_kl.value == pytest.approx(found.mutual_information.value + found.aggregate_kl.value)
    mixture = D.MixtureSameFamily(
        D.Categorical(torch.ones(40)), D.Independent(D.Normal(mu, (logvar / 2).exp()), 1), validate_args=False
    )
    z = mixture.sample((20_000,))
    prior = D.Independent(D.Normal(torch.zeros(2), torch.ones(2)), 1)
    aggregate = (mixture.log_prob(z) - prior.log_prob(z)).mean().item()
    assert found.aggregate_kl.value == pytest.approx(aggregate, abs=0.05)
    # Codes far apart say which image it was, and no more than that.
    apart = evaluation.split_kl(torch.arange(16.0)[:, None] * 100, torch.zeros(16, 1))
    assert apart.mutual_information.value == pytest.approx(math.log(16), abs=1e-9)


def test_accuracies_and_their_interval():
    torch.manual_seed(9)
    labels = torch.arange(600) % 3
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 400.0]])  # axes of unlike scale
    codes = centres[labels] + torch.randn(600, 2) * torch.tensor([1.0, 100.0])
    for classify in (evaluation.linear_probe, evaluation.nearest_neighbours):
        found = classify(codes[:400], labels[:400], codes[400:], labels[400:])
        right = round(found.value * 200)
        interval = scipy.stats.binomtest(right, 200).proportion_ci(0.95, "wilson")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert evaluation.linear_probe(codes[:400], labels[:400], codes[400:], labels[400:]).value > 0.93
    with pytest.raises(ValueError, match=r"test_codes must be \(N, Z\)"):
        evaluation.linear_probe(codes, labels, codes, labels[:3])
    assert str(evaluation.Accuracy(0.917, 0.912, 0.9224)) == "91.7 % (91.2 to 92.2)"


def test_on_real_images_in_pieces():
    images = data.test_binarization("digits")[:50]
    torch.manual_seed(10)
    model = models.MLPVAE(latent_dim=3)
    whole = evaluation.log_marginal(model, images, samples=120, generator=torch.Generator().manual_seed(1))
    parts = evaluation.log_marginal(
        model, images, samples=120, generator=torch.Generator().manual_seed(2), batch_size=7
    )
    assert whole.value.mean().item() == pytest.approx(parts.value.mean().item(), abs=1.0)
