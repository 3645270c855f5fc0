"""Chapter 16's comparisons on emoji of 32 x 32: three likelihoods, and how many latent dimensions.

    python benchmarks/own_images.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

The emoji at 32 x 32, split by ``data.from_folder``; a ``ConvVAE`` of 32, 64 and 128 channels with group norm, Adam at
0.001, batches of 64, 40 passes. The trainings of each differ in the initial weights, the order and all noise. Measured
on held-out images: ``elbo`` (ten draws of z for each), ``kl``, ``nats`` (of the bytes: for a Gaussian the mass of its
bins, rounded and clipped, as chapter 10 derives it; minus the ELBO for the others), ``active`` units, and the squared
error of the mean at z = mu. ``latent``: gaussian_shared with other numbers of latent dimensions.

``--keep``: a cache folder for finished trainings. ``--quick``: a tiny run, as a smoke test.
"""

import functools
import math
import tempfile
from pathlib import Path

import _common
import torch

from vae_tutorial import data, evaluation, models, training

LIKELIHOODS = ("gaussian_shared", "discretized_logistic", "mixture_of_logistics")
LATENT_DIMS = (2, 8, 32, 128)


def emoji(folder):
    """Cut the sheet into a folder of files, and read them as a reader would."""
    sheet, names = data.emoji_sheet()
    for k, name in enumerate(names):
        left, top = 64 * (k % 44), 64 * (k // 44)
        file = Path(folder, f"{name}.bmp")  # a PNG has other bytes where zlib is another, and so another split
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.crop((left, top, left + 64, top + 64)).save(file)
    return data.from_folder(folder, size=32)


def log_mass(x, mean, sd):
    """The log of what a Gaussian gives to each level's bin; the outermost bins take all that lies beyond."""
    above = torch.where(x > 1 - 0.5 / 255, math.inf, (x + 0.5 / 255 - mean) / sd)
    below = torch.where(x < 0.5 / 255, -math.inf, (x - 0.5 / 255 - mean) / sd)
    flip = below > 0
    above, below = torch.where(flip, -below, above), torch.where(flip, -above, below)
    log_phi = torch.special.log_ndtr
    return log_phi(above) + torch.log1p(-torch.exp(log_phi(below) - log_phi(above)))


@torch.no_grad()
def measured(model, x):
    """Return what is known of a trained model, from held-out images ``(N, 3, 32, 32)`` in [0, 1]."""
    model.eval()
    parts = evaluation.rate_distortion(model, x, samples=10, generator=torch.Generator().manual_seed(0), batch_size=50)
    mu, logvar = evaluation.encode(model, x)
    found = {
        "elbo": -parts.negative_elbo.value,
        "kl": parts.rate.value,
        "nats": parts.negative_elbo.value,
        "active": int(evaluation.active_units(mu).sum()),
        "squared error": (model.likelihood.mean(model.decode(mu)) - x).square().mean().item(),
    }
    if hasattr(model.likelihood, "moments"):  # a Gaussian
        masses, noise = [], torch.Generator().manual_seed(0)
        for _ in range(10):
            z = models.reparameterize(mu, logvar, 1, noise)[0]
            mean, log_variance = model.likelihood.moments(model.decode(z))
            sd = (0.5 * log_variance.double()).exp()
            masses.append(log_mass(x.double(), mean.double(), sd).sum((1, 2, 3)).mean().item())
        found["nats"] = parts.rate.value - sum(masses) / len(masses)
    return found


def trained(likelihood, latent_dim, seed, passes, train, x):
    """Train one model and return what is stored of it."""
    torch.manual_seed(seed)
    model = models.ConvVAE(latent_dim, (32, 64, 128), likelihood, (3, 32, 32), norm="group")
    training.fit(model, train, epochs=passes, batch_size=64, seed=seed)
    return measured(model, x)


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    seeds, passes, most = (1, 1, 40) if arguments.quick else (arguments.seeds, 40, None)
    with tempfile.TemporaryDirectory() as folder:
        train, test = emoji(folder)
    images, x = train.images[:most], test.images[:most] / 255

    sweep = [("latent", "gaussian_shared", Z) for Z in LATENT_DIMS]
    race = [("likelihoods", name, 32) for name in LIKELIHOODS]
    values = {"passes": passes, "images": [len(images), len(x)], "latent": {}, "likelihoods": {}}
    taken = {}
    for seed in range(seeds):
        for part, likelihood, Z in sweep + race:
            run = functools.partial(trained, likelihood, Z, seed, passes, images, x)
            name = f"{likelihood} {Z} {seed}"
            found, taken[name] = _common.kept(arguments.keep, name, run)
            key = str(Z) if part == "latent" else likelihood
            values[part].setdefault(key, []).append(found)
            print(name, {key: round(value, 4) for key, value in found.items()}, flush=True)
    _common.write("own_images", values, __doc__, seeds, 3, sum(taken.values()), arguments.folder)


if __name__ == "__main__":
    main()
