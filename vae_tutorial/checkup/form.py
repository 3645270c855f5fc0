"""What a loss is made of, found by asking it: which likelihood, which weights, and how they change with the sizes.

The loss is a function of (output, x, mu, logvar). Made-up values go in; differences of what comes out are compared with
differences of what each candidate gives, so that constants and whatever else is added do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial.checkup.subject import ALONE, NotTested, Subject, number, parts_of
from vae_tutorial.checkup.weights import seeded

__all__ = ["CONVENTIONS", "Form", "Probe", "form_of", "probe_of"]

BATCH = 8
# What an encoder's second number may be, as the standard deviation that it stands for.
CONVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "log-variance": lambda v: torch.exp(v / 2),
    "log standard deviation": torch.exp,
    "standard deviation": lambda v: v,
    "variance": torch.sqrt,
    "softplus of it, a standard deviation": F.softplus,
}
_SPREADS = (0.2, 0.5, 0.8, 1.2, 1.6)  # values of "logvar", positive so that all conventions can take them
_MEAN = 2.0  # the mean of the codes that are tried: far enough from 0 that free bits change nothing


@dataclass
class Form:
    """What was read. Weights are those at the true number of pixels and latent dimensions, for a batch of 8.

    ``family``: "bce", "logits", "squares", "absolute", "pair" (mean and log-variance) or "own", None if it is none of
    them; ``rec``: the weight of its negative log-likelihood, summed over pixels and images (of plain squares); ``kl``:
    of the summed KL, from how the loss changes with mu; ``kl_each``: that of each latent dimension, of one image.
    ``*_batch``, ``kl_latent``, ``rec_pixels``: the power of that size with which the weight changes, 0 for a sum, -1
    for a mean, None where the loss takes no other size.
    ``convention``: how the KL reads the encoder's second number, None for none of ``CONVENTIONS``; ``spread_cost``: by
    how much the KL changed over ``_SPREADS``, in nats for each dimension.
    """

    family: str | None = None
    rec: float = math.nan
    rec_batch: float | None = None
    rec_pixels: float | None = None
    kl: float = math.nan
    kl_quadratic: bool = False
    kl_each: tuple[float, ...] = ()
    kl_batch: float | None = None
    kl_latent: float | None = None
    convention: str | None = None
    spread_cost: tuple[float, ...] = ()
    spreads: tuple[float, ...] = _SPREADS

    @property
    def even(self) -> bool:
        """Whether the KL is a sum over images and latent dimensions, all with one weight."""
        return all(abs(each - self.kl) <= 0.02 * abs(self.kl) for each in self.kl_each)

    @property
    def ratio(self) -> float:
        """The weight of the KL for each unit of reconstruction: beta, where the family is a normalized likelihood."""
        return self.kl / self.rec


def form_of(subject: Subject) -> Form:
    """Return the subject's :class:`Form`, read once. Raises NotTested for a loss that takes x alone."""
    if "form" not in subject.memo:
        with torch.no_grad(), subject.weights.mode(False):
            subject.memo["form"] = probe_of(subject).read()
    return subject.memo["form"]


def probe_of(subject: Subject) -> Probe:
    """Return the subject's :class:`Probe`, made once. Raises NotTested for a loss that takes x alone."""
    if subject.loss is None:
        raise NotTested(ALONE)
    if "probe" not in subject.memo:
        with torch.no_grad(), subject.weights.mode(False):
            subject.memo["probe"] = Probe(subject)
    return subject.memo["probe"]


class Probe:
    """Asks a loss for its value at made-up outputs, images and codes."""

    def __init__(self, subject):
        self.subject, self.draw = subject, torch.Generator().manual_seed(0)
        x = subject.batch(BATCH)
        mu, logvar = subject.encode(x)
        self.output = parts_of(subject.decode(mu))
        self.x = subject.target(x, self.output)
        self.code = mu.shape[1:], logvar.shape[1:]
        self.dtype, self.draws = torch.float64, False
        if _try(lambda: self.ask(*self.made(0))) is None:  # some layer of the loss wants its own precision
            self.dtype = torch.float32
        self.draws = self.ask(*self.made(0), seed=1) != self.ask(*self.made(0), seed=2)  # black and white of grey, say

    def made(self, seed, batch=BATCH):
        """Outputs and images that any likelihood takes: from 0 to 1; the images 0 and 1 alone for a loss that draws."""
        self.draw.manual_seed(seed)
        shapes = [(batch, *part.shape[1:]) for part in (*self.output, self.x)]
        *outputs, x = (0.05 + 0.9 * torch.rand(shape, generator=self.draw, dtype=self.dtype) for shape in shapes)
        return outputs, (x > 0.5).to(x.dtype) if self.draws else x

    def cost(self, outputs, x, mean=_MEAN, spread=0.5, latent=1, one=None, sign=-1, seed=0) -> Tensor:
        """The loss for given outputs and images; latent: times as many dimensions; one: of which mu is doubled once."""
        mu_shape, logvar_shape = self.code
        mu = torch.full((len(x), latent * mu_shape[0], *mu_shape[1:]), mean, dtype=x.dtype)
        logvar = torch.full((len(x), latent * logvar_shape[0], *logvar_shape[1:]), spread, dtype=x.dtype)
        mu = mu * torch.linspace(0.8, 1.2, mu.shape[1], dtype=x.dtype).view(-1, *[1] * (mu.ndim - 2))
        mu[::2] *= sign  # for a KL the sign is nothing; for the KL of some mean over the batch it is all
        if one is not None:
            mu[0, one] *= 2
        device = self.x.device
        output = outputs[0] if len(outputs) == 1 else tuple(o.to(device) for o in outputs)
        output = output.to(device) if isinstance(output, Tensor) else output
        x, mu, logvar = (part.to(device) for part in (x, mu, logvar))
        seeded(seed)  # a loss that draws gives the same each time
        return number(self.subject.loss(output, x, mu, logvar)).double()

    def ask(self, outputs, x, mean=_MEAN, **rest) -> float:
        """The loss as a number; see :meth:`cost`."""
        return self.cost(outputs, x, mean, **rest).item()

    def read(self):
        form = Form()
        form.family, form.rec = self.reconstruction()
        if form.family:
            form.rec_batch = self.power(lambda: self.reconstruction(BATCH // 2, only=form.family)[1], form.rec)
            form.rec_pixels = self.power(lambda: self.of_half_the_pixels(form.family), form.rec)
        form.kl, form.kl_quadratic = self.kl()
        if form.kl:
            form.kl_each = self.kl_of_each()
        elif weight := self.kl(sign=1)[0]:  # the KL of a mean over the batch
            form.kl, form.kl_quadratic, form.kl_each = weight, True, (0.0,)
        if form.kl:
            form.kl_batch = self.power(lambda: self.kl(BATCH // 2)[0], form.kl)
            half = self.power(lambda: self.kl(latent=2)[0], form.kl)
            form.kl_latent = None if half is None else -half
        self.spread(form)
        return form

    # The reconstruction

    def reconstruction(self, batch=BATCH, cut=lambda part: part, only=None):
        """The family and weight of the part that compares output and image, of all families or ``only`` one."""
        candidates = self.candidates()
        return self._best(candidates if only is None else {only: candidates[only]}, self._tries(batch, cut))

    def _tries(self, batch=BATCH, cut=lambda part: part):
        tries = [self.made(seed, batch) for seed in range(5)]
        return [([cut(o) for o in outputs], cut(x)) for outputs, x in tries]

    def _best(self, candidates, tries):
        """The candidate whose differences are in proportion to those of the loss, and its weight."""
        came = [self.ask(*one) for one in tries]
        best = (None, math.nan, 1e-3 if self.dtype == torch.float64 else 2e-2)
        for family, cost in candidates.items():
            costs = [_try(cost, *one) for one in tries]
            if any(c is None for c in costs):
                continue
            ratios = [(a - came[0]) / (b - costs[0]) for a, b in zip(came[1:], costs[1:], strict=True)]
            mean = sum(ratios) / len(ratios)
            off = max(abs(r - mean) for r in ratios) / max(abs(mean), 1e-300)
            if off < best[2] and math.isfinite(mean) and mean:
                best = (family, mean, off)
        return best[0], best[1]

    def candidates(self):
        own = self.subject.likelihood
        found = {} if own is None or isinstance(own, str) else {"own": lambda o, x: -own.log_prob(x, o[0]).sum()}
        if len(self.output) == 2:
            return found | {"pair": lambda o, x: _normal(_like(o[0], x), _like(o[1], x), x)}
        if self.output[0][0].numel() == 2 * self.x[0].numel():
            return found | {"pair": lambda o, x: _normal(*(_like(h, x) for h in o[0].chunk(2, 1)), x)}
        return found | {
            "bce": lambda o, x: F.binary_cross_entropy(_like(o[0], x), x, reduction="sum"),
            "logits": lambda o, x: F.binary_cross_entropy_with_logits(_like(o[0], x), x, reduction="sum"),
            "squares": lambda o, x: (_like(o[0], x) - x).square().sum(),
            "absolute": lambda o, x: (_like(o[0], x) - x).abs().sum(),
        }

    def turned(self):
        """Whether the loss is a cross-entropy of output and image that have changed places."""
        if len(self.output) != 1:
            return False
        costs = [lambda o, x: F.binary_cross_entropy(x, _like(o[0], x), reduction="sum")]
        costs += [lambda o, x: F.binary_cross_entropy_with_logits(x, _like(o[0], x), reduction="sum")]
        return any(self._best({"": cost}, self._tries())[0] is not None for cost in costs)

    def of_half_the_pixels(self, family):
        return self.reconstruction(cut=lambda part: part[..., : part.shape[-1] // 2], only=family)[1]

    # The KL

    def half_square(self, latent=1):
        """Half the square of the mu of an image, what it adds to the KL."""
        size = torch.linspace(0.8, 1.2, latent * self.code[0][0], dtype=torch.float64).square().sum().item()
        return size * math.prod(self.code[0][1:]) * _MEAN**2 / 2

    def kl(self, batch=BATCH, latent=1, sign=-1):
        """The weight of the summed KL, from how the loss grows with mu; whether it grows with the square."""
        outputs, x = self.made(0, batch)
        near, far, further = (self.ask(outputs, x, n * _MEAN, latent=latent, sign=sign) for n in (1, 2, 3))
        size = batch * self.half_square(latent)
        weight = (further - near) / (8 * size)
        least = 1e-9 if self.dtype == torch.float64 else 1e-6
        if abs(further - near) <= least * max(abs(near), abs(further)):
            return 0.0, False
        return weight, abs((far - near) / (3 * size) - weight) < 1e-2 * abs(weight)

    def kl_of_each(self):
        """The weight of each latent dimension's KL, by doubling its mu for one image alone."""
        outputs, x = self.made(0)
        here, sizes = self.ask(outputs, x), torch.linspace(0.8, 1.2, self.code[0][0], dtype=torch.float64).square()
        sizes *= 1.5 * _MEAN**2 * math.prod(self.code[0][1:])
        return tuple((self.ask(outputs, x, one=j) - here) / size for j, size in enumerate(sizes.tolist()))

    def spread(self, form):
        """How the KL reads the encoder's second number."""
        outputs, x = self.made(0)
        came = [self.ask(outputs, x, spread=v) for v in _SPREADS]
        size = form.kl * BATCH * max(map(math.prod, self.code))  # one log-variance may serve all dimensions
        if not form.kl or not all(map(math.isfinite, came)):
            return
        form.spread_cost = tuple((c - came[0]) / size for c in came)
        scale = max(map(abs, form.spread_cost))
        for name, of in CONVENTIONS.items():
            s = of(torch.tensor(_SPREADS, dtype=torch.float64))
            cost = s.square() / 2 - s.log()
            off = (cost - cost[0] - torch.tensor(form.spread_cost, dtype=torch.float64)).abs().max().item()
            if off < 1e-2 * scale:
                form.convention = name

    def power(self, other, here):
        """The power with which a weight changes, from its value at half the size; None where that size is refused."""
        there = _try(other)
        if there is None or not math.isfinite(there) or not there * here > 0:
            return None
        found = math.log2(here / there)
        return float(round(found)) if abs(found - round(found)) < 0.02 else found


def _like(output, x):
    """The output in the images' shape; where it has fewer numbers, as they are repeated beside the images."""
    return output.reshape(x.shape) if output.numel() == x.numel() else output.expand(x.shape)


def _normal(mean, logvar, x):
    return 0.5 * ((x - mean).square() * torch.exp(-logvar) + logvar).sum()


def _try(function, *arguments):
    """What a function returns, as a number; None where it refuses."""
    try:
        found = function(*arguments)
    except Exception:
        return None
    return found.item() if isinstance(found, Tensor) else found
