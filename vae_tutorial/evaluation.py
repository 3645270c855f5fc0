"""Evaluation of a trained VAE: log p(x), rate and distortion, inactive units, and how its codes are organised."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from vae_tutorial import _checks, _modes
from vae_tutorial.exact import KLSplit
from vae_tutorial.imputation import Imputed, impute
from vae_tutorial.information import gaussian_kl
from vae_tutorial.landmarks import Landmark, Landmarks, landmarks
from vae_tutorial.marginal import LogMarginal, MarginalSummary, log_marginal
from vae_tutorial.models import VAE, Autoencoder, reparameterize
from vae_tutorial.neighbours import NearestImages, nearest_images
from vae_tutorial.objectives import elbo
from vae_tutorial.proposals import Refined, refine
from vae_tutorial.witnesses import GridMarginal, log_marginal_annealed, log_marginal_grid

__all__ = [
    "Accuracy",
    "GridMarginal",
    "Imputed",
    "Landmark",
    "Landmarks",
    "LogMarginal",
    "MarginalSummary",
    "Mean",
    "NearestImages",
    "RateDistortion",
    "Refined",
    "active_units",
    "encode",
    "impute",
    "landmarks",
    "linear_probe",
    "log_marginal",
    "log_marginal_annealed",
    "log_marginal_grid",
    "mean",
    "nearest_images",
    "nearest_neighbours",
    "rate_distortion",
    "refine",
    "split_kl",
    "unit_kl",
]

_LOG_2PI = math.log(2 * math.pi)


class Mean(NamedTuple):
    """A mean over images, and its standard error from the choice of images; in nats per image."""

    value: float
    stderr: float

    def __str__(self):
        return f"{self.value:.2f} ± {self.stderr:.2f}"


def mean(values: Tensor) -> Mean:
    """Return the mean of one number for each image, ``(B,)``, with its standard error, as :class:`Mean`.

    The error is that of sampling the test images. It does not include the variation between training seeds.
    Raises ValueError for fewer than two values and for a wrong shape.
    """
    values = _checks.tensor(values, "values")
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must have shape (B,) with B >= 2; got {tuple(values.shape)}")
    values = values.detach().cpu().double()  # Apple's GPU has no float64
    return Mean(values.mean().item(), values.std().item() / len(values) ** 0.5)


@_modes.measuring
def encode(model: VAE, images: Tensor, batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """Return mu and logvar of q(z | x) for all images, each ``(N, Z)``, with the model in evaluation mode.

    ``images``: as ``objectives.elbo`` takes them. uint8 images are divided by 255: a grey pixel goes in as the
    probability that it is on. Raises TypeError and ValueError as ``objectives.elbo`` does.
    """
    images = _checks.images(images, model, "images", divide=True)
    if isinstance(model, Autoencoder):
        raise ValueError("model is an autoencoder, whose code is a point without a variance: model.encode(x)")
    parts = [model.encode(x) for x in images.split(_checks.whole("batch_size", batch_size))]
    mu, logvar = zip(*parts, strict=True)
    return torch.cat(mu), torch.cat(logvar)


class RateDistortion(NamedTuple):
    """``rate`` = KL(q(z | x) || p(z)) and ``distortion`` = -E_q[log p(x | z)]: means over images in nats.

    Each is a :class:`Mean`. Their sum is minus the ELBO: ``negative_elbo``. Its error is its own, since the two are
    correlated over the images.
    """

    rate: Mean
    distortion: Mean
    negative_elbo: Mean


@_modes.measuring
def rate_distortion(
    model: VAE | Autoencoder,
    images: Tensor,
    samples: int = 1,
    generator: Generator | None = None,
    batch_size: int = 1000,
) -> RateDistortion:
    """Return rate, distortion and their sum over the images, as :class:`RateDistortion`, in evaluation mode.

    ``images``: as ``objectives.elbo`` takes them; ``samples`` draws of z for each.
    Source: Alemi et al. (2018), section 2.
    """
    images = _checks.images(images, model, "images")
    batches = images.split(_checks.whole("batch_size", batch_size))
    parts = [elbo(model, x, samples=samples, generator=generator) for x in batches]
    total, reconstruction, kl = (torch.cat(column) for column in zip(*parts, strict=True))
    return RateDistortion(mean(kl), mean(-reconstruction), mean(-total))


def unit_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the mean over images of each latent unit's KL(q(z_j | x) || p(z_j)), ``(Z,)``, nats.

    ``mu``, ``logvar``: ``(N, Z)``, as :func:`encode` returns them. The sum over units is the mean KL, the rate.
    """
    return gaussian_kl(mu.unsqueeze(-1), logvar.unsqueeze(-1)).mean(0)


def active_units(mu: Tensor, threshold: float = 0.01) -> Tensor:
    """Return which latent units are in use, ``(Z,)`` of bool: those whose posterior mean varies over the images.

    A unit is active where Var_x(E_q[z_j | x]) > ``threshold``. ``mu``: ``(N, Z)``, N >= 2, as :func:`encode` gives.
    Raises ValueError for other shapes, and for NaN and infinity.
    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    mu = _checks.tensor(mu, "mu")
    if mu.ndim != 2 or len(mu) < 2:
        raise ValueError(f"mu must have shape (N, Z) with N >= 2; got {tuple(mu.shape)}")
    wrong = int(mu.isfinite().all(1).logical_not().sum())
    if wrong:
        raise ValueError(f"mu is NaN or infinite in {wrong} of {len(mu)} rows: are the encoder's weights nan?")
    return mu.var(0) > _checks.amount("threshold", threshold)


@torch.no_grad()
def split_kl(
    mu: Tensor, logvar: Tensor, samples: int = 1, generator: Generator | None = None, batch_size: int = 500
) -> KLSplit:
    """Split the mean KL(q(z | x) || p(z)) over N images into mutual information and KL(aggregate || prior).

    ``mu``, ``logvar``: ``(N, Z)``. The aggregate posterior is the mixture (1 / N) sum_n q(z | x_n) of these N codes
    themselves; E[log q(z | x_n) - log q(z)] over n and ``samples`` draws of z each is estimated by Monte Carlo, the
    first KL is exact. Costs N * N * samples densities. ``exact.GridLatent.split_kl`` does it without noise for Z <= 2.
    Returns ``exact.KLSplit``, each part a :class:`Mean` whose error is that of draws and images together. The mutual
    information, of z about which of the images it was, is at most log N.
    Source: Hoffman and Johnson (2016), ELBO surgery.
    """
    if mu.ndim != 2 or mu.shape != logvar.shape or len(mu) < 2:
        raise ValueError(
            f"mu and logvar must have one shape (N, Z), N >= 2; got {tuple(mu.shape)} and {tuple(logvar.shape)}"
        )
    samples = _checks.whole("samples", samples)
    device = torch.device("cpu") if mu.device.type == "mps" else mu.device  # Apple's GPU has no float64
    if generator is not None and generator.device.type != device.type:
        raise ValueError(f"generator is on {generator.device}, the draws on {device}: use torch.Generator('{device}')")
    mu, logvar = mu.detach().to(device).double(), logvar.detach().to(device).double()
    precision = (-logvar).exp()
    constant = -0.5 * (mu.square() * precision + logvar + _LOG_2PI).sum(-1)  # (N,)
    told = torch.zeros(len(mu), dtype=mu.dtype, device=mu.device)
    for rows in torch.arange(len(mu), device=mu.device).split(batch_size):
        for _ in range(samples):
            z = reparameterize(mu[rows], logvar[rows], 1, generator)[0]  # (b, Z)
            # log N(z; mu_n, var_n) for all n, the square multiplied out: two matrix products
            log_q = constant + z @ (mu * precision).T - 0.5 * z.square() @ precision.T  # (b, N)
            own = log_q.gather(1, rows.unsqueeze(1)).squeeze(1)
            told[rows] += (own - log_q.logsumexp(1) + math.log(len(mu))) / samples
    kl = gaussian_kl(mu, logvar)
    return KLSplit(mean(kl), mean(told), mean(kl - told))


class Accuracy(NamedTuple):
    """The share of test images that were classified correctly, and Wilson's 95 % interval for it."""

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def linear_probe(codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor) -> Accuracy:
    """Return the test :class:`Accuracy` of a logistic regression from codes to labels.

    ``codes``: ``(N, Z)``, standardized here by their own mean and spread; ``labels``: ``(N,)``. How much of the
    class a linear classifier can read off. By scikit-learn, with its default penalty.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return _accuracy(probe, codes, labels, test_codes, test_labels)


def nearest_neighbours(
    codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor, neighbours: int = 5
) -> Accuracy:
    """Return the test :class:`Accuracy` of a vote among the nearest codes, by Euclidean distance.

    ``codes``: ``(N, Z)``; ``labels``: ``(N,)``; ``neighbours``: how many vote.
    """
    from sklearn.neighbors import KNeighborsClassifier

    return _accuracy(KNeighborsClassifier(neighbours), codes, labels, test_codes, test_labels)


def _accuracy(classifier, *data):
    names = ("codes", "labels", "test_codes", "test_labels")
    codes, labels, test_codes, test_labels = map(_checks.tensor, data, names)
    for name, x, y in (("codes", codes, labels), ("test_codes", test_codes, test_labels)):
        if x.ndim != 2 or y.shape != x.shape[:1] or len(x) == 0:
            raise ValueError(f"{name} must be (N, Z) with labels (N,); got {tuple(x.shape)} and {tuple(y.shape)}")
    classifier.fit(codes.cpu().numpy(), labels.cpu().numpy())
    right = classifier.predict(test_codes.cpu().numpy()) == test_labels.cpu().numpy()
    share, n, z = float(right.mean()), len(right), 1.959964
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Accuracy(share, (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n))
