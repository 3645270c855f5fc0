"""A sound VAE whose encoder gives a log standard deviation, in draws and KL alike; a beta that is said."""

import torch
import torch.nn.functional as F
from torch import nn

beta = 2.0
encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ELU(), nn.Linear(200, 20))
decoder = nn.Sequential(nn.Linear(10, 200), nn.ELU(), nn.Linear(200, 784))


def encode(x):
    return encoder(x).split(10, dim=1)


def reparameterize(mu, log_std):
    return mu + log_std.exp() * torch.randn_like(mu)


def decode(z):
    return decoder(z)


def loss_function(logits, x, mu, log_std):
    rec = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum") / len(x)
    q, p = torch.distributions.Normal(mu, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    return rec + beta * torch.distributions.kl_divergence(q, p).sum(1).mean()


lr = 1e-3
