"""Vectors instead of images: units in and out, nats in the data's own units, against exact Gaussians; bad tables."""

import json
import math

import numpy as np
import pytest
import torch

from vae_tutorial import data, evaluation, likelihoods, models, objectives, training
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.likelihoods import Columns, Gaussian

D = 5
SMALL = {"latent_dim": 2, "hidden": (16,), "image_shape": (D,)}
GAUSSIANS = ["gaussian", "gaussian_shared", "gaussian_learned", "gaussian_per_pixel"]
each_gaussian = pytest.mark.parametrize("likelihood", GAUSSIANS)


def truth():
    """A linear Gaussian model whose columns have units and offsets of very different sizes."""
    source = torch.Generator().manual_seed(7)
    W = torch.randn(D, 2, generator=source, dtype=torch.float64)
    return LinearGaussian(W, torch.zeros(D, dtype=torch.float64), 0.3)


UNITS = torch.tensor([1.0, 1000.0, 0.01, 5.0, 1.0], dtype=torch.float64)
OFFSETS = torch.tensor([0.0, -5000.0, 3.0, 100.0, 1.0], dtype=torch.float64)


def table(n, seed=0):
    """Rows in the data's own units, float64."""
    return truth().sample(n, torch.Generator().manual_seed(seed))[0] * UNITS + OFFSETS


def new(likelihood="gaussian_learned", make=models.MLPVAE, seed=0, **sizes):
    torch.manual_seed(seed)
    return make(likelihood=likelihood, **{**SMALL, **sizes})


def trained(x, likelihood="gaussian_learned", epochs=3, **sizes):
    model = new(likelihood, **sizes)
    return model, training.fit(model, x, epochs=epochs, progress=False)


@each_gaussian
@pytest.mark.parametrize("make", [models.MLPVAE, models.Autoencoder])
def test_shapes_and_units(likelihood, make):
    x = table(300)
    model = new(likelihood, make)
    training.fit(model, x, epochs=1, progress=False)
    parameters, _, logvar = model(x.float(), samples=3)
    assert parameters.shape == (1 if logvar is None else 3, 300, D * model.likelihood.channels)
    assert model.likelihood.log_prob(x.float(), parameters).shape == parameters.shape[:2]
    assert objectives.elbo(model, x).elbo.shape == (300,)
    drawn = model.likelihood.sample(parameters, torch.Generator().manual_seed(0))
    for rows in (model.likelihood.mean(parameters), drawn, *([] if logvar is None else [model.sample(300)])):
        assert rows.shape[-1] == D
        centre, spread = rows.detach().reshape(-1, D).double().mean(0), x.std(0)
        assert ((centre - x.mean(0)).abs() < spread).all()  # in the data's units: offsets of -5000 and 3, not 0
    assert (drawn.reshape(-1, D).double().std(0) < 5 * spread).all()


@each_gaussian
def test_log_prob_is_the_density_of_the_data_in_their_own_units(likelihood, generator):
    """Against torch.distributions, whose normal has the mean and the deviation in the data's units."""
    x = table(40)
    model = new(likelihood).double()
    model.standardize(x)
    parameters = torch.randn(3, 40, D * model.likelihood.channels, generator=generator, dtype=torch.float64)
    mean, raw = parameters[..., :D], parameters[..., D:]
    if likelihood == "gaussian_learned":
        model.likelihood.each.tenth_of_logvar.data = torch.linspace(-0.2, 0.1, D).double().view(D, 1, 1)
        raw = 10 * torch.linspace(-0.2, 0.1, D).double()
    variance = torch.ones((), dtype=torch.float64) if likelihood in ("gaussian", "gaussian_shared") else raw.exp()
    variance = variance + (0 if likelihood == "gaussian" else 1 / 255**2)
    shift, scale = x.mean(0), x.std(0, correction=0)
    reference = torch.distributions.Normal(shift + scale * mean, scale * variance.sqrt())
    assert torch.allclose(model.likelihood.log_prob(x, parameters), reference.log_prob(x).sum(-1), rtol=1e-10)
    assert torch.allclose(model.likelihood.column_log_prob(x, parameters), reference.log_prob(x), rtol=1e-10)
    assert torch.allclose(model.likelihood.mean(parameters), reference.mean, rtol=1e-12)
    many = model.likelihood.sample(parameters[:1, :1].expand(20_000, -1, -1), generator)[:, 0]
    error = (many.mean(0) - reference.mean[0, 0]).abs()
    deviation = reference.stddev.expand(3, 40, D)[0, 0]
    assert (error < 5 * deviation / 20_000**0.5).all()
    assert torch.allclose(many.std(0), deviation, rtol=0.05)


@pytest.mark.parametrize("likelihood", ["gaussian_learned", "gaussian_per_pixel"])
def test_a_column_in_another_unit_costs_the_log_of_the_unit(likelihood):
    """Times 1,024, which changes no digit: the same training to the bit. Times 1,000: the same to rounding."""
    x = table(256).float()
    first, history = trained(x, likelihood)
    for factor, within in ((1024.0, 0.0), (1000.0, 2e-3)):
        scaled = x.clone()
        scaled[:, 1] *= factor
        other, told = trained(scaled, likelihood)
        for one, two in zip(first.parameters(), other.parameters(), strict=True):
            assert (one - two).abs().max() <= within
        assert told.rows[-1]["kl"] == pytest.approx(history.rows[-1]["kl"], abs=within)
        one, two = (
            objectives.elbo(model, rows, generator=torch.Generator().manual_seed(0))
            for model, rows in ((first, x), (other, scaled))
        )
        assert torch.allclose(one.elbo - two.elbo, torch.tensor(math.log(factor)), atol=2e-5 + 5 * within)
        assert torch.allclose(one.kl, two.kl, atol=1e-6 + within)


def linear(x, noise_var):
    """A VAE without hidden layers that is the best linear Gaussian model of standardized rows; and that model."""
    model = new(Gaussian(noise_var), hidden=()).double()
    model.standardize(x)
    exact = LinearGaussian.fit(model.likelihood.standardized(x), 2, noise_var)
    A, c, logvar = exact.encoder()
    encoder, decoder = model.encoder.layers[0], model.decoder.layers[0]
    encoder.weight.data = torch.cat([A, torch.zeros_like(A)])
    encoder.bias.data = torch.cat([c, logvar])
    decoder.weight.data, decoder.bias.data = exact.W, exact.b
    return model, exact


def test_a_linear_vae_has_the_exact_log_density():
    """In the data's own units: probabilistic PCA's log p(z-scores) less the sum of log scales."""
    x = table(400)
    model, exact = linear(x, 0.2)
    want = exact.log_prob(model.likelihood.standardized(x)) - x.std(0, correction=0).log().sum()
    covariance = exact.W @ exact.W.T + 0.2 * torch.eye(D, dtype=torch.float64)
    scale = torch.diag(x.std(0, correction=0))
    normal = torch.distributions.MultivariateNormal(x.mean(0) + scale @ exact.b, scale @ covariance @ scale)
    assert torch.allclose(want, normal.log_prob(x), rtol=1e-9)  # no standardization in this one
    found = objectives.elbo(model, x, samples=4000, generator=torch.Generator().manual_seed(0)).elbo
    assert torch.allclose(found, want, atol=0.25)  # the noise of 4,000 draws of the squared error
    assert found.mean().item() == pytest.approx(want.mean().item(), abs=0.01)
    estimate = evaluation.log_marginal(model, x[:50], 2000, torch.Generator().manual_seed(0))
    assert torch.allclose(estimate.value, want[:50], atol=1e-6)  # q is the posterior, so that every weight is p(x)
    grid = evaluation.log_marginal_grid(model, x[:5], points=201)
    assert ((grid.value - want[:5]).abs() <= grid.error).all()


def test_no_vae_beats_the_truth_and_training_comes_near_it():
    """2,000 new rows of the linear Gaussian truth: E[ELBO] <= E[log p], within 0.15 nats after a short training."""
    source, x, test = truth(), table(1500, 1), table(2000, 2)
    best = (source.log_prob((test - OFFSETS) / UNITS) - UNITS.log().sum()).mean().item()
    model = new(hidden=(32,))
    training.fit(model, x, epochs=60, lr=3e-3, progress=False)
    found = evaluation.rate_distortion(model, test, samples=10, generator=torch.Generator().manual_seed(0))
    elbo, error = -found.negative_elbo.value, found.negative_elbo.stderr
    assert best - 0.25 < elbo < best + error / 5  # the rows are the same, so that most of the error cancels
    independent = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(test).sum(1).mean().item()
    assert elbo > independent + 0.5  # one normal for each column costs more


def test_a_second_fit_does_not_change_the_units():
    x = table(128).float()
    model, _ = trained(x, epochs=1)
    shift, scale = model.likelihood.shift.clone(), model.likelihood.scale.clone()
    assert torch.allclose(shift.double(), x.double().mean(0))
    training.fit(model, 3 * x + 1, epochs=1, progress=False)
    assert torch.equal(model.likelihood.shift, shift)
    assert torch.equal(model.likelihood.scale, scale)
    with pytest.raises(ValueError, match="set already, and the weights belong to them; make a new model"):
        model.standardize(x)
    mu, _ = model.encode(x)
    assert torch.allclose(mu, model.encoder((x - shift) / scale)[0])  # encode takes the data's own units


def test_units_are_kept_with_the_weights(tmp_path):
    x = table(128).float()
    model, _ = trained(x, epochs=1)
    made = json.loads(json.dumps(model.architecture))
    again = getattr(models, made["class"])(**made["arguments"])
    with pytest.raises(ValueError, match=r"units of the columns are not known yet: training\.fit .*standardize"):
        again.encode(x)
    again.load_state_dict(model.state_dict())
    source = torch.Generator
    assert torch.equal(again.sample(9, source().manual_seed(1)), model.sample(9, source().manual_seed(1)))
    with pytest.raises(ValueError, match="set already"):
        again.standardize(x)

    whole, path = new(), tmp_path / "state.pt"
    history = training.fit(whole, x, epochs=3, checkpoint=path, progress=False)
    short, other = new(), tmp_path / "short.pt"
    training.fit(short, x, epochs=1, checkpoint=other, progress=False)
    resumed = new()
    assert training.fit(resumed, x, epochs=3, resume=other, progress=False)["elbo"] == history["elbo"]
    loaded = new()
    training.load_checkpoint(path, loaded)
    assert torch.equal(loaded.encode(x)[0], whole.encode(x)[0])


def test_the_units_must_be_known_before_anything_is_asked():
    model, x = new(), table(8).float()
    for use in (model.encode, model, lambda _: model.sample(3), lambda x: objectives.elbo(model, x)):
        with pytest.raises(ValueError, match="units of the columns are not known yet"):
            use(x)
    model.standardize(x)
    assert objectives.elbo(model, x).elbo.isfinite().all()


def test_columns_of_zeros_and_ones(generator):
    x = (torch.rand(200, D, generator=generator) < torch.linspace(0.1, 0.9, D)).float()
    for rows in (x, x.bool(), x.numpy(), x.double()):
        model, history = trained(rows, "bernoulli")
        assert history["elbo"][-1] > history["elbo"][0]
    assert set(model.sample(50).unique().tolist()) == {0.0, 1.0}
    reference = torch.distributions.Bernoulli(logits=torch.linspace(-1, 1, D)).log_prob(x).sum(1)
    assert torch.allclose(model.likelihood.log_prob(x, torch.linspace(-1, 1, D)), reference, rtol=1e-5)
    model, history = trained(torch.rand(200, D, generator=generator), "continuous_bernoulli")
    assert math.isfinite(history["elbo"][-1])
    with pytest.raises(ValueError, match="lie between 0 and 1 as they are"):
        model.standardize(x)


def test_all_evaluations_take_rows():
    x = table(60)
    model, _ = trained(x)
    mu, logvar = evaluation.encode(model, x)
    assert mu.shape == logvar.shape == (60, 2)
    found = [
        evaluation.log_marginal(model, x, 200, torch.Generator().manual_seed(0), proposal=how, steps=20).value
        for how in ("encoder", "refined")
    ]
    found += [evaluation.log_marginal_grid(model, x, points=101).value]
    found += [evaluation.log_marginal_annealed(model, x, temperatures=50, chains=5).value]
    for value in found:
        assert value.mean().item() == pytest.approx(found[2].mean().item(), abs=0.3)


def test_a_table_in_and_out_of_data():
    frame = table(200).numpy()
    train, test = data.from_arrays(frame, split=0.2)
    model = new()
    history = training.fit(model, train, epochs=1, test=test, progress=False)
    assert math.isfinite(history["test_elbo"][0])


def spoilt(change):
    x = table(20).float()
    return change(x)


def put(x, place, value):
    x[place] = value
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :4], r"images must have shape \(B, 5\) with B >= 1; got \(20, 4\)$"),
        (lambda x: x[:, None], r"got \(20, 1, 5\)$"),
        (lambda x: x.reshape(4, 5, 1, 5)[:, :, 0, :1], r"got \(4, 5, 1\); rows are vectors: images\.flatten\(1\)"),
        (lambda x: x[0], r"single row needs a batch axis: images\.unsqueeze\(0\)"),
        (lambda x: x[:0], r"B >= 1; got \(0, 5\)$"),
        (lambda x: put(x, (3, 2), math.nan), r"NaN or infinite in 1 of 20 rows, columns 2; leave .*isfinite"),
        (lambda x: put(x, (slice(2, 5), slice(0, 2)), -math.inf), "in 3 of 20 rows, columns 0, 1;"),
        (lambda x: x.double() * 1e300, "NaN or infinite"),
        (lambda x: x.long(), r"dtype torch\.int64; the columns of a table are floating: images\.float\(\)"),
        (lambda x: x.to(torch.uint8), r"dtype torch\.uint8; the columns of a table are floating"),
        (lambda x: put(x, (slice(None), 3), 2.5), "constant in column 3, over 20 rows; leave such columns out"),
        (lambda x: put(x, (slice(None), slice(1, 4)), 0.0), "constant in columns 1, 2, 3, over 20"),
        (lambda x: x[:1], "constant in columns 0, 1, 2, 3, 4, over 1 rows"),
        (lambda x: put(x, (slice(None), 1), 1.6e9 + torch.arange(20.0) * 100), "varies too little .* in column 1"),
    ],
)
@each_gaussian
def test_bad_tables(likelihood, change, message):
    model = new(likelihood)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        training.fit(model, spoilt(change), epochs=1, progress=False)
    for name, value in model.state_dict().items():
        assert torch.equal(value.nan_to_num(9), before[name].nan_to_num(9))


@pytest.mark.parametrize(
    ("likelihood", "rows", "message"),
    [
        (
            "bernoulli",
            torch.arange(20.0).view(4, 5) % 6,
            r"ranges from 0 to 5; .*Bernoulli\(\) takes columns of zeros ",
        ),
        ("bernoulli", torch.rand(4, 5), "zeros and ones. For numbers .* 'gaussian_learned'. .*one_hot"),
        ("bernoulli", torch.zeros(4, 5, dtype=torch.uint8), r"dtype torch\.uint8"),
        ("continuous_bernoulli", torch.arange(20.0).view(4, 5), r"ranges from 0 to 19; .*values in \[0, 1\]"),
    ],
)
def test_tables_that_are_no_zeros_and_ones(likelihood, rows, message):
    for use in (lambda m: training.fit(m, rows, epochs=1, progress=False), lambda m: evaluation.encode(m, rows)):
        with pytest.raises(ValueError, match=message):
            use(new(likelihood))


def test_other_bad_input():
    with pytest.raises(ValueError, match=r"\(5,\) is that of a vector, without height or width; use an MLPVAE"):
        models.ConvVAE(image_shape=(5,))
    with pytest.raises(ValueError, match=r"\(channels, height, width\), or \(D,\) for vectors; got \(5, 5\)"):
        models.MLPVAE(image_shape=(5, 5))
    for name in ("discretized_logistic", "mixture_of_logistics"):
        with pytest.raises(ValueError, match="is of grey levels, for images; for a table: 'gaussian_learned'"):
            new(name)
    with pytest.raises(ValueError, match=r"this model is of images, \(1, 28, 28\)"):
        models.MLPVAE().standardize(torch.rand(4, 1, 28, 28))
    with pytest.raises(ValueError, match="likelihood is of 4 columns; image_shape is"):
        new(Columns(Gaussian(), 4))
    with pytest.raises(ValueError, match=r"variance for each of \(4,\); image_shape is \(5,\)"):
        new(Gaussian("learned", shape=(4,)))
    model, x = new(), table(8).float()
    model.standardize(x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.encode(put(x.clone(), (0, 0), math.nan))
    with pytest.raises(ValueError, match="floating"):
        model.encode(x.long())
    with pytest.raises(ValueError, match="parameters must be"):
        model.likelihood.log_prob(x, torch.zeros(8, 1))
    assert model.encode(x.float())[0].isfinite().all()


def test_a_model_by_hand_takes_rows_too():
    model = models.VAE(models.MLPEncoder(2, (8,), (D,)), models.MLPDecoder(2, (8,), (D,)), 2, (D,), "gaussian_learned")
    assert model.architecture is None
    history = training.fit(model, np.asarray(table(64)), epochs=2, progress=False)
    assert math.isfinite(history["elbo"][-1])
    assert isinstance(model.likelihood, Columns)
    assert repr(model.likelihood).startswith("Columns(Gaussian(variance='learned'")
    assert likelihoods.get(model.likelihood, (D,)) is model.likelihood
