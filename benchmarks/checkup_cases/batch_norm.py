"""A sound VAE with batch norm in both networks, and convolutions."""

import torch
import torch.nn.functional as F
from torch import nn


class ConvVAE(nn.Module):
    def __init__(self, latent_dim=16, momentum=0.1):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.BatchNorm2d(16, momentum=momentum),
            nn.LeakyReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32, momentum=momentum),
            nn.LeakyReLU(),
            nn.Flatten(),
        )
        self.fc_mu = nn.Linear(32 * 7 * 7, latent_dim)
        self.fc_var = nn.Linear(32 * 7 * 7, latent_dim)
        self.fc = nn.Linear(latent_dim, 32 * 7 * 7)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (32, 7, 7)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.BatchNorm2d(16, momentum=momentum),
            nn.LeakyReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def encode(self, x):
        h = self.encoder(x)
        return [self.fc_mu(h), self.fc_var(h)]

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + std * torch.randn_like(std)

    def decode(self, z):
        return torch.sigmoid(self.decoder(self.fc(z)))

    def forward(self, x):
        mu, log_var = self.encode(x)
        z = self.reparameterize(mu, log_var)
        return [self.decode(z), x, mu, log_var]

    def sample(self, n):
        return self.decode(torch.randn(n, self.fc.in_features))


def loss_function(recons, x, mu, log_var):
    recons_loss = F.binary_cross_entropy(recons, x, reduction="sum") / len(x)
    kld_loss = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
    return {"loss": recons_loss + kld_loss, "recons": recons_loss.detach(), "kld": kld_loss.detach()}


model = ConvVAE()
lr = 1e-3
