"""The two gradient estimates: against closed forms and quadrature, within 4 standard errors of their own draws."""

import math

import pytest
import torch

from vae_tutorial.models import reparameterize
from vae_tutorial.objectives import pathwise_gradient, score_function_gradient

BOTH = pytest.mark.parametrize("estimate", [score_function_gradient, pathwise_gradient])
# Widths away from 1, where variance, standard deviation and log-variance would be confused without anybody noticing.
MU, LOGVAR = torch.tensor([0.7, -0.4]).double(), torch.tensor([0.9, -1.1]).double()
VAR = LOGVAR.exp()
SIGMA = (0.5 * LOGVAR).exp()

# f is a sum over D = 2 coordinates, so each coordinate's gradient is that of its own term.
CLOSED_FORMS = {
    "linear": (lambda z: 3 * z, 3 + 0 * MU, 0 * MU),
    "square": (lambda z: z**2, 2 * MU, VAR),  # E = mu^2 + v, and v' = v for a derivative by log v
    # E[z^4] = mu^4 + 6 mu^2 v + 3 v^2
    "quartic": (lambda z: z**4, 4 * MU**3 + 12 * MU * VAR, 6 * MU**2 * VAR + 6 * VAR**2),
    "exp": (torch.exp, (MU + VAR / 2).exp(), VAR / 2 * (MU + VAR / 2).exp()),
    "absolute value": (  # has a kink, and is Lipschitz: both estimates are still right
        torch.abs,
        torch.erf(MU / SIGMA / math.sqrt(2)),
        SIGMA / 2 * math.sqrt(2 / math.pi) * torch.exp(-(MU**2) / 2 / VAR),
    ),
}


def within_four_standard_errors(draws, truth):
    stderr = draws.std(0) / math.sqrt(len(draws))
    assert (stderr < 0.2 * (truth.abs() + 1)).all(), "too noisy to say anything"
    # 1e-12: a linear f has a pathwise estimate without noise
    assert ((draws.mean(0) - truth).abs() <= 4 * stderr + 1e-12).all(), (draws.mean(0), truth, stderr)


@BOTH
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(estimate, name, generator):
    f, true_mu, true_logvar = CLOSED_FORMS[name]
    grad_mu, grad_logvar = estimate(lambda z: f(z).sum(-1), MU, LOGVAR, 200_000, generator=generator)
    within_four_standard_errors(grad_mu, true_mu)
    within_four_standard_errors(grad_logvar, true_logvar)


@BOTH
def test_sin_against_quadrature(estimate, generator):
    mu, logvar = MU.clone().requires_grad_(), LOGVAR.clone().requires_grad_()
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64).view(-1, 1)  # (grid, 1)
    density = torch.exp(-((grid - mu) ** 2) / logvar.exp() / 2 - logvar / 2) / math.sqrt(2 * math.pi)
    expectation = torch.trapezoid(density * torch.sin(3 * grid), grid, dim=0)  # (2,)
    true_mu, true_logvar = torch.autograd.grad(expectation.sum(), (mu, logvar))
    grad_mu, grad_logvar = estimate(lambda z: torch.sin(3 * z).sum(-1), MU, LOGVAR, 200_000, generator=generator)
    within_four_standard_errors(grad_mu, true_mu)
    within_four_standard_errors(grad_logvar, true_logvar)


@BOTH
def test_a_function_that_couples_the_coordinates(estimate, generator):
    """f = z_0 z_1^2: E = mu_0 (mu_1^2 + v_1)."""
    grad_mu, grad_logvar = estimate(lambda z: z[..., 0] * z[..., 1] ** 2, MU, LOGVAR, 200_000, generator=generator)
    within_four_standard_errors(grad_mu, torch.stack([MU[1] ** 2 + VAR[1], 2 * MU[0] * MU[1]]))
    within_four_standard_errors(grad_logvar, torch.stack([0 * MU[0], MU[0] * VAR[1]]))


def test_the_formulas_draw_by_draw(generator):
    """Each draw's estimate against autograd: of f log q for the score function, of f through z for the path."""
    mu, logvar = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64).requires_grad_().unbind()
    seed = torch.Generator()
    z = reparameterize(mu, logvar, 5, seed.manual_seed(1))  # (5, 3, 4), the same draws as below
    value = torch.sin(z).prod(-1)  # (5, 3)
    log_q = torch.distributions.Normal(mu, (0.5 * logvar).exp()).log_prob(z.detach()).sum(-1)
    score = score_function_gradient(
        lambda z: torch.sin(z).prod(-1), mu, logvar, 5, baseline=0.25, generator=seed.manual_seed(1)
    )
    path = pathwise_gradient(lambda z: torch.sin(z).prod(-1), mu, logvar, 5, generator=seed.manual_seed(1))
    for s in range(5):
        reward = value[s].detach() - 0.25
        expected = torch.autograd.grad((reward * log_q[s]).sum(), (mu, logvar), retain_graph=True)
        assert all(torch.allclose(one[s], other) for one, other in zip(score, expected, strict=True))
        expected = torch.autograd.grad(value[s].sum(), (mu, logvar), retain_graph=True)
        assert all(torch.allclose(one[s], other) for one, other in zip(path, expected, strict=True))


def test_a_constant(generator):
    for f in (lambda z: torch.full(z.shape[:-1], 7.0), lambda z: 0 * z.sum(-1) + 7, lambda z: z.detach().sum(-1) * 0):
        for gradient in pathwise_gradient(f, MU, LOGVAR, 100, generator=generator):
            assert torch.equal(gradient, torch.zeros(100, 2, dtype=torch.float64))
    scores = score_function_gradient(lambda z: torch.full(z.shape[:-1], 7.0), MU, LOGVAR, 100_000, generator=generator)
    for gradient in scores:
        assert gradient.std() > 1
        within_four_standard_errors(gradient, 0 * MU)
    exact = score_function_gradient(lambda z: torch.full(z.shape[:-1], 7.0), MU, LOGVAR, 100, baseline=7.0)
    assert all((gradient == 0).all() for gradient in exact)


def test_a_function_with_weights_that_does_not_look_at_z():
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    gradients = pathwise_gradient(lambda z: weight.sum().expand(z.shape[:-1]), MU, LOGVAR, 3)
    assert all(torch.equal(gradient, torch.zeros(3, 2, dtype=torch.float64)) for gradient in gradients)
    scores = score_function_gradient(lambda z: weight.sum() * z.sum(-1), MU, LOGVAR, 3)
    assert not any(gradient.requires_grad for gradient in scores)
    assert weight.grad is None


def test_a_step(generator):
    """E[1(z > 0)] = Phi(mu / sigma): the score function sees the slope of it, the path sees nothing at all."""
    mu, logvar = MU[:1], LOGVAR[:1]
    ratio = mu / SIGMA[:1]
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)

    def step(z):
        return z[..., 0] > 0  # a bool: nothing that has a gradient

    score = score_function_gradient(step, mu, logvar, 200_000, generator=generator)
    within_four_standard_errors(score[0], density / SIGMA[:1])
    within_four_standard_errors(score[1], -density * ratio / 2)
    for gradient in pathwise_gradient(step, mu, logvar, 1000, generator=generator):
        assert (gradient == 0).all()  # documented, and wrong


def test_the_baseline_changes_the_noise_and_not_the_mean(generator):
    def f(z):
        return 100 + z.square().sum(-1)

    plain, _ = score_function_gradient(f, MU, LOGVAR, 200_000, generator=generator)
    expected = 100 + (MU**2 + VAR).sum()
    better, better_logvar = score_function_gradient(f, MU, LOGVAR, 200_000, baseline=expected, generator=generator)
    within_four_standard_errors(better, 2 * MU)
    within_four_standard_errors(better_logvar, VAR)
    assert (better.var(0) < plain.var(0) / 100).all()


def test_the_variances_against_theory(generator):
    """f = sum z_i^2 at mu = 1, sigma = 1: 4 (D - 1)^2 + 22 (D - 1) + 30, with E f as baseline 6 (D - 1) + 18, and 4."""
    for dim in (1, 5, 40):
        mu, logvar = torch.ones(dim).double(), torch.zeros(dim).double()
        for estimate, extra, truth in (
            (score_function_gradient, {}, 4 * (dim - 1) ** 2 + 22 * (dim - 1) + 30),
            (score_function_gradient, {"baseline": 2 * dim}, 6 * (dim - 1) + 18),
            (pathwise_gradient, {}, 4),
        ):
            grad_mu, _ = estimate(lambda z: z.square().sum(-1), mu, logvar, 50_000, generator=generator, **extra)
            squares = (grad_mu - 2).square().mean(-1, keepdim=True)  # (S, 1), independent over S
            within_four_standard_errors(squares, torch.tensor([truth]).double())


@BOTH
def test_shapes_dtypes_and_graphs(estimate, generator):
    for shape in ((3,), (5, 3), (2, 5, 3)):
        for dtype in (torch.float32, torch.float64):
            mu = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
            seen = []

            def f(z, seen=seen):
                seen.append(z.shape)
                return z.square().sum(-1).float()  # a float32 answer does not make the estimate float32

            logvar = torch.zeros(shape, dtype=dtype, requires_grad=True)
            gradients = estimate(f, mu, logvar, 7, generator=generator)
            assert isinstance(gradients, tuple)
            assert seen == [(7, *shape)]
            for gradient in gradients:
                assert gradient.shape == (7, *shape)
                assert gradient.dtype == dtype
                assert not gradient.requires_grad
            assert mu.grad is None
            assert logvar.grad is None
    assert estimate(lambda z: z.sum(-1), MU, LOGVAR)[0].shape == (1, 2)


@BOTH
def test_repeats_with_a_generator(estimate):
    def run(seed):
        return torch.cat(
            estimate(lambda z: z.exp().sum(-1), MU, LOGVAR, 9, generator=torch.Generator().manual_seed(seed))
        )

    state = torch.get_rng_state()
    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))
    assert torch.equal(torch.get_rng_state(), state)  # torch's own generator is left alone


def test_who_needs_a_gradient():
    """The score function works where nothing can be differentiated; the path makes its own graph where it is off."""
    with torch.no_grad():
        score, _ = score_function_gradient(lambda z: torch.tensor(z.numpy().sum(-1)), MU, LOGVAR, 4)
        path, _ = pathwise_gradient(lambda z: 3 * z.sum(-1), MU, LOGVAR, 4)
    assert score.shape == (4, 2)
    assert torch.equal(path, torch.full((4, 2), 3.0, dtype=torch.float64))


@BOTH
def test_refuses_what_it_cannot_use(estimate):
    with pytest.raises(ValueError, match=r"one number for each draw, .*\(5,\) for z of shape \(5, 2\); got \(5, 2\)"):
        estimate(lambda z: z.square(), MU, LOGVAR, 5)
    with pytest.raises(ValueError, match=r"got \(\)\. Is a sum"):
        estimate(lambda z: z.sum(), MU, LOGVAR, 5)
    with pytest.raises(ValueError, match="got float"):
        estimate(lambda z: 1.0, MU, LOGVAR, 5)
    with pytest.raises(ValueError, match="samples must be a whole number of at least 1; got 0"):
        estimate(lambda z: z.sum(-1), MU, LOGVAR, 0)
    for mu, logvar in ((MU, LOGVAR[:1]), (MU, LOGVAR.float()), (MU.long(), LOGVAR.long()), (MU[0], LOGVAR[0])):
        with pytest.raises(ValueError, match="mu and logvar must have one shape"):
            estimate(lambda z: z.sum(-1), mu, logvar)


def test_baselines_of_every_shape_that_makes_sense(generator):
    mu = torch.zeros(3, 2)
    for baseline in (1, 1.5, torch.ones(3), torch.ones(4, 3), torch.ones(4, 1), torch.ones(()).double()):
        assert score_function_gradient(lambda z: z.sum(-1), mu, mu, 4, baseline)[0].shape == (4, 3, 2)
    for baseline in (torch.ones(4), torch.ones(1, 4, 3), torch.ones(4, 3, 1)):
        with pytest.raises(ValueError, match=r"baseline must be a number or broadcast to \(4, 3\)"):
            score_function_gradient(lambda z: z.sum(-1), mu, mu, 4, baseline)
