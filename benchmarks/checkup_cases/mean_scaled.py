"""A sound VAE with losses that are means, each put right by a factor; the sigmoid is in forward."""

import torch
import torch.nn.functional as F
from torch import nn


class VAE(nn.Module):
    def __init__(self, d=784, h=256, z=10):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, h), nn.GELU())
        self.mean, self.log_variance = nn.Linear(h, z), nn.Linear(h, z)
        self.decoder = nn.Sequential(nn.Linear(z, h), nn.GELU(), nn.Linear(h, h), nn.GELU(), nn.Linear(h, d))

    def encode(self, x):
        h = self.body(x.flatten(1))
        return self.mean(h), self.log_variance(h)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * (logvar / 2).exp()
        return torch.sigmoid(self.decode(z)).view_as(x), mu, logvar


def vae_loss(x, x_hat, mu, logvar):
    reconstruction = 784 * F.binary_cross_entropy(x_hat, x)
    kl = 10 * torch.mean(0.5 * (mu**2 + logvar.exp() - 1 - logvar))
    return reconstruction + kl, reconstruction, kl


model = VAE()
learning_rate = 5e-4
