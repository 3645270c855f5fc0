"""One observation, one Gaussian q(z) that the reader moves: ELBO, gap and log p(x) (chapter 5)."""

import math
from numbers import Real
from typing import ClassVar

import torch
import traitlets
from torch.distributions import Normal

from vae_tutorial import exact
from vae_tutorial.explorers._base import Explorer, Number, Plot, Whole
from vae_tutorial.information import gaussian_kl

OBSERVATIONS = {
    "straight": [("x = 0.2", [0.2]), ("x = 1.4", [1.4]), ("x = 2.4", [2.4])],
    "curved": [("vertex (0, −1)", [0.0, -1.0]), ("between (0.1, 0.5)", [0.1, 0.5]), ("arm (1, 3)", [1.0, 3.0])],
}


class _Whole(dict):
    """Noises that are set as a whole: a change inside a dict would notify no observer."""

    def __setitem__(self, key, value):
        raise TypeError(f"set noises as a whole: explorer.noises = {{**explorer.noises, {key!r}: {value!r}}}")


class _Noises(traitlets.Dict):
    def validate(self, obj, value):
        return _Whole(super().validate(obj, value) or {})


class ELBOExplorer(Explorer):
    """The ELBO of q = N(``mean``, ``std`` squared) for one x, and what it is made of, in nats.

    ``decoder``: "straight", z ~ N(0, 1) and x ~ N(weight z + bias, noise squared), the companion of chapter 3; or
    "curved", x ~ N((z / 2, z^2 - 1), noise squared I), :func:`vae_tutorial.exact.curved`. ``noises`` (from 0.1 to 3),
    ``weight`` and ``bias`` are theirs; values that put the best q of an observation beyond the sliders are
    refused. ``points``: for each decoder the name, the x and the best q (its mean and std, found here) of three
    observations; ``point`` says which of them.
    """

    module = "elbo"
    words: ClassVar[dict] = {
        "title": "Move *q* for one observation: the ELBO, and what it is made of",
        "question": (
            "For the point “between”, the best Gaussian *q* has an ELBO of −3.56 nats. The prior, used as *q*, has "
            "−13.37. On the way from the one to the other the ELBO falls by 9.8 nats. What else changes by just as "
            "much?"
        ),
        "choices": [
            [
                "log *p*(*x*) falls",
                "No. log *p*(*x*) belongs to the model and to *x*. There is no *q* in it: it does not move.",
            ],
            [
                "The reconstruction falls",
                "Not by as much: it falls by 12.0 nats. But *z* cost 2.2 nats, and from the prior it is free.",
            ],
            [
                "KL(*q* ‖ *p*(*z*)), to the prior, rises",
                "No. That one falls from 2.2 nats to 0: *q* is the prior now.",
            ],
            [
                "KL(*q* ‖ *p*(*z* | *x*)), to the posterior, rises",
                "Yes, from 0.26 to 10.08 nats. This KL and the ELBO add up to log *p*(*x*), for every *q*.",
            ],
        ],
        "unit": "nats",
        "task": "Now press “best *q*”, then “the prior”, and compare.",
        "rows": [
            ["reconstruction", "reconstruction", 2],
            ["price", "− KL(*q* ‖ *p*(*z*))", 2],
            ["elbo", "= ELBO", 2],
            ["gap", "+ gap, KL(*q* ‖ *p*(*z* | *x*))", 2],
            ["log_p", "= log *p*(*x*)", 2],
        ],
    }
    mean = Number(0.5, min=-3, max=3).tag(sync=True)
    std = Number(0.6, min=0.02, max=2).tag(sync=True)
    decoder = traitlets.Enum(["straight", "curved"], "curved").tag(sync=True)
    point = Whole(1, min=0, max=2).tag(sync=True)
    weight = Number(0.5).tag(sync=True)
    bias = Number(0.2).tag(sync=True)
    noises = _Noises({"straight": 0.4, "curved": 0.3}).tag(sync=True)
    points = traitlets.Dict(read_only=True).tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        self._follow()
        self.observe(self._follow, ["weight", "bias", "noises"])

    def numbers(self):
        """Return what the rows show, nats: closed forms where the decoder is straight, quadrature where it is not."""
        model, x = self._model(self.decoder), self._x()
        mu, logvar = torch.tensor([[[self.mean]], [[2 * math.log(self.std)]]], dtype=torch.float64)  # (1, 1) each
        elbo, price = model.elbo(x, mu, logvar), gaussian_kl(mu, logvar)
        if self.decoder == "curved":
            gap = model.kl_to_posterior(x, mu, logvar)
        else:
            m, v = model.posterior(x)
            gap = gaussian_kl(mu, logvar, m, v.log())
        found = {"reconstruction": elbo + price, "price": price, "elbo": elbo, "gap": gap, "log_p": model.log_prob(x)}
        return {key: value.item() for key, value in found.items()}

    def picture(self):
        """Return prior, posterior and q as an <img>."""
        z, x = torch.linspace(-4, 4, 321, dtype=torch.float64), self._x()
        mean = torch.stack([z / 2, z**2 - 1], -1) if self.decoder == "curved" else self.weight * z[:, None] + self.bias
        log_joint = Normal(mean, self.noises[self.decoder]).log_prob(x).sum(-1) + Normal(0, 1).log_prob(z)
        posterior = torch.exp(log_joint - self._model(self.decoder).log_prob(x))
        q = Normal(self.mean, self.std).log_prob(z).exp()
        top = math.ceil(10 * max(posterior.max().item(), q.max().item(), 0.4)) / 10
        plot = Plot((-4, 4), (0, top), "Posterior p(z | x), filled; prior, dashed; and q, a line.", "*z*", "density")
        plot.scale("x", (-4, 4)).scale("y", (0, top))
        plot.area(z, posterior, "p")
        plot.line(z, Normal(0, 1).log_prob(z).exp(), "prior", dashes="6 4")
        plot.line(z, q, "q")
        peak = posterior.argmax()
        plot.text(z[peak].item() + 0.2, 0.85 * posterior[peak].item(), "posterior *p*(*z* | *x*)", anchor="start")
        plot.text(self.mean, q.max().item(), "*q*(*z*)", dy=-6)
        plot.text(-2.2, 0.1, "prior *p*(*z*)", dy=-6)
        return str(plot)

    @traitlets.validate("weight", "bias", "noises")
    def _check(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "noises" and not (set(value) == set(OBSERVATIONS) and all(map(_usable, value.values()))):
            keys = " and ".join(OBSERVATIONS)
            raise traitlets.TraitError(f"noises must have {keys} as keys, and numbers from 0.1 to 3; got {value}")
        now = {key: getattr(self, key) for key in ("weight", "bias", "noises")} | {name: value}
        for label, x in OBSERVATIONS["straight"]:
            mean, std = self._best("straight", x, **now)
            if not (-3 <= mean <= 3 and 0.02 <= std <= 2):
                raise traitlets.TraitError(
                    f"weight, bias and noise must leave the best q within the sliders, means from −3 to 3, widths from "
                    f"0.02 to 2; got weight {now['weight']:g}, bias {now['bias']:g} and noise "
                    f"{now['noises']['straight']:g}: for {label} its mean is {mean:g} and its width {std:g}"
                )
        return value

    def _follow(self, _=None):
        """Recompute the best q of each observation."""
        now = {key: getattr(self, key) for key in ("weight", "bias", "noises")}
        points = {
            decoder: [{"name": name, "x": x, "best": self._best(decoder, x, **now)} for name, x in some]
            for decoder, some in OBSERVATIONS.items()
        }
        self.set_trait("points", points)

    def _x(self):
        return torch.tensor([OBSERVATIONS[self.decoder][self.point][1]], dtype=torch.float64)  # (1, D)

    def _model(self, decoder):
        return _model(decoder, self.weight, self.bias, self.noises)

    @staticmethod
    def _best(decoder, x, weight, bias, noises):
        model, x = _model(decoder, weight, bias, noises), torch.tensor([x], dtype=torch.float64)
        if decoder == "curved":
            mean, logvar = model.best_gaussian(x)
            mean, std = mean.item(), math.exp(0.5 * logvar.item())
        else:
            mean, variance = (value.item() for value in model.posterior(x))
            std = variance**0.5
        return [round(mean, 4) + 0.0, round(std, 4)]  # no minus zero


def _usable(noise):
    return isinstance(noise, Real) and 0.1 <= noise <= 3


def _model(decoder, weight, bias, noises):
    if decoder == "curved":
        noise = noises["curved"]
        return exact.curved(noise, points=401 if noise >= 0.2 else 2001)  # a posterior is as narrow as noise / 4
    W, b = torch.tensor([[[weight]], [[bias]]], dtype=torch.float64)  # (1, 1) each
    return exact.LinearGaussian(W, b[0], noises["straight"] ** 2)
