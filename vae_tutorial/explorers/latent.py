"""The plane of a VAE with two latent dimensions: a point to move, and the digit decoded there (chapter 11)."""

import functools
from typing import ClassVar

import numpy as np
import torch
import traitlets

from vae_tutorial import data, evaluation, pretrained
from vae_tutorial.explorers import _packed
from vae_tutorial.explorers._base import Explorer, Number, Plot, Whole

EDGE = 4  # the plane is shown from -4 to 4, both ways
NEAR = 0.25  # a code within this distance of z counts as near
UNIT = 4096  # codes are sent as int16, in units of 1/4096: from -8 to 8
CODES = 2000
# One colour a class, 0 to 9.
COLORS = ["#1f77b4", "#d9650b", "#2a932a", "#d13438", "#8f62c0", "#8c5a4c", "#cf5bab", "#7a7f86", "#8c8f12", "#0f95a6"]


class LatentExplorer(Explorer):
    """What the decoder of a 2-D VAE draws at z = (``z1``, ``z2``), and the codes of test images round it.

    ``shown``: the class whose codes stand out, -1 for all. ``map``: show decoded digits in place of the codes.
    ``codes``: means of q(z | x), ``(N, 2)``, from -8 to 8, with ``labels``, ``(N,)`` in 0..9; by default those of every
    fifth MNIST test image. The model is ``pretrained.load("mlp-2d")`` with few bits a weight, which costs its ELBO 0.23
    nats (see ``_packed.py``). Raises ValueError for codes or labels of another kind.
    """

    module = "latent"
    files: ClassVar[dict] = {"weights": "mlp-2d-decoder"}
    words: ClassVar[dict] = {
        "title": "Move *z*: what the decoder draws, and whose codes are near",
        "question": "Where is the decoder least sure of its pixels, by the sum of their entropies?",
        "choices": [
            [
                "In a corner of the plane, far from all codes",
                "No. At (−3.5, 3.5) it draws fragments with hard edges, 26 nats; the other corners stay below 150.",
            ],
            [
                "Between the clouds of several classes",
                "Yes. Around (1.2, −1.2) it draws a blend, about 205 nats. At test codes it is 130 on average.",
            ],
            [
                "In the middle of one class's cloud",
                "No. Images of neighbouring codes are alike there. Amid the 1s it is about 45 nats.",
            ],
        ],
        "task": "Now move *z* to such a place, then to the other two, and read the last row.",
        "rows": [
            ["log_prior", "log *p*(*z*), nats", 2],
            ["near", f"codes within {NEAR}, %", 2],
            ["nearest", "nearest code's class", 0],
            ["entropy", "pixels' entropies, nats", 1],
        ],
    }
    z1 = Number(-2.0, min=-EDGE, max=EDGE).tag(sync=True)
    z2 = Number(0.5, min=-EDGE, max=EDGE).tag(sync=True)
    shown = Whole(-1, min=-1, max=9).tag(sync=True)
    map = traitlets.Bool(False).tag(sync=True)
    # The decoder: sizes of its layers, and what _packed.packed makes of them.
    sizes = traitlets.List(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)
    # (N, 2) int16, little-endian, in units of 1/4096; (N,) uint8.
    codes = traitlets.Bytes(read_only=True).tag(sync=True)
    labels = traitlets.Bytes(read_only=True).tag(sync=True)
    # One entry a class that occurs: digit, position of its number amid its codes.
    places = traitlets.List(read_only=True).tag(sync=True)
    colors = traitlets.List(COLORS, read_only=True).tag(sync=True)

    def __init__(self, codes=None, labels=None, **values):
        if (codes is None) != (labels is None):
            raise ValueError("codes and labels belong together: give both, or neither")
        name = ""
        if codes is None:
            codes, labels, name = _test_codes()
        self._codes, self._labels = _checked(codes, labels)
        super().__init__(**values)
        self._vae = _packed.vae()
        layers = _packed.linear(self._vae.decoder)
        self.set_trait("sizes", _packed.sizes(layers))
        self.set_trait("weights", _packed.packed(layers, _packed.DECODER_BITS))
        self.set_trait("codes", (self._codes * UNIT).numpy().astype("<i2").tobytes())
        self.set_trait("labels", self._labels.numpy().astype("u1").tobytes())
        self.set_trait("places", self._places())
        if name == "digits" and "title" not in values:
            self.title += " (MNIST is missing: the codes are of scikit-learn's digits)"

    def numbers(self):
        """Return ``log_prior`` and ``entropy`` (nats), ``near`` (percent) and ``nearest`` (a class)."""
        z = torch.tensor([self.z1, self.z2], dtype=torch.float64)
        distance = (self._codes - z).norm(dim=1)
        return {
            "log_prior": torch.distributions.Normal(0.0, 1.0).log_prob(z).sum().item(),
            "near": 100 * (distance <= NEAR).double().mean().item(),
            "nearest": self._labels[distance.argmin()].item(),
            "entropy": torch.distributions.Bernoulli(logits=self._vae.decode(z)).entropy().sum().item(),
        }

    def picture(self):
        """Return the plane with about 200 of the codes as an <img>."""
        label = f"The latent plane: codes of test images in clouds, one a class, and z at ({self.z1:g}, {self.z2:g})."
        plot = Plot((-EDGE, EDGE), (-EDGE, EDGE), label.replace("-", "−"), "*z*₁", "*z*₂", width=420, height=412)
        plot.scale("x", (-EDGE, EDGE)).scale("y", (-EDGE, EDGE))
        some = slice(None, None, max(1, len(self._codes) // 200))
        for digit, color in enumerate(COLORS):
            mine = self._codes[some][self._labels[some] == digit].clamp(-EDGE, EDGE)
            for _, *place in self.places:  # room for the numbers
                mine = mine[(mine - torch.tensor(place)).norm(dim=1) > NEAR]
            plot.dots(mine.tolist(), color)
        for digit, a, b in self.places:
            plot.text(a, b, str(digit), dy=5)
        plot.dot(self.z1, self.z2, "highlight", r=6)
        plot.text(self.z1, self.z2, "*z*", dy=-10)
        return str(plot)

    def _places(self):
        """For each class, the code with the most neighbours of its class minus half those of others, off former places.

        A median would not do: the codes of a class may lie in two clouds, and the median between them.
        """
        close = torch.cdist(self._codes, self._codes) < 0.4
        places = []
        for digit in self._labels.unique().tolist():
            mine = self._labels == digit
            score = close[:, mine].sum(1) - 0.5 * close[:, ~mine].sum(1)
            if places:  # far enough for two labels; where all are too near, the farthest
                taken = torch.tensor([place for _, *place in places], dtype=self._codes.dtype)
                near = torch.cdist(self._codes, taken).amin(1)
                score = torch.where(near < 0.5, near - 1e6, score)
            score[~mine] = -torch.inf
            places.append([digit, *(round(v, 2) for v in self._codes[score.argmax()].tolist())])
        return places


@functools.cache
def _test_codes():
    found = data.load("mnist", "test")
    some = slice(None, None, max(1, len(found) // CODES))
    mu, _ = evaluation.encode(pretrained.load("mlp-2d"), found.images[some])
    return mu, found.labels[some], found.name


def _checked(codes, labels):
    """Codes ``(N, 2)``, rounded as they are sent, and labels ``(N,)``, as tensors on the CPU; else ValueError."""
    codes, labels = (
        v.detach().cpu() if hasattr(v, "detach") else torch.as_tensor(np.asarray(v)) for v in (codes, labels)
    )
    if labels.ndim != 1 or codes.shape != (len(labels), 2) or not len(labels):
        raise ValueError(
            f"codes must have shape (N, 2) for N labels, N at least 1; got {tuple(codes.shape)} for labels of shape "
            f"{tuple(labels.shape)}"
        )
    codes = codes.double()
    if not (codes.abs() < 8).all():  # NaN fails too
        low, high = (v.item() for v in codes.aminmax())
        raise ValueError(f"codes must lie between -8 and 8; got {low:g} to {high:g}")
    if labels.is_complex() or not ((labels == labels.long()) & (labels >= 0) & (labels <= 9)).all():
        raise ValueError(f"labels must be whole numbers from 0 to 9; got {labels.unique()[:12].tolist()}")
    return (codes * UNIT).round().clamp(max=8 * UNIT - 1) / UNIT, labels.long()
