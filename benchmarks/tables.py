"""Chapter 16's two tables: a VAE beside one Gaussian, row by row, and a missing column filled in.

    python benchmarks/tables.py [--seeds 6] [--keep FOLDER] [--quick --folder FOLDER]

scikit-learn's wine and breast cancer, a quarter held out by ``data.from_arrays``; ``MLPVAE``, 64 hidden units,
gaussian_learned, Adam at 0.002, batches of 32. The trainings differ in the initial weights, the order and all noise. On
held-out rows, in nats of the table's units: ``bound`` (minus the ELBO, 20 draws), ``nats`` (minus log p(x), 2,000 draws
of a refined proposal), ``lead`` over the Gaussian with all covariances and its standard error, both of the differences
row by row; wine: ``error``, the root of the mean square of flavanoids filled in from the other columns.

``--keep``: a cache folder for finished trainings. ``--quick``: a tiny run, as a smoke test.
"""

import functools

import _common
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch.distributions import MultivariateNormal

from vae_tutorial import data, evaluation, models, training
from vae_tutorial.imputation import impute

MISSING = 6  # flavanoids
RUNS = {
    "wine": (load_wine, 4, 150),
    "cancer": (load_breast_cancer, 8, 80),
    "cancer, wider": (load_breast_cancer, 16, 600),
}


def trained(table, latent_dim, passes, seed, draws):
    """Train one model and return what is stored of it."""
    rows, held_out = (part.images for part in data.from_arrays(table.data, split=0.25))
    torch.manual_seed(seed)
    vae = models.MLPVAE(latent_dim, (64,), "gaussian_learned", rows.shape[1:])
    training.fit(vae, rows, epochs=passes, batch_size=32, lr=2e-3, seed=seed)
    noise = torch.Generator().manual_seed(0)
    log_p = evaluation.log_marginal(vae, held_out, draws, noise, proposal="refined")
    exact = rows.double()
    gaussian = MultivariateNormal(exact.mean(0), torch.cov(exact.T, correction=0))
    lead = evaluation.mean(log_p.value.double() - gaussian.log_prob(held_out.double()))
    found = {
        "bound": evaluation.rate_distortion(vae, held_out, 20, noise).negative_elbo.value,
        "nats": -log_p.value.mean().item(),
        "ess": log_p.summary().ess,
        "gaussian": -gaussian.log_prob(held_out.double()).mean().item(),
        "lead": lead.value,
        "stderr": lead.stderr,
    }
    if rows.shape[1] == 13:
        missing = torch.arange(13) == MISSING
        filled = impute(vae, held_out, missing, samples=500, generator=noise).mean
        found["error"] = (filled - held_out)[:, MISSING].square().mean().sqrt().item()
    return found


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=6)
    seeds, draws = (1, 20) if arguments.quick else (arguments.seeds, 2000)
    values, minutes = {name: [] for name in RUNS}, 0.0
    for name, (load, latent_dim, passes) in RUNS.items():
        for seed in range(seeds):
            run = functools.partial(trained, load(), latent_dim, 1 if arguments.quick else passes, seed, draws)
            found, took = _common.kept(arguments.keep, f"{name} {seed}", run)
            minutes += took
            values[name].append(found)
            print(name, seed, {key: round(value, 3) for key, value in found.items()}, flush=True)
    _common.write("tables", values, __doc__, seeds, 6, minutes, arguments.folder)


if __name__ == "__main__":
    main()
