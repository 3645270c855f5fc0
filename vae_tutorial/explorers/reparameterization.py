"""Fixed noise carried to z, and two estimates of one gradient that it makes (chapter 6)."""

from typing import ClassVar

import numpy as np
import torch
import traitlets
from torch.distributions import Normal

from vae_tutorial.explorers._base import Explorer, Number, Numbers, Plot, Whole
from vae_tutorial.explorers._svg import COLORS, INK

NOISE = np.random.default_rng(0).standard_normal(200).round(4).tolist()


class ReparameterizationExplorer(Explorer):
    """The gradient by mu of E[f(z)] for f(z) = z^2, z = ``mu`` + ``sigma`` * eps, estimated from the same draws.

    ``samples``: how many of the ``noise`` are taken, from the first on. ``noise``: 200 standard normal numbers, always
    the same, rounded to 4 decimals. Gradients are in units of f per unit of mu; both have none here.
    """

    module = "reparameterization"
    words: ClassVar[dict] = {
        "title": "Move *μ* and *σ*: how noisy is the gradient?",
        "question": (
            "At *μ* = 1, *σ* goes from 0.5 down to 0.1: the draws of *z* move together. "
            "What happens to the spread of the two estimates of the gradient?"
        ),
        "choices": [
            [
                "Both shrink",
                "No. Pathwise, 2*z*, shrinks. The score function, *z*² *ε* / *σ*, divides by *σ*, and grows.",
            ],
            [
                "Pathwise shrinks, score function grows",
                "Yes. One draw gives 2*z* pathwise. By the score function it gives *z*² *ε* / *σ*: the smaller *σ*, "
                "the larger.",
            ],
            ["Both grow", "No. Pathwise is 2*z*, and spreads by 2*σ*. It is the score function that divides by *σ*."],
        ],
        "task": "Now bring *σ* down to 0.1, and look at both strips and their standard deviations.",
        "rows": [
            ["truth", "true gradient", 2],
            ["score_mean", "score: mean", 2],
            ["score_std", "score: std. dev.", 2],
            ["path_mean", "pathwise: mean", 2],
            ["path_std", "pathwise: std. dev.", 2],
            ["ratio", "variance ratio", 1],
        ],
    }
    mu = Number(1.0, min=-2, max=2).tag(sync=True)
    sigma = Number(0.5, min=0.1, max=1.5).tag(sync=True)
    samples = Whole(50, min=2, max=200).tag(sync=True)
    noise = Numbers(tuple(NOISE)).tag(sync=True, count=200)

    @traitlets.validate("noise")
    def _check_noise(self, proposal):
        noise = proposal["value"]
        if max(map(abs, noise)) > 8 or noise[0] == noise[1]:
            raise traitlets.TraitError(
                "noise must lie between -8 and 8, and its first two numbers must differ; it begins with "
                f"{noise[0]:g}, {noise[1]:g} and goes from {min(noise):g} to {max(noise):g}"
            )
        return noise

    def estimates(self):
        """Return each draw's estimates of the gradient, ``(score, path)``, each ``(samples,)``, by autograd."""
        eps = torch.tensor(self.noise[: self.samples], dtype=torch.float64)
        mu = torch.full_like(eps, self.mu).requires_grad_()  # one for each draw
        z = mu + self.sigma * eps
        (path,) = torch.autograd.grad((z**2).sum(), mu, retain_graph=True)
        (score,) = torch.autograd.grad(Normal(mu, self.sigma).log_prob(z.detach()).sum(), mu)
        return (z.detach() ** 2) * score, path

    def numbers(self):
        """Return the true gradient, by quadrature, mean and standard deviation of both estimates, and the ratio."""
        mu = torch.tensor(self.mu, dtype=torch.float64, requires_grad=True)
        z = torch.linspace(-20, 20, 20_001, dtype=torch.float64)
        mean_of_f = torch.trapezoid(Normal(mu, self.sigma).log_prob(z).exp() * z**2, z)
        score, path = self.estimates()
        return {
            "truth": torch.autograd.grad(mean_of_f, mu)[0].item(),
            "score_mean": score.mean().item(),
            "score_std": score.std().item(),
            "path_mean": path.mean().item(),
            "path_std": path.std().item(),
            "ratio": (score.var() / path.var()).item(),
        }

    def picture(self):
        """Return the noise, and lines that carry it to z, as an <img>."""
        eps = self.noise[: self.samples]
        z = [self.mu + self.sigma * e for e in eps]
        words = f"{self.samples} values of the noise on the upper line, carried to z on the lower one."
        plot = Plot((-4, 4), (0, 1), words, f"above: ε, below: z = {self.mu:g} + {self.sigma:g} ε").scale("x", (-4, 4))
        for e, place in zip(eps, z, strict=True):
            plot.line([e, place], [1, 0], "ink", width=1, opacity=0.35)
        plot.dots([(e, 1) for e in eps], INK, 6)
        plot.dots([(place, 0) for place in z], COLORS["q"], 8)
        return str(plot)
