"""The importance-weighted bound and its two gradients, against closed forms, a grid, and other ways to compute them."""

import itertools
import math

import pytest
import torch
from torch import distributions as D

from vae_tutorial import evaluation, exact, importance, likelihoods, models, objectives


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Linear(torch.nn.Module):
    """An encoder A x + c with log-variances of its own, all of them weights."""

    def __init__(self, A, c, logvar):
        super().__init__()
        self.A, self.c, self.logvar = (torch.nn.Parameter(part.clone()) for part in (A, c, logvar))

    def forward(self, x):
        mu = x.flatten(1) @ self.A.T + self.c
        return mu, self.logvar.expand_as(mu)


class Affine(torch.nn.Module):
    def __init__(self, W, b):
        super().__init__()
        self.W, self.b = torch.nn.Parameter(W.clone()), torch.nn.Parameter(b.clone())

    def forward(self, z):
        return (z @ self.W.T + self.b).unflatten(-1, (1, 2, 3))


@pytest.fixture
def linear():
    """A linear Gaussian VAE whose encoder is off; images; their exact log p(x)."""
    W = torch.randn(6, 2, generator=seeded(1), dtype=torch.float64)
    truth = exact.LinearGaussian(W, torch.full((6,), 0.5, dtype=torch.float64), 0.5)
    A, c, logvar = truth.encoder()
    model = models.VAE(Linear(A, c + 0.3, logvar + 0.5), Affine(W, truth.b), 2, (1, 2, 3), likelihoods.Gaussian(0.5))
    x = torch.rand(8, 1, 2, 3, generator=seeded(2), dtype=torch.float64)
    return model, x, truth.log_prob(x.flatten(1))


@pytest.fixture
def digit():
    """A Bernoulli VAE with one latent dimension, which a grid can integrate, and three images."""
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=1, hidden=(8,), image_shape=(1, 3, 3)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.5)
    return model, (torch.rand(3, 1, 3, 3, generator=seeded(3)) < 0.5).double()


def encoder_gradients(model, x, samples, repeats, gradient, generator):
    """Gradients of the mean bound in the encoder's weights, (R, P), with new draws of z for each."""
    weights, found = list(model.encoder.parameters()), []
    for _ in range(repeats):
        bound = objectives.iwae_bound(model, x, samples, generator, gradient).mean()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(bound, weights)]))
    return torch.stack(found)


def on_a_grid(model, x, samples, points=400):
    """The exact expectation of the bound for 1 or 2 draws of a single latent unit, (B,), differentiable."""
    mu, logvar = model.encode(x)
    q = D.Normal(mu, torch.exp(0.5 * logvar))  # (B, 1)
    unit = torch.linspace(-8, 8, points, dtype=torch.float64)
    z = mu + torch.exp(0.5 * logvar) * unit[:, None, None]  # (G, B, 1)
    log_w = model.likelihood.log_prob(x, model.decode(z)) + (D.Normal(0, 1).log_prob(z) - q.log_prob(z)).sum(-1)
    share = D.Normal(0, 1).log_prob(unit).softmax(0)[:, None]  # (G, 1)
    if samples == 1:
        return (share * log_w).sum(0)
    pairs = torch.logaddexp(log_w[:, None], log_w[None]) - math.log(2)  # (G, G, B)
    return (share[:, None] * share[None] * pairs).sum((0, 1))


def test_one_draw_is_the_elbo_with_a_sampled_kl(digit):
    model, x = digit
    found = objectives.iwae_bound(model, x, 1, seeded(0))
    parameters, mu, logvar = model(x, 1, seeded(0))
    z = models.reparameterize(mu, logvar, 1, seeded(0))[0]
    log_ratio = D.Normal(0, 1).log_prob(z) - D.Normal(mu, torch.exp(0.5 * logvar)).log_prob(z)
    torch.testing.assert_close(found, model.likelihood.log_prob(x, parameters)[0] + log_ratio.sum(-1))
    many = objectives.iwae_bound(model, x.repeat(20_000, 1, 1, 1), 1, seeded(1)).detach().view(-1, 3)
    wanted = objectives.elbo(model, x, samples=20_000, generator=seeded(2)).elbo
    assert ((many.mean(0) - wanted).abs() / many.std(0) < 5 / 20_000**0.5).all()


def test_it_rises_with_the_draws_to_the_exact_value(linear):
    model, x, truth = linear
    gaps = []
    for samples in (1, 2, 8, 64, 1024):
        found = objectives.iwae_bound(model, x.repeat(8000 // samples + 60, 1, 1, 1), samples, seeded(0)).detach()
        gaps.append(evaluation.mean(truth.repeat(len(found) // 8) - found))
    for wide, narrow in itertools.pairwise(gaps[:-1]):
        assert wide.value - narrow.value > 3 * math.hypot(wide.stderr, narrow.stderr)
    assert abs(gaps[-1].value) < 4 * gaps[-1].stderr < 0.015
    # One draw: the gap is the KL from q to the posterior, which is known.
    known = exact.LinearGaussian(model.decoder.W.detach(), model.decoder.b.detach(), 0.5)
    mean, covariance = known.posterior(x.flatten(1))
    mu, logvar = model.encode(x)
    q = D.MultivariateNormal(mu, torch.exp(logvar).diag_embed())
    wanted = D.kl_divergence(q, D.MultivariateNormal(mean, covariance)).mean().item()
    assert abs(gaps[0].value - wanted) < 4 * gaps[0].stderr


def test_its_mean_is_the_mean_of_the_estimate_of_log_p(linear):
    model, x, _ = linear
    many = x.repeat(500, 1, 1, 1)
    ours = evaluation.mean(objectives.iwae_bound(model, many, 5, seeded(0)))
    theirs = evaluation.mean(evaluation.log_marginal(model, many, 5, seeded(1)).value)
    assert abs(ours.value - theirs.value) < 4 * math.hypot(ours.stderr, theirs.stderr)
    # From the same draws it is the same number.
    ours = objectives.iwae_bound(model, x, 50, seeded(2))
    torch.testing.assert_close(ours.detach(), evaluation.log_marginal(model, x, 50, seeded(2)).value)


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
@pytest.mark.parametrize("samples", [1, 2])
def test_value_and_gradients_agree_with_a_grid(digit, samples, gradient):
    model, x = digit
    wanted = on_a_grid(model, x, samples)
    weights = list(model.parameters())
    slopes = torch.autograd.grad(wanted.mean(), weights)
    n, parts, values = 3000, [], []
    for part in range(20):  # each the mean of 3,000 gradients
        bound = objectives.iwae_bound(model, x.repeat(n, 1, 1, 1), samples, seeded(part), gradient)
        values.append(bound.detach().view(n, 3).mean(0))
        parts.append([g.detach() for g in torch.autograd.grad(bound.mean(), weights)])
    values = torch.stack(values)
    assert ((values.mean(0) - wanted) / (values.std(0) / 20**0.5)).abs().max() < 5
    for slope, found in zip(slopes, map(torch.stack, zip(*parts, strict=True)), strict=True):
        error = found.std(0) / 20**0.5
        assert ((found.mean(0) - slope).abs() < 6 * error + 1e-12).all()


def test_both_gradients_have_one_mean_and_dreg_less_variance(linear):
    model, x, _ = linear
    spread = {}
    for samples in (2, 8, 32, 128):
        plain, dreg = (encoder_gradients(model, x, samples, 400, g, seeded(5)) for g in ("plain", "dreg"))
        error = torch.sqrt((plain.var(0) + dreg.var(0)) / 400)
        assert ((plain.mean(0) - dreg.mean(0)) / error).abs().max() < 4.5
        spread[samples] = plain.var(0).sum().item(), dreg.var(0).sum().item()
    for samples, later in itertools.pairwise(spread):
        assert spread[later][0] < spread[samples][0]
        assert spread[later][1] < spread[samples][1] / 6  # 1 / k^3 in theory: a factor of 64
        assert spread[samples][1] < spread[samples][0]
    assert spread[128][1] < spread[128][0] / 100


def test_the_decoders_gradient_and_the_value_are_the_same_for_both(linear):
    model, x, _ = linear
    values, slopes = [], []
    for gradient in ("plain", "dreg"):
        values.append(objectives.iwae_bound(model, x, 7, seeded(0), gradient))
        slopes.append(torch.autograd.grad(values[-1].sum(), list(model.decoder.parameters())))
    assert torch.equal(*values)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_at_the_true_posterior_dreg_has_no_noise_at_all():
    # Orthogonal columns: the posterior is a diagonal Gaussian, all weights are equal, and nothing is left to learn.
    W = torch.tensor([[1.0, 0], [0, 0.5], [2, 0], [0, 1], [0, 0], [0, 0]], dtype=torch.float64)
    truth = exact.LinearGaussian(W, torch.zeros(6, dtype=torch.float64), 0.5)
    model = models.VAE(Linear(*truth.encoder()), Affine(W, truth.b), 2, (1, 2, 3), likelihoods.Gaussian(0.5))
    x = torch.rand(5, 1, 2, 3, generator=seeded(0), dtype=torch.float64)
    for gradient, none in (("plain", False), ("dreg", True)):
        found = encoder_gradients(model, x, 4, 3, gradient, seeded(1))
        assert (found.abs().max() < 1e-12) == none
    torch.testing.assert_close(objectives.iwae_bound(model, x, 1, seeded(2)).detach(), truth.log_prob(x.flatten(1)))


def test_the_signal_to_noise_ratio_falls_for_plain_and_rises_for_dreg(linear):
    model, x, _ = linear
    for gradient, many, sign in (("plain", (1, 4, 16), -1), ("dreg", (8, 32, 128), 1)):
        found = [importance.gradient_snr(model, x, samples, 200, gradient, seeded(0)) for samples in many]
        for one, other in itertools.pairwise(found):
            assert sign * (other.value - one.value) > 3 * math.hypot(one.stderr, other.stderr)
            assert 1.3 < (other.value / one.value) ** sign < 4  # 2 in theory


def test_the_signal_to_noise_ratio_is_what_it_says(linear):
    model, x, _ = linear
    many = encoder_gradients(model, x, 4, 3000, "plain", seeded(0))
    wanted = (many.mean(0).norm() / many.var(0).sum().sqrt()).item()
    found = [importance.gradient_snr(model, x, 4, 60, "plain", seeded(s)) for s in range(1, 13)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean() - wanted) < 4 * values.std() / 12**0.5
    assert 0.5 < torch.tensor([f.stderr for f in found]).mean() / values.std() < 2
    assert str(importance.GradientSNR(0.1234, 0.0123)) == "0.123 ± 0.01"


def test_the_ratio_is_measured_without_dropout(linear):
    model, x, _ = linear
    modes = []
    model.encoder.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    importance.gradient_snr(model, x, 2, 20)
    assert modes == [False] * 20
    assert model.encoder.training


def test_noise_alone_has_no_signal():
    # The gradient's mean is 0 at the best encoder; uncorrected, 25 gradients would give about 1 / 5.
    W = torch.tensor([[1.0, 0], [0, 0.5], [2, 0], [0, 1], [0, 0], [0, 0]], dtype=torch.float64)
    truth = exact.LinearGaussian(W, torch.zeros(6, dtype=torch.float64), 0.5)
    model = models.VAE(Linear(*truth.encoder()), Affine(W, truth.b), 2, (1, 2, 3), likelihoods.Gaussian(0.5))
    x = torch.rand(5, 1, 2, 3, generator=seeded(0), dtype=torch.float64)
    found = [importance.gradient_snr(model, x, 1, 25, "plain", seeded(s)).value for s in range(10)]
    assert sorted(found)[4] < 0.1


@pytest.mark.parametrize("gradient", ["plain", "dreg"])
def test_pieces_change_nothing_but_the_memory(digit, gradient, monkeypatch):
    model, x = digit
    weights = list(model.parameters())

    def measured():
        kept, rows = 0, []
        hook = model.decoder.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][..., 0].numel()))

        def keep(tensor):
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            value = objectives.iwae_bound(model, x, 40, seeded(0), gradient)
        slopes = torch.autograd.grad(value.sum(), weights)
        hook.remove()
        return value.detach(), slopes, kept, rows

    whole = measured()
    monkeypatch.setattr(importance, "PIECE", 7 * x.numel())
    cut = measured()
    torch.testing.assert_close(cut[0], whole[0])
    for one, other in zip(cut[1], whole[1], strict=True):
        torch.testing.assert_close(one, other)
    assert whole[3] == [40 * 3]
    assert cut[3] == [7 * 3] * 5 + [5 * 3] + cut[3][6:]
    assert sorted(cut[3][6:]) == sorted(cut[3][:6])  # decoded again in the backward pass
    assert cut[2] < whole[2] / 3
    with torch.no_grad():
        torch.testing.assert_close(objectives.iwae_bound(model, x, 40, seeded(0), gradient), whole[0])


def test_dropout_is_the_same_when_a_piece_is_decoded_again(monkeypatch):
    torch.manual_seed(0)
    decoder = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Dropout(0.5), models.MLPDecoder(16, (8,), (1, 3, 3)))
    model = models.VAE(models.MLPEncoder(2, (8,), (1, 3, 3)), decoder, 2, (1, 3, 3))
    x = (torch.rand(3, 1, 3, 3) < 0.5).float()
    monkeypatch.setattr(importance, "PIECE", 2 * x.numel())
    torch.manual_seed(1)
    value = objectives.iwae_bound(model, x, 6, seeded(0))
    state = torch.get_rng_state()
    slopes = torch.autograd.grad(value.sum(), list(decoder.parameters()))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1)
    mu, logvar = model.encode(x)
    z = models.reparameterize(mu, logvar, 6, seeded(0))
    log_w = torch.cat([importance._log_weights(model, x, piece, mu, logvar) for piece in z.split(2)])
    wanted = torch.autograd.grad((log_w.logsumexp(0) - math.log(6)).sum(), list(decoder.parameters()))
    for one, other in zip(slopes, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_encoder_or_decoder(linear):
    model, x, _ = linear
    model.encoder.requires_grad_(False)
    objectives.iwae_bound(model, x, 3, gradient="dreg").sum().backward()
    assert model.decoder.W.grad is not None
    with pytest.raises(ValueError, match=r"model.encoder has no weight with a gradient: call model.encoder.requires_"):
        importance.gradient_snr(model, x, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1; got 0"),
        ({"samples": 1.5}, "samples must be a whole number of at least 1; got 1.5"),
        ({"gradient": "best"}, "gradient must be 'plain' or 'dreg'; got 'best'"),
        ({"x": 2 * torch.ones(3, 1, 2, 3)}, "x ranges from 2 to 2"),
        ({"x": torch.zeros(3, 1, 2, 4)}, "x must have shape"),
        ({"x": torch.zeros(3, 1, 2, 3, dtype=torch.uint8)}, "x has dtype torch.uint8"),
    ],
)
def test_bad_input(linear, arguments, message):
    model, x, _ = linear
    with pytest.raises(ValueError, match=message):
        objectives.iwae_bound(model, **{"x": x, "samples": 2, **arguments})
    if "gradient" not in arguments:
        with pytest.raises(ValueError, match=message):
            importance.gradient_snr(model, **{"x": x, "samples": 2, **arguments})


def test_more_bad_input(linear):
    model, x, _ = linear
    with pytest.raises(ValueError, match="repeats must be a whole number of at least 20; got 19"):
        importance.gradient_snr(model, x, 2, 19)
    black = models.MLPVAE(2, (4,), image_shape=(1, 2, 3))
    for use in (objectives.iwae_bound, importance.gradient_snr):
        with pytest.raises(ValueError, match=r"x holds grey values, .*data\.binarize\(x\)"):
            use(black, x, 2)
    points = models.Autoencoder(2, (4,), image_shape=(1, 2, 3))
    with pytest.raises(ValueError, match="model is an autoencoder, which has no q"):
        objectives.iwae_bound(points, x.float(), 2)
    model.likelihood.log_prob = lambda x, parameters: torch.zeros(3)
    with pytest.raises(ValueError, match=r"log_prob must return \(2, 8\), one number for each draw and image; got"):
        objectives.iwae_bound(model, x, 2)
