"""KL between two bumps and one Gaussian that the reader moves (chapter 2)."""

import math

import traitlets

from vae_tutorial.explorers._base import Explorer, Plot


class KLExplorer(Explorer):
    """Both KLs, in nats, between a mixture p of two normal densities and q = N(``mean``, ``std`` squared).

    ``shares``, ``means``, ``stds``: of the bumps of p. ``best_forward``, ``best_reverse``: mean and std of the q of
    least KL(p || q) and KL(q || p), found here.
    """

    module = "kl"
    mean = traitlets.Float(-1.0, min=-5, max=5).tag(sync=True)
    std = traitlets.Float(1.5, min=0.3, max=5).tag(sync=True)
    shares = traitlets.List([0.4, 0.6]).tag(sync=True)
    means = traitlets.List([-2.5, 2.5]).tag(sync=True)
    stds = traitlets.List([0.7, 0.7]).tag(sync=True)
    best_forward = traitlets.List().tag(sync=True)
    best_reverse = traitlets.List().tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        self.title = "Move q: what is wasted, in each direction"
        self.question = "Which Gaussian q has the least reverse KL(q || p)?"
        self.choices = [
            ["A broad one over both bumps", "No: between the bumps q would pay for every outcome that p never has."],
            ["A narrow one on the larger bump", "Yes. An ignored bump costs nothing where it stands."],
            [
                "A narrow one on the smaller bump",
                "That is a minimum as well, but not the least: −log 0.4 against −log 0.6.",
            ],
        ]
        self.task = "Now move q until its reverse KL is as small as you can make it."
        self.rows = [["forward", "forward, KL(p || q), nats"], ["reverse", "reverse, KL(q || p), nats"]]
        self.best_forward, self.best_reverse = self._best_forward(), self._best_reverse()

    def numbers(self):
        """Return ``forward`` = KL(p || q) and ``reverse`` = KL(q || p), nats, by quadrature."""
        import torch
        from torch.distributions import Normal

        x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
        log_p, log_q = self._log_p(x), Normal(self.mean, self.std).log_prob(x)
        return {
            "forward": torch.trapezoid(log_p.exp() * (log_p - log_q), x).item(),
            "reverse": torch.trapezoid(log_q.exp() * (log_q - log_p), x).item(),
        }

    def picture(self):
        """Return both densities as SVG."""
        import torch
        from torch.distributions import Normal

        x = torch.linspace(-8, 8, 161, dtype=torch.float64)
        plot = Plot((-8, 8), (0, 0.4), "Two bumps p, and a normal density q between them.", "x", "density")
        plot.area(x, self._log_p(x).exp(), "p")
        plot.line(x, Normal(self.mean, self.std).log_prob(x).exp().clamp_max(0.4), "q")
        return str(plot)

    def _log_p(self, x):
        import torch
        from torch.distributions import Normal

        shares, means, stds = (torch.tensor(v, dtype=torch.float64) for v in (self.shares, self.means, self.stds))
        return (shares.log() + Normal(means, stds).log_prob(x[..., None])).logsumexp(-1)

    def _best_forward(self):
        mean = sum(s * m for s, m in zip(self.shares, self.means, strict=True))
        square = sum(s * (w**2 + m**2) for s, m, w in zip(self.shares, self.means, self.stds, strict=True))
        return [round(mean, 4), round((square - mean**2) ** 0.5, 4)]  # the moments of p: equation (2.13)

    def _best_reverse(self):
        import torch
        from scipy.optimize import minimize
        from torch.distributions import Normal

        t = torch.linspace(-8, 8, 801, dtype=torch.float64)
        weight = Normal(0.0, 1.0).log_prob(t).exp() * (t[1] - t[0])

        def reverse(place):
            mean, std = float(place[0]), math.exp(place[1])
            x = mean + std * t
            return (weight * (Normal(mean, std).log_prob(x) - self._log_p(x))).sum().item()

        ends = [minimize(reverse, (m, -0.3), method="Nelder-Mead", options={"xatol": 1e-6}) for m in self.means]
        best = min(ends, key=lambda end: end.fun)
        return [round(float(best.x[0]), 4), round(math.exp(best.x[1]), 4)]
