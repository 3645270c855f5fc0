"""On a device without float64, as Apple's GPU: everything that takes a model, with the numbers of the CPU."""

import copy

import pytest
import torch
from apple import MPS, Apple, OnDevice

from vae_tutorial import evaluation, exact, ledger, models, objectives, proposals, training


@pytest.fixture
def model():
    torch.manual_seed(0)
    return models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=(1, 4, 4))


@pytest.fixture
def images():
    return torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


def generator(device):
    return torch.Generator(device).manual_seed(0)


CALLS = {
    "elbo": lambda m, x, d: objectives.elbo(m, x, generator=generator(d)),
    "encode": lambda m, x, d: evaluation.encode(m, x),
    "mean": lambda m, x, d: evaluation.mean(objectives.elbo(m, x, generator=generator(d)).elbo),
    "rate_distortion": lambda m, x, d: evaluation.rate_distortion(m, x, generator=generator(d)),
    "split_kl": lambda m, x, d: evaluation.split_kl(*m.encode(x), generator=generator("cpu")),
    "unit_kl": lambda m, x, d: evaluation.unit_kl(*m.encode(x)),
    "active_units": lambda m, x, d: evaluation.active_units(m.encode(x)[0]),
    "refine": lambda m, x, d: proposals.refine(m, x, steps=3, generator=generator(d)),
    "log_marginal": lambda m, x, d: evaluation.log_marginal(m, x, 20, generator(d)),
    "its summary": lambda m, x, d: evaluation.log_marginal(m, x, 20, generator(d)).summary(),
    "log_marginal, refined": lambda m, x, d: evaluation.log_marginal(
        m, x, 20, generator(d), proposal="refined", steps=3
    ),
    "log_marginal_grid": lambda m, x, d: evaluation.log_marginal_grid(m, x, points=20),
    "log_marginal_annealed": lambda m, x, d: evaluation.log_marginal_annealed(m, x, 5, 2, 2, generator(d)),
    "log_marginal_annealed, backwards": lambda m, x, d: evaluation.log_marginal_annealed(
        m, x, 5, 2, 2, generator(d), z=m.encode(x)[0]
    ),
    "ledger": lambda m, x, d: ledger.check("mlp_vae", -objectives.elbo(m, x, generator=generator(d)).elbo),
}


def grid(model):
    return exact.GridLatent(model.decode, model.likelihood.log_prob, latent_dim=2, points=21)


CALLS |= {
    "GridLatent.log_prob": lambda m, x, d: grid(m).log_prob(x),
    "GridLatent.error": lambda m, x, d: grid(m).error(x),
    "GridLatent.log_posterior": lambda m, x, d: grid(m).log_posterior(x),
    "GridLatent.elbo": lambda m, x, d: grid(m).elbo(x, *m.encode(x)),
    "GridLatent.kl_to_posterior": lambda m, x, d: grid(m).kl_to_posterior(x, *m.encode(x)),
    "GridLatent.best_gaussian": lambda m, x, d: grid(m).best_gaussian(x, steps=3),
    "GridLatent.elbo of the best": lambda m, x, d: grid(m).elbo(x, *grid(m).best_gaussian(x, steps=3)),
    "GridLatent.split_kl": lambda m, x, d: grid(m).split_kl(*m.encode(x)),
}


def plain(value):
    """Numbers and tensors, wherever they are, as a flat list of tensors of the CPU."""
    if isinstance(value, torch.Tensor):
        return [value.detach().as_subclass(torch.Tensor).double()]
    if isinstance(value, tuple | list):
        return [part for each in value for part in plain(each)]
    return [torch.tensor(float(value), dtype=torch.float64)]


@pytest.mark.parametrize("name", CALLS)
def test_a_device_without_float64_gives_the_numbers_of_the_cpu(name, model, images):
    wanted = plain(CALLS[name](model, images, "cpu"))
    with Apple() as device:
        found = CALLS[name](device.take(model), device.take(images), "mps")
    found = plain(found)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian_shared", "continuous_bernoulli", "discretized_logistic"])
def test_training_on_a_device_without_float64(likelihood, images):
    torch.manual_seed(0)
    model = models.MLPVAE(latent_dim=2, hidden=(8,), image_shape=(1, 4, 4), likelihood=likelihood)
    there = copy.deepcopy(model)
    settings = {"epochs": 2, "batch_size": 5, "progress": False}
    history = training.fit(model, images, test=images, **settings)
    with Apple() as device:
        device.take(there)
        found = training.fit(there, device.take(images), test=device.take(images), **settings)
        assert all(parameter.device == MPS for parameter in there.parameters())
    for key in ("elbo", "kl", "test_elbo"):
        assert found[key] == pytest.approx(history[key], rel=1e-4)


def test_the_simulated_device_refuses_what_apples_refuses():
    with Apple() as device:
        x = device.take(torch.ones(3))
        assert x.device == torch.zeros(2, device=MPS).device == torch.zeros_like(x).device == (x + 1).device == MPS
        assert x.cpu().device == x.to("cpu").device == torch.ones(3).device == torch.device("cpu")
        assert isinstance(x.cpu().double().to(torch.float32).to(x), OnDevice)
        for wrong in (lambda: x.double(), lambda: torch.zeros(2, dtype=torch.float64, device=x.device), x.numpy):
            with pytest.raises(TypeError, match=r"MPS|mps"):
                wrong()
        for wrong in (lambda: x + torch.ones(3), lambda: torch.randn(2, generator=torch.Generator("mps"))):
            with pytest.raises(RuntimeError, match="expected"):
                wrong()
