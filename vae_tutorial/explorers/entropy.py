"""Entropy of six outcomes whose probabilities the reader moves, and Huffman's code for them (chapter 1)."""

import math

import traitlets

from vae_tutorial.explorers._base import Explorer, Plot

OUTCOMES = "abcdef"
# Percent of the letters of English texts, a to f: Lewand, Cryptological Mathematics (2000), page 36.
ENGLISH = [8.167, 1.492, 2.782, 4.253, 12.702, 2.228]


class EntropyExplorer(Explorer):
    """Surprise, entropy and Huffman's code of a distribution over the outcomes a to f.

    ``weights``: six numbers, none negative and not all 0; the probabilities are p = weights / sum of the weights.
    ``presets``: for each button, its label and the weights it sets.
    """

    module = "entropy"
    weights = traitlets.List(ENGLISH).tag(sync=True)
    presets = traitlets.List().tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        self.title = "Move the probabilities: surprise, entropy, code"
        self.question = "b is rare, and the most surprising. You make it rarer still. What happens to the entropy?"
        self.choices = [
            ["It rises: b is more surprising", "No. b's surprise grows, but it counts less often: the entropy falls."],
            ["It falls", "Yes. b's column grows taller, but it thins faster. At p(b) = 0 five outcomes are left."],
            [
                "It stays: more surprise, but less often",
                "No. At half the probability the surprise is one bit more, not twice as large. The entropy falls.",
            ],
        ]
        self.task = "Now make b rarer: drag its bar down, or move its slider."
        self.presets = [
            ["uniform", [1, 1, 1, 1, 1, 1]],
            ["one certain", [1, 0, 0, 0, 0, 0]],
            ["halves", [16, 8, 4, 2, 1, 1]],
            ["English-like", ENGLISH],
        ]
        self.rows = [
            ["nats", "entropy, nats"],
            ["bits", "entropy H, the same in bits"],
            ["length", "mean word L of Huffman's code, bits"],
            ["wasted", "wasted, L − H, bits (never as much as 1)"],
        ]

    @traitlets.validate("weights")
    def _check(self, proposal):
        weights = proposal["value"]
        if len(weights) != 6 or not all(0 <= w < math.inf for w in weights) or not 0 < sum(weights) < math.inf:
            raise traitlets.TraitError(f"weights must be 6 numbers, none negative and not all 0; got {weights}")
        return weights

    def outcomes(self):
        """Return of each outcome ``p``, its ``surprise`` in bits, and the ``lengths`` of the words in bits.

        An outcome of probability 0 has an infinite surprise and no word: its length is None. If one outcome is
        certain, nothing has to be said, and its word is empty.
        """
        import torch

        from vae_tutorial import information

        total = 0.0
        for weight in self.weights:  # one after the other, as JavaScript adds: the same ties, the same words
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
        from vae_tutorial import information

        found = self.outcomes()
        bits = information.entropy(found["p"], "bits").item()
        length = sum(p * length for p, length in zip(found["p"], found["lengths"], strict=True) if length)
        nats = information.entropy(found["p"]).item()
        return {"nats": nats, "bits": bits, "length": float(length), "wasted": float(length - bits)}

    def picture(self):
        """Return the probabilities as bars, with each outcome's surprise, as SVG."""
        found = self.outcomes()
        words = ", ".join(f"{x} {p:.3f}" for x, p in zip(OUTCOMES, found["p"], strict=True))
        plot = Plot(
            (0, 6), (0, 1), f"Probabilities of six outcomes: {words}.", "outcome, and its surprise", "probability"
        )
        del plot.parts[3:5]  # the numbers of the x axis: letters take their place
        for k, (x, p, surprise) in enumerate(zip(OUTCOMES, found["p"], found["surprise"], strict=True)):
            plot.bar(k + 0.2, k + 0.8, p, "p")
            plot.text(k + 0.5, p, f"{p:.3f}", dy=-5)
            plot.text(k + 0.5, 0, f"{x}: {surprise:.2f} bits", dy=16)
        return str(plot)
