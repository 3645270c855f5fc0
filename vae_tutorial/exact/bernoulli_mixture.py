"""The mixture of Bernoulli distributions: a discrete latent, whose p(x) is a sum over its K components.

Shapes: N images, K components, D pixels. All amounts of information are in nats.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial import _checks

__all__ = ["BernoulliMixture"]


class BernoulliMixture:
    """p(x) = sum_k weight_k prod_i Bernoulli(x_i; probs_ki): black-and-white images of K kinds, z = k the kind.

    ``weights``: ``(K,)``, a distribution; ``probs``: ``(K, *image_shape)``, above 0 and below 1. ``x`` is
    ``(N, *image_shape)``, floating zeros and ones, of any dtype. Raises ValueError for anything else.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 9.3.3.
    """

    history: list[float]  # of :meth:`fit`: the mean log p(x) after each step, nats

    def __init__(self, weights: Tensor, probs: Tensor):
        if weights.ndim != 1 or probs.ndim < 2 or len(probs) != len(weights):
            shapes = f"{tuple(weights.shape)} and {tuple(probs.shape)}"
            raise ValueError(f"weights must be (K,) and probs (K, *image_shape); got {shapes}")
        if not ((weights >= 0).all() and abs(weights.sum().item() - 1) < 1e-4):
            raise ValueError(f"weights must be at least 0 and sum to 1; got sum {weights.sum().item()}")
        if not ((probs > 0) & (probs < 1)).all():
            raise ValueError(f"probs must lie above 0 and below 1; got {probs.min().item()} to {probs.max().item()}")
        self.weights, self.probs = weights.to(probs), probs

    @classmethod
    def fit(
        cls,
        x: Tensor,
        components: int,
        *,
        iterations: int = 50,
        tolerance: float = 0.005,
        seed: int = 0,
        pseudo_count: float = 0.5,
    ) -> BernoulliMixture:
        """Return the mixture fitted to x by expectation maximisation (EM).

        ``components``: K; each begins halfway between the mean image and an example chosen by ``seed``. Stops after
        ``iterations``, or when the mean of log p(x) gains less than ``tolerance``. ``history``, an attribute of the
        result, holds that mean after each iteration.
        ``pseudo_count``: added, in each component, to the number of examples that have a pixel on and to that of those
        that have it off (smoothing). One half is the estimate of Krichevsky and Trofimov (1981). With 0 the likelihood
        never falls.
        An empty component is moved to the example of lowest log p(x), if that raises the likelihood.
        Raises ValueError for unusable arguments.
        Source: Dempster, Laird and Rubin (1977); Bishop (2006), equations 9.56 to 9.60.
        """
        x = _checks.tensor(x)
        _check_binary(x, x.shape[1:])
        if not (isinstance(components, int) and components >= 1):
            raise ValueError(f"components must be a whole number of at least 1; got {components}")
        if not (iterations >= 1 and pseudo_count >= 0):
            raise ValueError(f"iterations must be at least 1 and pseudo_count 0; got {iterations} and {pseudo_count}")
        pixels = x.flatten(1)  # (N, D)
        generator = torch.Generator(x.device).manual_seed(seed)
        chosen = torch.randperm(len(x), generator=generator, device=x.device).repeat(-(-components // len(x)))
        probs = _inside((pixels.mean(0) + pixels[chosen[:components]]) / 2)
        model, history = cls(torch.full_like(probs[:, 0], 1 / components), probs), []
        log_p_x, responsibilities = model._expect(pixels)
        for _ in range(iterations):
            before = log_p_x.mean().item()
            step = (pixels, log_p_x, responsibilities, pseudo_count)
            replaced = model._replace_empty(*step)
            model = replaced or model._maximize(*step)
            log_p_x, responsibilities = model._expect(pixels)
            history.append(log_p_x.mean().item())
            if history[-1] - before < tolerance and not replaced:
                break
        fitted = cls(model.weights, model.probs.unflatten(1, x.shape[1:]))
        fitted.history = history
        return fitted

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), ``(N,)``."""
        return torch.logsumexp(self.log_joint(x), 1)

    def log_joint(self, x: Tensor) -> Tensor:
        """Return log p(x, z = k) for each component, ``(N, K)``."""
        x = _checks.tensor(x)
        _check_binary(x, self.probs.shape[1:])
        return self._log_joint(x.flatten(1).to(self.probs.dtype))

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return p(z = k | x), ``(N, K)``."""
        return self.log_joint(x).softmax(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return n images drawn from the model, ``(n, *image_shape)``, and the components, ``(n,)``, they came from."""
        z = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        probs = self.probs[z]
        uniform = torch.rand(probs.shape, generator=generator, dtype=probs.dtype, device=probs.device)
        return (uniform < probs).to(probs.dtype), z

    def _log_joint(self, pixels):
        probs = self.probs.flatten(1)
        log_off = torch.log1p(-probs)
        # sum_i x_i log p_i + (1 - x_i) log(1 - p_i), as one product of matrices
        return torch.addmm(self.weights.log() + log_off.sum(1), pixels, (probs.log() - log_off).T)

    def _expect(self, pixels):
        # log p(x) (N,) and p(z = k | x) (N, K)
        joint = self._log_joint(pixels)
        highest = joint.amax(1, keepdim=True)
        # Terms below exp(-60) change no sum, but products with subnormal numbers take four times as long.
        relative = F.threshold(joint - highest, -60, -math.inf).exp_()
        total = relative.sum(1, keepdim=True)
        return (highest + total.log())[:, 0], relative / total

    def _maximize(self, pixels, log_p_x, responsibilities, pseudo_count):
        count = responsibilities.sum(0)  # (K,): examples that belong to each component
        on = responsibilities.T @ pixels + pseudo_count  # (K, D)
        probs = on / (count[:, None] + 2 * pseudo_count).clamp_min(torch.finfo(on.dtype).tiny)
        return BernoulliMixture(count / count.sum(), _inside(probs))

    def _replace_empty(self, pixels, log_p_x, responsibilities, pseudo_count):
        # Instead of a step of EM; None where no component is empty, or where the likelihood would not surely rise.
        N, (count, empty) = len(pixels), responsibilities.sum(0).min(0)
        if count > 1e-3 or N == 1:
            return None
        lowest, worst = log_p_x.min(0)
        probs = _inside((pixels[worst] + pseudo_count) / (1 + 2 * pseudo_count))
        log_new = torch.where(pixels[worst] == 1, probs, 1 - probs).log().sum()
        # Each component gives 1 / N of its weight to the new one, for which p(x | z) of its example is exp log_new.
        gain = F.softplus(log_new - math.log(N) - lowest).item() + N * math.log1p(-1 / N)
        if not gain > 0.01:
            return None
        weights, all_probs = self.weights * (1 - 1 / N), self.probs.clone()
        weights[empty], all_probs[empty] = 1 / N, probs
        return BernoulliMixture(weights / weights.sum(), all_probs)


def _inside(probs):
    # Clamped so that the logarithms stay finite. Within these limits it is still the best estimate.
    eps = torch.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def _check_binary(x, shape):
    if x.ndim < 2 or x.shape[1:] != shape or len(x) == 0:
        raise ValueError(f"x must have shape ({', '.join(map(str, ['N', *shape]))}); got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x has dtype {x.dtype}; expected floating zeros and ones, as data.binarize returns")
    if not ((x == 0) | (x == 1)).all():
        raise ValueError("x holds other values than 0 and 1; expected zeros and ones, as data.binarize returns")
