"""A digit of the reader's own: centred, encoded, decoded, and its bill in nats (chapter 11)."""

import functools
import math
from typing import ClassVar

import numpy as np
import torch
import traitlets

from vae_tutorial import information, stored
from vae_tutorial.explorers import _drawing, _packed
from vae_tutorial.explorers._base import Explorer, Number, Plot, Whole
from vae_tutorial.explorers.latent import COLORS, UNIT, LatentExplorer

FLOOR = 45.5  # nats: the mean entropy of the coins of the 10,000 test images, the ledger's floor (chapter 2)
CODES = 1000
DRAWS = 10


def bar():
    """An upright bar, 3 pixels wide and 20 high, where MNIST's recipe puts it."""
    page = np.zeros((_drawing.POINTS, _drawing.POINTS))
    page[10:50, 26:32] = 1
    return page


def noise():
    """A page whose pixels are each black with probability 0.13, as often as those of digits are."""
    pixels = np.random.RandomState(0).rand(_drawing.SIDE, _drawing.SIDE) < 0.13
    return np.kron(pixels, np.ones((2, 2)))


class Drawing(traitlets.Unicode):
    """A page as the text that ``_drawing.encode`` makes of it."""

    def validate(self, obj, value):
        value = super().validate(obj, value)
        try:
            _drawing.decode(value)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return value


class OwnDigitExplorer(Explorer):
    """What a 2-D VAE makes of a page that the reader draws: q(z | x), ten decoded draws, and -ELBO in nats.

    ``drawing``: the page, as text; ``turn`` (degrees, to the left), ``size`` (a factor), ``right`` and ``up`` (pixels)
    and ``stroke`` (half pixels) move it. ``centred``: whether MNIST's recipe is applied. Grey pixels become black or
    white as in the course, black with the grey value as the probability, by coins that were thrown once. The model is
    ``pretrained.load("mlp-2d")``, its weights rounded as for pages (``_packed.py``).
    """

    module = "own_digit"
    files: ClassVar[dict] = {"encoder": "mlp-2d-encoder", "decoder": "mlp-2d-decoder"}
    words: ClassVar[dict] = {
        "title": "Draw a digit: what does it cost?",
        "question": "Which page costs the fewest nats?",
        "choices": [
            [
                "A blank page",
                "No: 76 nats. It surprises the model: 90 % of the test 1s cost less.",
            ],
            [
                "A single upright bar",
                "Yes: 32 nats. Of 10,000 test digits eight cost less, all of them 1s.",
            ],
            [
                "An 8 from the test set",
                "No: 163 nats, like the average 8. Two numbers say little of its lines.",
            ],
        ],
        "task": "Now begin with each of the three, and read its bill.",
        "rows": [
            ["reconstruction", "reconstruction, nats", 1],
            ["kl", "KL, nats", 1],
            ["bill", "bill: their sum, −ELBO, nats", 1],
            ["cheaper", "of 10,000 test digits cost less", 0],
            ["saved", "centring saves, nats", 1],
        ],
    }
    drawing = Drawing().tag(sync=True)
    turn = Number(0.0, min=-90, max=90).tag(sync=True)
    size = Number(1.0, min=0.4, max=2).tag(sync=True)
    right = Number(0.0, min=-14, max=14).tag(sync=True)
    up = Number(0.0, min=-14, max=14).tag(sync=True)
    stroke = Whole(0, min=-3, max=3).tag(sync=True)
    centred = traitlets.Bool(True).tag(sync=True)
    # The pages to begin with, label and text; the network, as _packed makes it; the coins: 784 numbers from 0 to 254.
    pages = traitlets.List(read_only=True).tag(sync=True)
    encoder = traitlets.Bytes(read_only=True).tag(sync=True)
    decoder = traitlets.Bytes(read_only=True).tag(sync=True)
    hidden = traitlets.List(read_only=True).tag(sync=True)  # the sizes of the encoder's hidden layers; the decoder's
    bits = traitlets.List(list(_packed.ENCODER_BITS), read_only=True).tag(sync=True)
    coins = traitlets.Bytes(read_only=True).tag(sync=True)
    draws = traitlets.List(read_only=True).tag(sync=True)  # standard normal numbers, two for each decoded draw
    nodes = traitlets.List(read_only=True).tag(sync=True)  # Gauss-Hermite: where, and the weight of each
    average = traitlets.Float(read_only=True).tag(sync=True)  # bill of the test digits
    classes = traitlets.List(read_only=True).tag(sync=True)  # and of those of each class
    percentiles = traitlets.List(read_only=True).tag(sync=True)  # of the test digits' bills, 0 to 100
    tails = traitlets.List(read_only=True).tag(sync=True)  # the 100 least of them, and the 100 most, in order
    floor = traitlets.Float(FLOOR, read_only=True).tag(sync=True)
    codes = traitlets.Bytes(read_only=True).tag(sync=True)  # as in the latent explorer, and places
    labels = traitlets.Bytes(read_only=True).tag(sync=True)
    places = traitlets.List(read_only=True).tag(sync=True)
    colors = traitlets.List(COLORS, read_only=True).tag(sync=True)

    def __init__(self, **values):
        measured = stored.load("own_digit").values
        pages = [
            ["blank page", ""],
            ["bar", _drawing.encode(bar())],
            *([str(digit), text] for digit, text in enumerate(measured["digits"])),
            ["noise", _drawing.encode(noise())],
        ]
        super().__init__(**{"drawing": dict(pages)["4"], **values})
        self._vae = _network()
        encoder, decoder = (_packed.linear(part) for part in (self._vae.encoder, self._vae.decoder))
        nodes, weights = quadrature()
        codes, labels, classes = _plane()
        for name, value in {
            "pages": pages,
            "encoder": _packed.packed(encoder, _packed.ENCODER_BITS),
            "decoder": _packed.packed(decoder, _packed.DECODER_BITS),
            "hidden": [_packed.sizes(encoder), _packed.sizes(decoder)],
            "coins": coins().astype("u1").tobytes(),
            "draws": np.random.RandomState(0).randn(DRAWS, 2).round(3).tolist(),
            "nodes": [nodes.tolist(), weights.tolist()],
            "average": measured["average"]["value"],
            "classes": measured["classes"],
            "percentiles": measured["percentiles"],
            "tails": [measured["least"], measured["most"]],
            "codes": (codes * UNIT).numpy().astype("<i2").tobytes(),
            "labels": labels.numpy().astype("u1").tobytes(),
            "places": classes,
        }.items():
            self.set_trait(name, value)

    def image(self, centred=None):
        """Return what the model sees, black and white, ``(1, 1, 28, 28)``; centred or not, as the trait says."""
        page = _drawing.moved(_drawing.decode(self.drawing), self.turn, self.size, self.right, self.up, self.stroke)
        recipe = _drawing.centred if (self.centred if centred is None else centred) else _drawing.grey
        return thrown(recipe(page))

    def numbers(self):
        """Return ``reconstruction``, ``kl``, their sum ``bill`` and ``saved`` (nats), and ``cheaper`` (test digits)."""
        found = bills(self._vae, torch.cat([self.image(), self.image(True), self.image(False)]))
        reconstruction, kl = found[0].tolist()
        _, with_it, without = found.sum(1).tolist()
        bill = reconstruction + kl
        return {
            "reconstruction": reconstruction,
            "kl": kl,
            "bill": bill,
            "cheaper": self._cheaper(bill),
            "saved": without - with_it,
        }

    def _cheaper(self, bill):
        """How many of the 10,000 test digits cost less: at both ends, 100 of them, exactly, else in hundreds."""
        least, most = self.tails
        if bill <= least[-1]:
            return int(np.searchsorted(least, bill))
        if bill > most[0]:
            return int(9900 + np.searchsorted(most, bill))
        return 100 * math.floor(np.interp(bill, self.percentiles, range(101)) + 0.5)

    def picture(self):
        """Return the bill as bars beside the average digit's, as an <img>."""
        found = self.numbers()
        most = 50 * math.ceil(max(found["bill"], self.average) / 50)
        label = (
            f"Two bars in nats. This page: reconstruction {found['reconstruction']:.0f} and KL {found['kl']:.0f}. The "
            f"average test digit: {self.average:.0f}. A line marks the floor, {FLOOR}."
        )
        plot = Plot((0, most), (0, 2), label, "nats", width=420, height=150)
        plot.scale("x", range(0, most + 1, 50 * math.ceil(most / 300)))
        for bottom, amounts, name in (
            (1.1, (found["reconstruction"], found["kl"]), "this page: reconstruction and KL"),
            (0.2, (self.average,), "the average test digit"),
        ):
            start = 0.0
            for amount, color in zip(amounts, ("data", "kl"), strict=False):
                plot.area([start, start + amount], [bottom + 0.45] * 2, color, bottom)
                start += amount
            plot.text(0, bottom + 0.53, name, anchor="start")
        plot.line([FLOOR, FLOOR], [0, 2], "prior", dashes="6 4")
        return str(plot)


def coins():
    """Return the coins of the page's 784 pixels, ``(28, 28)``: whole numbers from 0 to 254, all equally likely."""
    return np.random.RandomState(2016).randint(0, 255, (_drawing.SIDE, _drawing.SIDE))


def thrown(grey):
    """Return an image ``(28, 28)`` of grey values in [0, 1] in black and white, ``(1, 1, 28, 28)``.

    A pixel is black where 255 times its grey value is above its coin, as in ``data.test_binarization``. (A millionth
    keeps rounding errors out.)
    """
    return torch.from_numpy((255 * grey > coins() + 1e-6).astype(float))[None, None]


@functools.cache
def _network():
    return _packed.vae()


@functools.cache
def _plane():
    """Codes of test images, their labels, and where the number of each class has its place."""
    plane = LatentExplorer()
    some = slice(None, None, max(1, len(plane._labels) // CODES))
    return plane._codes[some], plane._labels[some], plane.places


@functools.cache
def quadrature():
    """Return 25 places in the plane, ``(25, 2)``, and their weights, for means over N(0, I): Gauss-Hermite, 5 x 5."""
    at, weight = np.polynomial.hermite_e.hermegauss(5)
    weight = weight / weight.sum()
    return np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2), np.outer(weight, weight).ravel()


@torch.no_grad()
def bills(vae, x):
    """Return E_q[-log p(x | z)] and KL(q(z | x) || p(z)) for images ``(B, 1, 28, 28)`` in double precision, ``(B, 2)``.

    The mean over q is taken by :func:`quadrature`. It differs from the exact one, since ReLUs have kinks: over 1,000
    test digits by 0.02 nats on average, and at most by 0.8.
    """
    nodes, weights = map(torch.from_numpy, quadrature())
    mu, logvar = vae.encode(x)
    z = mu + (logvar / 2).exp() * nodes[:, None]  # (25, B, 2)
    cost = -vae.likelihood.log_prob(x, vae.decode(z))  # (25, B)
    return torch.stack([weights @ cost, information.gaussian_kl(mu, logvar)], 1)
