"""Is it collapse, and whose fault: one deep VAE trained in several ways from the same first weights (chapter 12).

    python benchmarks/collapse.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

784-50-50-50-10 and back, 4,000 training images, 200 passes in batches of 50, Adam. The ways: plain (beta = 1); warm-up
(beta from 0 to 1 over the first half); free bits (a quarter of a nat for each unit); almost free (beta = 0.01, nearly
an autoencoder). Each with both step sizes. After the last pass ELBO, rate and distortion are measured with one draw of
z for each training image and for each of the 10,000 test images, and so is each unit's mean KL on the test images.
The curves: the ELBO as a mean over the pass in training, and on every fifth test image after it; every fifth pass.

``--keep``: a folder that holds each finished training, so that a run that was cut off goes on. ``--quick`` runs it
tiny, to see that it runs.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from vae_tutorial import data, evaluation, models, objectives, stored, training

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the finished trainings")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    seeds, passes, count = (1, 2, 200) if arguments.quick else (arguments.seeds, 200, 4000)
    if arguments.quick and arguments.folder is None:
        parser.error("--quick needs --folder: a tiny run is no result")
    strict = not arguments.quick
    grey = data.load("mnist", "train", strict=strict).images[:10_000]
    images = data.binarize(grey, torch.Generator().manual_seed(1))[:count]
    test = data.test_binarization("mnist", strict=strict)

    runs, minutes = [], 0.0
    for seed in range(seeds):
        for lr in STEPS:
            for way in WAYS:
                kept = arguments.keep and arguments.keep / f"{way} {lr} {seed}.json"
                if kept and kept.exists():
                    run = json.loads(kept.read_text("utf-8"))
                else:
                    start = time.process_time()
                    run = trained(way, lr, seed, images, test, passes)
                    run["minutes"] = (time.process_time() - start) / 60
                    if kept:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_text(json.dumps(run), "utf-8")
                minutes += run.pop("minutes")
                runs.append(run)
                awake = sum(nats > 0.1 for nats in run["unit_kl"])
                print(
                    f"seed {seed}, step {lr}, {way:11}: training {run['train']['elbo']:8.2f}, "
                    f"test {run['test']['elbo']:8.2f}, {awake} units awake",
                    flush=True,
                )
    stored.write(
        "collapse",
        {"passes": passes, "images": count, "runs": runs},
        command="python benchmarks/collapse.py" + (f" --seeds {seeds}" if seeds != 3 else ""),
        protocol=" ".join(__doc__.split("\n\n")[2].split()),
        trainings=seeds,
        minutes=minutes,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
