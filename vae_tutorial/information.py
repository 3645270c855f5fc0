"""Surprise, entropy, cross-entropy and KL divergence, of discrete and of Gaussian distributions.

A discrete distribution over K outcomes is a tensor whose last axis has length K, holds no negative number and sums
to 1. Everything is summed over the last axis; the axes before it are a batch. Tensors keep their floating dtype;
lists, arrays and integers are computed in float64. Results are in nats, or in bits with ``unit="bits"``.

Source: Cover and Thomas, Elements of Information Theory, second edition (2006), chapters 2, 5 and 8.
"""

import heapq
import math
from itertools import count

import torch

__all__ = [
    "cross_entropy",
    "entropy",
    "gaussian_entropy",
    "gaussian_kl",
    "huffman_lengths",
    "kl_divergence",
    "surprisal",
]

_NATS_PER = {"nats": 1.0, "bits": math.log(2)}
# How far a sum of probabilities may be from 1: more than rounding causes, so that probabilities typed in with six
# or four decimals pass too.
_SUM_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}


def surprisal(p, unit="nats"):
    """Return the surprise -log p of each probability.

    ``p``: probabilities, any shape. Returns the same shape; infinite where p is 0.
    Raises ValueError for a probability outside [0, 1] and for an unknown unit.
    """
    p = _floating(p)
    _reject(~((p >= 0) & (p <= 1)), p, "p", "holds {value}; a probability lies between 0 and 1")
    return _in_unit(-torch.log(p), unit) + 0.0  # the sum turns the -0.0 of a certain outcome into 0.0


def entropy(p, unit="nats"):
    """Return the entropy H(p) = -sum p log p, with 0 log 0 = 0 (Cover and Thomas, equation 2.1).

    ``p``: ``(..., K)``, distributions over K outcomes. Returns ``(...)``, between 0 and log K nats.
    Raises ValueError where p is no distribution.
    """
    return _in_unit(torch.special.entr(_distribution(p, "p")).sum(-1), unit)


def cross_entropy(p, q, unit="nats"):
    """Return the cross-entropy H(p, q) = -sum p log q: the mean code length when p is coded as if it were q.

    ``p``, ``q``: ``(..., K)``, broadcast against each other. Returns ``(...)``; infinite where q is 0 and p is not.
    Raises ValueError where p or q is no distribution, or where their K differ.
    """
    p, q = _pair(p, q)
    return _in_unit(-torch.xlogy(p, q).sum(-1), unit) + 0.0


def kl_divergence(p, q, unit="nats"):
    """Return KL(p || q) = sum p log(p / q), with 0 log 0 = 0 (Cover and Thomas, equation 2.26).

    ``p``, ``q``: ``(..., K)``, broadcast against each other. Returns ``(...)``, at least 0; infinite where q is 0 and
    p is not. Raises ValueError where p or q is no distribution, or where their K differ.
    """
    p, q = _pair(p, q)
    # Gibbs' inequality says that the sum is not negative; a negative result is a rounding error, and is clamped.
    return _in_unit((torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1).clamp_min(0), unit)


def gaussian_entropy(logvar, unit="nats"):
    """Return the differential entropy of a diagonal Gaussian, sum of (1 + log 2 pi + logvar) / 2 (theorem 8.4.1).

    ``logvar``: ``(..., D)``, log of the variances. Returns ``(...)``. It can be negative, and depends on the units in
    which the variable is measured.
    """
    return _in_unit(0.5 * (1 + math.log(2 * math.pi) + _floating(logvar)).sum(-1), unit)


def gaussian_kl(mu, logvar, mu2=0.0, logvar2=0.0, unit="nats"):
    """Return KL(N(mu, exp logvar) || N(mu2, exp logvar2)) of diagonal Gaussians, by default from the standard normal.

    ``mu``, ``logvar``: ``(..., D)``; ``mu2``, ``logvar2``: numbers, or broadcast against them. Returns ``(...)``.
    Source: Kingma and Welling (2014), appendix B, for the standard normal.
    """
    mu, logvar = _floating(mu), _floating(logvar)
    # A number stays a number: moving it to a tensor would cost a copy to the device in every training step.
    mu2, logvar2 = (value if isinstance(value, float | int) else _floating(value) for value in (mu2, logvar2))
    precision2 = math.exp(-logvar2) if isinstance(logvar2, float | int) else torch.exp(-logvar2)
    # expm1(d) - d, not exp(d) - 1 - d: where the variances are nearly equal (d small) the latter has a relative error
    # of about eps / d^2, this one of eps / |d|, with eps the rounding of one operation.
    difference = logvar - logvar2
    return _in_unit(0.5 * (torch.expm1(difference) - difference + (mu - mu2).square() * precision2).sum(-1), unit)


def huffman_lengths(p):
    """Return the code length, in bits, that Huffman's binary prefix code gives each outcome.

    ``p``: ``(K,)``, one distribution over K >= 2 outcomes. Returns ``(K,)``, int64. The mean length lies between the
    entropy in bits and one bit above it. Raises ValueError where p is no distribution or has fewer than 2 outcomes.
    Source: Huffman (1952); Cover and Thomas, section 5.6.
    """
    p = _distribution(p, "p")
    if p.ndim != 1 or len(p) < 2:
        raise ValueError(f"p must be one distribution over at least 2 outcomes, shape (K,); got shape {tuple(p.shape)}")
    lengths = torch.zeros(len(p), dtype=torch.int64)
    order = count()  # breaks ties, so that the heap never compares lists
    heap = [(weight, next(order), [k]) for k, weight in enumerate(p.tolist())]
    heapq.heapify(heap)
    while len(heap) > 1:
        (weight_a, _, a), (weight_b, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[a + b] += 1  # all outcomes in a merged node move one level down the tree
        heapq.heappush(heap, (weight_a + weight_b, next(order), a + b))
    return lengths


def _in_unit(nats, unit):
    if unit not in _NATS_PER:
        raise ValueError(f"unit must be one of {', '.join(map(repr, _NATS_PER))}; got {unit!r}")
    return nats if unit == "nats" else nats / _NATS_PER[unit]


def _floating(values):
    if isinstance(values, torch.Tensor) and values.is_floating_point():
        return values
    return torch.as_tensor(values, dtype=torch.float64)


def _reject(wrong, values, name, complaint):
    # Names the first wrong value and its index.
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"{name}{list(index) if index else ''} {complaint.format(value=values[index].item())}")


def _distribution(p, name):
    p = _floating(p)
    if p.ndim == 0:
        raise ValueError(f"{name} is the single number {p.item()}; a distribution needs a last axis of outcomes")
    _reject(~(p >= 0), p, name, "is {value}; a probability is at least 0")
    total = p.sum(-1)
    wrong = ~((total - 1).abs() <= _SUM_TOLERANCE.get(p.dtype, 1e-2))
    _reject(wrong, total, name, "sums to {value} over the last axis; a distribution sums to 1")
    return p


def _pair(p, q):
    p, q = _distribution(p, "p"), _distribution(q, "q")
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p has {p.shape[-1]} outcomes and q has {q.shape[-1]}; both must describe the same outcomes")
    return p, q
