"""Is it collapse, and whose fault: one deep VAE trained in several ways from the same first weights (chapter 12).

    python benchmarks/collapse.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

784-50-50-50-10 and back, 4,000 training images, 200 passes in batches of 50, Adam. The ways: plain (beta = 1); warm-up
(beta from 0 to 1 over the first half); free bits (a quarter of a nat for each unit); almost free (beta = 0.01, nearly
an autoencoder). Each with both step sizes. After the last pass ELBO, rate and distortion are measured with one draw of
z for each training image and for each of the 10,000 test images, and so is each unit's mean KL on the test images.
The curves: the ELBO as a mean over the pass in training, and on every fifth test image after it; every fifth pass.

``--keep``: a cache folder for finished trainings, so that an interrupted run resumes. ``--quick``: a tiny run, as a
smoke test.
"""

import functools
import itertools

import _common
import torch

from vae_tutorial import data, evaluation, models, objectives, training

WAYS = {
    "plain": {},
    "free bits": {"free_bits": 0.25},
    "warm-up": {"beta": lambda progress: min(1, 2 * progress)},
    "almost free": {"beta": 0.01},
}
STEPS = (3e-3, 1e-3)


def measured(vae, images):
    """Return ELBO, rate and distortion, means over the images."""
    parts = objectives.elbo(vae, images, generator=torch.Generator().manual_seed(0))
    rate, distortion = parts.kl.mean().item(), -parts.reconstruction.mean().item()
    return {"elbo": -(rate + distortion), "rate": rate, "distortion": distortion}


def trained(way, lr, seed, images, test, passes):
    """Train once and return what is stored of it."""
    torch.manual_seed(seed)
    vae = models.MLPVAE(latent_dim=10, hidden=(50, 50, 50))
    settings = {"epochs": passes, "batch_size": 50, "lr": lr, "seed": seed, "test": test[::5]}
    history = training.fit(vae, images, **settings, **WAYS[way], progress=False)
    vae.requires_grad_(False)
    curves = {"curve": history["elbo"], "test_curve": history["test_elbo"]}
    return {
        "way": way,
        "lr": lr,
        "seed": seed,
        "train": measured(vae, images),
        "test": measured(vae, test),
        "unit_kl": sorted(evaluation.unit_kl(*vae.encode(test)).tolist(), reverse=True),
        **{name: [round(value, 2) for value in curve[4::5]] for name, curve in curves.items()},
    }


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    seeds, passes, count = (1, 2, 200) if arguments.quick else (arguments.seeds, 200, 4000)
    grey = data.load("mnist", "train", strict=not arguments.quick).images[:10_000]
    images = data.binarize(grey, torch.Generator().manual_seed(1))[:count]
    test = data.test_binarization("mnist", strict=not arguments.quick)

    runs, minutes = [], 0.0
    for seed, lr, way in itertools.product(range(seeds), STEPS, WAYS):
        run, took = _common.kept(
            arguments.keep,
            f"{way} {lr} {seed}",
            functools.partial(trained, way, lr, seed, images, test, passes),
        )
        runs.append(run)
        minutes += took
        awake = sum(nats > 0.1 for nats in run["unit_kl"])
        print(
            f"seed {seed}, step {lr}, {way:11}: training {run['train']['elbo']:8.2f}, "
            f"test {run['test']['elbo']:8.2f}, {awake} units awake",
            flush=True,
        )
    values = {"passes": passes, "images": count, "runs": runs}
    _common.write("collapse", values, __doc__, seeds, 3, minutes, arguments.folder)


if __name__ == "__main__":
    main()
