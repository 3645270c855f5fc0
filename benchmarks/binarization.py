"""Chapter 13's question whether two papers' nats may be compared: one network, trained on three kinds of targets.

    python benchmarks/binarization.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

models.MLPVAE with its defaults, 60 passes over 60,000 images, Adam at 0.001, batches of 128; the seed sets the first
weights, the order and all noise. ``anew``: the pixels are drawn from the grey values at each presentation. ``once``:
they were drawn once, before the training. ``grey``: the grey values themselves, as probabilities. ``test``: ELBO of the
ledger's 10,000 test images, 5 draws of z. ``train``: of 10,000 training images as the training saw them (anew: one
more draw). ``printed``: what the reader of ``grey``'s own log would see, the same sum for the 10,000 grey test images.
``few``: the first 300 training and test images, with 50 draws for the ELBO and 500 of a refined proposal for log p(x).

``--keep``: a cache folder for finished trainings. ``--quick``: a tiny run, as a smoke test.
"""

import functools

import _common
import torch

from vae_tutorial import data, evaluation, models, objectives, training

WAYS = ("anew", "once", "grey")


@torch.no_grad()
def elbo(model, x, draws):
    """Return the mean ELBO of the images."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.cat([objectives.elbo(model, part, samples=draws, generator=generator).elbo for part in x.split(500)])
        .mean()
        .item()
    )


def few(model, x, draws):
    """Return the ELBO and log p(x) of some images, and the standard error of their difference."""
    generator = torch.Generator().manual_seed(0)
    log_p = evaluation.log_marginal(model, x, draws, generator, proposal="refined").value
    with torch.no_grad():
        bound = objectives.elbo(model, x, samples=50, generator=generator).elbo
    gap = evaluation.mean(log_p - bound)
    return {"elbo": bound.mean().item(), "log_p": log_p.mean().item(), "gap": gap.value, "stderr": gap.stderr}


def trained(way, seed, passes, count, draws, strict):
    """Train one model and return what is stored of it."""
    grey = data.load("mnist", "train", strict=strict).images[:count]
    grey_test = data.load("mnist", "test", strict=strict).images[:count]
    test = data.test_binarization("mnist", strict=strict)[:count]
    drawn = data.binarize(grey, torch.Generator().manual_seed(1_000 + seed))
    seen = {"anew": grey, "once": drawn, "grey": grey.float() / 255}[way]
    torch.manual_seed(seed)
    model = models.MLPVAE()
    training.fit(model, seen, epochs=passes, seed=seed, progress=False)
    again = drawn if way == "anew" else seen
    found = {"way": way, "seed": seed, "test": elbo(model, test, 5), "train": elbo(model, again[:10_000], 5)}
    if way == "grey":
        found["printed"] = elbo(model, grey_test.float() / 255, 5)
    else:
        found["few"] = {"train": few(model, again[:300], draws), "test": few(model, test[:300], draws)}
    return found


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    seeds, passes, count, draws = (1, 1, 20, 5) if arguments.quick else (arguments.seeds, 60, 60_000, 500)
    runs, total = [], 0.0
    for seed in range(seeds):
        for way in WAYS:
            run = functools.partial(trained, way, seed, passes, count, draws, not arguments.quick)
            found, minutes = _common.kept(arguments.keep, f"{way}-{seed}", run)
            print(found, f"{minutes:.1f} min", flush=True)
            runs.append(found)
            total += minutes
    _common.write("binarization", {"runs": runs}, __doc__, seeds, 3, total, arguments.folder)


if __name__ == "__main__":
    main()
