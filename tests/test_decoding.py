"""log p(x | z) of many draws at speed, and a proposal without matrices: the same numbers as the plain ways."""

import math
import time

import pytest
import torch

from vae_tutorial import _decoding, evaluation, likelihoods, models, proposals, reproduce


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def random_weights(model, scale):
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    return model


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 3, 3), (3, 5, 7), (1, 1, 1), (2, 8, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_in_every_shape(shape, dtype):
    torch.manual_seed(0)
    model = random_weights(models.MLPVAE(2, (16,), image_shape=shape).to(dtype), 4)
    x, z = (torch.rand(7, *shape) < 0.4).to(dtype), torch.randn(23, 7, 2, dtype=dtype)
    with torch.no_grad():
        logits, found = model.decode(z).double(), _decoding.log_likelihood(model, x, z)
    wanted = (x * logits - torch.logaddexp(logits, torch.zeros_like(logits))).sum((-3, -2, -1))
    rtol = 1e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(found.double(), wanted, atol=100 * rtol, rtol=rtol)


def test_extreme_logits_and_grey_pixels():
    unsure = _decoding._bernoulli(torch.ones(1, 1024), torch.zeros(1, 1, 1024))
    assert unsure.item() == pytest.approx(-1024 * math.log(2), rel=1e-6)  # a product of all would be 2^-1024
    logits = torch.tensor([-1e4, -200.0, -90, -17, -1e-3, 0, 1e-3, 17, 90, 200, 1e4]).repeat_interleave(16)
    for value in (0.0, 0.3, 1.0):
        x = torch.full((1, 176), value)
        found = _decoding._bernoulli(x, logits.view(1, 1, 176).clone())
        wanted = likelihoods.Bernoulli().log_prob(x.view(1, 1, 16, 11).double(), logits.view(1, 1, 16, 11).double())
        torch.testing.assert_close(found.double().flatten(), wanted.flatten(), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("name", ["gaussian", "continuous_bernoulli", "discretized_logistic"])
def test_other_likelihoods_are_left_alone(name):
    torch.manual_seed(0)
    model = models.ConvVAE(2, (4,), likelihood=name, image_shape=(1, 6, 6))
    x, z = torch.rand(3, 1, 6, 6), torch.randn(50, 3, 2)
    with torch.no_grad():
        wanted = model.likelihood.log_prob(x, model.decode(z))
        torch.testing.assert_close(_decoding.log_likelihood(model, x, z), wanted)


def test_a_readers_own_bernoulli_is_asked():
    class Own(likelihoods.Bernoulli):
        def log_prob(self, x, logits):
            return super().log_prob(x, logits) - 1

    model = models.MLPVAE(2, (4,), likelihood=Own(), image_shape=(1, 2, 2))
    x, z = torch.ones(2, 1, 2, 2), torch.zeros(3, 2, 2)
    with torch.no_grad():
        wanted = model.likelihood.log_prob(x, model.decode(z))
        torch.testing.assert_close(_decoding.log_likelihood(model, x, z), wanted)


def test_memory_is_bounded(monkeypatch):
    model, rows = models.MLPVAE(2, (4,), image_shape=(1, 4, 4)), []
    model.decoder.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][..., 0].numel()))
    monkeypatch.setattr(_decoding, "_CACHE", 16 * 20)
    with torch.no_grad():
        found = _decoding.log_likelihood(model, torch.zeros(5, 1, 4, 4), torch.randn(11, 5, 2))
    assert found.shape == (11, 5)
    assert rows == [20, 20, 15]


def test_a_diagonal_gaussian_is_the_mixture_of_one():
    torch.manual_seed(0)
    mu, logvar = torch.randn(5, 3), torch.randn(5, 3)
    one = proposals.Diagonal(mu, torch.exp(0.5 * logvar)).widened(1.2)
    other = proposals.Mixture.of(mu, logvar).widened(1.2)
    torch.testing.assert_close(z := one.sample(9, seeded(1)), other.sample(9, seeded(1)))
    torch.testing.assert_close(one.log_prob(z), other.log_prob(z))
    both = [q.with_prior(0.3) for q in (one, other)]
    torch.testing.assert_close(both[0].sample(9, seeded(1)), both[1].sample(9, seeded(1)))
    torch.testing.assert_close(both[0].log_prob(z), both[1].log_prob(z))


@pytest.mark.timed
def test_evaluation_costs_little_more_than_its_arithmetic():
    """100,000 draws for the network of Burda et al., in seconds of this process alone, each the best of six."""
    model, x = reproduce.network(), (torch.rand(200, 1, 28, 28) < 0.15).float()
    weights = [layer.weight.T.contiguous() for layer in model.decoder.layers if isinstance(layer, torch.nn.Linear)]

    def arithmetic():
        for z in torch.randn(100_000, 50).split(500):
            for weight in weights:  # a sigmoid is the cheapest of what each of the three layers needs
                z = (z @ weight).sigmoid_()
            z.sum(1)

    def seconds(call):
        start = time.process_time()
        call()
        return time.process_time() - start

    bare, whole = [], []
    with torch.no_grad():
        for _ in range(6):
            bare.append(seconds(arithmetic))
            whole.append(seconds(lambda: evaluation.log_marginal(model, x, 500, seeded(0))))
    assert min(whole) < 1.6 * min(bare), f"{min(whole):.2f} s against {min(bare):.2f} s of arithmetic"
