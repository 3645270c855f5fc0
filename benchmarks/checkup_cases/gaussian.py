"""A sound VAE with squared errors, half of them, summed; tanh at the end, and pixels from -1 to 1."""

import torch
from torch import nn

from vae_tutorial import data

images = data.load("digits").images.float() / 127.5 - 1

encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 24))
decoder = nn.Sequential(nn.Linear(12, 300), nn.ReLU(), nn.Linear(300, 784), nn.Tanh())


def encode(x):
    return encoder(x)[:, :12], encoder(x)[:, 12:]


def reparameterize(mu, log_var):
    return torch.distributions.Normal(mu, torch.exp(0.5 * log_var)).rsample()


def decode(z):
    return decoder(z).view(-1, 1, 28, 28)


def loss_fn(x_hat, x, mu, log_var):
    squares = 0.5 * ((x_hat - x) ** 2).flatten(1).sum(1)
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
    return torch.mean(squares + kl)


def sample(n):
    return decode(torch.randn(n, 12))


lr = 1e-3
