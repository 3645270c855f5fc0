"""A sound VAE with free bits and a warm-up; the weight of the KL is an argument of the loss."""

import torch
from torch import nn


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.mu, self.logvar = nn.Linear(784, 150), nn.Linear(150, 8), nn.Linear(150, 8)
        self.two, self.three = nn.Linear(8, 150), nn.Linear(150, 784)

    def encode(self, x):
        h = torch.relu(self.one(x.flatten(1)))
        return self.mu(h), self.logvar(h).clamp(-10, 10)

    def reparameterize(self, mu, logvar):
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def decode(self, z):
        return torch.sigmoid(self.three(torch.relu(self.two(z)))).clamp(1e-6, 1 - 1e-6)


def loss_function(output, x, mu, logvar, beta):
    x = x.flatten(1)
    rec = -(x * torch.log(output) + (1 - x) * torch.log(1 - output)).sum(1)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
    return (rec + beta * torch.clamp(kl.mean(0), min=0.1).sum()).mean()


def beta(progress):
    return min(1.0, 4 * progress)


model = Coder()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
