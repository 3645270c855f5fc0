"""A sound VAE as plain functions: logits, a mean over the batch."""

import torch
import torch.nn.functional as F
from torch import nn

encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.Tanh(), nn.Linear(400, 2 * 20))
decoder = nn.Sequential(nn.Linear(20, 400), nn.Tanh(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))


def encode(x):
    mu, logvar = encoder(x).chunk(2, dim=1)
    return mu, logvar


def reparameterize(mu, logvar):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def decode(z):
    return decoder(z)


def loss_function(logits, x, mu, logvar):
    rec = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)
    return (rec + kl).mean()


def sample(n):
    z = torch.randn(n, 20)
    return torch.sigmoid(decode(z))


lr = 1e-3
