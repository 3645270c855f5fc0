"""Grey digits under five likelihoods, trained for 5 and for 30 passes: is chapter 10's ranking due to short training?

    python benchmarks/logistics.py [--quick] [--folder FOLDER]

Chapter 10's VAE, 784-200-20-200-784, on its 10,000 grey images; three trainings of each likelihood, which differ in the
initial weights, the order of the images and all noise. Measured on 2,000 test images after the 5th and the 30th pass of
one training: ELBO and KL (nats per image, one draw of z), and the squared error of the mean (a pixel, in [0, 1]).

"logistic" is the package's discretized logistic, "two logistics" a mixture of two of them for each pixel. "dequantized"
is a Gaussian with a variance for each pixel that sees new uniform noise on every image in every pass; its ELBO is a
bound for levels too, and the noise is its floor. "cross-entropy" and "continuous Bernoulli" are not
probabilities of levels. 22 minutes on one thread of a busy machine. ``--quick``: a tiny run, as a smoke test.
"""

import argparse
import math
import tempfile
import time

import torch

from vae_tutorial import data, likelihoods, models, objectives, stored, training


class MixtureOfLogistics(torch.nn.Module):
    """One of 256 grey levels from a mixture of discretized logistics, for images of one channel.

    Source: Salimans et al. (2017), section 2.1, without the dependence between channels.
    """

    binary = False

    def __init__(self, components=2):
        super().__init__()
        self.channels = 3 * components  # for each component a mean, a raw log-scale and a logit of its weight
        self.one = likelihoods.DiscretizedLogistic()

    def log_prob(self, x, parameters):
        """Return log P(x | z), ``(...)``, from x of ``(..., 1, H, W)`` and parameters of ``(..., 3 K, H, W)``."""
        pixels, weight = self._components(parameters)
        log_mass = self.one.log_prob(x[..., None, None, None], pixels)  # (..., K, H, W)
        return torch.logsumexp(weight.log_softmax(-3) + log_mass, -3).sum((-2, -1))

    def mean(self, parameters):
        """Return E[x | z], ``(..., 1, H, W)``."""
        pixels, weight = self._components(parameters)
        each = self.one.mean(pixels)[..., 0, 0, 0]  # (..., K, H, W)
        return (weight.softmax(-3) * each).sum(-3, keepdim=True)

    def _components(self, parameters):
        mean, raw, weight = parameters.chunk(3, dim=-3)  # (..., K, H, W) each
        return torch.stack([mean, raw], -1)[..., None, None], weight  # each pixel as an image of its own


class DequantizedGaussian(likelihoods.Gaussian):
    """A Gaussian with a variance per pixel, of levels plus fresh uniform noise; on average below log P."""

    def __init__(self):
        super().__init__("per_pixel", floor=1e-9)  # far below the variance of the noise, 1.3e-6

    def log_prob(self, x, parameters):
        noise = torch.rand(x.shape) - 0.5
        return super().log_prob(x + noise / 255, parameters) - x[0].numel() * math.log(255)


LIKELIHOODS = {
    "logistic": likelihoods.DiscretizedLogistic,
    "two logistics": MixtureOfLogistics,
    "dequantized": DequantizedGaussian,
    "cross-entropy": likelihoods.Bernoulli,
    "continuous Bernoulli": likelihoods.ContinuousBernoulli,
}


@torch.no_grad()
def measured(model, x):
    """Return ELBO, KL and squared error, means over images; the noise is the same for every model."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = objectives.elbo(model, x, generator=torch.Generator().manual_seed(0))
    mean = model.likelihood.mean(model(x, 1, torch.Generator().manual_seed(0))[0][0])
    return parts.elbo.mean().item(), parts.kl.mean().item(), (mean - x).square().mean().item()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 images, one training, 1 and 2 passes")
    parser.add_argument("--folder", help="where to write logistics.json, if not into the package")
    arguments = parser.parse_args(argv)
    quick, start = arguments.quick, time.perf_counter()
    images, seeds, passes = (300, 1, (1, 2)) if quick else (10_000, 3, (5, 30))
    train = data.load("mnist", "train", strict=not quick).images[:images].float() / 255
    test = data.load("mnist", "test", strict=not quick).images[: images // 5].float() / 255

    values = {"passes": passes, "images": images}
    for name, make in LIKELIHOODS.items():
        values[name] = {"elbo": [], "kl": [], "squared error": []}  # [training][5 passes, 30 passes]
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = models.MLPVAE(latent_dim=20, hidden=(200,), likelihood=make())
            rows = []
            with tempfile.TemporaryDirectory() as folder:  # one training, stopped once to be measured
                checkpoint = f"{folder}/training.pt"
                for stop in passes:
                    resume = checkpoint if rows else None
                    training.fit(model, train, epochs=stop, seed=seed, checkpoint=checkpoint, resume=resume)
                    rows.append(measured(model, test))
            for column, numbers in zip(values[name].values(), zip(*rows, strict=True), strict=True):
                column.append(list(numbers))
            print(f"{name:22s} {seed}", *(f"{row[0]:9.1f}{row[1]:7.1f}{row[2]:8.4f}" for row in rows), flush=True)
    stored.write(
        "logistics",
        values,
        command="python benchmarks/logistics.py" + " --quick" * quick,
        protocol=f"{images} grey digits, {images // 5} test images, after {passes[0]} and {passes[1]} passes",
        trainings=seeds,
        minutes=(time.perf_counter() - start) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
