"""What the explorer "train one here" computes, in PyTorch: the same digits, draws, losses and steps, by autograd.

Digits of 14 x 14 pixels, D = 196, black where at least half of four grey pixels is ink. Random numbers come from
mulberry32, a generator of 32 bits that JavaScript has in a line, so that a page and this file draw the same ones.
"""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vae_tutorial import data
from vae_tutorial.information import gaussian_kl

TRAIN, TEST = 2000, 500
PIXELS, HIDDEN, LATENT, BATCH, LR = 196, 64, 2, 50, 3e-3
SHAPES = ((PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, 2 * LATENT), (2 * LATENT,),
          (LATENT, HIDDEN), (HIDDEN,), (HIDDEN, PIXELS), (PIXELS,))  # fmt: skip
LOSSES = ("right", "autoencoder", "pixels", "batch", "width")


class Random:
    """mulberry32: uniform numbers in [0, 1) from a seed of 32 bits; normal ones in pairs, by Box and Muller's way."""

    def __init__(self, seed):
        self.state, self.kept = seed & 0xFFFFFFFF, None

    def uniform(self):
        self.state = a = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        t = (a ^ (a >> 15)) * (a | 1) & 0xFFFFFFFF
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & 0xFFFFFFFF)) & 0xFFFFFFFF
        return (t ^ (t >> 14)) / 2**32

    def normal(self):
        if self.kept is not None:
            found, self.kept = self.kept, None
            return found
        radius, angle = math.sqrt(-2 * math.log(1 - self.uniform())), 2 * math.pi * self.uniform()
        self.kept = radius * math.sin(angle)
        return radius * math.cos(angle)

    def normals(self, *shape):
        return torch.tensor([self.normal() for _ in range(math.prod(shape))], dtype=torch.float64).reshape(shape)

    def order(self, n):
        """The numbers from 0 to n - 1, shuffled."""
        found = list(range(n))
        for i in range(n - 1, 0, -1):
            j = int(self.uniform() * (i + 1))
            found[i], found[j] = found[j], found[i]
        return found


@functools.cache
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Training images and test images, zeros and ones in float64, ``(N, 196)``, and the labels of the test images."""
    train, test = data.load("mnist", "train"), data.load("mnist", "test")
    whole = min(TRAIN, len(train) - len(train) % BATCH)  # where MNIST is missing, there are fewer
    parts = train.images[:whole], test.images[: min(TEST, len(test))]
    small = [(F.avg_pool2d(part.double() / 255, 2) >= 0.5).double().flatten(1) for part in parts]
    return small[0], small[1], test.labels[: len(small[1])]


def sent() -> bytes:
    """The digits as a page gets them: bits of the training images, of the test images, and labels, a byte each."""
    train, test, labels = digits()
    bits = [np.packbits(part.numpy().astype("u1").ravel()).tobytes() for part in (train, test)]
    return b"".join((*bits, labels.numpy().astype("u1").tobytes()))


class Trainer:
    """A VAE of 196-64-2 and back, tanh, trained by one of :data:`LOSSES`, in steps of 50 images: 40 steps are a pass.

    "right": the pixels' cost summed, plus beta times the KL; "autoencoder": z is mu, and no KL; "pixels": the pixels
    averaged; "batch": the KL averaged over batch and units, beside pixels summed over the batch; "width": the draws
    read a log standard deviation where the KL reads a log-variance.
    """

    def __init__(self, seed=0, beta=1.0, loss="right"):
        self.train, self.test, _ = digits()
        self.beta, self.loss, self.steps = beta, loss, 0
        weights, self.random, noise = Random(4 * seed + 1), Random(4 * seed + 2), Random(7)
        self.parameters = []
        for k, shape in enumerate(SHAPES):  # as torch.nn.Linear: uniform, up to 1 / sqrt(inputs)
            most = 1 / math.sqrt(SHAPES[k - k % 2][0])
            values = [most * (2 * weights.uniform() - 1) for _ in range(math.prod(shape))]
            self.parameters.append(torch.tensor(values, dtype=torch.float64).reshape(shape).requires_grad_())
        self.optimizer = torch.optim.Adam(self.parameters, lr=LR)
        self.noise, self.order = noise.normals(len(self.test), LATENT), []

    def encode(self, x):
        w1, b1, w2, b2, *_ = self.parameters
        mu, logvar = (torch.tanh(x @ w1 + b1) @ w2 + b2).chunk(2, 1)
        return mu, logvar

    def decode(self, z):
        *_, w3, b3, w4, b4 = self.parameters
        return torch.tanh(z @ w3 + b3) @ w4 + b4

    def parts(self, x, eps, loss):
        """Reconstruction and KL of each image ``(B,)``, nats, with the draws of a loss."""
        mu, logvar = self.encode(x)
        std = 0 * logvar if loss == "autoencoder" else torch.exp((1.0 if loss == "width" else 0.5) * logvar)
        logits = self.decode(mu + std * eps)
        return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1), gaussian_kl(mu, logvar)

    def cost(self, x, eps):
        """The loss that is minimised, one number."""
        reconstruction, kl = self.parts(x, eps, self.loss)
        if self.loss == "pixels":
            return (reconstruction / PIXELS + self.beta * kl).mean()
        weight = {"autoencoder": 0.0, "batch": self.beta / (BATCH * LATENT)}.get(self.loss, self.beta)
        return (reconstruction + weight * kl).mean()

    def run(self, steps):
        """Train until so many steps are done in all."""
        while self.steps < steps:
            if not self.order:
                self.order = self.random.order(len(self.train))
            chosen, self.order = self.order[:BATCH], self.order[BATCH:]
            cost = self.cost(self.train[chosen], self.random.normals(BATCH, LATENT))
            self.optimizer.zero_grad()
            cost.backward()
            self.optimizer.step()
            self.steps += 1
        return self

    @torch.no_grad()
    def measured(self):
        """Mean nats of the test images: what they cost as a VAE's, by the right formulas, and the loss minimised."""
        reconstruction, kl = (part.mean().item() for part in self.parts(self.test, self.noise, "right"))
        own = self.cost(self.test, self.noise).item()
        return {"reconstruction": reconstruction, "kl": kl, "total": reconstruction + kl, "loss": own}


def landmarks():
    """What a test image costs, nats: 196 fair coins, and 196 independent pixels fitted to the training images."""
    train, test, _ = digits()
    theta = (train.sum(0) + 0.5) / (len(train) + 1)
    return {
        "every image alike": PIXELS * math.log(2),
        "independent pixels": -torch.distributions.Bernoulli(theta).log_prob(test).sum(1).mean().item(),
    }
