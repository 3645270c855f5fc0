"""KL between two bumps and one Gaussian that the reader moves (chapter 2)."""

import math
from typing import ClassVar

import torch
import traitlets
from scipy.optimize import minimize
from torch.distributions import Normal

from vae_tutorial.explorers._base import Explorer, Number, Numbers, Plot

WIDTHS = 10  # standard deviations of an integral to either side: less than 1e-22 of the mass is beyond
STEPS = 40  # quadrature steps per narrowest standard deviation


class KLExplorer(Explorer):
    """Both KLs, in nats, between a mixture p of normal densities, the bumps, and q = N(``mean``, ``std`` squared).

    ``shares`` (they sum to 1), ``means`` (-50 to 50), ``stds`` (0.05 to 10): of the bumps of p. To change the number of
    bumps, set all three in ``with explorer.hold_trait_notifications():``. ``best_forward``, ``best_reverse``: mean and
    std of the q of least KL(p || q) and KL(q || p), found here; and so are the ``bounds`` of ``mean``, ``std`` and of
    the picture (``x``): wide enough for the bumps and for both of these.
    """

    module = "kl"
    words: ClassVar[dict] = {
        "title": "Move *q*: what is wasted, in each direction",
        "question": "Which Gaussian *q* has the least reverse KL(*q* ‖ *p*)?",
        "choices": [
            [
                "A broad one over both bumps",
                "No: between the bumps *q* would pay for every outcome that *p* never has.",
            ],
            ["A narrow one on the larger bump", "Yes. An ignored bump costs nothing where it stands."],
            [
                "A narrow one on the smaller bump",
                "That is a minimum as well, but not the least: −log 0.4 against −log 0.6.",
            ],
        ],
        "task": "Now move *q* until its reverse KL is as small as you can make it.",
        "unit": "nats",
        "rows": [["forward", "forward, KL(*p* ‖ *q*)"], ["reverse", "reverse, KL(*q* ‖ *p*)"]],
    }
    mean = Number(-1.0).tag(sync=True)
    std = Number(1.5).tag(sync=True)
    shares = Numbers((0.4, 0.6)).tag(sync=True)
    means = Numbers((-2.5, 2.5)).tag(sync=True)
    stds = Numbers((0.7, 0.7)).tag(sync=True)
    best_forward = traitlets.List(read_only=True).tag(sync=True)
    best_reverse = traitlets.List(read_only=True).tag(sync=True)
    bounds = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        self._follow()
        self.observe(self._follow, ["shares", "means", "stds"])

    def numbers(self):
        """Return ``forward`` = KL(p || q) and ``reverse`` = KL(q || p), nats, by quadrature."""
        q = Normal(torch.tensor(self.mean, dtype=torch.float64), self.std)
        x = _line(self.means, self.stds, min(self.stds))
        log_p = self._log_p(x)
        forward = torch.trapezoid(log_p.exp() * (log_p - q.log_prob(x)), x)
        return {"forward": forward.item(), "reverse": self._reverse(self.mean, self.std)}

    def picture(self):
        """Return both densities as an <img>."""
        low, high = self.bounds["x"]
        x = torch.linspace(low, high, 161, dtype=torch.float64)
        p, q = self._log_p(x).exp(), Normal(self.mean, self.std).log_prob(x).exp()
        top = math.ceil(10 * max(0.4, p.max().item(), q.max().item())) / 10
        words = f"Filled, the density p with {len(self.means)} bumps; a line, the normal density q."
        plot = Plot((low, high), (0, top), words, "*x*", "density").scale("x", (low, high)).scale("y", (0, top))
        plot.area(x, p, "p")
        plot.line(x, q, "q")
        return str(plot)

    @traitlets.validate("shares", "means", "stds")
    def _check_bumps(self, proposal):
        bumps = {name: getattr(self, name) for name in ("shares", "means", "stds")}
        _check(bumps | {proposal["trait"].name: proposal["value"]})
        return proposal["value"]

    @traitlets.validate("mean", "std")
    def _check_q(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        _check({name: getattr(self, name) for name in ("shares", "means", "stds")})
        low, high = self._reach()[name]
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} must lie between {low:g} and {high:g}; got {value:g}")
        return value

    def _follow(self, _=None):
        """Recompute what depends on the bumps, and clamp q to its bounds."""
        with self.hold_trait_notifications():
            bounds = self._reach()
            self.set_trait("bounds", bounds)
            self.set_trait("best_forward", [round(value, 4) for value in self._moments()])
            self.set_trait("best_reverse", self._best_reverse())
            for name in ("mean", "std"):
                setattr(self, name, min(max(getattr(self, name), bounds[name][0]), bounds[name][1]))

    def _reach(self):
        bumps = list(zip(self.means, self.stds, strict=True))
        return {
            "mean": [min(-5, math.floor(min(self.means))), max(5, math.ceil(max(self.means)))],
            "std": [min(0.3, round(0.9 * min(self.stds), 4)), max(5, math.ceil(self._moments()[1]))],
            "x": [
                min(-8, math.floor(min(m - 3 * s for m, s in bumps))),
                max(8, math.ceil(max(m + 3 * s for m, s in bumps))),
            ],
        }

    def _log_p(self, x):
        shares, means, stds = (torch.tensor(v, dtype=torch.float64) for v in (self.shares, self.means, self.stds))
        return (shares.log() + Normal(means, stds).log_prob(x[..., None])).logsumexp(-1)

    def _moments(self):
        """Mean and standard deviation of p, which are those of the best forward q: equation (2.13)."""
        bumps = list(zip(self.shares, self.means, self.stds, strict=True))
        mean = sum(share * m for share, m, _ in bumps)
        return mean, sum(share * (s**2 + (m - mean) ** 2) for share, m, s in bumps) ** 0.5

    def _reverse(self, mean, std):
        x = _line([mean], [std], min(std, *self.stds))
        log_q = Normal(torch.tensor(mean, dtype=torch.float64), std).log_prob(x)
        return torch.trapezoid(log_q.exp() * (log_q - self._log_p(x)), x).item()

    def _best_reverse(self):
        starts = [*zip(self.means, self.stds, strict=True), self._moments()]
        low, high = (math.log(value) for value in self._reach()["std"])

        def reverse(place):
            return self._reverse(float(place[0]), math.exp(min(max(place[1], low), high)))

        ends = [
            minimize(reverse, (mean, math.log(std)), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10})
            for mean, std in starts
        ]
        best = min(ends, key=lambda end: end.fun)
        return [round(float(best.x[0]), 4) + 0.0, round(math.exp(best.x[1]), 4)]  # no minus zero


def _check(bumps):
    if len({len(part) for part in bumps.values()}) > 1:
        raise traitlets.TraitError(
            f"shares, means and stds must have one number for each bump; got {bumps}. To change how many there are, "
            "set all three in: with explorer.hold_trait_notifications():"
        )
    for name, low, high in (("shares", 0, 1), ("means", -50, 50), ("stds", 0.05, 10)):
        if not all(low <= v <= high for v in bumps[name]):
            raise traitlets.TraitError(f"{name} must lie between {low:g} and {high:g}; got {bumps[name]}")
    if not (min(bumps["shares"]) > 0 and abs(sum(bumps["shares"]) - 1) < 1e-6):
        raise traitlets.TraitError(f"shares must be above 0 and sum to 1; got {bumps['shares']}")


def _line(centres, widths, narrowest):
    """Points from WIDTHS widths below the lowest centre to as many above the highest, STEPS of them in the narrowest.

    The integrands are smooth and vanish at both ends, where the trapezoid rule is exact to rounding.
    """
    low = min(m - WIDTHS * s for m, s in zip(centres, widths, strict=True))
    high = max(m + WIDTHS * s for m, s in zip(centres, widths, strict=True))
    return torch.linspace(low, high, math.ceil((high - low) / narrowest * STEPS) + 1, dtype=torch.float64)
