"""Exact models: against torch.distributions, scikit-learn, SciPy's quadrature, enumeration and Monte Carlo."""

import itertools
import math

import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import sklearn.decomposition
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from vae_tutorial import exact, likelihoods, models
from vae_tutorial.exact import BernoulliMixture, GridLatent, LinearGaussian, _ascent, grid_latent

DOUBLE = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@pytest.fixture
def linear():
    """A model with 5 observed and 3 latent dimensions whose W^T W is far from diagonal."""
    return LinearGaussian(randn(5, 3), randn(5, seed=1), 0.4)


@pytest.fixture
def x(linear):
    return linear.sample(40, torch.Generator().manual_seed(2))[0]


def full(model):
    """Return p(x), written out with its (D, D) covariance."""
    noise = model.noise_var * torch.eye(len(model.b), dtype=DOUBLE)
    return MultivariateNormal(model.b, model.W @ model.W.T + noise)


# Linear Gaussian model


def test_linear_log_prob_against_the_full_covariance(linear, x):
    far = 1e3 * x
    assert torch.allclose(linear.log_prob(x), full(linear).log_prob(x), rtol=1e-12)
    assert torch.allclose(linear.log_prob(far), full(linear).log_prob(far), rtol=1e-10)
    wide = LinearGaussian(randn(2, 4), randn(2), 0.1)  # more latent dimensions than numbers
    assert torch.allclose(wide.log_prob(x[:, :2]), full(wide).log_prob(x[:, :2]), rtol=1e-12)


def test_linear_log_prob_never_forms_a_large_matrix():
    D = 300_000  # D x D would take 360 GB
    model = LinearGaussian(torch.zeros(D, 2).index_fill_(0, torch.tensor([7]), 3.0), torch.zeros(D), 0.5)
    x = torch.zeros(1, D)
    x[0, 7] = 2.0
    reference = scipy.stats.norm(0, math.sqrt(18.5)).logpdf(2) + (D - 1) * scipy.stats.norm(0, math.sqrt(0.5)).logpdf(0)
    assert model.log_prob(x).item() == pytest.approx(reference, rel=1e-6)


def test_linear_float32_keeps_its_digits_with_little_noise():
    # x lies in the plane of W up to noise: |x|^2 / noise_var is 1e7, of which all but 50 has to cancel
    model = LinearGaussian(30 * randn(50, 2), randn(50), 1e-3)
    x, _ = model.sample(20, torch.Generator().manual_seed(0))
    single = LinearGaussian(model.W.float(), model.b.float(), model.noise_var)
    assert single.log_prob(x.float()).dtype == torch.float32
    assert torch.allclose(single.log_prob(x.float()).double(), model.log_prob(x), atol=2)


def test_linear_posterior_is_the_conditional_of_the_joint(linear, x):
    """E[z | x] = C_zx C_xx^-1 (x - b) and Cov[z | x] = C_zz - C_zx C_xx^-1 C_xz, in blocks of the joint covariance."""
    mean, covariance = linear.posterior(x)
    gain = linear.W.T @ torch.linalg.inv(full(linear).covariance_matrix)
    assert torch.allclose(mean, (x - linear.b) @ gain.T, atol=1e-12)
    assert torch.allclose(covariance, torch.eye(3, dtype=DOUBLE) - gain @ linear.W, atol=1e-12)


def test_linear_elbo_plus_gap_is_log_p(linear, x):
    mu, logvar = randn(40, 3, seed=5), randn(40, 3, seed=6)
    mean, covariance = linear.posterior(x)
    for variances in (logvar, logvar[0]):
        q = MultivariateNormal(mu, torch.diag_embed(variances.exp().expand(40, 3)))
        gap = kl_divergence(q, MultivariateNormal(mean, covariance))
        assert torch.allclose(linear.elbo(x, mu, variances) + gap, linear.log_prob(x), atol=1e-9)
        assert (gap > 0.1).all()


def test_linear_elbo_against_monte_carlo(linear, x, generator):
    mu, logvar = randn(40, 3, seed=5), randn(40, 3, seed=6)
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    z = models.reparameterize(mu, logvar, 10_000, generator)
    p_x_given_z = torch.distributions.Normal(z @ linear.W.T + linear.b, math.sqrt(0.4))
    log_w = p_x_given_z.log_prob(x).sum(-1) + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    log_w = log_w - q.log_prob(z).sum(-1)
    standard_error = log_w.std(0) / math.sqrt(len(log_w))
    off = (log_w.mean(0) - linear.elbo(x, mu, logvar)) / standard_error
    assert off.abs().max() < 4.5  # the largest of 40
    assert 0.5 < off.std() < 1.5


def test_linear_encoder_is_the_best(linear, x):
    A, c, logvar = (v.requires_grad_() for v in linear.encoder())
    best = linear.elbo(x, x @ A.T + c, logvar)
    gradients = torch.autograd.grad(best.mean(), (A, c, logvar))
    assert max(gradient.abs().max() for gradient in gradients) < 1e-12
    assert torch.allclose(best, linear.best_elbo(x), atol=1e-12)
    for seed in range(50):
        size = 10.0 ** -(seed % 4)
        mu, other = (v + size * randn(*v.shape, seed=seed) for v in (x @ A.T + c, logvar))
        assert (linear.elbo(x, mu, other) < best).all()
    # the variances are smaller than the posterior's
    assert (logvar.exp() < 0.9 * linear.posterior(x)[1].diagonal()).all()


def test_mean_field_gap(linear, x):
    """The cost of a diagonal covariance: half of sum log diag(precision) - log det(precision), for every x."""
    precision = torch.linalg.inv(linear.posterior(x)[1])
    gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert gap > 0.05
    assert torch.allclose(linear.log_prob(x) - linear.best_elbo(x), gap.expand(40), atol=1e-10)
    Q, _ = torch.linalg.qr(linear.W)
    diagonal = LinearGaussian(Q * torch.tensor([3.0, 1.0, 0.0], dtype=DOUBLE), linear.b, 0.4)
    assert torch.allclose(diagonal.best_elbo(x), diagonal.log_prob(x), rtol=0, atol=1e-9)


def test_fit_is_a_stationary_point_of_the_likelihood(x):
    model = LinearGaussian.fit(x, 2)
    noise_var = torch.tensor(model.noise_var, dtype=DOUBLE, requires_grad=True)
    W, b = model.W.clone().requires_grad_(), model.b.clone().requires_grad_()
    mean = LinearGaussian(W, b, noise_var).log_prob(x).mean()
    for gradient in torch.autograd.grad(mean, (W, b, noise_var)):
        assert gradient.abs().max() < 1e-10
    for seed in range(30):
        other = LinearGaussian(randn(5, 2, seed=seed) + W, b, model.noise_var)
        assert other.log_prob(x).mean() < mean
    assert torch.allclose(model.best_elbo(x), model.log_prob(x), rtol=0, atol=1e-9)


def test_fit_against_scikit_learn(x):
    """Scikit-learn divides by N - 1 where the likelihood asks for N: all its variances are larger by that factor."""
    N, pca = len(x), sklearn.decomposition.PCA(2, svd_solver="full").fit(x.numpy())
    ours = LinearGaussian.fit(x, 2)
    assert ours.noise_var == pytest.approx(pca.noise_variance_ * (N - 1) / N)
    assert (ours.directions() + ours.noise_var).numpy() == pytest.approx(pca.explained_variance_ * (N - 1) / N)
    theirs = LinearGaussian(ours.W * math.sqrt(N / (N - 1)), ours.b, ours.noise_var * N / (N - 1))
    assert theirs.log_prob(x).numpy() == pytest.approx(pca.score_samples(x.numpy()), rel=1e-12)
    assert ours.log_prob(x).mean() > theirs.log_prob(x).mean()


def test_collapse_where_the_noise_exceeds_the_variance(x):
    centred = x - x.mean(0)
    eigenvalues = torch.linalg.svdvals(centred).square() / len(x)  # another route than eigh
    noise_var = (0.5 * (eigenvalues[1] + eigenvalues[2])).item()
    model = LinearGaussian.fit(x, 4, noise_var)
    assert model.noise_var == noise_var
    assert (model.W[:, 2:] == 0).all()
    lengths = model.W.norm(dim=0)
    assert torch.allclose(lengths[:2], (eigenvalues[:2] - noise_var).sqrt(), rtol=1e-12)
    assert model.directions()[2:].tolist() == [0, 0]
    survivors = exact.surviving_directions(eigenvalues, noise_var)
    assert torch.allclose(model.directions(), survivors[:4], atol=1e-12)
    # the posterior of a direction that is ignored is the prior
    A, c, logvar = model.encoder()
    assert A[2:].abs().max() == c[2:].abs().max() == 0
    assert logvar[2:].abs().max() < 1e-14  # the logarithm of s / s, which some processors round

    W = model.W.clone().requires_grad_()
    mean = LinearGaussian(W, model.b, noise_var).log_prob(x).mean()
    assert torch.autograd.grad(mean, W)[0].abs().max() < 1e-10
    # stationary is not yet best: both what was cut off and what was kept lose by any change
    for seed in range(30):
        other = LinearGaussian(model.W + 0.1 * randn(5, 4, seed=seed), model.b, noise_var)
        assert other.log_prob(x).mean() < mean
    assert LinearGaussian.fit(x, 3, 1e6).directions().tolist() == [0, 0, 0]


def test_directions():
    Q, _ = torch.linalg.qr(randn(6, 3))
    R, _ = torch.linalg.qr(randn(3, 3, seed=1))
    W = Q * torch.tensor([2.0, 0.5, 0.0], dtype=DOUBLE) @ R
    directions = LinearGaussian(W, torch.zeros(6, dtype=DOUBLE), 1.0).directions()
    assert directions.tolist() == pytest.approx([4, 0.25, 0], abs=1e-12)
    assert directions[2] == 0
    assert LinearGaussian(randn(2, 4), randn(2), 1.0).directions()[2:].tolist() == [0, 0]


def test_fit_repeats_and_fixes_the_signs(x):
    for column in LinearGaussian.fit(x, 3).W.T:
        assert column[column.abs().argmax()] > 0
    single = LinearGaussian.fit(x.float(), 3)
    assert single.W.dtype == torch.float32
    assert torch.allclose(single.W.double(), LinearGaussian.fit(x, 3).W, atol=1e-5)


def test_linear_samples(linear, generator):
    x, z = linear.sample(200_000, generator)
    assert x.shape == (200_000, 5)
    assert z.shape == (200_000, 3)
    assert torch.allclose(x.mean(0), linear.b, atol=0.03)
    assert torch.allclose(torch.cov(x.T), full(linear).covariance_matrix, atol=0.1)
    assert torch.allclose((x - linear.b).T @ z / len(z), linear.W, atol=0.03)
    assert (x - z @ linear.W.T - linear.b).var().item() == pytest.approx(0.4, rel=0.01)
    again, _ = linear.sample(200_000, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


# Quadrature


def grid_of(linear, **grid):
    log_likelihood = exact.gaussian_log_likelihood(math.sqrt(linear.noise_var))
    return GridLatent(lambda z: z @ linear.W.T + linear.b, log_likelihood, linear.W.shape[1], **grid)


@pytest.mark.parametrize(("Z", "points"), [(1, 401), (2, 121)])
def test_grid_against_the_linear_model(Z, points):
    linear = LinearGaussian(randn(5, Z), randn(5, seed=1), 0.4)
    x, _ = linear.sample(12, torch.Generator().manual_seed(0))
    grid = grid_of(linear, points=points)
    assert grid.z.shape == (points**Z, Z)
    assert grid.log_cell.shape == grid.log_p_z.shape == (points**Z,)
    assert grid.log_cell.exp().sum().item() == pytest.approx(12**Z)  # the area: half a cell at a border
    assert torch.allclose(grid.log_prob(x), linear.log_prob(x), rtol=0, atol=1e-9)
    assert (grid.error(x) < 1e-5).all()
    mean, covariance = linear.posterior(x)
    posterior = grid.log_posterior(x)
    reference = MultivariateNormal(mean, covariance).log_prob(grid.z[:, None])
    assert torch.allclose(posterior, reference, rtol=0, atol=1e-8)
    assert torch.allclose((posterior + grid.log_cell[:, None]).exp().sum(0), torch.ones(12, dtype=DOUBLE), atol=1e-12)
    assert torch.allclose(grid.log_joint(x), reference + linear.log_prob(x), rtol=0, atol=1e-8)

    mu, logvar = mean + randn(12, Z, seed=4), randn(12, Z, seed=5) - 1
    assert torch.allclose(grid.elbo(x, mu, logvar), linear.elbo(x, mu, logvar), rtol=0, atol=1e-8)
    gap = kl_divergence(MultivariateNormal(mu, torch.diag_embed(logvar.exp())), MultivariateNormal(mean, covariance))
    assert torch.allclose(grid.kl_to_posterior(x, mu, logvar), gap, rtol=0, atol=1e-8)

    A, c, best_logvar = linear.encoder()
    mu, logvar = grid.best_gaussian(x)
    assert torch.allclose(mu, x @ A.T + c, rtol=0, atol=1e-6)
    assert torch.allclose(logvar, best_logvar.expand(12, Z), rtol=0, atol=1e-6)


@pytest.fixture
def curved():
    return exact.curved()


# Between the arms, nearly so, at the vertex, on an arm, on an arm far out, and where the model puts little.
POINTS = torch.tensor([[0.0, 0.5], [0.1, 0.2], [0.0, -1.0], [0.6, 0.4], [-1.25, 5.25], [2.0, -2.0]], dtype=DOUBLE)


def log_p_of_parabola(x, noise_std=0.3):
    """Return log p(x) of the curved model by SciPy's adaptive quadrature, written out by hand."""

    def density(z):
        likelihood = scipy.stats.norm.pdf(x[0], z / 2, noise_std) * scipy.stats.norm.pdf(x[1], z**2 - 1, noise_std)
        return likelihood * math.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)

    total, _ = scipy.integrate.quad(density, -8, 8, points=[-2.5, -1, 0, 1, 2.5], epsabs=0, epsrel=1e-11, limit=500)
    return math.log(total)


def test_curved_log_p_against_scipy(curved):
    reference = [log_p_of_parabola(x) for x in POINTS.tolist()]
    assert curved.log_prob(POINTS).tolist() == pytest.approx(reference, abs=1e-8)
    assert exact.curved(0.5, points=301).log_prob(POINTS[:1]).item() == pytest.approx(
        log_p_of_parabola([0.0, 0.5], 0.5), abs=1e-8
    )
    assert exact.parabola(torch.tensor([[2.0], [-1.0]])).tolist() == [[1, 3], [-0.5, 0]]


def modes(curved, x):
    density = curved.log_posterior(x).T
    return ((density[:, 1:-1] > density[:, :-2]) & (density[:, 1:-1] > density[:, 2:])).sum(1)


def test_curved_posteriors_have_the_shapes_that_are_promised(curved):
    x = torch.tensor([[0.0, 0.5], [0.0, -1.0], [1.0, 3.0], [1.5, 8.0]], dtype=DOUBLE)
    assert modes(curved, x)[:2].tolist() == [2, 1]
    p = (curved.log_posterior(x) + curved.log_cell[:, None]).exp()
    assert p[curved.z[:, 0] > 0].sum(0).tolist() == pytest.approx([0.5, 0.5, 1, 1], abs=0.02)
    std = ((p * curved.z**2).sum(0) - (p * curved.z).sum(0) ** 2).sqrt()
    assert std[0] > 1
    assert std[2] < 0.1
    assert std[3] < 0.6 * std[2] + 0.01


def test_elbo_plus_gap_is_log_p_on_the_curved_decoder(curved):
    for seed, shift in enumerate((-9.0, -2.0, 1.0)):  # narrower than the grid's spacing, narrow, wide
        mu = torch.cat([randn(6, 1, seed=seed)])
        logvar = shift + randn(6, 1, seed=seed + 10)
        elbo, gap = curved.elbo(POINTS, mu, logvar), curved.kl_to_posterior(POINTS, mu, logvar)
        assert torch.allclose(elbo + gap, curved.log_prob(POINTS), rtol=0, atol=1e-6)
        assert (gap > 0.01).all()


def test_elbo_on_the_curved_decoder_in_closed_form(curved):
    """E_q of the quartic in the exponent, by the moments of a Gaussian."""
    mu, logvar = randn(6, 1), randn(6, 1, seed=1)
    m, v = mu[:, 0], logvar[:, 0].exp()
    x1, x2 = POINTS.T
    a = x2 + 1
    second, fourth = m**2 + v, m**4 + 6 * m**2 * v + 3 * v**2
    square = (x1**2 - x1 * m + second / 4) + (a**2 - 2 * a * second + fourth)
    reconstruction = -square / (2 * 0.09) - math.log(2 * math.pi * 0.09)
    kl = 0.5 * (second - 1 - logvar[:, 0])
    assert torch.allclose(curved.elbo(POINTS, mu, logvar), reconstruction - kl, atol=1e-7)


def test_the_elbo_has_a_gradient_and_nothing_else_keeps_a_graph(curved):
    mu, logvar = randn(2, 1).requires_grad_(), randn(2, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, v: curved.elbo(POINTS[:2], m, v), (mu, logvar))
    assert torch.autograd.gradcheck(lambda m, v: curved.kl_to_posterior(POINTS[:2], m, v), (mu, logvar))
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=1, hidden=(8,), image_shape=(1, 2, 2)).double()
    grid = GridLatent(model.decode, model.likelihood.log_prob)
    x = torch.ones(2, 1, 2, 2, dtype=DOUBLE)
    for value in (grid.log_prob(x), grid.log_joint(x), grid.error(x), grid.elbo(x, mu.detach(), logvar.detach())):
        assert not value.requires_grad


@pytest.mark.parametrize("Z", [1, 2])
@pytest.mark.parametrize("noise_var", [1.0, 0.1, 1e-2, 1e-4])
def test_the_error_bounds_the_truth(Z, noise_var):
    linear = LinearGaussian(randn(4, Z), torch.zeros(4, dtype=DOUBLE), noise_var)
    x, _ = linear.sample(100, torch.Generator().manual_seed(0))
    for points, extent in itertools.product((9, 16, 31, 61), (2.0, 6.0)):
        grid = grid_of(linear, points=points, extent=extent)
        truth = (grid.log_prob(x) - linear.log_prob(x)).abs()
        assert (truth <= grid.error(x) + 1e-10).all()


def test_the_error_is_of_the_size_of_the_truth_where_the_likelihood_has_a_kink():
    # Twice as many points help only by a factor of four here, and no sum sees a kink midway between two points.
    grid = GridLatent(lambda z: z, lambda x, mean: -5 * (x - mean).abs().sum(-1), points=61)
    x = torch.linspace(-2, 2, 57, dtype=DOUBLE)
    # The integral of N(z; 0, 1) exp(-5 |z - x|), in halves, by completing the square
    left, right = (torch.exp(12.5 + sign * 5 * x) * torch.special.ndtr(-sign * x - 5) for sign in (-1, 1))
    truth = (grid.log_prob(x[:, None]) - (left + right).log()).abs()
    error = grid.error(x[:, None])
    assert truth.max() > 0.01
    assert (truth <= error).double().mean() > 0.8
    assert truth.mean() < error.mean() < 10 * truth.mean()


def test_the_error_sees_a_narrow_posterior_midway_between_two_points():
    # Half of the grid, whichever half, sees the same as the whole here.
    linear = LinearGaussian(torch.ones(1, 1, dtype=DOUBLE), torch.zeros(1, dtype=DOUBLE), 1e-3)
    grid = grid_of(linear, points=61)
    x = torch.tensor([[0.5 * grid.spacing * 1.001]], dtype=DOUBLE)
    assert abs(linear.posterior(x)[0].item() - 0.5 * grid.spacing) < 1e-12
    assert (grid.log_prob(x) - linear.log_prob(x)).abs() > 3
    assert grid.error(x) > 3


def test_the_error_shrinks_with_the_grid_and_is_large_for_a_bad_one():
    x = POINTS[:4]
    errors = torch.stack([exact.curved(points=points).error(x) for points in (17, 33, 65, 129, 257)])
    assert (errors[1:] < errors[:-1]).all()
    assert (errors[0] > 0.5).all()
    assert (errors[-1] < 1e-9).all()
    far = torch.tensor([[1.0, 3.0]], dtype=DOUBLE)  # z near 2
    narrow, wide = (exact.curved(points=301, extent=extent).error(far).item() for extent in (1.5, 3.0))
    assert narrow > 10
    assert wide < 1e-9
    assert exact.curved(points=301, extent=2.0).error(far).item() > 0.3  # half of the posterior is cut off


def test_pieces_do_not_matter(monkeypatch):
    linear = LinearGaussian(randn(5, 2), randn(5, seed=1), 0.4)
    grid, x = grid_of(linear, points=21), linear.sample(3, torch.Generator().manual_seed(0))[0]
    mu, logvar = randn(3, 2), randn(3, 2, seed=1)

    def results():
        yield from (grid.log_joint(x), grid.error(x), grid.elbo(x, mu, logvar), *grid.best_gaussian(x, steps=3))
        yield torch.tensor(grid.split_kl(mu, logvar), dtype=DOUBLE)

    whole = list(results())
    monkeypatch.setattr(grid_latent, "_PIECE", 100)
    for one, other in zip(whole, results(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


def test_a_vae_in_float32_on_a_grid():
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=(1, 2, 2))
    for parameter in model.decoder.parameters():
        parameter.data *= 3
    grid = GridLatent(model.decode, model.likelihood.log_prob, latent_dim=2, points=121)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(16, 1, 2, 2)
    log_p = grid.log_prob(images)
    assert log_p.dtype == DOUBLE
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)  # the only 16 images there are
    with torch.no_grad():
        mu, logvar = model.encode(images)
    identity = grid.elbo(images, mu, logvar) + grid.kl_to_posterior(images, mu, logvar) - log_p
    assert identity.abs().max() < 1e-4
    best = grid.elbo(images, *grid.best_gaussian(images, steps=50))
    assert (best > grid.elbo(images, mu, logvar) + 0.01).all()
    assert (best < log_p + 1e-4).all()
    assert (
        GridLatent(model.decode, model.likelihood.log_prob, 2, 61, dtype=torch.float32).log_prob(images).dtype
        == torch.float32
    )


def test_best_gaussian_on_two_modes_against_a_search(curved):
    x = torch.tensor([[0.03, 0.5], [0.0, -0.9]], dtype=DOUBLE)
    assert modes(curved, x).tolist() == [2, 1]
    mu, logvar = curved.best_gaussian(x)
    best = curved.elbo(x, mu, logvar)
    means, logvars = torch.linspace(-2.5, 2.5, 126, dtype=DOUBLE), torch.linspace(-6, 1, 71, dtype=DOUBLE)
    candidates = torch.cartesian_prod(means, logvars)  # (M, 2)
    for row in range(2):
        every = curved.elbo(x[row].expand(len(candidates), 2), candidates[:, :1], candidates[:, 1:])
        assert best[row] >= every.max()
        assert best[row] - every.max() < 0.05
        found = candidates[every.argmax()]
        assert (mu[row, 0] - found[0]).abs() <= 0.04
        assert (logvar[row, 0] - found[1]).abs() <= 0.1
    assert mu[0] > 0.8  # the mode of more mass, not the middle
    assert mu[1].abs() < 1e-6
    assert logvar[1] > logvar[0] + 0.5


def test_best_gaussian_is_stationary(curved):
    mu, logvar = (v.requires_grad_() for v in curved.best_gaussian(POINTS))
    gradients = torch.autograd.grad(curved.elbo(POINTS, mu, logvar).sum(), (mu, logvar))
    assert (gradients[0] * (0.5 * logvar).exp()).abs().max() < 1e-6
    assert gradients[1].abs().max() < 1e-6


def test_best_gaussian_is_not_caught_by_ripples():
    """log p(x, z) = -z^2 / 2 + 2 cos 30 z: each crest holds a narrow Gaussian, but the wide one is better."""
    grid = GridLatent(lambda z: z, lambda x, z: 2 * torch.cos(30 * z).sum(-1) + 0 * x.sum(-1), points=2001)
    x = torch.zeros(1, 1, dtype=DOUBLE)
    mu, logvar = grid.best_gaussian(x)
    assert mu.abs() < 1e-3
    assert logvar.abs() < 1e-3
    crest = _ascent.ascend(grid.elbo, x, torch.zeros(1, 1, dtype=DOUBLE), torch.full((1, 1), -7.0, dtype=DOUBLE), 50)
    assert crest[1] < -6.5
    assert grid.elbo(x, mu, logvar) > crest[2] + 1


def test_one_natural_gradient_step_solves_a_gaussian():
    linear = LinearGaussian(randn(5, 1), randn(5, seed=1), 0.4)
    x, _ = linear.sample(12, torch.Generator().manual_seed(0))
    A, c, logvar = linear.encoder()
    start = x @ A.T + c + randn(12, 1), logvar + 0.5 * randn(12, 1, seed=2)
    mu, found, _ = _ascent.ascend(grid_of(linear).elbo, x, *start, steps=1)
    assert torch.allclose(mu, x @ A.T + c, atol=1e-8)
    assert torch.allclose(found, logvar.expand(12, 1), atol=1e-8)


def test_the_climb_never_falls_and_leaves_a_valley(curved):
    x = torch.tensor([[0.03, 0.5]] * 4 + [[1.0, 3.0]] * 4, dtype=DOUBLE)
    mu = torch.tensor([0.01, -0.1, 3.0, -4.0] * 2, dtype=DOUBLE)[:, None]
    logvar = torch.tensor([-8.0, -3.0, 2.0, -6.0] * 2, dtype=DOUBLE)[:, None]
    climbs = [
        _ascent.ascend(curved.elbo, x, mu.clone(), logvar.clone(), steps) for steps in (0, 1, 2, 3, 5, 8, 12, 20, 60)
    ]
    heights = torch.stack([height for _, _, height in climbs])
    assert (heights[1:] >= heights[:-1] - 1e-9).all()
    assert torch.allclose(heights[-1], curved.elbo(x, *climbs[-1][:2]))
    summits = curved.elbo(x, *curved.best_gaussian(x))
    assert (heights[-1] <= summits + 1e-9).all()
    assert heights[-1, 0] == pytest.approx(summits[0].item(), abs=1e-9)
    assert heights[-1, 4] == pytest.approx(summits[4].item(), abs=1e-9)
    assert torch.allclose(heights[-1, :4], summits[:4], atol=0.5)  # at worst the lower of the two modes


@pytest.mark.parametrize(
    ("mu", "logvar"),
    [
        (randn(5, 1), randn(5, 1, seed=1) - 1),
        # narrow ones apart: a grid with four fifths of a standard deviation between points was 2e-5 off here
        (torch.tensor([-2, -1, 0.3, 1, 2.5])[:, None].double(), torch.tensor([-3, -1, -2, -4, -1.5])[:, None].double()),
    ],
)
def test_split_kl_adds_up_and_matches_scipy(curved, mu, logvar):
    split = curved.split_kl(mu, logvar)
    reference = kl_divergence(
        torch.distributions.Normal(mu, (0.5 * logvar).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    assert split.expected_kl == pytest.approx(reference.mean().item(), abs=1e-12)
    assert split.mutual_information + split.aggregate_kl == pytest.approx(split.expected_kl, abs=1e-6)

    # I(x; z) = mean KL(q(z | x) || q(z)), the divergence form, which is not how the package computes it
    components = [
        scipy.stats.norm(m, math.exp(0.5 * v)) for m, v in zip(mu[:, 0].tolist(), logvar[:, 0].tolist(), strict=True)
    ]

    def log_q_z(z):
        return scipy.special.logsumexp([q.logpdf(z) for q in components]) - math.log(5)

    information = 0.0
    for q in components:
        value, _ = scipy.integrate.quad(
            lambda z, q=q: q.pdf(z) * (q.logpdf(z) - log_q_z(z)),
            q.mean() - 9 * q.std(),
            q.mean() + 9 * q.std(),
            epsabs=1e-10,
            limit=200,
        )
        information += value / 5
    assert split.mutual_information == pytest.approx(information, abs=1e-7)


def test_split_kl_in_two_dimensions_against_monte_carlo(generator):
    grid = GridLatent(lambda z: z, exact.gaussian_log_likelihood(1.0), latent_dim=2)
    mu, logvar = randn(30, 2), randn(30, 2, seed=1) - 3
    split = grid.split_kl(mu, logvar)
    assert split.mutual_information + split.aggregate_kl == pytest.approx(split.expected_kl, abs=1e-6)
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    z = models.reparameterize(mu, logvar, 3000, generator)  # (S, 30, 2)
    log_q_z = q.log_prob(z[:, :, None]).sum(-1).logsumexp(-1) - math.log(30)
    ratio = q.log_prob(z).sum(-1) - log_q_z
    standard_error = ratio.std() / math.sqrt(ratio.numel())
    assert abs(ratio.mean().item() - split.mutual_information) < 4 * standard_error < 0.05


def test_split_kl_of_special_encoders(curved):
    ignores_x = curved.split_kl(torch.full((50, 1), 0.7), torch.full((50, 1), -1.0))
    assert ignores_x.mutual_information == pytest.approx(0, abs=1e-9)
    assert ignores_x.aggregate_kl == pytest.approx(ignores_x.expected_kl, abs=1e-9)
    assert ignores_x.expected_kl > 0.2
    # codes that never overlap name the example: I(x; z) = log N
    names_it = curved.split_kl(torch.arange(5.0)[:, None] - 2, torch.full((5, 1), 2 * math.log(0.01)))
    assert names_it.mutual_information == pytest.approx(math.log(5), abs=1e-9)
    matches = curved.split_kl(torch.zeros(3, 1), torch.zeros(3, 1))
    assert tuple(matches) == pytest.approx((0, 0, 0), abs=1e-9)
    with pytest.raises(ValueError, match=r"deviations down to 1e-09 and reaches out to 1: the grid would have .* most"):
        curved.split_kl(torch.tensor([[1.0]]), torch.tensor([[2 * math.log(1e-9)]]))


# Bernoulli mixture


def images_of(n):
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=DOUBLE)] * n)


@pytest.fixture
def mixture():
    probs = torch.sigmoid(2 * randn(3, 1, 2, 3))
    return BernoulliMixture(torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE), probs)


def test_mixture_against_torch_and_by_enumeration(mixture):
    x = images_of(6).view(64, 1, 2, 3)
    assert mixture.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(mixture.weights),
        torch.distributions.Independent(torch.distributions.Bernoulli(mixture.probs), 3),
    )
    assert torch.allclose(mixture.log_prob(x), reference.log_prob(x), rtol=1e-12)


def test_responsibilities_by_hand(mixture):
    x = torch.tensor([[[[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]], dtype=DOUBLE)
    joint = []
    for weight, probs in zip(mixture.weights.tolist(), mixture.probs.flatten(1).tolist(), strict=True):
        product = weight
        for pixel, p in zip(x.flatten().tolist(), probs, strict=True):
            product *= p if pixel else 1 - p
        joint.append(product)
    assert mixture.responsibilities(x)[0].tolist() == pytest.approx([value / sum(joint) for value in joint])
    assert mixture.log_joint(x)[0].exp().tolist() == pytest.approx(joint)
    every = mixture.responsibilities(images_of(6).view(64, 1, 2, 3))
    assert every.shape == (64, 3)
    assert torch.allclose(every.sum(1), torch.ones(64, dtype=DOUBLE))


def test_mixture_is_stable_far_from_the_data():
    probs = torch.tensor([[1e-6], [1 - 1e-6]]).expand(2, 784)
    mixture = BernoulliMixture(torch.tensor([1.0, 0.0]), probs)
    x = torch.ones(1, 784)
    assert mixture.log_prob(x).item() == pytest.approx(784 * math.log(1e-6), rel=1e-6)  # exp of it is 0
    assert mixture.responsibilities(x).tolist() == [[1, 0]]


def test_mixture_samples(mixture, generator):
    x, z = mixture.sample(100_000, generator)
    assert x.shape == (100_000, 1, 2, 3)
    assert z.shape == (100_000,)
    assert z.dtype == torch.int64
    assert set(x.unique().tolist()) == {0.0, 1.0}
    error = 4.5 * math.sqrt(0.25 / 20_000)
    for k in range(3):
        assert (z == k).double().mean().item() == pytest.approx(mixture.weights[k].item(), abs=error)
        assert torch.allclose(x[z == k].mean(0), mixture.probs[k], atol=error)
    index = (x.flatten(1) @ (2.0 ** torch.arange(5, -1, -1, dtype=DOUBLE))).long()
    frequency = torch.bincount(index, minlength=64).double() / len(x)
    assert torch.allclose(frequency, mixture.log_prob(images_of(6).view(64, 1, 2, 3)).exp(), atol=4.5e-3)


def planted(n=3000, seed=0):
    probs = torch.tensor([[0.9] * 5 + [0.1] * 15, [0.1] * 10 + [0.9] * 10, [0.1, 0.9] * 10], dtype=DOUBLE)
    truth = BernoulliMixture(torch.tensor([0.6, 0.3, 0.1], dtype=DOUBLE), probs.view(3, 1, 4, 5))
    return truth, *truth.sample(n, torch.Generator().manual_seed(seed))


def test_em_recovers_a_planted_mixture():
    truth, x, z = planted()
    model = BernoulliMixture.fit(x, 3, tolerance=1e-6)
    order = model.weights.argsort(descending=True)
    assert torch.allclose(model.weights[order], truth.weights, atol=0.03)
    assert torch.allclose(model.probs[order], truth.probs, atol=0.08)
    assert model.probs.shape == (3, 1, 4, 5)
    assert model.probs.dtype == DOUBLE
    assert (order.argsort()[model.responsibilities(x).argmax(1)] == z).double().mean() > 0.98
    assert model.history[-1] > truth.log_prob(x).mean() - 0.01  # better in training than the truth, or nearly
    assert model.history[-1] == pytest.approx(model.log_prob(x).mean().item(), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_em_never_lowers_the_likelihood(seed):
    x = planted(300)[1] if seed < 3 else torch.bernoulli(torch.full((60, 6), 0.3, dtype=DOUBLE))
    history = BernoulliMixture.fit(x, 8, iterations=40, tolerance=-1, seed=seed, pseudo_count=0).history
    assert len(history) == 40
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(history))
    assert history[-1] > history[0] + 0.01


def test_iterations_of_em_by_hand():
    """Equations 9.56 to 9.60 of Bishop, with loops, from halfway between the mean and the examples of the seed."""
    _, x, _ = planted(50)
    chosen = torch.randperm(50, generator=torch.Generator().manual_seed(3))[:2]
    model = BernoulliMixture(torch.tensor([0.5, 0.5], dtype=DOUBLE), (x.mean(0) + x[chosen]) / 2)
    for iterations in (1, 2):
        after = BernoulliMixture.fit(x, 2, iterations=iterations, tolerance=-1, seed=3, pseudo_count=0.25)
        responsibilities = model.responsibilities(x)
        for k in range(2):
            count = sum(r[k].item() for r in responsibilities)
            on = sum(r[k] * image for r, image in zip(responsibilities, x, strict=True))
            assert torch.allclose(after.probs[k], (on + 0.25) / (count + 0.5), atol=1e-12)
            assert after.weights[k].item() == pytest.approx(count / 50)
        model = after


def test_one_component_is_a_count():
    _, x, _ = planted(50)
    model = BernoulliMixture.fit(x, 1)
    assert torch.allclose(model.probs[0], (x.sum(0) + 0.5) / 51)
    assert model.weights.tolist() == [1]
    assert len(model.history) == 2  # the second gains nothing


def test_em_stops_when_nothing_is_gained():
    _, x, _ = planted()
    history = BernoulliMixture.fit(x, 3, iterations=200, tolerance=0.01).history
    gains = [after - before for before, after in itertools.pairwise(history)]
    assert len(history) < 100
    assert gains[-1] < 0.01
    assert all(gain >= 0.01 for gain in gains[:-1])
    assert len(BernoulliMixture.fit(x, 3, iterations=2).history) == 2


def with_a_dead_component(pixels, weight=0.1):
    """Return a mixture whose second component has p(x | z) below 1e-100 for every example, and its E-step."""
    probs = torch.stack([pixels.mean(0).clamp(0.01, 0.99), torch.full_like(pixels[0], 1e-300)])
    model = BernoulliMixture(torch.tensor([1 - weight, weight], dtype=DOUBLE), probs)
    return model, *model._expect(pixels)


def test_an_empty_component_is_put_on_the_worst_explained_example():
    pixels = planted(100)[1].flatten(1)
    pixels[:, 0] = 1  # nobody is all off, as the dead component would have it
    pixels[17] = torch.tensor([1.0] + [0.0, 0.0, 1.0] * 6 + [1.0])  # unlike the rest
    model, log_p_x, responsibilities = with_a_dead_component(pixels)
    assert responsibilities[:, 1].sum() < 1e-100
    refilled = model._replace_empty(pixels, log_p_x, responsibilities, 0.5)
    assert torch.allclose(refilled.probs[1], (pixels[log_p_x.argmin()] + 0.5) / 2)
    assert torch.equal(refilled.probs[0], model.probs[0])
    assert refilled.weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert refilled.weights[1].item() == pytest.approx(0.01 / (0.01 + 0.9 * 0.99))
    assert refilled.log_prob(pixels).sum() > log_p_x.sum()
    # a component that is in use is left alone, and so is one that has but a single example to take
    assert refilled._replace_empty(pixels, *refilled._expect(pixels), 0.5) is None
    single = with_a_dead_component(pixels[:1])
    assert single[0]._replace_empty(pixels[:1], *single[1:], 0.5) is None


def test_an_empty_component_stays_empty_where_nothing_is_to_be_gained():
    pixels = torch.tensor([[1.0, 0.0]] * 30 + [[1.0, 1.0]] * 70, dtype=DOUBLE)  # no example is rare
    model, log_p_x, responsibilities = with_a_dead_component(pixels, weight=0.0)
    assert model._replace_empty(pixels, log_p_x, responsibilities, 0) is None
    moved = BernoulliMixture(torch.tensor([0.99, 0.01], dtype=DOUBLE), model.probs.clone())
    moved.probs[1] = torch.tensor([1 - 1e-12, 1e-12], dtype=DOUBLE)
    assert moved.log_prob(pixels).sum() < log_p_x.sum()  # what it would have been
    for pseudo_count in (0, 0.5):
        after = model._maximize(pixels, log_p_x, responsibilities, pseudo_count)
        assert after.weights.tolist() == [1, 0]
        assert after.log_prob(pixels).isfinite().all()


def test_em_with_components_that_die(monkeypatch):
    """Three kinds of images and six components, of which all but two are emptied: one is revived for each kind."""
    kinds = torch.eye(3, dtype=DOUBLE).repeat_interleave(30, 1)  # (3, 90)
    x = kinds.repeat_interleave(torch.tensor([50, 30, 20]), 0)
    maximized, spoilt = BernoulliMixture._maximize, []

    def spoil(self, *step):
        model = maximized(self, *step)
        if not spoilt:
            model.weights[2:], model.probs[2:] = 0.0, 0.5
            model.weights /= model.weights.sum()
            spoilt.append(model)
        return model

    monkeypatch.setattr(BernoulliMixture, "_maximize", spoil)
    model = BernoulliMixture.fit(x, 6, iterations=30, tolerance=-1e9, pseudo_count=0, seed=1)
    entropy = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
    assert model.history[-1] == pytest.approx(-entropy, abs=1e-9)
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(model.history))
    assert (model.weights == 0).any()


def test_em_goes_on_after_a_component_was_put_anew(monkeypatch):
    calls = []

    def refilled(self, *step):
        calls.append(step)
        return self if len(calls) <= 5 else None  # as if it had been, and nothing were gained by it

    monkeypatch.setattr(BernoulliMixture, "_replace_empty", refilled)
    assert len(BernoulliMixture.fit(planted(50)[1], 1).history) == 5 + 2


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("pseudo_count", [0, 0.5])
@pytest.mark.parametrize(
    "x",
    [
        torch.ones(7, 1, 2, 2),  # identical
        torch.zeros(7, 1, 2, 2),
        torch.tensor([[0.0, 1, 1, 0], [1.0, 0, 0, 1]]).repeat(6, 1),  # two kinds, more components
        torch.tensor([[1.0, 0.0]]),  # a single example
    ],
)
def test_extreme_data(x, pseudo_count, dtype):
    x = x.to(dtype)
    model = BernoulliMixture.fit(x, 9, pseudo_count=pseudo_count)
    assert model.probs.shape == (9, *x.shape[1:])
    for values in (model.weights, model.probs, model.log_prob(x), model.responsibilities(x)):
        assert values.isfinite().all()
        assert values.dtype == dtype
    kinds = len(x.unique(dim=0))
    if pseudo_count == 0:
        assert model.log_prob(x).mean().item() == pytest.approx(-math.log(kinds), abs=1e-4)
    assert all(math.isfinite(value) for value in model.history)


def test_fit_repeats_with_a_seed_and_leaves_the_global_generator_alone():
    _, x, _ = planted(200)
    state = torch.get_rng_state()
    first, again, other = (BernoulliMixture.fit(x, 3, iterations=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.probs, again.probs)
    assert not torch.equal(first.probs, other.probs)
    assert torch.equal(torch.get_rng_state(), state)


HALF = torch.tensor([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(4), 1.0),
            r"W must be \(D, Z\) and b \(D,\); got \(5, 2\)",
        ),
        (lambda: LinearGaussian(torch.zeros(5), torch.zeros(5), 1.0), r"W must be \(D, Z\)"),
        (
            lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), 0.0),
            r"noise_var must be a positive number; got 0\.0",
        ),
        (lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), math.nan), "noise_var .* got nan"),
        (
            lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), 1).log_prob(torch.zeros(3, 4)),
            r"x must have shape \(N, 5\)",
        ),
        (
            lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), 1).elbo(torch.zeros(5), 0, 0),
            r"\(N, 5\).* got \(5,\)",
        ),
        (
            lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), 1).elbo(*[torch.zeros(3, 5)] * 3),
            r"mu must have shape \(3, 2\), and logvar that or \(2,\); got \(3, 5\)",
        ),
        (lambda: LinearGaussian(torch.zeros(5, 2), torch.zeros(5), 1).posterior(torch.zeros(3, 5).double()), "float64"),
        (lambda: LinearGaussian.fit(torch.zeros(3, 4, 5), 2), r"x must be floating numbers of shape \(N, D\)"),
        (lambda: LinearGaussian.fit(torch.zeros(3, 4, dtype=torch.uint8), 2), r"torch\.uint8"),
        (lambda: LinearGaussian.fit(torch.rand(9, 4), 4), "latent_dim must lie between 1 and 3 .* got 4"),
        (lambda: LinearGaussian.fit(torch.rand(9, 4), 0, 1.0), "latent_dim must lie between 1 and 4 .* got 0"),
        (lambda: LinearGaussian.fit(torch.rand(9, 4), 2, -1.0), r"noise_var must be a positive number; got -1\.0"),
        (lambda: LinearGaussian.fit(torch.rand(3, 6), 2), "at most latent_dim = 2 directions.* give noise_var"),
        (lambda: exact.curved(latent_dim=1), None),
        (lambda: GridLatent(None, None, latent_dim=3), "latent_dim must be 1 or 2.* got 3"),
        (lambda: exact.curved(points=5), "points must be a whole number of at least 9; got 5"),
        (lambda: exact.curved(points=20.5), r"points .* got 20\.5"),
        (lambda: exact.curved(extent=0), "extent must be a positive number.* got 0"),
        (lambda: exact.curved(noise_std=-1), "noise_std must be a positive number; got -1"),
        (lambda: exact.curved().log_prob(torch.zeros(3, 2, dtype=torch.int64)), r"x must be floating .* torch\.int64"),
        (
            lambda: exact.curved().elbo(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 2)),
            r"mu and logvar must be \(3, 1\)",
        ),
        (
            lambda: exact.curved().elbo(torch.zeros(3, 2), torch.zeros(2, 1), torch.zeros(3, 1)),
            r"got \(2, 1\) and \(3, 1\)",
        ),
        (
            lambda: GridLatent(lambda z: z, lambda x, m: x - m).log_prob(torch.zeros(3, 1)),
            r"one number for each z and x, \(401, 3\)",
        ),
        (lambda: exact.curved().split_kl(torch.zeros(3, 2), torch.zeros(3, 2)), r"must be \(3, 1\)"),
        (lambda: exact.curved().log_prob(torch.zeros(3, 1)), r"x must have 2 numbers.*got \(3, 1\)"),
        (lambda: exact.curved().elbo(*[torch.zeros(3, 1)] * 3), r"x must have 2 numbers.*got \(3, 1\)"),
        (
            lambda: GridLatent(models.MLPVAE(2, (4,)).decode, likelihoods.Bernoulli().log_prob, 2, 9).log_prob(
                torch.full((1, 1, 28, 28), 255.0)
            ),
            r"x ranges from 255 to 255; pixels must lie in \[0, 1\]",
        ),
        (lambda: LinearGaussian.fit(torch.full((9, 4), math.nan), 2), "x has values that are NaN or infinite"),
        (lambda: LinearGaussian.fit(torch.full((9, 4), math.inf), 2, 1.0), "x has values that are NaN or infinite"),
        (
            lambda: BernoulliMixture(HALF, torch.rand(3, 4)),
            r"weights must be \(K,\) and probs \(K, \*image_shape\); got \(2,\)",
        ),
        (lambda: BernoulliMixture(HALF, torch.tensor([0.5, 0.5])), r"probs \(K, \*image_shape\)"),
        (lambda: BernoulliMixture(torch.tensor([0.5, 0.6]), torch.full((2, 4), 0.5)), r"sum to 1; got sum 1\.1"),
        (lambda: BernoulliMixture(torch.tensor([1.5, -0.5]), torch.full((2, 4), 0.5)), "weights must be at least 0"),
        (lambda: BernoulliMixture(HALF, torch.ones(2, 4)), r"probs must lie above 0 and below 1; got 1\.0 to 1\.0"),
        (lambda: BernoulliMixture(HALF, torch.full((2, 4), math.nan)), "probs must lie .* nan"),
        (
            lambda: BernoulliMixture(HALF, torch.full((2, 4), 0.5)).log_prob(torch.zeros(3, 2, 2)),
            r"x must have shape \(N, 4\); got \(3, 2, 2\)",
        ),
        (
            lambda: BernoulliMixture(HALF, torch.full((2, 4), 0.5)).log_prob(torch.full((3, 4), 0.5)),
            "other values than 0 and 1",
        ),
        (lambda: BernoulliMixture.fit(torch.zeros(3, 4, dtype=torch.uint8), 2), r"x has dtype torch\.uint8"),
        (lambda: BernoulliMixture.fit(torch.full((3, 4), math.nan), 2), "other values than 0 and 1"),
        (lambda: BernoulliMixture.fit(torch.zeros(4), 2), r"x must have shape \(N"),
        (lambda: BernoulliMixture.fit(torch.zeros(0, 4), 2), r"got \(0, 4\)"),
        (lambda: BernoulliMixture.fit(torch.zeros(3, 4), 0), "components must be a whole number of at least 1; got 0"),
        (lambda: BernoulliMixture.fit(torch.zeros(3, 4), 2, iterations=0), "iterations must be at least 1 .* got 0"),
        (lambda: BernoulliMixture.fit(torch.zeros(3, 4), 2, pseudo_count=-1), "pseudo_count 0; got 50 and -1"),
    ],
)
def test_bad_input(call, message):
    if message is None:  # what belongs to the model cannot be changed
        with pytest.raises(TypeError, match="latent_dim"):
            call()
        return
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_of_numpy_and_other_dtypes():
    x = (torch.rand(9, 4) < 0.5).float()
    half = BernoulliMixture(HALF, torch.full((2, 4), 0.5))
    for other in (x.double(), x.numpy(), x.double().numpy()):
        assert torch.equal(half.log_prob(other), half.log_prob(x))
    assert torch.equal(BernoulliMixture(HALF.double(), half.probs).log_prob(x), half.log_prob(x))
    assert torch.equal(BernoulliMixture.fit(x.numpy(), 2).probs, BernoulliMixture.fit(x, 2).probs)
    assert torch.equal(LinearGaussian.fit(x.numpy(), 2).W, LinearGaussian.fit(x, 2).W)
