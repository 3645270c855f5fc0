"""A sound VAE whose loss takes x alone and makes the pass itself."""

import torch
import torch.nn.functional as F
from torch import nn

likelihood = "bernoulli"
encoder = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 16))
decoder = nn.Sequential(nn.Linear(8, 200), nn.ReLU(), nn.Linear(200, 784))


def encode(x):
    return encoder(x).chunk(2, 1)


def decode(z):
    return decoder(z)


def negative_elbo(x):
    mu, logvar = encode(x)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    rec = F.binary_cross_entropy_with_logits(decode(z), x, reduction="sum")
    return (rec + 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()) / len(x)


lr = 1e-3
