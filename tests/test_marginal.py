"""log p(x) in four ways, against models whose log p(x) is known; and the diagnostics of the estimates."""

import math

import pytest
import torch
from torch import distributions as D

from vae_tutorial import evaluation, exact, likelihoods, models, proposals


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Linear(torch.nn.Module):
    """A VAE whose p(x) is known: p(x | z) = N(W z + b, 0.3 I), with an encoder whose error can be set."""

    def __new__(cls, latent_dim=4, narrow=1.0, shift=0.0):
        weights = 1.2 * torch.randn(6, latent_dim, generator=seeded(1), dtype=torch.float64)
        truth = exact.LinearGaussian(weights, torch.full((6,), 0.5, dtype=torch.float64), 0.3)

        class Encoder(torch.nn.Module):
            def forward(self, x):
                A, c, logvar = truth.encoder()
                mu = x.flatten(1) @ A.T + c
                return mu + shift, (logvar + 2 * math.log(narrow)).expand_as(mu)

        class Decoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.weights = torch.nn.Parameter(weights.clone())

            def forward(self, z):
                return (z @ self.weights.T + 0.5).unflatten(-1, (1, 2, 3))

        model = models.VAE(Encoder(), Decoder(), latent_dim, (1, 2, 3), likelihoods.Gaussian(0.3))
        # Pixels have to lie in [0, 1]; what is out there changes nothing in the mathematics.
        x = torch.rand(30, 1, 2, 3, generator=seeded(2), dtype=torch.float64)
        return model, x, truth.log_prob(x.flatten(1))


@pytest.fixture(scope="module")
def small():
    """A Bernoulli VAE of two dimensions with weights large enough to matter, and random images."""
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=2, hidden=(16,), image_shape=(1, 4, 4))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)
    return model, (torch.rand(40, 1, 4, 4) < 0.4).float()


def test_a_narrow_encoder_is_far_too_low_says_so_and_is_mended_by_refinement():
    model, x, truth = Linear(narrow=0.1)
    by_encoder = evaluation.log_marginal(model, x, 300, seeded(0))
    assert (by_encoder.value - truth).mean() < -1
    assert not by_encoder.summary().trusted
    assert "do not trust it" in str(by_encoder.summary())
    refined = evaluation.log_marginal(model, x, 300, seeded(0), proposal="refined")
    assert (refined.value - truth).abs().max() < 0.25
    assert abs((refined.value - truth).mean()) < 0.03
    deviations = (refined.value - truth) / refined.stderr
    assert deviations.abs().max() < 4
    assert refined.summary().trusted
    assert "trust" not in str(refined.summary())
    assert not refined.fallback.any()


def test_an_encoder_in_the_wrong_place_is_mended_too():
    model, x, truth = Linear(latent_dim=2, narrow=0.3, shift=3.0)
    refined = evaluation.log_marginal(model, x, 500, seeded(0), proposal="refined")
    assert (refined.value - truth).abs().max() < 0.3


def test_refinement_finds_the_best_gaussian_of_both_kinds():
    model, x, _ = Linear(narrow=0.2)
    linear = exact.LinearGaussian(model.decoder.weights.detach(), torch.full((6,), 0.5, dtype=torch.float64), 0.3)
    A, c, logvar = linear.encoder()
    found = evaluation.refine(model, x, steps=600, generator=seeded(0))
    assert (found.mu - (x.flatten(1) @ A.T + c)).abs().max() < 0.05
    assert (found.logvar - logvar).abs().mean() < 0.1  # the truth is -2.4 to -4.0; two draws a step leave noise
    full = evaluation.refine(model, x, steps=600, generator=seeded(0), covariance="full")
    mean, covariance = linear.posterior(x.flatten(1))
    assert (full.mu - mean).abs().max() < 0.1
    assert (
        (full.tril @ full.tril.mT) / covariance.diagonal().max() - covariance / covariance.diagonal().max()
    ).abs().max() < 0.2


def test_the_mixture_is_what_torch_says_it_is():
    torch.manual_seed(0)
    tril = torch.randn(2, 5, 3, 3).tril(-1).double() + torch.rand(2, 5, 3).double().add(0.3).diag_embed()
    share = torch.tensor([0.3, 0.7]).double()[:, None].expand(2, 5)
    q = proposals.Mixture(torch.randn(2, 5, 3).double(), tril, share).widened(1.3).with_prior(0.2)
    ours = q.log_prob(z := torch.randn(7, 5, 3).double())
    theirs = D.MixtureSameFamily(
        D.Categorical(probs=q.share.T), D.MultivariateNormal(q.mu.transpose(0, 1), scale_tril=q.tril.transpose(0, 1))
    )
    torch.testing.assert_close(ours, theirs.log_prob(z))
    drawn = q.sample(40_000, seeded(1))
    torch.testing.assert_close(drawn.mean(0), theirs.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0), theirs.variance, atol=0.12, rtol=0.05)


def test_the_grid_against_quadrature_and_its_own_error(small):
    model, x = small
    wanted = exact.GridLatent(model.decode, model.likelihood.log_prob, 2, points=401).log_prob(x)
    for points in (60, 300):
        found = evaluation.log_marginal_grid(model, x, points=points)
        assert ((found.value - wanted).abs() <= found.error + 1e-4).all()
    assert found.error.max() < 0.011
    line, images, truth = Linear(latent_dim=1)
    found = evaluation.log_marginal_grid(line, images)
    torch.testing.assert_close(found.value, truth, atol=1e-4, rtol=0)


def test_annealing_brackets_the_truth_on_the_models_own_images(small):
    model, _ = small
    z = torch.randn(40, 2, generator=seeded(3))
    with torch.no_grad():
        x = model.likelihood.sample(model.decode(z), seeded(4))
    truth = evaluation.log_marginal_grid(model, x).value
    lower = evaluation.log_marginal_annealed(model, x, temperatures=20, chains=8, leapfrog=4, generator=seeded(5))
    upper = evaluation.log_marginal_annealed(model, x, temperatures=20, chains=8, leapfrog=4, generator=seeded(6), z=z)
    below, above = evaluation.mean(truth - lower.value), evaluation.mean(upper.value - truth)
    assert below.value > -3 * below.stderr
    assert above.value > -3 * above.stderr
    assert (lower.summary().upper, upper.summary().upper) == (False, True)
    # One chain's weight is 1 on the average, in units of p(x); and backwards its inverse is. Both fail where a weight
    # is taken after the transition instead of before.
    for start, sign in ((None, 1), (z.repeat(100, 1), -1)):
        many = x.repeat(100, 1, 1, 1)
        one = evaluation.log_marginal_annealed(model, many, 12, 1, 3, seeded(9), batch_size=1000, z=start)
        weight = evaluation.mean(torch.exp(sign * (one.value - truth.repeat(100))))
        assert abs(weight.value - 1) < 4 * weight.stderr
        assert weight.stderr < 0.06
    # One temperature is importance sampling from the prior: too low, and the other way too high.
    one = evaluation.log_marginal_annealed(model, x, temperatures=1, chains=2, leapfrog=1, generator=seeded(7))
    back = evaluation.log_marginal_annealed(model, x, temperatures=1, chains=2, leapfrog=1, generator=seeded(8), z=z)
    assert one.value.mean() < truth.mean() - 0.1
    assert back.value.mean() > truth.mean() + 0.1


def test_annealing_of_a_model_whose_truth_is_known():
    model, x, truth = Linear()
    found = evaluation.log_marginal_annealed(model, x, temperatures=150, chains=16, leapfrog=5, generator=seeded(0))
    assert abs((found.value - truth).mean()) < 0.1
    assert (found.value - truth).abs().max() < 1.5


def test_the_same_numbers_again_and_in_other_pieces(small):
    model, x = small
    for proposal in ("encoder", "refined"):
        one, other = (evaluation.log_marginal(model, x, 50, seeded(0), proposal=proposal, steps=20) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))
    pieces = evaluation.log_marginal(model, x, 50, seeded(0), batch_size=7, proposal="refined")
    truth = evaluation.log_marginal_grid(model, x).value
    assert abs((pieces.value - truth).mean()) < 0.1


def test_a_callable_and_a_defensive_mixture(small):
    model, x = small

    def wide(x):
        mu, logvar = model.encode(x)
        return mu, logvar + 1

    truth = evaluation.log_marginal_grid(model, x).value
    found = evaluation.log_marginal(model, x, 2000, seeded(0), proposal=wide, prior_weight=0.1)
    assert ((found.value - truth) / found.stderr).abs().max() < 4.5


def test_half_of_the_draws_is_lower_by_jensen_and_one_draw_has_no_half(small):
    model, x = small
    found = evaluation.log_marginal(model, x, 10, seeded(0))
    assert (found.value >= found.half - 1e-12).all()
    assert found.summary().change > 0
    assert evaluation.log_marginal(model, x, 1, seeded(0)).half.isnan().all()


def test_a_blank_image_is_an_image(small):
    model, _ = small
    x = torch.zeros(2, 1, 4, 4)
    found = evaluation.log_marginal(model, x, 2000, seeded(0), proposal="refined")
    torch.testing.assert_close(found.value, evaluation.log_marginal_grid(model, x).value, atol=0.1, rtol=0)


def test_a_refinement_that_diverges_falls_back_and_is_counted(small, monkeypatch):
    model, x = small
    ascend = proposals._ascend

    def wild(*arguments):
        mu, tril = ascend(*arguments)
        mu[0], mu[1] = math.nan, 50.0  # one is no number, the other explains nothing
        return mu, tril

    monkeypatch.setattr(proposals, "_ascend", wild)
    monkeypatch.setattr(proposals, "_better_place", lambda model, x, mu, g: (mu, torch.zeros(len(x), dtype=torch.bool)))
    found = evaluation.log_marginal(model, x, 500, seeded(0), proposal="refined")
    assert found.fallback.nonzero().flatten().tolist() == [0, 1]
    assert "2 images fell back to the encoder's q" in str(found.summary())
    truth = evaluation.log_marginal_grid(model, x).value
    assert (found.value - truth).abs().max() < 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be a whole number of at least 1; got 0"),
        ({"samples": 2.5}, "samples must be a whole number of at least 1; got 2.5"),
        ({"images": torch.zeros(0, 1, 4, 4)}, r"images must have shape .*B >= 1; got \(0"),
        ({"images": 2 * torch.ones(3, 1, 4, 4)}, "images ranges from 2 to 2"),
        ({"images": torch.full((3, 1, 4, 4), math.nan)}, "images ranges from nan"),
        ({"images": torch.zeros(3, 1, 4, 4, dtype=torch.uint8)}, "images has dtype torch.uint8"),
        ({"images": torch.full((3, 1, 4, 4), 0.5)}, r"images holds grey values, .*: data\.binarize\(images\)"),
        ({"images": torch.zeros(3, 1, 4, 4, device="meta")}, "images is on meta, the model on cpu"),
        ({"images": torch.zeros(3, 1, 5, 4)}, "images must have shape"),
        ({"proposal": "best"}, "proposal must be 'encoder', 'refined' or a callable; got 'best'"),
        (
            {"proposal": lambda x: (torch.zeros(3, 5), torch.zeros(3, 5))},
            r"proposal must return .* shape \(3, 2\); got",
        ),
        ({"proposal": lambda x: torch.zeros(3, 2)}, "proposal must return mu and logvar"),
        ({"proposal": lambda x: (torch.zeros(3, 2), torch.full((3, 2), math.nan))}, "proposal returned mu or logvar"),
        ({"proposal": "refined", "steps": -1}, "steps must be a whole number of at least 0; got -1"),
        ({"widen": 0}, "widen must be a positive number; got 0"),
        ({"prior_weight": 1}, r"prior_weight must be in \[0, 1\); got 1"),
    ],
)
def test_bad_input(small, arguments, message):
    model, x = small
    with pytest.raises(ValueError, match=message):
        evaluation.log_marginal(model, **{"images": x[:3], "samples": 5, **arguments})


def test_bad_input_of_the_witnesses(small):
    model, x = small
    for arguments, message in [
        ({"chains": 0}, "chains must be a whole number of at least 1"),
        ({"temperatures": 0}, "temperatures must be a whole number of at least 1"),
        ({"leapfrog": 1.5}, "leapfrog must be a whole number of at least 1"),
        ({"z": torch.zeros(3, 2)}, r"z must have shape \(40, 2\), one for each image"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluation.log_marginal_annealed(model, x, **arguments)
    with pytest.raises(ValueError, match="model has 3 latent dimensions; a grid of more than 2"):
        evaluation.log_marginal_grid(models.MLPVAE(latent_dim=3, hidden=(4,), image_shape=(1, 4, 4)), x)
    with pytest.raises(ValueError, match="points must be a whole number of at least 9"):
        evaluation.log_marginal_grid(model, x, points=4)
    with pytest.raises(ValueError, match="covariance must be 'diagonal' or 'full'; got 'low'"):
        evaluation.refine(model, x, covariance="low")


@pytest.mark.parametrize(("part", "message"), [("encoder", "proposal returned mu"), ("decoder", "model gives a log p")])
def test_weights_that_are_nan(part, message):
    model = models.MLPVAE(latent_dim=2, hidden=(4,), image_shape=(1, 4, 4))
    with torch.no_grad():
        for p in getattr(model, part).parameters():
            p.fill_(math.nan)
    x = torch.zeros(2, 1, 4, 4)
    for proposal in ("encoder", "refined"):
        with pytest.raises(ValueError, match=message):
            evaluation.log_marginal(model, x, 5, proposal=proposal)
    if part == "decoder":
        for measure in (evaluation.log_marginal_grid, evaluation.log_marginal_annealed):
            with pytest.raises(ValueError, match=message):
                measure(model, x)


WITNESSES = (evaluation.log_marginal, evaluation.log_marginal_grid, evaluation.log_marginal_annealed, evaluation.refine)


@pytest.mark.parametrize("measure", WITNESSES)
def test_an_autoencoder_has_no_log_p(measure):
    points = models.Autoencoder(2, (4,), image_shape=(1, 4, 4))
    with pytest.raises(ValueError, match="model is an autoencoder, which has no prior and so no log p"):
        measure(points, torch.zeros(2, 1, 4, 4))


def test_grey_values_have_no_log_p_of_black_and_white(small):
    model, x = small
    for measure in WITNESSES[:3]:
        with pytest.raises(ValueError, match="images holds grey values"):
            measure(model, x[:2] / 2)
    evaluation.refine(model, x[:2] / 2, steps=1)  # of the ELBO, which may be an expectation over draws from the grey
