"""Does the estimate of log p(x) hold? Three ways of measuring it side by side, on the shipped models.

    python benchmarks/witnesses.py [--only mlp conv ...] [--quick --folder FOLDER]

``test``: the ledger's first test images. Mean log p(x), nats per image, by importance sampling with 500 draws from the
encoder's q and from a refined proposal, by annealed importance sampling with Hamiltonian Monte Carlo, which never asks
the encoder, and for mlp-2d on a grid. ``simulated``: images drawn from the model itself, where
annealing gives a lower bound forwards and an upper bound backwards from the true z: the truth lies between, and so must
the refined estimate. How many images, temperatures, chains and leapfrog steps: SETTINGS, and in the result.
Differences are paired, with their standard errors over images. ``cost``: processor seconds for 1,000 images of mlp,
500 draws, and the ratio. Nothing is trained. Each model's numbers are stored as soon as it is done.
"""

import argparse
import time

import torch

from vae_tutorial import data, evaluation, pretrained, stored

# Test images, simulated images, temperatures, chains, leapfrog steps. mlp-2d has many narrow modes: more chains.
SETTINGS = {
    "mlp-2d": (1000, 200, 200, 64, 4),
    "beta-0.1": (300, 200, 200, 8, 8),
    "beta-1": (300, 200, 200, 8, 8),
    "mlp": (200, 200, 300, 16, 8),
    "conv": (200, 50, 200, 8, 8),
    "burda2016-vae": (200, 200, 300, 16, 8),
    "pixel": (50, 50, 200, 8, 8),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def difference(one, other):
    return list(evaluation.mean(one - other))


def on_test_images(model, x, samples, effort):
    found = {
        "encoder": evaluation.log_marginal(model, x, samples, seeded(0)),
        "refined": evaluation.log_marginal(model, x, samples, seeded(1), proposal="refined"),
        "annealed": evaluation.log_marginal_annealed(model, x, *effort, generator=seeded(2)),
    }
    values = {name: list(estimate.summary()[:4]) for name, estimate in found.items()}
    values["annealed minus refined"] = difference(found["annealed"].value, found["refined"].value)
    values["refined minus encoder"] = difference(found["refined"].value, found["encoder"].value)
    if model.latent_dim <= 2:
        grid = evaluation.log_marginal_grid(model, x)
        values["grid"] = list(evaluation.mean(grid.value))
        values["error of the grid"] = grid.error.mean().item()
        for name, estimate in found.items():
            values[f"{name} minus grid"] = difference(estimate.value, grid.value)
    return {"images": len(x), **values}


@torch.no_grad()
def on_simulated_images(model, n, samples, effort):
    z = torch.randn(n, model.latent_dim, generator=seeded(3))
    x = model.likelihood.sample(model.decode(z), seeded(4))
    lower = evaluation.log_marginal_annealed(model, x, *effort, generator=seeded(5)).value
    upper = evaluation.log_marginal_annealed(model, x, *effort, generator=seeded(6), z=z).value
    refined = evaluation.log_marginal(model, x, samples, seeded(7), proposal="refined").value
    return {
        "images": n,
        "lower": list(evaluation.mean(lower)),
        "upper": list(evaluation.mean(upper)),
        "upper minus lower": difference(upper, lower),
        "refined minus lower": difference(refined, lower),
        "upper minus refined": difference(upper, refined),
    }


def cost(model, x, samples):
    seconds = {}
    for proposal in ("encoder", "refined"):
        start = time.process_time()
        evaluation.log_marginal(model, x, samples, seeded(0), proposal=proposal)
        seconds[proposal] = time.process_time() - start
    return {"images": len(x), **seconds, "ratio": seconds["refined"] / seconds["encoder"]}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="which models")
    parser.add_argument("--quick", action="store_true", help="four images, a few draws: a smoke test")
    parser.add_argument("--folder", help="where the result goes, if not into the package")
    arguments = parser.parse_args(argv)
    samples = 10 if arguments.quick else 500
    test = data.test_binarization("mnist", strict=not arguments.quick)
    for name in arguments.only:
        start, model = time.perf_counter(), pretrained.load(name)
        many, few, *effort = (4, 4, 5, 2, 2) if arguments.quick else SETTINGS[name]
        values = {
            "temperatures, chains, leapfrog steps": effort,
            "test": on_test_images(model, test[:many], samples, effort),
            "simulated": on_simulated_images(model, few, samples, effort),
        }
        if name == "mlp":
            values["cost"] = cost(model, test[: 4 if arguments.quick else 1000], samples)
        kept = stored.load("witnesses", arguments.folder) if "witnesses" in stored.names(arguments.folder) else None
        stored.write(
            "witnesses",
            {**(kept.values if kept else {}), name: values},
            command="python benchmarks/witnesses.py",
            protocol=" ".join(__doc__.split("\n\n")[2].split()),
            trainings=0,
            minutes=(time.perf_counter() - start) / 60 + (kept.minutes if kept else 0),
            folder=arguments.folder,
        )
        print(name, values, flush=True)


if __name__ == "__main__":
    main()
