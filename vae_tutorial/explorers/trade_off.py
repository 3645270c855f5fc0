"""Ten VAEs that differ in beta alone: what they draw, what it costs, and where they stand on one curve (chapter 12)."""

import base64
import html
import io
import math
from typing import ClassVar

import numpy as np
import torch
import traitlets

from vae_tutorial import data, pretrained
from vae_tutorial.explorers._base import Explorer, Number, Plot

BETAS = [0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0]
# Test images of MNIST, of the classes 0 to 9, chosen by hand: plain ones beside some with an uncommon stroke.
DIGITS = [10, 2, 35, 30, 33, 15, 11, 41, 84, 9]


class TradeOffExplorer(Explorer):
    """The shipped models ``beta-0.1`` to ``beta-20``: the reader moves ``beta``, one of the ten in ``betas``.

    ``rates``, ``distortions``, ``unit_kls``, ``active``: for each beta what its card says, nats per test image, and
    the count of active units. ``images``: for each beta ten reconstructions and ten samples, ``originals``: what was
    reconstructed; one byte a pixel, 255 times the probability that it is on. The noise is the same for every beta.
    ``note``: what to know of the originals where they are not MNIST's.
    """

    module = "trade_off"
    words: ClassVar[dict] = {
        "title": "Move *β*: the price of a nat of KL",
        "question": "From *β* = 1 down to *β* = 0.1 the reconstructions improve. What becomes of the ELBO?",
        "task": "Now move *β* to 0.1, and watch the point leave its line of equal ELBO.",
        "unit": "nats",
        "rows": [
            ["rate", "rate, the KL", 2],
            ["distortion", "distortion", 2],
            ["elbo", "ELBO", 2],
            ["objective", "its own objective", 2],
            ["active", "active units", 0],
        ],
    }
    beta = Number(1.0).tag(sync=True)
    betas = traitlets.List(BETAS, read_only=True).tag(sync=True)
    rates = traitlets.List(read_only=True).tag(sync=True)
    distortions = traitlets.List(read_only=True).tag(sync=True)
    unit_kls = traitlets.List(read_only=True).tag(sync=True)
    active = traitlets.List(read_only=True).tag(sync=True)
    images = traitlets.Bytes(read_only=True).tag(sync=True)
    originals = traitlets.Bytes(read_only=True).tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)

    def __init__(self, **values):
        cards = [pretrained.card(_name(beta)) for beta in BETAS]
        super().__init__(**{"choices": _choices(cards[BETAS.index(1.0)], cards[BETAS.index(0.1)]), **values})
        self.set_trait("rates", [round(card.rate.value, 6) for card in cards])
        self.set_trait("distortions", [round(card.distortion.value, 6) for card in cards])
        self.set_trait("unit_kls", [card.unit_kl for card in cards])
        self.set_trait("active", [card.active_units for card in cards])
        originals, images, note = _drawn()
        self.set_trait("originals", originals)
        self.set_trait("images", images)
        self.note = values.get("note", note)

    @traitlets.validate("beta")
    def _one_of_the_ten(self, proposal):
        value = proposal["value"]
        found = [beta for beta in BETAS if math.isclose(beta, value, rel_tol=1e-6)]  # 0.1 in float32 is not 0.1
        if not found:
            known = ", ".join(f"{beta:g}" for beta in BETAS)
            raise traitlets.TraitError(f"beta must be one of {known}: these were trained; got {value:g}")
        return found[0]

    def numbers(self):
        """Return the rate, distortion, ELBO and trained objective (nats per test image) and the active units."""
        card = pretrained.card(_name(self.beta))
        return {
            "rate": card.rate.value,
            "distortion": card.distortion.value,
            "elbo": card.elbo.value,
            "objective": -card.distortion.value - self.beta * card.rate.value,
            "active": card.active_units,
        }

    def picture(self):
        """Return originals, reconstructions and samples, and the rate-distortion curve, each as an <img>."""
        from PIL import Image  # not above: Pillow is not installed where the API reference is built

        shown = f"At beta {self.beta:g}, in rows: ten test digits, their reconstructions, ten samples from the prior."
        here = 20 * 784 * BETAS.index(self.beta)
        tiles = self.originals + self.images[here : here + 20 * 784]
        sheet = Image.new("L", (289, 86), 255)
        for i in range(30):
            tile = Image.frombytes("L", (28, 28), bytes(255 - v for v in tiles[784 * i : 784 * (i + 1)]))
            sheet.paste(tile, (29 * (i % 10), 29 * (i // 10)))
        sheet.save(stream := io.BytesIO(), "PNG", optimize=True)
        x = (0, 5 * round(max(self.rates) / 5 + 0.5))
        y = (10 * round(min(self.distortions) / 10 - 0.5), 10 * round(max(self.distortions) / 10 + 0.5))
        label = "The rate-distortion curve: as beta grows, the rate falls and the distortion grows."
        curve = Plot(x, y, label, "rate, nats", "distortion, nats").scale("x", x).scale("y", y)
        curve.line(self.rates, self.distortions, "p")
        curve.dot(self.rates[BETAS.index(self.beta)], self.distortions[BETAS.index(self.beta)], "highlight")
        png = base64.b64encode(stream.getvalue()).decode()
        return (
            f'<p>{html.escape(shown)} {html.escape(self.note)}</p><img alt="{html.escape(shown)}" width="578" '
            f'style="image-rendering: pixelated; max-width: 100%" src="data:image/png;base64,{png}">{curve}'
        )


def _name(beta):
    return f"beta-{beta:g}"


def _choices(one, tenth):
    """Return the choices with their replies, whose numbers are those of the cards of beta 1 and beta 0.1."""
    less, more = one.distortion.value - tenth.distortion.value, tenth.rate.value - one.rate.value
    paid = f"the distortion falls by {less:.0f} nats, and the rate grows by {more:.0f}"
    dear = "Below *β* = 1 a nat of rate buys less than a nat of distortion."
    return [
        ["It improves too: the reconstruction is a part of it", f"No: {paid}. Both are parts of it."],
        ["It stays: what one part gains, the other loses", f"No: {paid}. Only near *β* = 1 is that one for one."],
        ["It gets worse", f"Yes, by {more - less:.0f} nats: {paid}. {dear}"],
    ]


@torch.no_grad()
def _drawn():
    """Return originals, and for each beta reconstructions and samples, as bytes; and what to know of the originals."""
    test, black_white, note = data.load("mnist", "test"), data.test_binarization("mnist"), ""
    chosen = DIGITS
    if test.name != "mnist":
        chosen = [int((test.labels == digit).nonzero()[0]) for digit in range(10)]
        note = "MNIST is not here: these are digits of scikit-learn, which the models have never seen."
    noise = np.random.RandomState(12).standard_normal((2, 10, 10))  # its stream is the same in every release
    eps, z_prior = torch.from_numpy(noise).float()
    pictures = []
    for beta in BETAS:
        model = pretrained.load(_name(beta))
        mu, logvar = model.encode(black_white[chosen])  # (10, 10) each
        z = torch.cat([mu + (logvar / 2).exp() * eps, z_prior])  # (20, 10)
        pictures.append(model.likelihood.mean(model.decode(z)))
    return _bytes(black_white[chosen]), _bytes(torch.stack(pictures)), note


def _bytes(probabilities):
    return (255 * probabilities).round().to(torch.uint8).numpy().tobytes()
