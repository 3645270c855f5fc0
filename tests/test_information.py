"""Information measures against SciPy, torch.distributions, enumeration and quadrature."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch

from vae_tutorial import information as info

P = [0.5, 0.25, 0.125, 0.125]


def distributions(n=200, k=7, zeros=True):
    p = torch.distributions.Dirichlet(torch.full((k,), 0.5, dtype=torch.float64)).sample((n,))
    if zeros:
        p[::3, 0] = 0
    return p / p.sum(-1, keepdim=True)


def test_against_scipy(generator):
    torch.manual_seed(0)
    p, q = distributions(), distributions(zeros=False)
    assert info.entropy(p).numpy() == pytest.approx(scipy.stats.entropy(p.numpy(), axis=-1), abs=1e-12)
    assert info.kl_divergence(p, q).numpy() == pytest.approx(
        scipy.special.rel_entr(p.numpy(), q.numpy()).sum(-1), abs=1e-12
    )
    assert info.cross_entropy(p, q).numpy() == pytest.approx(
        scipy.stats.entropy(p.numpy(), axis=-1) + scipy.stats.entropy(p.numpy(), q.numpy(), axis=-1), abs=1e-10
    )
    assert info.surprisal(q).numpy() == pytest.approx(-np.log(q.numpy()))


def test_units_and_exact_values():
    assert info.entropy(P, unit="bits").item() == pytest.approx(1.75, abs=1e-15)
    assert info.entropy(P).item() == pytest.approx(1.75 * math.log(2))
    assert info.surprisal(0.5, unit="bits").item() == 1
    assert info.kl_divergence([1, 0], [0.5, 0.5], unit="bits").item() == 1
    assert info.gaussian_entropy([0.0], unit="bits").item() == pytest.approx(0.5 * math.log2(2 * math.pi * math.e))
    for call in (lambda: info.entropy(P, unit="nat"), lambda: info.surprisal(0.5, "Bits")):
        with pytest.raises(ValueError, match=r"unit must be one of 'nats', 'bits'; got"):
            call()


def test_zeros_and_infinities():
    assert info.entropy([1.0, 0.0]).item() == 0
    assert info.surprisal([1.0, 0.0]).tolist() == [0, math.inf]
    assert math.copysign(1, info.surprisal(1.0)) == 1  # 0, not -0
    assert info.kl_divergence([0.5, 0.5, 0], [1, 0, 0]).item() == math.inf
    assert info.cross_entropy([0.5, 0.5, 0], [1, 0, 0]).item() == math.inf
    assert info.kl_divergence([1, 0, 0], [0.5, 0.5, 0]).item() == pytest.approx(math.log(2))
    assert info.kl_divergence([0.5, 0.5, 0.0], [0.5, 0.5, 0.0]).item() == 0


def test_kl_is_never_negative_in_float32():
    p = distributions(5000).float()
    q = p * (1 + 1e-7 * torch.randn_like(p))
    assert (info.kl_divergence(p, q) >= 0).all()


def test_shapes_dtypes_and_gradients():
    p = torch.full((2, 3, 4), 0.25)
    assert info.entropy(p).shape == (2, 3)
    assert info.entropy(p).dtype == torch.float32
    assert info.entropy(np.full((2, 4), 0.25)).dtype == torch.float64
    assert info.kl_divergence(p, torch.tensor([0.1, 0.2, 0.3, 0.4])).shape == (2, 3)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: info.entropy(v.softmax(-1)), logits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: info.entropy([0.5, 0.6]), r"p sums to 1\.1 over the last axis"),
        (lambda: info.entropy([[0.5, 0.5], [0.9, 0.2]]), r"p\[1\] sums to 1\.1"),
        (lambda: info.entropy([1.2, -0.2]), r"p\[1\] is -0\.2; a probability is at least 0"),
        (lambda: info.entropy([float("nan"), 1.0]), r"p\[0\] is nan"),
        (lambda: info.entropy(0.5), r"single number 0\.5"),
        (lambda: info.kl_divergence([0.5, 0.5], [0.5, 0.4]), r"q sums to 0\.9"),
        (lambda: info.cross_entropy([0.5, 0.5], [0.5, -0.5]), r"q\[1\] is -0\.5"),
        (lambda: info.kl_divergence([0.5, 0.5], [0.25] * 4), "p has 2 outcomes and q has 4"),
        (lambda: info.surprisal(1.5), r"p holds 1\.5"),
        (lambda: info.surprisal([0.5, -0.1]), r"p\[1\] holds -0\.1"),
        (lambda: info.huffman_lengths([1.0]), "at least 2 outcomes"),
        (lambda: info.huffman_lengths([[0.5, 0.5]]), "at least 2 outcomes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_gaussians_against_torch_and_quadrature(generator):
    mu, logvar, mu2, logvar2 = torch.randn(4, 50, 6, generator=generator, dtype=torch.float64)
    first = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    second = torch.distributions.Normal(mu2, (0.5 * logvar2).exp())
    reference = torch.distributions.kl_divergence(first, second).sum(-1)
    assert torch.allclose(info.gaussian_kl(mu, logvar, mu2, logvar2), reference, rtol=1e-12)
    standard = torch.distributions.kl_divergence(first, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(info.gaussian_kl(mu, logvar), standard, rtol=1e-12)
    assert torch.allclose(info.gaussian_entropy(logvar), first.entropy().sum(-1), rtol=1e-12)

    p, q = scipy.stats.norm(0.3, 0.5), scipy.stats.norm(-1.0, 2.0)
    kl, _ = scipy.integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -6, 6)
    ours = info.gaussian_kl([0.3], [2 * math.log(0.5)], -1.0, 2 * math.log(2.0))
    assert ours.item() == pytest.approx(kl, rel=1e-8)
    assert info.gaussian_kl([0.3], [0.0], [-1.0], [0.5]).item() == pytest.approx(
        info.gaussian_kl([0.3], [0.0], -1.0, 0.5).item()
    )


def test_gaussian_kl_of_near_twins_keeps_its_digits():
    # With exp(d) - 1 - d this is zero or negative in float32; to leading order it is d squared over four.
    d = torch.tensor([1e-3])
    assert info.gaussian_kl(torch.zeros(1), d).item() == pytest.approx(1e-6 / 4, rel=1e-3)


def test_huffman_is_optimal_by_enumeration(generator):
    """No prefix code (Kraft's inequality) with words of up to 5 bits has a smaller mean length."""
    for p in distributions(10, k=5, zeros=False):
        ours = (p * info.huffman_lengths(p)).sum().item()
        codes = (c for c in itertools.product(range(1, 6), repeat=5) if sum(2.0**-ell for ell in c) <= 1)
        assert ours == pytest.approx(min(float(np.dot(p.numpy(), c)) for c in codes))
        assert info.entropy(p, unit="bits") <= ours < info.entropy(p, unit="bits") + 1


def test_huffman_on_powers_of_two_is_the_surprisal():
    assert info.huffman_lengths(P).tolist() == info.surprisal(P, unit="bits").tolist()
