"""Autoencoder and variational autoencoder: an encoder, a decoder, and the two joined.

Shapes: B images in a batch, C x H x W pixels, Z latent dimensions, S samples of z for each image. A decoder gives a
likelihood's parameters, of which there are ``channels`` for each of the C channels: ``(..., channels * C, H, W)``.
"""

import itertools
import math

import torch
import torch.nn as nn

from vae_tutorial import likelihoods

__all__ = [
    "MLPVAE",
    "VAE",
    "Autoencoder",
    "ConvDecoder",
    "ConvEncoder",
    "ConvVAE",
    "MLPDecoder",
    "MLPEncoder",
    "reparameterize",
]


def reparameterize(mu, logvar, samples=1, generator=None):
    """Return draws z = mu + exp(logvar / 2) * eps with eps ~ N(0, I): q(z | x), in a form that has a gradient.

    ``mu``, ``logvar``: ``(B, Z)``. Returns ``(S, B, Z)``.
    Source: Kingma and Welling (2014), section 2.4.
    """
    eps = torch.randn(samples, *mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


class MLPEncoder(nn.Module):
    """q(z | x) = N(mu(x), diag exp logvar(x)), by fully connected layers: ``(B, C, H, W)`` to two of ``(B, Z)``."""

    def __init__(self, latent_dim, hidden=(400,), image_shape=(1, 28, 28)):
        super().__init__()
        self.layers = _mlp(math.prod(image_shape), *hidden, 2 * latent_dim)

    def forward(self, x):
        mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=-1)  # (B, 2 Z) -> twice (B, Z)
        return mu, logvar


class MLPDecoder(nn.Module):
    """The parameters of p(x | z), by fully connected layers: ``(..., Z)`` to ``(..., C, H, W)``."""

    def __init__(self, latent_dim, hidden=(400,), image_shape=(1, 28, 28)):
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.layers = _mlp(latent_dim, *hidden, math.prod(image_shape))

    def forward(self, z):
        return self.layers(z).unflatten(-1, self.image_shape)


class ConvEncoder(nn.Module):
    """q(z | x) by convolutions of 4 x 4 that halve height and width: ``(B, C, H, W)`` to two of ``(B, Z)``."""

    def __init__(self, latent_dim, channels=(32, 64), image_shape=(1, 28, 28)):
        super().__init__()
        layers = []
        for inputs, outputs in itertools.pairwise((image_shape[0], *channels)):
            layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.ReLU()]
        flat = channels[-1] * math.prod(_halvings(image_shape, len(channels))[-1])
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 2 * latent_dim))

    def forward(self, x):
        mu, logvar = self.layers(x).chunk(2, dim=-1)  # (B, 2 Z) -> twice (B, Z)
        return mu, logvar


class ConvDecoder(nn.Module):
    """The parameters of p(x | z) by transposed convolutions, the encoder's mirror: ``(..., Z)`` to ``(..., C, H, W)``.

    ``channels``: from the code to the image, so (64, 32) mirrors an encoder of (32, 64).
    """

    def __init__(self, latent_dim, channels=(64, 32), image_shape=(1, 28, 28)):
        super().__init__()
        sizes = _halvings(image_shape, len(channels))[::-1]  # from the smallest to H x W
        layers = [nn.Linear(latent_dim, channels[0] * math.prod(sizes[0])), nn.Unflatten(1, (channels[0], *sizes[0]))]
        for step, (inputs, outputs) in enumerate(itertools.pairwise((*channels, image_shape[0]))):
            odd = tuple(size % 2 for size in sizes[step + 1])  # halving lost a row or a column of these
            layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, output_padding=odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        images = self.layers(z.reshape(-1, z.shape[-1]))  # convolutions know one batch axis
        return images.reshape(*z.shape[:-1], *images.shape[1:])


class _EncoderDecoder(nn.Module):
    """What an autoencoder and a VAE share: the checks of what goes in, and the decoder."""

    def __init__(self, encoder, decoder, latent_dim, image_shape, likelihood):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim, self.image_shape = latent_dim, tuple(image_shape)
        self.likelihood = likelihoods.get(likelihood)

    def decode(self, z):
        """Return the parameters of p(x | z) (for Bernoulli: logits), ``(..., C, H, W)``, for z of ``(..., Z)``."""
        if z.ndim < 1 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape (..., {self.latent_dim}); got ({_joined(z.shape)})")
        return self.decoder(z).to(z.dtype)  # under autocast, layers answer in bfloat16

    def _check(self, x):
        if x.ndim != 1 + len(self.image_shape) or x.shape[1:] != self.image_shape:
            raise ValueError(f"x must be images of shape (B, {_joined(self.image_shape)}); got ({_joined(x.shape)})")
        if not x.is_floating_point():
            raise ValueError(f"x has dtype {x.dtype}; expected floating values in [0, 1], as data.binarize returns")
        device = next(self.parameters()).device
        if x.device != device:
            raise ValueError(f"x is on {x.device}, the model on {device}; move one of them: x.to({str(device)!r})")


class Autoencoder(_EncoderDecoder):
    """Fully connected encoder to one point z for each image, and decoder back. It has no prior, so no ``sample``.

    By default 784-400-2-400-784. Trained by ``training.fit`` as a VAE is, to maximise log p(x | z) alone: its KL is 0.
    Source: Rumelhart, Hinton and Williams (1986); Hinton and Salakhutdinov (2006).
    """

    def __init__(self, latent_dim=2, hidden=(400,), likelihood="bernoulli", image_shape=(1, 28, 28)):
        hidden, image_shape = _sizes(latent_dim=(latent_dim,), hidden=hidden, image_shape=image_shape)[1:]
        likelihood = likelihoods.get(likelihood)
        encoder = nn.Sequential(nn.Flatten(), _mlp(math.prod(image_shape), *hidden, latent_dim))
        decoder = MLPDecoder(latent_dim, hidden[::-1], _output_shape(image_shape, likelihood))
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)

    def encode(self, x):
        """Return the code z, ``(B, Z)``. Raises ValueError for a wrong shape, dtype or device of x."""
        self._check(x)
        return self.encoder(x).to(x.dtype)

    def forward(self, x, samples=1, generator=None):
        """Encode and decode: return the parameters ``(1, B, C, H, W)``, z ``(B, Z)``, and None for a log-variance.

        The form of ``VAE.forward``. There is no noise: ``samples`` and ``generator`` change nothing.
        """
        z = self.encode(x)
        return self.decode(z).unsqueeze(0), z, None


class VAE(_EncoderDecoder):
    """Prior p(z) = N(0, I), decoder and likelihood p(x | z), encoder q(z | x).

    ``encoder``: images ``(B, C, H, W)`` to ``(mu, logvar)``, each ``(B, Z)``. ``decoder``: ``(..., Z)`` to the
    likelihood's parameters, ``(..., channels * C, H, W)``. ``likelihood``: a name or an object of ``likelihoods``.
    """

    def __init__(self, encoder, decoder, latent_dim, image_shape=(1, 28, 28), likelihood="bernoulli"):
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)

    def encode(self, x):
        """Return the mean and log-variance of q(z | x), each ``(B, Z)``.

        Raises ValueError for a wrong shape, dtype or device of x.
        """
        self._check(x)
        mu, logvar = self.encoder(x)
        return mu.to(x.dtype), logvar.to(x.dtype)  # under autocast, layers answer in bfloat16

    def forward(self, x, samples=1, generator=None):
        """Encode, draw z ~ q(z | x), decode: return the parameters ``(S, B, C, H, W)``, mu and logvar ``(B, Z)``."""
        mu, logvar = self.encode(x)
        return self.decode(reparameterize(mu, logvar, samples, generator)), mu, logvar

    @torch.no_grad()
    def sample(self, n, generator=None):
        """Return n images drawn from the model, ``(n, C, H, W)``: z from the prior, then x from p(x | z)."""
        like = next(self.parameters())
        z = torch.randn(n, self.latent_dim, generator=generator, dtype=like.dtype, device=like.device)
        return self.likelihood.sample(self.decode(z), generator)


class MLPVAE(VAE):
    """A VAE of fully connected layers; the decoder mirrors the encoder. By default 784-400-20-400-784.

    Source: Kingma and Welling (2014), appendix C, with ReLU in place of tanh.
    """

    def __init__(self, latent_dim=20, hidden=(400,), likelihood="bernoulli", image_shape=(1, 28, 28)):
        hidden, image_shape = _sizes(latent_dim=(latent_dim,), hidden=hidden, image_shape=image_shape)[1:]
        likelihood = likelihoods.get(likelihood)
        encoder = MLPEncoder(latent_dim, hidden, image_shape)
        decoder = MLPDecoder(latent_dim, hidden[::-1], _output_shape(image_shape, likelihood))
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)


class ConvVAE(VAE):
    """A VAE of convolutions, each of which halves height and width; the decoder mirrors the encoder.

    By default 1 x 28 x 28, 32 x 14 x 14, 64 x 7 x 7, 20 and back. ``image_shape`` may be odd, as long as a pixel is
    left after all halvings.
    """

    def __init__(self, latent_dim=20, channels=(32, 64), likelihood="bernoulli", image_shape=(1, 28, 28)):
        channels, image_shape = _sizes(latent_dim=(latent_dim,), channels=channels, image_shape=image_shape)[1:]
        if not channels:
            raise ValueError("channels must name at least one layer; got none")
        if min(_halvings(image_shape, len(channels))[-1]) < 1:
            raise ValueError(f"image_shape {image_shape} cannot be halved {len(channels)} times; give fewer channels")
        likelihood = likelihoods.get(likelihood)
        encoder = ConvEncoder(latent_dim, channels, image_shape)
        decoder = ConvDecoder(latent_dim, channels[::-1], _output_shape(image_shape, likelihood))
        super().__init__(encoder, decoder, latent_dim, image_shape, likelihood)
        self.to(memory_format=torch.channels_last)  # the order in which processors like the numbers of a convolution


def _mlp(*sizes):
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no non-linearity after the last layer: it gives means, log-variances, logits


def _halvings(image_shape, times):
    """H x W before and after each of so many convolutions of 4 x 4 with stride 2 and padding 1."""
    return [tuple(size >> step for size in image_shape[1:]) for step in range(times + 1)]


def _output_shape(image_shape, likelihood):
    return (likelihood.channels * image_shape[0], *image_shape[1:])


def _sizes(**named):
    """The sizes as tuples, in order. Raises ValueError, with the name, unless all are whole numbers of at least 1."""
    for name, sizes in named.items():
        named[name] = sizes = tuple(sizes)
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise ValueError(f"{name} must be made of whole numbers of at least 1; got {_joined(sizes)}")
    return list(named.values())


def _joined(sizes):
    return ", ".join(map(str, sizes))
