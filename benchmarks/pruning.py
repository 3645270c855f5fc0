"""Is an inactive unit optimal at beta = 20? Training continued at that beta, from weights that use more units.

    python benchmarks/pruning.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

The shipped models of beta = 20 (the control), 10 and 1 are each trained on at beta = 20, six passes over the 60,000
training images, by the recipe of the shipped ones (Adam, step 0.001 falling along a cosine, averaged weights; chapter
12). ``seed`` is that of batches and draws. Measured with one draw of z: D + 20 R on 10,000 training images in one fixed
binarization, before and after; and after it each unit's mean KL on them. Units whose KL is above 0.1 nats count.

``--keep``: a cache folder for finished trainings. ``--quick``: a tiny run, as a smoke test.
"""

import functools
import itertools

import _common
import torch

from vae_tutorial import data, evaluation, objectives, pretrained, training

BETA = 20
STARTS = ("beta-20", "beta-10", "beta-1")


def measured(vae, images):
    """Return rate, distortion and the objective at beta = 20, means over the images, and each unit's KL."""
    parts = objectives.elbo(vae, images, generator=torch.Generator().manual_seed(0))
    rate, distortion = parts.kl.mean().item(), -parts.reconstruction.mean().item()
    units = evaluation.unit_kl(*vae.encode(images))
    return {
        "rate": rate,
        "distortion": distortion,
        "objective": distortion + BETA * rate,
        "units": int((units > 0.1).sum()),
        "unit_kl": sorted(units.tolist(), reverse=True),
    }


def trained_on(start, seed, grey, images, passes):
    """Train a shipped model on at beta = 20, and return what is stored of it."""
    vae = pretrained.load(start)
    with torch.no_grad():
        before = measured(vae, images)
    ema = torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
    average = torch.optim.swa_utils.AveragedModel(vae, multi_avg_fn=ema)
    training.fit(
        vae,
        grey,
        epochs=passes,
        beta=BETA,
        seed=100 + seed,
        average=average,
        schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, passes),
        progress=False,
    )
    with torch.no_grad():
        return {"start": start, "seed": seed, "before": before, "after": measured(average.module, images)}


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    seeds, passes, count = (1, 1, 300) if arguments.quick else (arguments.seeds, 6, 60_000)
    grey = data.load("mnist", "train", strict=not arguments.quick).images[:count]
    images = data.binarize(grey[:10_000], torch.Generator().manual_seed(1))

    runs, minutes = [], 0.0
    for seed, start in itertools.product(range(seeds), STARTS):
        run, took = _common.kept(
            arguments.keep,
            f"{start} {seed}",
            functools.partial(trained_on, start, seed, grey, images, passes),
        )
        runs.append(run)
        minutes += took
        before, after = run["before"], run["after"]
        print(
            f"seed {seed}, from {start:7}: objective {before['objective']:7.2f} to {after['objective']:7.2f}, "
            f"units {before['units']} to {after['units']}",
            flush=True,
        )
    values = {"passes": passes, "images": count, "runs": runs}
    _common.write("pruning", values, __doc__, seeds, 3, minutes, arguments.folder)


if __name__ == "__main__":
    main()
