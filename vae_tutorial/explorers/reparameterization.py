"""Fixed noise carried to z, and two estimates of one gradient that it makes (chapter 6)."""

import traitlets

from vae_tutorial.explorers._base import Explorer, Plot


class ReparameterizationExplorer(Explorer):
    """The gradient by mu of E[f(z)] for f(z) = z^2, z = ``mu`` + ``sigma`` * eps, estimated from the same draws.

    ``samples``: how many of the ``noise`` are taken, from the first on. ``noise``: 200 standard normal numbers, always
    the same, rounded to 4 decimals. Gradients are in units of f per unit of mu; both have none here.
    """

    module = "reparameterization"
    mu = traitlets.Float(1.0, min=-2, max=2).tag(sync=True)
    sigma = traitlets.Float(0.5, min=0.1, max=1.5).tag(sync=True)
    samples = traitlets.Int(50, min=2, max=200).tag(sync=True)
    noise = traitlets.List().tag(sync=True)

    def __init__(self, **values):
        import numpy as np

        super().__init__(**values)
        self.noise = np.random.default_rng(0).standard_normal(200).round(4).tolist()
        self.title = "Move μ and σ: where the noise goes, and how noisy the gradient is"
        self.question = (
            "At μ = 1, σ goes from 0.5 down to 0.1: the draws of z move together. "
            "What happens to the spread of the two estimates of the gradient?"
        )
        self.choices = [
            [
                "Both shrink",
                "No. Pathwise, 2z, shrinks. The score function, z² ε / σ, divides by σ, and grows.",
            ],
            [
                "Pathwise shrinks, score function grows",
                "Yes. One draw gives 2z pathwise. By the score function it gives z² ε / σ: the smaller σ, the larger.",
            ],
            ["Both grow", "No. Pathwise is 2z, and spreads by 2σ. It is the score function that divides by σ."],
        ]
        self.task = "Now make σ smaller, and look at both strips and their standard deviations."
        self.rows = [
            ["truth", "true gradient of E[z²] by μ, 2μ"],
            ["score_mean", "score function: mean"],
            ["score_std", "score function: standard deviation"],
            ["path_mean", "pathwise: mean"],
            ["path_std", "pathwise: standard deviation"],
            ["ratio", "ratio of the variances, score / pathwise", 1],
        ]

    def estimates(self):
        """Return what each draw says of the gradient, ``(score, path)``, each ``(samples,)``, by autograd."""
        import torch
        from torch.distributions import Normal

        eps = torch.tensor(self.noise[: self.samples], dtype=torch.float64)
        mu = torch.full_like(eps, self.mu).requires_grad_()  # one for each draw
        z = mu + self.sigma * eps
        (path,) = torch.autograd.grad((z**2).sum(), mu, retain_graph=True)
        (score,) = torch.autograd.grad(Normal(mu, self.sigma).log_prob(z.detach()).sum(), mu)
        return (z.detach() ** 2) * score, path

    def numbers(self):
        """Return the true gradient, by quadrature, mean and standard deviation of both estimates, and the ratio."""
        import torch
        from torch.distributions import Normal

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
        """Return the noise, and lines that carry it to z, as SVG."""
        eps = self.noise[: self.samples]
        z = [self.mu + self.sigma * e for e in eps]
        words = f"{self.samples} values of the noise on the upper line, carried to z on the lower one."
        plot = Plot((-4, 4), (0, 1), words, f"above: ε, below: z = {self.mu:g} + {self.sigma:g} ε")
        del plot.parts[5:]  # the numbers of the y axis: there is none
        for e, place in zip(eps, z, strict=True):
            plot.line([e, place], [1, 0], "elbo")
            plot.parts[-1] = plot.parts[-1].replace("<path", '<path style="stroke-width: 1; stroke-opacity: 0.35"')
        for e, place in zip(eps, z, strict=True):
            plot.dot(e, 1, "elbo", 3)
            plot.dot(place, 0, "q", 4)
        return str(plot)
