"""A sound VAE whose loss draws black and white from grey, anew each time."""

import torch
import torch.nn.functional as F
from torch import nn


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 24))
        self.decoder = nn.Sequential(nn.Linear(12, 200), nn.ReLU(), nn.Linear(200, 784), nn.Unflatten(1, (1, 28, 28)))

    def encode(self, x):
        return self.encoder(x).chunk(2, 1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = torch.distributions.Normal(mu, (logvar / 2).exp()).rsample()
        return self.decode(z), mu, logvar


def loss_function(logits, x, mu, logvar):
    rec = F.binary_cross_entropy_with_logits(logits, torch.bernoulli(x), reduction="sum")
    return (rec - 0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()) / len(x)


model = VAE()
lr = 1e-3
