"""A sound VAE whose encoder gives a standard deviation by softplus, with dropout, residual layers and layer norm."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1))

    def forward(self, h):
        return h + self.layers(h)


class VAE(nn.Module):
    def __init__(self, width=128, latent=6):
        super().__init__()
        self.enter, self.code = nn.Linear(784, width), nn.Linear(width, 2 * latent)
        self.down, self.up = Block(width), Block(width)
        self.start, self.leave = nn.Linear(latent, width), nn.Linear(width, 784)

    def encode(self, x):
        mu, raw = self.code(self.down(self.enter(x.flatten(1)))).chunk(2, 1)
        return mu, F.softplus(raw) + 1e-4

    def decode(self, z):
        return self.leave(self.up(self.start(z)))

    def forward(self, x):
        mu, std = self.encode(x)
        z = torch.normal(0.0, 1.0, mu.shape) * std + mu
        return self.decode(z), mu, std

    @torch.no_grad()
    def generate(self, n):
        return torch.sigmoid(self.decode(torch.randn(n, self.start.in_features)))


def loss_function(logits, x, mu, std):
    rec = -torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x.flatten(1)).sum(-1)
    kl = 0.5 * (mu**2 + std**2 - 1) - torch.log(std)
    return (rec + kl.sum(-1)).mean()


model = VAE()
lr = 1e-3
