"""Race the three networks of chapter 9: the ELBO after each pass, to the time of twelve passes of the CNN.

    python benchmarks/equal_time.py            half an hour on one busy core; needs MNIST and Fashion-MNIST
    python benchmarks/equal_time.py --quick --folder FOLDER     a smoke test of seconds, on whatever data are there

Protocol: the settings of chapter 9 (10,000 training images, batches of 64, learning rate 0.002), the ELBO with one draw
of z for every fifth test image, after each pass, for each seed. The CNN makes twelve passes, the MLPs as many as fit
into its time. How many fit is measured first: short trainings of the three in turn, many rounds, within one process and
one thread; an MLP's pass costs the median over the rounds of the ratio of its seconds to the CNN's of the same round.
``scrambled``: the pixels of all images under one permutation, the one of the chapter, at equal passes.
``haze``: the share of 1,000 draws of the prior whose picture has a mean probability above 0.03 along its four edges,
from each seed's CNN after a quarter of its passes and after all of them.
"""

import argparse
import statistics
import tempfile
import time

import torch

from vae_tutorial import data, models, stored, training

SETTINGS = {"batch_size": 64, "lr": 2e-3, "progress": False}
NETWORKS = {
    "CNN": lambda: models.ConvVAE(channels=(16, 32)),
    "narrow MLP": lambda: models.MLPVAE(hidden=(69,)),
    "wide MLP": lambda: models.MLPVAE(hidden=(400,)),
}


def fresh(name, seed):
    torch.manual_seed(seed)
    return NETWORKS[name]()


def seconds_of_a_pass(images, rounds):
    """Return what a pass of each network costs, in passes of the CNN, and the median seconds."""
    found = {name: [] for name in NETWORKS}
    for _ in range(rounds):
        for name in NETWORKS:
            found[name] += training.fit(fresh(name, 0), images, epochs=1, seed=0, **SETTINGS)["seconds"]
    cost = {
        name: statistics.median(own / cnn for own, cnn in zip(times, found["CNN"], strict=True))
        for name, times in found.items()
    }
    return cost, {name: statistics.median(times) for name, times in found.items()}


def race(images, test, passes, seeds):
    """Return the test ELBO after each pass: ``{network: [[nats, ...] for each seed]}``."""
    return {
        name: [
            training.fit(fresh(name, seed), images, epochs=count, seed=seed, test=test, **SETTINGS)["test_elbo"]
            for seed in seeds
        ]
        for name, count in passes.items()
    }


@torch.no_grad()
def haze(model):
    """Return the share of draws of the prior whose pictures are grey along the edges."""
    z = torch.randn(1000, 20, generator=torch.Generator().manual_seed(0))
    edge = torch.ones(28, 28, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    grey = torch.sigmoid(model.decode(z))[:, 0, edge].mean(1)
    return (grey > 0.03).float().mean().item()


def haze_early_and_late(images, passes, seeds):
    """Train the CNN as :func:`race` does; return :func:`haze` after a quarter of the passes and after all."""
    found = []
    for seed in seeds:
        model = fresh("CNN", seed)
        with tempfile.TemporaryDirectory() as folder:
            kept, shares = f"{folder}/cnn.pt", []
            for count in (max(1, passes // 4), passes):
                resume = kept if shares else None
                training.fit(model, images, epochs=count, seed=seed, checkpoint=kept, resume=resume, **SETTINGS)
                shares.append(haze(model))
        found.append(shares)
    return found


def permuted(images, order):
    return images.flatten(1)[:, order].view_as(images)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny, on whatever data are there")
    parser.add_argument("--folder", help="where the result goes, if not into the package")
    parser.add_argument("--root", help="folder that holds MNIST/raw and FashionMNIST/raw")
    arguments = parser.parse_args(argv)
    size, budget, seeds, rounds = (200, 2, [0], 2) if arguments.quick else (10_000, 12, [0, 1, 2], 40)
    torch.set_num_threads(1)
    start, how = time.perf_counter(), {"root": arguments.root, "strict": not arguments.quick}
    images, tests = {}, {}
    for name in ("mnist", "fashion"):
        images[name] = data.load(name, "train", **how).images[:size]
        tests[name] = data.test_binarization(name, **how)[::5]
    cost, _ = seconds_of_a_pass(images["mnist"][: size // 8], rounds)
    passes = {name: max(1, int(budget / share + 1e-9)) for name, share in cost.items()}
    print("passes in equal time:", passes, flush=True)
    found = {"cost": cost, "passes": passes, "seeds": seeds}
    found["haze"] = haze_early_and_late(images["mnist"], budget, seeds)
    print("haze:", found["haze"], flush=True)
    order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
    images["scrambled"], tests["scrambled"] = permuted(images["mnist"], order), permuted(tests["mnist"], order)
    for name in images:
        count = {"CNN": budget, "narrow MLP": budget} if name == "scrambled" else passes
        found[name] = race(images[name], tests[name], count, seeds)
        print(f"{name}: {(time.perf_counter() - start) / 60:.0f} minutes", flush=True)
    stored.write(
        "equal_time",
        found,
        command="python benchmarks/equal_time.py",
        protocol=" ".join(__doc__.partition("Protocol: ")[2].split()),
        trainings=len(seeds),
        minutes=(time.perf_counter() - start) / 60,
        folder=arguments.folder,
    )


if __name__ == "__main__":
    main()
