"""A sound VAE of small images in colour: convolutions, group norm, squared errors of a variance that is learned."""

import torch
from torch import nn

images = torch.rand(256, 3, 1, 1, generator=torch.Generator().manual_seed(5)) * torch.linspace(0.2, 1, 16).expand(
    16, 16
)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.mu, self.logvar = nn.Linear(512, 4), nn.Linear(512, 4)
        self.decoder = nn.Sequential(
            nn.Linear(4, 512), nn.Unflatten(1, (32, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.GroupNorm(4, 16), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
        )  # fmt: skip
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def reparameterize(self, mu, logvar):
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def decode(self, z):
        return self.decoder(z)


def loss_function(x_hat, x, mu, logvar):
    log_sigma = model.log_sigma
    rec = (0.5 * ((x - x_hat) / log_sigma.exp()) ** 2 + log_sigma).sum((1, 2, 3))
    return (rec + 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)).mean()


model = VAE()
lr = 1e-3
