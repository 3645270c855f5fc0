"""Entropy of six outcomes whose probabilities the reader moves, and Huffman's code for them (chapter 1)."""

import math
from typing import ClassVar

import torch
import traitlets

from vae_tutorial import information
from vae_tutorial.explorers._base import Explorer, Numbers, Plot

OUTCOMES = "abcdef"
# Percent of the letters of English texts, a to f: Lewand, Cryptological Mathematics (2000), page 36.
ENGLISH = [8.167, 1.492, 2.782, 4.253, 12.702, 2.228]
PRESETS = [
    ["uniform", [1, 1, 1, 1, 1, 1]],
    ["one certain", [1, 0, 0, 0, 0, 0]],
    ["halves", [16, 8, 4, 2, 1, 1]],
    ["English-like", ENGLISH],
]


class EntropyExplorer(Explorer):
    """Surprise, entropy and Huffman's code of a distribution over the outcomes a to f.

    ``weights``: six numbers, none negative and not all 0; the probabilities are p = weights / sum of the weights.
    ``presets``: for each button, its label and the weights it sets.
    """

    module = "entropy"
    words: ClassVar[dict] = {
        "title": "Move the probabilities: surprise, entropy, code",
        "question": "b is rare, and the most surprising. You make it rarer still. What happens to the entropy?",
        "choices": [
            ["It rises: b is more surprising", "No. b's surprise grows, but it counts less often: the entropy falls."],
            ["It falls", "Yes. b's column grows taller, but it thins faster. At p(b) = 0 five outcomes are left."],
            [
                "It stays: more surprise, but less often",
                "No. At half the probability the surprise is one bit more, not twice as large. The entropy falls.",
            ],
        ],
        "task": "Now make b rarer, half as probable or less: drag its bar down, or move its slider.",
        "rows": [
            ["nats", "entropy, nats"],
            ["bits", "in bits, *H*"],
            ["length", "mean word *L*, bits"],
            ["wasted", "wasted, *L* − *H*"],
        ],
    }
    weights = Numbers(tuple(ENGLISH)).tag(sync=True, count=6)
    presets = traitlets.List(PRESETS).tag(sync=True)

    @traitlets.validate("weights")
    def _check_weights(self, proposal):
        return _checked(proposal["value"], "weights")

    @traitlets.validate("presets")
    def _check_presets(self, proposal):
        for preset in proposal["value"]:
            if not (isinstance(preset, list | tuple) and len(preset) == 2 and isinstance(preset[0], str)):
                raise traitlets.TraitError(f"presets must be pairs of a label and six weights; got {preset!r}")
            _checked(preset[1], f"the weights of the preset {preset[0]!r}")
        return proposal["value"]

    def outcomes(self):
        """Return of each outcome ``p``, its ``surprise`` in bits, and the ``lengths`` of the words in bits.

        An outcome of probability 0 has an infinite surprise and no word: its length is None. If one outcome is
        certain, nothing has to be said, and its word is empty.
        """
        total = 0.0
        for weight in self.weights:  # in JavaScript's order: the same rounding, so the same ties and words
            total += weight
        p = torch.tensor([weight / total for weight in self.weights], dtype=torch.float64)
        possible = p > 0
        one = possible.sum() == 1
        lengths = iter([0] if one else information.huffman_lengths(p[possible]).tolist())
        return {
            "p": p.tolist(),
            "surprise": information.surprisal(p, "bits").tolist(),
            "lengths": [next(lengths) if has_word else None for has_word in possible.tolist()],
        }

    def numbers(self):
        """Return the entropy in ``nats`` and ``bits``, Huffman's mean ``length`` and what it ``wasted``, bits."""
        found = self.outcomes()
        bits = information.entropy(found["p"], "bits").item()
        length = sum(p * length for p, length in zip(found["p"], found["lengths"], strict=True) if length)
        nats = information.entropy(found["p"]).item()
        return {"nats": nats, "bits": bits, "length": float(length), "wasted": float(length - bits)}

    def picture(self):
        """Return the probabilities as bars, with each outcome's surprise, as SVG."""
        found = self.outcomes()
        words = ", ".join(f"{x} {p:.3f}" for x, p in zip(OUTCOMES, found["p"], strict=True))
        plot = Plot((0, 6), (0, 1), f"Probabilities of six outcomes: {words}.", "", "probability").scale("y", (0, 1))
        for k, (x, p, surprise) in enumerate(zip(OUTCOMES, found["p"], found["surprise"], strict=True)):
            plot.bar(k + 0.2, k + 0.8, p, "p")
            plot.text(k + 0.5, p, f"{p:.3f}", dy=-5 if p < 0.95 else 14)
            plot.text(k + 0.5, 0, x, dy=16)
            plot.text(k + 0.5, 0, f"{surprise:.2f}", dy=30)
        plot.text(0, 0, "bits", dy=30, anchor="end")
        return str(plot)


def _checked(weights, name):
    sound = isinstance(weights, list | tuple) and all(isinstance(w, int | float) and w >= 0 for w in weights)
    if not sound or len(weights) != 6 or not 0 < sum(weights) < math.inf:
        raise traitlets.TraitError(f"{name} must be 6 numbers, none negative and not all 0; got {weights}")
    return weights
