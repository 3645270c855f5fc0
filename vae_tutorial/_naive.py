"""The models behind ``landmarks``: each knows little, and what it costs is a row. Nats, in float64."""

from __future__ import annotations

import io
import lzma
import math
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, features
from torch import Generator

from vae_tutorial import _checks, data, likelihoods

BLACK_AND_WHITE = "bernoulli"
LEVELS = "discretized_logistic, mixture_of_logistics"
DENSITIES = "gaussian_*, continuous_bernoulli"
TABLE = "gaussian_*, in the table's units"
FILES = 1000  # so many images are written as files, and compressed together by xz


class Landmark(NamedTuple):
    """What an image costs under one model: a mean in ``nats``, with its standard error over the images.

    ``stderr`` is NaN where the images share one archive. ``bits`` is per dimension; NaN for a density, whose bits
    depend on the unit. ``compare_with``: the likelihoods whose -ELBO is in the same currency.
    """

    model: str
    nats: float
    stderr: float
    bits: float
    compare_with: str

    def said(self) -> tuple[str, ...]:
        """Return nats, error and bits as they are printed; what is not known is empty."""
        texts = f"{self.nats:,.1f}", f"{self.stderr:.1f}", f"{self.bits:.2f}"
        return tuple("" if text == "nan" else text for text in texts)


def black_and_white(fit, x):
    """Rows in nats of zeros and ones. Grey values count as probabilities, for which the expected cost is exact."""
    total = _sum(fit)
    each, one = (total + 0.5) / (len(fit) + 1), (total.sum() + 0.5) / (fit.numel() + 1)
    models = {"all images equally likely": torch.full_like(each, 0.5)}
    models |= {"one Bernoulli for all pixels": one.expand_as(each), "a Bernoulli for each pixel": each}
    bernoulli = likelihoods.Bernoulli()
    rows = [
        _row(name, _costs(lambda v, p=p: bernoulli.log_prob(v, p.logit()), x), BLACK_AND_WHITE, x)
        for name, p in models.items()
    ]
    some = x[spread(len(x), FILES)]
    drawn = some if zeros_and_ones(some) else data.binarize(some, Generator().manual_seed(0))
    ink = drawn.numpy().astype(bool)
    if x.shape[1] == 1 and x.shape[2] > 1:
        rows.append(_files("PNG of 1 bit", [Image.fromarray(picture) for picture in ink[:, 0]], BLACK_AND_WHITE, x))
    return [*rows, _archive("xz of all, packed in bits", np.packbits(ink), BLACK_AND_WHITE, some)]


def levels(fit, x):
    """Rows in nats of the 256 levels; floating values count as the nearest."""
    fit, x = ((v if v.dtype == torch.uint8 else (v * 255).round().to(torch.uint8)) for v in (fit, x))
    logistic = likelihoods.DiscretizedLogistic()
    nothing = torch.zeros(2 * x.shape[1], *x.shape[2:], dtype=torch.float64)
    found = {
        "uniform over 256 levels": torch.full((len(x),), x[0].numel() * math.log(256), dtype=torch.float64),
        "untrained discretized_logistic": _costs(lambda v: logistic.log_prob(v, nothing), x),
        "the mean image, one logistic scale": _mean_image(fit, x, logistic),
        "a histogram for each channel": _histograms(fit, x, x.shape[1]),
        "a histogram for each pixel": _histograms(fit, x, x[0].numel()),
    }
    rows = [_row(name, nats, LEVELS, x) for name, nats in found.items()]
    some = x[spread(len(x), FILES)]
    if x.shape[1] in (1, 3, 4):  # what Pillow can write: grey, RGB, RGBA
        pictures = [Image.fromarray(v.numpy()) for v in some.permute(0, 2, 3, 1).squeeze(-1)]
        rows.append(_files("PNG", pictures, LEVELS, x))
        if features.check("webp"):
            rows.append(_files("WebP, lossless", pictures, LEVELS, x, format="WEBP", lossless=True, exact=True))
    return [*rows, _archive("xz of all", some.numpy(), LEVELS, some)]


def densities(fit, x):
    """Rows in nats of densities on [0, 1]."""
    mean = _sum(fit) / len(fit)
    var = sum((_unit(part) - mean).square().sum(0) for part in _parts(fit)) / len(fit)
    models = {"the mean image, one variance": var.mean(), "the mean image, a variance for each pixel": var}
    shared = likelihoods.Gaussian("shared").requires_grad_(False)
    nothing, floor = torch.zeros_like(mean), shared.floor
    found = {
        "uniform on [0, 1]": torch.zeros(len(x), dtype=torch.float64),
        "untrained gaussian_shared": _costs(lambda v: shared.log_prob(v, nothing), x),
    }
    for name, variance in models.items():
        normal = torch.distributions.Normal(mean, variance.clamp_min(floor).sqrt())
        found[name] = _costs(lambda v, normal=normal: normal.log_prob(v).sum((1, 2, 3)), x)
    return [_row(name, nats, DENSITIES, x) for name, nats in found.items()]


def as_density(row, x):
    """The row of a model of levels as a density that is constant within each level, whose bin is 1/255 wide."""
    nats = row.nats - x[0].numel() * math.log(255)
    return Landmark(f"{row.model}, as a density", nats, row.stderr, math.nan, DENSITIES)


def table(fit, x):
    """Rows in nats of densities in the table's own units. Raises ValueError for constant columns."""
    fit, x = fit.double(), x.double()
    mean, sd = fit.mean(0), fit.std(0, correction=0)
    flat = (sd <= 1e-12 * fit.abs().amax(0)).nonzero().flatten().tolist()
    if flat:
        raise ValueError(
            f"images is constant in column {_checks.joined(flat[:5])}, whose density would be infinite; leave it out"
        )
    rows = [_row("a Gaussian for each column", -torch.distributions.Normal(mean, sd).log_prob(x).sum(1), TABLE, x)]
    scaled, name = (fit - mean) / sd, "one Gaussian, all covariances"
    covariance = scaled.T @ scaled / len(fit)
    if len(fit) <= 2 * fit.shape[1] or torch.linalg.eigvalsh(covariance)[0] < 1e-9:  # too few rows, or a sum of columns
        from sklearn.covariance import ledoit_wolf

        covariance, name = torch.from_numpy(ledoit_wolf(scaled.numpy(), assume_centered=True)[0]), f"{name}, shrunk"
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(mean), covariance)
    return [*rows, _row(name, sd.log().sum() - normal.log_prob((x - mean) / sd), TABLE, x)]


def spread(total, most):
    """At most ``most`` of the indices below ``total``, evenly spaced."""
    return torch.linspace(0, total - 1, min(total, most), dtype=torch.float64).round().long()


def zeros_and_ones(x):
    return x.is_floating_point() and bool(((x == 0) | (x == 1)).all())


def _parts(x):
    return x.split(max(1, 2**22 // x[0].numel()))  # float64 is eight times as large as bytes


def _unit(x):
    return x.double() / 255 if x.dtype == torch.uint8 else x.double()


def _sum(x):
    return sum(_unit(part).sum(0) for part in _parts(x))


def _costs(log_prob, x):
    return torch.cat([-log_prob(_unit(part)) for part in _parts(x)])


def _row(name, nats, compare_with, x):
    bits = math.nan if compare_with in (DENSITIES, TABLE) else nats.mean().item() / (x[0].numel() * math.log(2))
    return Landmark(name, nats.mean().item(), nats.std().item() / math.sqrt(len(nats)), bits, compare_with)


def _histograms(fit, x, kinds):
    """The nats of each image, ``(N,)``, under a smoothed histogram for each of ``kinds`` equal parts of its values."""
    fit, x = fit.reshape(len(fit), kinds, -1), x.reshape(len(x), kinds, -1)  # (N, kinds, values)
    nats = torch.zeros(len(x), dtype=torch.float64)
    for start in range(0, kinds, 4096):
        seen, asked = fit[:, start : start + 4096], x[:, start : start + 4096]
        counts = torch.full((seen.shape[1], 256), 0.5, dtype=torch.float64)
        for part in _parts(seen):
            index = part.transpose(0, 1).flatten(1).long()  # (kinds, images and values)
            counts.scatter_add_(1, index, counts.new_ones(()).expand(index.shape))
        log_p = (counts / counts.sum(1, keepdim=True)).log()
        for part, total in zip(_parts(asked), nats.split(len(_parts(asked)[0])), strict=True):
            index = part.transpose(0, 1).flatten(1).long()
            total -= log_p.gather(1, index).view(*part.transpose(0, 1).shape).sum((0, 2))
    return nats


def _mean_image(fit, x, logistic):
    """The nats of each image if every pixel is logistic round the mean image, with the one scale that is best."""
    from scipy.optimize import minimize_scalar

    mean, some = _sum(fit) / len(fit), fit[spread(len(fit), 250)]

    def costs(raw, images):
        return _costs(lambda v: logistic.log_prob(v, torch.cat([mean, torch.full_like(mean, raw)])), images)

    best = minimize_scalar(lambda raw: costs(raw, some).mean().item(), bounds=(-8, 2), options={"xatol": 0.01})
    return costs(best.x, x)


def _files(name, pictures, compare_with, x, **options):
    sizes = []
    for picture in pictures:
        picture.save(file := io.BytesIO(), **({"format": "PNG", "optimize": True} | options))
        sizes.append(len(file.getvalue()))
    return _row(name, 8 * math.log(2) * torch.tensor(sizes, dtype=torch.float64), compare_with, x)


def _archive(name, values, compare_with, x):
    nats = 8 * math.log(2) * len(lzma.compress(values.tobytes())) / len(x)
    return Landmark(name, nats, math.nan, nats / (x[0].numel() * math.log(2)), compare_with)
