"""Which encoder and decoder for larger images? Variants of ConvVAE on the 1,911 emoji at 64 x 64, at equal time.

    python benchmarks/decoders.py [--seeds 3] [--keep FOLDER] [--quick --folder FOLDER]

Nine tenths of the emoji to train on, the others to test on (``data.from_arrays``), 32 latent dimensions, likelihood
gaussian_shared, batches of 64, Adam, one thread. First what a pass costs: short trainings of all variants in turn, many
rounds, CPU time; the median of the ratios to the plain network of three stages. Each variant then makes as many passes
as fit into the time of 28 of the plain network, and is measured after each: the ELBO with one draw of z for each test
image, in evaluation mode, and at the end the squared error of the mean at z = mu, the KL, and the ELBO with all layers
in training mode, which is another number for batch norm alone. ``equal``: the passes that every variant has made.
``long``: the ELBO after each pass of those of three stages, without and with group norm, in three times the time.

Kaiming: weights drawn with variance 2 / (inputs of an output), biases 0; for a transposed convolution of stride 2 a
quarter of the kernel meets each output. Upsampling: nearest neighbour and a convolution of 3 x 3 in place of each
transposed convolution. Residual: a block of two convolutions of 3 x 3 at each resolution of both networks, the weights
of the second zero at first.

``--keep``: a cache folder for finished trainings. ``--quick``: a tiny run, as a smoke test.
"""

import functools
import itertools
import math
import statistics
import time

import _common
import numpy as np
import torch
from torch import nn

from vae_tutorial import data, evaluation, models, objectives, training

LATENT_DIM, BATCH, PLAIN = 32, 64, "3 stages"
LONG = (PLAIN, "3 stages, group norm")


class Residual(nn.Module):
    """x and what two convolutions of 3 x 3 make of it."""

    def __init__(self, channels):
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(second.weight)
        self.layers = nn.Sequential(first, nn.GroupNorm(8, channels), nn.ReLU(), second)

    def forward(self, x):
        return x + self.layers(x)


def kaiming(model):
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                inputs = layer.weight[:, 0].numel() // math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))
            nn.init.zeros_(layer.bias)
    return model


def swapped(model, kind, make):
    """Put ``make(layer)`` in the place of each layer of that kind."""
    for sequence in (model.encoder.layers, model.decoder.layers):
        for i, layer in enumerate(sequence):
            if isinstance(layer, kind):
                sequence[i] = make(layer)
    return model


def with_batch_norm(model):
    return swapped(model, nn.GroupNorm, lambda norm: nn.BatchNorm2d(norm.num_channels))


def with_upsampling(model):
    def make(layer):
        return nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
        )

    return swapped(model, nn.ConvTranspose2d, make)


def with_residuals(model):
    swapped(model, nn.Conv2d, lambda layer: nn.Sequential(layer, Residual(layer.out_channels)))
    return swapped(model, nn.ConvTranspose2d, lambda layer: nn.Sequential(Residual(layer.in_channels), layer))


def conv(channels, norm=None):
    return models.ConvVAE(LATENT_DIM, channels, "gaussian_shared", (3, 64, 64), norm=norm)


def layer_norm(model):
    return swapped(model, nn.GroupNorm, lambda norm: nn.GroupNorm(1, norm.num_channels))


THREE, FOUR = (16, 32, 64), (16, 32, 64, 128)
VARIANTS = {  # what makes the network, and the learning rate
    PLAIN: (lambda: conv(THREE), 1e-3),
    "4 stages": (lambda: conv(FOUR), 1e-3),
    "3 stages, Kaiming": (lambda: kaiming(conv(THREE)), 1e-3),
    "4 stages, Kaiming": (lambda: kaiming(conv(FOUR)), 1e-3),
    "3 stages, group norm": (lambda: conv(THREE, "group"), 1e-3),
    "4 stages, group norm": (lambda: conv(FOUR, "group"), 1e-3),
    "4 stages, one group": (lambda: layer_norm(conv(FOUR, "group")), 1e-3),
    "4 stages, batch norm": (lambda: with_batch_norm(conv(FOUR, "group")), 1e-3),
    "4 stages, group norm, residual": (lambda: with_residuals(conv(FOUR, "group")), 1e-3),
    "4 stages, group norm, upsampling": (lambda: with_upsampling(conv(FOUR, "group")), 1e-3),
    "4 stages, step 0.002": (lambda: conv(FOUR), 2e-3),
    "4 stages, group norm, step 0.002": (lambda: conv(FOUR, "group"), 2e-3),
}


def emoji(quick):
    """Return the emoji, to train on as bytes and to test on as fractions."""
    sheet, names = data.emoji_sheet()
    tiles = (
        torch.from_numpy(np.array(sheet)).unflatten(1, (-1, 64)).unflatten(0, (-1, 64))
    )  # (rows, 64, columns, 64, 3)
    images = tiles.permute(0, 2, 4, 1, 3).flatten(0, 1)[: len(names)].contiguous()
    train, test = data.from_arrays(images[:60] if quick else images)
    return train.images, test.images / 255


def fresh(name, seed):
    make, lr = VARIANTS[name]
    torch.manual_seed(seed)
    return make().to(memory_format=torch.channels_last), {
        "lr": lr,
        "batch_size": BATCH,
        "seed": seed,
        "progress": False,
    }


def cost_of_a_pass(images, rounds):
    """Return what a pass of each variant costs, in passes of the plain network, and the latter's seconds of CPU."""
    found = {name: [] for name in VARIANTS}
    for _ in range(1 + rounds):  # the first warms up
        for name in VARIANTS:
            model, settings = fresh(name, 0)
            start = time.process_time()
            training.fit(model, images, epochs=1, **settings)
            found[name].append(time.process_time() - start)
    ratios = {
        name: statistics.median(own / plain for own, plain in zip(times[1:], found[PLAIN][1:], strict=True))
        for name, times in found.items()
    }
    return ratios, statistics.median(found[PLAIN][1:])


def trained(name, seed, passes, train, test):
    """Return what is stored of one training."""
    model, settings = fresh(name, seed)
    history = training.fit(model, train, epochs=passes, test=test, **settings)
    with torch.no_grad():
        mu, _ = evaluation.encode(model, test)
        mean = model.eval().likelihood.mean(model.decode(mu))
        parts = objectives.elbo(model.train(), test, generator=torch.Generator().manual_seed(seed))
    return {
        "elbo": history["test_elbo"],
        "kl": history["test_kl"][-1],
        "squared error": (mean - test).square().mean().item(),
        "elbo in training mode": parts.elbo.mean().item(),
    }


def summary(values):
    """Print the mean and the spread of the seeds' ELBOs at equal passes and at equal time."""
    few = f"{values['equal']} passes"
    print(f"{'test ELBO':34s}{few:>18s}{'equal time':>18s}{'passes':>8s}")
    for name in VARIANTS:
        runs = values["elbo"][name]
        columns = [[run[when] for run in runs] for when in (values["equal"] - 1, -1)]
        cells = [f"{statistics.mean(c):9.0f} ± {statistics.stdev(c) if len(c) > 1 else 0:5.0f}" for c in columns]
        print(f"{name:34s}{cells[0]:>18s}{cells[1]:>18s}{len(runs[0]):8d}")
    for name, runs in values["long"].items():
        best = ", ".join(f"{max(run):.0f} after {run.index(max(run)) + 1}" for run in runs)
        print(f"{name}, {len(runs[0])} passes: best {best}; last {', '.join(f'{run[-1]:.0f}' for run in runs)}")


def main(argv=None):
    arguments = _common.parse(__doc__, argv, seeds=3)
    quick = arguments.quick
    seeds, budget, rounds = (1, 1, 1) if quick else (arguments.seeds, 28, 7)
    torch.set_num_threads(1)
    train, test = emoji(quick)

    def costs():
        cost, seconds = cost_of_a_pass(train[: 4 * BATCH], rounds)
        return {"cost": cost, "seconds": seconds * len(train) / len(train[: 4 * BATCH])}

    found, minutes = _common.kept(arguments.keep, "costs", costs)
    passes = {name: max(1, int(budget / share + 1e-9)) for name, share in found["cost"].items()}
    print("passes in equal time:", passes, flush=True)
    values = {"images": len(train), "test images": len(test), "seconds of a plain pass": found["seconds"]}
    values |= {"cost": found["cost"], "passes": passes, "equal": min(passes.values())}
    values |= {key: {name: [] for name in VARIANTS} for key in ("elbo", "kl", "squared error", "elbo in training mode")}
    for seed, name in itertools.product(range(seeds), VARIANTS):
        run = functools.partial(trained, name, seed, passes[name], train, test)
        run, took = _common.kept(arguments.keep, f"{name} {seed}", run)
        minutes += took
        for key, value in run.items():
            values[key][name].append(value)
        print(
            f"seed {seed}, {name:34s} {run['elbo'][-1]:8.0f}  {run['squared error']:.4f}  {took:.1f} minutes",
            flush=True,
        )
    values["long"] = {name: [] for name in LONG}
    for seed, name in itertools.product(range(seeds), LONG):
        count = max(1, int(3 * budget / found["cost"][name] + 1e-9))
        run = functools.partial(trained, name, seed, count, train, test)
        run, took = _common.kept(arguments.keep, f"long {name} {seed}", run)
        minutes += took
        values["long"][name].append(run["elbo"])
    summary(values)
    _common.write("decoders", values, __doc__, seeds, 3, minutes, arguments.folder)


if __name__ == "__main__":
    main()
