"""The plane of a VAE with two latent dimensions: a point to move, and the digit decoded there (chapter 11)."""

import functools

import torch
import traitlets

from vae_tutorial import data, evaluation, pretrained
from vae_tutorial.explorers._base import Explorer, Plot

EDGE = 4  # the plane is shown from -4 to 4, both ways
NEAR = 0.25  # a code within this distance of z counts as near
UNIT = 4096  # codes travel as whole numbers of 1/4096, in 16 bits: from -8 to 8
CODES = 2000


class LatentExplorer(Explorer):
    """What the decoder of a 2-D VAE draws at z = (``z1``, ``z2``), and the codes of test images round it.

    ``shown``: the class whose codes stand out, -1 for all. ``map``: show decoded digits in place of the codes.
    ``codes``: means of q(z | x), ``(N, 2)``, with ``labels``, ``(N,)`` in 0..9; by default those of every fifth MNIST
    test image. The model is ``pretrained.load("mlp-2d")``.
    """

    module = "latent"
    z1 = traitlets.Float(-2.0, min=-EDGE, max=EDGE).tag(sync=True)
    z2 = traitlets.Float(0.5, min=-EDGE, max=EDGE).tag(sync=True)
    shown = traitlets.Int(-1, min=-1, max=9).tag(sync=True)
    map = traitlets.Bool(False).tag(sync=True)
    # The decoder: sizes of its layers; of each layer the weight (out, in) and the bias, float16, little-endian.
    sizes = traitlets.List().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    # (N, 2) int16, little-endian, in units of 1/4096; (N,) uint8.
    codes = traitlets.Bytes().tag(sync=True)
    labels = traitlets.Bytes().tag(sync=True)
    # Of each class there is: the class, and a place for its number amid its codes. And a colour for each class.
    places = traitlets.List().tag(sync=True)
    colors = traitlets.List(
        ["#1f77b4", "#d9650b", "#2a932a", "#d13438", "#8f62c0", "#8c5a4c", "#cf5bab", "#7a7f86", "#8c8f12", "#0f95a6"]
    ).tag(sync=True)

    def __init__(self, codes=None, labels=None, **values):
        super().__init__(**values)
        self._vae = pretrained.load("mlp-2d").double()  # its weights are half precision already: nothing is lost
        linear = self._vae.decoder.layers[::2]  # the others are ReLU
        parts = [part.detach().numpy().astype("<f2").tobytes() for layer in linear for part in layer.parameters()]
        self.sizes, self.weights = [2, *(layer.out_features for layer in linear)], b"".join(parts)
        name = ""
        if codes is None:
            codes, labels, name = _test_codes()
        self._codes, self._labels = torch.as_tensor(codes).detach().double(), torch.as_tensor(labels)
        if self._codes.shape != (len(self._labels), 2):
            raise ValueError(f"codes must have shape (N, 2) for N labels; got {tuple(self._codes.shape)}")
        self._codes = (self._codes * UNIT).round().clamp(-32768, 32767) / UNIT
        self.codes = (self._codes * UNIT).numpy().astype("<i2").tobytes()
        self.labels = self._labels.numpy().astype("u1").tobytes()
        self.places = self._places()
        self.title = "Move z: what the decoder draws, and whose codes are near"
        if name == "digits":
            self.title += " (MNIST is missing: the codes are of scikit-learn's digits)"
        self.question = "Where is the decoder least sure of its pixels, by the sum of their entropies?"
        self.choices = [
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
        ]
        self.task = "Now move z to such a place, then to the other two, and read the last row."
        self.rows = [
            ["z1", "z₁", 2],
            ["z2", "z₂", 2],
            ["log_prior", "log p(z) of the prior, nats", 2],
            ["near", f"test codes within {NEAR} of z, %", 2],
            ["nearest", "class of the nearest code", 0],
            ["entropy", "sum of the pixels' entropies, nats", 1],
        ]

    def numbers(self):
        """Return ``z1``, ``z2``, ``log_prior`` and ``entropy`` (nats), ``near`` (percent) and ``nearest`` (a class)."""
        z = torch.tensor([self.z1, self.z2], dtype=torch.float64)
        distance = (self._codes - z).norm(dim=1)
        return {
            "z1": self.z1,
            "z2": self.z2,
            "log_prior": torch.distributions.Normal(0.0, 1.0).log_prob(z).sum().item(),
            "near": 100 * (distance <= NEAR).double().mean().item(),
            "nearest": self._labels[distance.argmin()].item(),
            "entropy": torch.distributions.Bernoulli(logits=self._vae.decode(z)).entropy().sum().item(),
        }

    def picture(self):
        """Return the plane with about 200 of the codes as SVG."""
        label = f"The latent plane: codes of test images in clouds, one a class, and z at ({self.z1:g}, {self.z2:g})."
        plot = Plot((-EDGE, EDGE), (-EDGE, EDGE), label.replace("-", "−"), "z₁", "z₂", width=420, height=412)
        some = slice(None, None, max(1, len(self._codes) // 200))
        for digit, color in enumerate(self.colors):
            mine = self._codes[some][self._labels[some] == digit].clamp(-EDGE, EDGE)
            for _, *place in self.places:  # room for the numbers
                mine = mine[(mine - torch.tensor(place)).norm(dim=1) > NEAR]
            dots = "".join(f"M{plot._x(a):.0f} {plot._y(b):.0f}h0" for a, b in mine.tolist())
            plot.parts.append(f'<path d="{dots}" style="stroke: {color}; stroke-width: 4; stroke-linecap: round"/>')
        for digit, a, b in self.places:
            plot.text(a, b, str(digit), dy=5)
        plot.dot(self.z1, self.z2, "highlight", r=6)
        plot.text(self.z1, self.z2, "z", dy=-10)
        return str(plot)

    def _places(self):
        """Of each class the code with the most neighbours of its class, less those of others, off the places so far.

        A median would not do: the codes of a class may lie in two clouds, and the median between them.
        """
        close = torch.cdist(self._codes, self._codes) < 0.4
        places = []
        for digit in self._labels.unique().tolist():
            mine = self._labels == digit
            score = close[:, mine].sum(1) - 0.5 * close[:, ~mine].sum(1)
            for _, *place in places:
                score[(self._codes - torch.tensor(place)).norm(dim=1) < 0.5] = -torch.inf
            score[~mine] = -torch.inf
            places.append([digit, *(round(v, 2) for v in self._codes[score.argmax()].tolist())])
        return places


@functools.cache
def _test_codes():
    found = data.load("mnist", "test")
    some = slice(None, None, max(1, len(found) // CODES))
    mu, _ = evaluation.encode(pretrained.load("mlp-2d"), found.images[some])
    return mu, found.labels[some], found.name
