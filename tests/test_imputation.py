"""Missing columns: against the exact conditional of a linear Gaussian model, and against a grid of z."""

import math

import pytest
import torch
from test_tables import D, linear, new, table

from vae_tutorial import models
from vae_tutorial.evaluation import impute


@pytest.fixture(scope="module")
def exact():
    """A linear VAE, and the mean and covariance of its rows in their own units."""
    model, gaussian = linear(table(400), 0.2)
    scale = torch.diag(model.likelihood.scale)
    covariance = gaussian.W @ gaussian.W.T + 0.2 * torch.eye(D, dtype=torch.float64)
    return model, model.likelihood.shift + scale @ gaussian.b, scale @ covariance @ scale


def conditional(mean, covariance, row, hole):
    """The mean and covariance of the missing values given the others, and log p of the others."""
    seen = ~hole
    own, between, other = (covariance[a][:, b] for a, b in ((seen, seen), (seen, hole), (hole, hole)))
    gain = torch.linalg.solve(own, between).T
    log_prob = torch.distributions.MultivariateNormal(mean[seen], own).log_prob(row[seen])
    return mean[hole] + gain @ (row[seen] - mean[seen]), other - gain @ between, log_prob


@pytest.mark.parametrize("batch_size", [100, 7])
def test_the_exact_conditional_of_a_linear_model(exact, batch_size):
    """Twenty rows with other holes each: mean, covariance of the draws, and log p of what was observed."""
    model, mean, covariance = exact
    source = torch.Generator().manual_seed(3)
    rows, missing = table(20, 5), torch.rand(20, D, generator=source) < 0.4
    missing[:, 0] |= ~missing.any(1)
    missing[missing.all(1), 1] = False
    found = impute(
        model, rows.masked_fill(missing, math.nan), samples=4000, draws=3000, generator=source, batch_size=batch_size
    )
    assert found.mean.shape == (20, D)
    assert found.draws.shape == (3000, 20, D)
    assert torch.equal(found.mean[~missing], rows[~missing])  # what was observed, to the bit
    assert torch.equal(found.draws[:, ~missing], rows[~missing].expand(3000, -1))
    assert (found.ess > 2000).all()
    for i in range(20):
        hole = missing[i]
        centre, spread, log_prob = conditional(mean, covariance, rows[i], hole)
        deviation = spread.diagonal().sqrt()
        assert ((found.mean[i, hole] - centre).abs() < 5 * deviation / 2000**0.5).all()
        drawn = found.draws[:, i, hole]
        assert ((drawn.mean(0) - centre).abs() < 6 * deviation / 1500**0.5).all()
        unit = torch.diag(1 / deviation)
        difference = unit @ (torch.atleast_2d(drawn.T.cov()) - spread) @ unit
        assert difference.abs().max() < 0.2
        assert found.log_prob[i].item() == pytest.approx(log_prob.item(), abs=0.1)


def test_rounds_make_the_proposal_fit(exact):
    """With two columns of five observed the encoder's q is far too narrow, and the effective sample size says so."""
    rows, missing = table(50, 6), torch.tensor([True, True, False, True, False])
    few, many = (
        impute(exact[0], rows, missing, rounds=rounds, generator=torch.Generator().manual_seed(0)).ess.median()
        for rounds in (1, 3)
    )
    assert many > 2 * few
    assert many > 600


def test_missing_values_are_not_looked_at(exact):
    rows, missing = table(9, 1), torch.tensor([False, True, False, False, True])
    wild = torch.where(missing, torch.tensor([1e30, -math.inf, 3.0, math.nan, math.nan]), rows)
    results = [impute(exact[0], x, missing, generator=torch.Generator().manual_seed(0)) for x in (rows, wild)]
    results.append(impute(exact[0], rows, missing.expand(9, D), generator=torch.Generator().manual_seed(0)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_whole_rows_come_back_with_their_log_marginal(exact):
    model, mean, covariance = exact
    rows = table(9, 2)
    found = impute(model, rows, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.mean, rows)
    want = torch.distributions.MultivariateNormal(mean, covariance).log_prob(rows)
    assert torch.allclose(found.log_prob, want, atol=0.1)


def test_columns_of_zeros_and_ones_against_a_grid_of_z():
    """p(x_m = 1 | x_o) by the sum over 4,001 points of a latent space of one dimension."""
    source = torch.Generator().manual_seed(0)
    model = new("bernoulli", hidden=(), latent_dim=1).double()
    slopes = torch.tensor([3.0, -3, 3, 0, 6]).double()
    model.decoder.layers[0].weight.data = slopes.view(D, 1)
    rows = (torch.rand(30, D, generator=source) < torch.sigmoid(torch.randn(30, 1, generator=source) * slopes)).double()
    missing = torch.tensor([False, True, False, True, True])
    found = impute(model, rows, missing, samples=4000, draws=2000, generator=source)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64).view(-1, 1, 1)
    with torch.no_grad():
        logits = model.decode(grid)  # (G, 1, D)
        observed = model.likelihood.column_log_prob(rows, logits)[..., ~missing].sum(-1)  # (G, B)
    weights = (observed - grid[..., 0].square() / 2).softmax(0)
    want = torch.einsum("gb,gd->bd", weights, torch.sigmoid(logits[:, 0]))[:, missing]
    assert torch.allclose(found.mean[:, missing], want, atol=0.03)
    assert want[:, 0].std() > 0.1  # it depends on what is observed
    assert set(found.draws.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(found.draws.mean(0)[:, missing], want, atol=0.08)


def test_bad_input(exact):
    model, rows = exact[0], table(4)
    holes = torch.zeros(4, D, dtype=torch.bool)
    for arguments, message in (
        ((models.MLPVAE(), torch.zeros(2, 1, 28, 28)), r"VAE of vectors, \(D,\); got a MLPVAE with .*\(1, 28, 28\)"),
        ((new(make=models.Autoencoder), rows), "VAE of vectors.*got a Autoencoder"),
        ((model, rows[:, :3]), r"x must have shape \(B, 5\)"),
        ((model, rows, holes.float()), r"missing must be bool of shape \(4, 5\) or \(5,\); got torch\.float32"),
        ((model, rows, holes[:3]), r"missing must be bool of shape .*\(3, 5\)"),
        ((model, rows, ~holes), r"4 of 4 rows have nothing observed; model\.sample"),
        ((model, rows / 0, holes), "NaN or infinite in 4 of 4 rows"),
        ((model, rows.long(), holes), "columns of a table are floating"),
        ((new(), rows, holes), "units of the columns are not known yet"),
    ):
        with pytest.raises(ValueError, match=message):
            impute(*arguments)
    for name, value in (("samples", 1), ("draws", 0), ("rounds", 0), ("batch_size", 0.5)):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least"):
            impute(model, rows, holes, **{name: value})
