"""A variational autoencoder on one page: two networks, the ELBO, the loop. Run it: python examples/vae.py

Shapes: B images in a batch, 1 x 28 x 28 pixels, Z latent dimensions. All amounts of information are in nats.
The package vae_tutorial holds the same with more choices; a test keeps both equal.
"""

import torch
import torch.nn.functional as F
from torch import nn

from vae_tutorial import data


def mlp_networks(latent_dim=20, hidden=400):
    """Return encoder, ``(B, 1, 28, 28)`` to ``(B, 2 Z)``, and decoder, ``(B, Z)`` to logits ``(B, 1, 28, 28)``."""
    encoder = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 2 * latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 784),
        nn.Unflatten(1, (1, 28, 28)),
    )
    return encoder, decoder


def conv_networks(latent_dim=20):
    """The same by convolutions: 28 x 28, 14 x 14, 7 x 7, and back."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 2 * latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 64 * 7 * 7),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, kernel_size=4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, kernel_size=4, stride=2, padding=1),
    )
    return encoder, decoder


class VAE(nn.Module):
    """p(z) = N(0, I), p(x | z) = Bernoulli(decoder(z)), q(z | x) = N(mu, diag exp logvar) from encoder(x)."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x, generator=None):
        """Encode, draw one z for each image, decode: return logits ``(B, 1, 28, 28)``, mu and logvar ``(B, Z)``."""
        mu, logvar = self.encoder(x).chunk(2, dim=-1)
        eps = torch.randn(mu.shape, generator=generator, device=mu.device)
        z = mu + torch.exp(0.5 * logvar) * eps
        return self.decoder(z), mu, logvar


def elbo(model, x, generator=None):
    """Return the ELBO of each image and its two parts, reconstruction and KL: ``(B,)`` each, nats."""
    logits, mu, logvar = model(x, generator)
    log_p_x_given_z = (x * logits - F.softplus(logits)).sum((1, 2, 3))  # one draw estimates the expectation
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)  # from the standard normal, exact
    return log_p_x_given_z - kl, log_p_x_given_z, kl


def train(model, images, epochs=10, batch_size=128, lr=1e-3, seed=0):
    """Train on grey bytes ``(N, 1, 28, 28)``; return the mean ELBO of each epoch, nats per image."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    generator = torch.Generator(images.device)
    history = []
    for epoch in range(epochs):
        generator.manual_seed(seed + 1_000_003 * epoch)
        order = torch.randperm(len(images), generator=generator, device=images.device)
        total = 0.0
        for chosen in order.split(batch_size):
            x = data.binarize(images[chosen], generator)  # black and white, drawn anew
            bound, _, _ = elbo(model, x, generator)
            loss = -bound.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += bound.sum().item()
        history.append(total / len(images))
        print(f"epoch {epoch + 1}: ELBO {history[-1]:.2f} nats per image")
    return history


if __name__ == "__main__":
    torch.manual_seed(0)
    vae = VAE(*mlp_networks())
    train(vae, data.load("mnist").images)
    with torch.no_grad():
        bound, reconstruction, kl = elbo(vae, data.test_binarization("mnist"), torch.Generator().manual_seed(0))
    print(f"test ELBO {bound.mean():.2f} ± {bound.std() / len(bound) ** 0.5:.2f} nats per image", end="")
    print(f" (reconstruction {reconstruction.mean():.2f}, KL {kl.mean():.2f})")
