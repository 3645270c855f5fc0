"""A sound VAE whose decoder gives mean and log-variance of each pixel, the latter with a floor."""

import torch
import torch.nn.functional as F
from torch import nn


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.SiLU(), nn.Linear(256, 16))
        self.hidden = nn.Sequential(nn.Linear(8, 256), nn.SiLU())
        self.mean, self.spread = nn.Linear(256, 784), nn.Linear(256, 784)

    def encode(self, x):
        return self.encoder(x).chunk(2, 1)

    def reparameterize(self, mu, logvar):
        return mu + torch.exp(logvar / 2) * torch.randn_like(mu)

    def decode(self, z):
        h = self.hidden(z)
        return self.mean(h), self.spread(h)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(output, x, mu, logvar):
    mean, spread = output
    spread = -5 + F.softplus(spread + 5)
    rec = 0.5 * ((x.flatten(1) - mean) ** 2 * torch.exp(-spread) + spread).sum()
    return rec + 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()


model = VAE()
lr = 5e-4
