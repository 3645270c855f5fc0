"""A VAE that trains in the page, on digits of 14 x 14 pixels: start, pause, break its loss (a page of its own)."""

import functools
from typing import ClassVar

import traitlets

from vae_tutorial.explorers import _trainer
from vae_tutorial.explorers._base import Explorer, Number, Plot, Whole
from vae_tutorial.explorers.latent import COLORS


class TrainExplorer(Explorer):
    """A VAE of 196-64-2 and back that trains on 2,000 small digits where it is shown, after ``steps`` of 50 images.

    ``loss``: "right", "autoencoder" (no noise, no KL), "pixels" (their mean in place of their sum), "batch" (the KL
    averaged over batch and units) or "width" (the log-variance read as a log standard deviation). ``beta``: of the KL,
    0 to 5. ``seed``: 0 to 4, of weights, order and noise; the same seed gives the same curve. Numbers are means over
    500 test images, nats; ``total`` is minus the ELBO by the right formulas, whatever the loss is. Here, in Python,
    ``numbers()`` trains as far by autograd, with the present ``beta`` from the first step on.
    """

    module = "train_one"
    files: ClassVar[dict] = {"digits": "digits14"}
    words: ClassVar[dict] = {
        "title": "Train one here: a VAE on small digits, in your browser",
        "question": "A loss averages the costs of the pixels, where it should sum them. What will the VAE draw?",
        "choices": [
            [
                "The same digits, more slowly",
                "No. Only half of the loss became smaller: the KL now weighs 196 times as much.",
            ],
            [
                "One grey average digit, whatever *z* is",
                "Yes. A nat of pixels counts 1/196 now, a nat of KL a whole one. So the code is given up.",
            ],
            ["Sharper digits", "No. That would be a KL that weighs less. Here it weighs 196 times as much."],
        ],
        "task": "Now press start, and look. Then choose *pixels averaged*, and train 200 steps or more.",
        "rows": [
            ["steps", "steps of 50 images", 0],
            ["reconstruction", "reconstruction, nats", 1],
            ["kl", "KL, nats", 2],
            ["total", "minus ELBO, nats", 1],
            ["loss", "the loss itself", 3],
        ],
    }
    seed = Whole(0, min=0, max=4).tag(sync=True)
    beta = Number(1.0, min=0, max=5).tag(sync=True)
    loss = traitlets.Enum(_trainer.LOSSES, "right").tag(sync=True)
    steps = Whole(0, min=0, max=4000).tag(sync=True)
    # Bits of the images, 196 each, first those to train on; then the test images' labels, a byte each.
    digits = traitlets.Bytes(read_only=True).tag(sync=True)
    train = traitlets.Int(_trainer.TRAIN, read_only=True).tag(sync=True)
    test = traitlets.Int(_trainer.TEST, read_only=True).tag(sync=True)
    landmarks = traitlets.List(read_only=True).tag(sync=True)  # name, nats
    colors = traitlets.List(COLORS, read_only=True).tag(sync=True)

    def __init__(self, **values):
        super().__init__(**values)
        train, test, _ = _trainer.digits()
        self.set_trait("train", len(train))
        self.set_trait("test", len(test))
        self.set_trait("digits", _trainer.sent())
        self.set_trait("landmarks", [[what, round(nats, 1)] for what, nats in _trainer.landmarks().items()])

    def numbers(self):
        """Return ``steps``; ``reconstruction``, ``kl``, ``total``, nats of a test image; and the ``loss`` on them."""
        found = _trainer.Trainer(self.seed, self.beta, self.loss).run(self.steps).measured()
        return {"steps": self.steps, **found}

    def picture(self):
        """Return how the cost of a test image falls in the first 200 steps of the right loss, as an <img>."""
        curve = _first_steps()
        label = f"Minus the ELBO of test images while a VAE trains: {curve[0][1]:.0f} nats, then {curve[-1][1]:.0f}."
        plot = Plot((0, 200), (0, 150), label, "steps of 50 images", "nats an image")
        plot.scale("x", (0, 100, 200)).scale("y", (0, 50, 100, 150))
        for what, nats in self.landmarks:
            plot.line((0, 200), (nats, nats), "prior", width=1, dashes="4 3")
            plot.text(200, nats, f"{what}, {nats:.0f}", dy=-5 if nats < 100 else 15, anchor="end")
        plot.line(*zip(*curve, strict=True), "elbo")
        return str(plot)


@functools.cache
def _first_steps():
    trainer = _trainer.Trainer()
    return [(steps, trainer.run(steps).measured()["total"]) for steps in range(0, 201, 10)]
