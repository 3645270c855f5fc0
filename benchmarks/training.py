"""Time an epoch of training: the loop everybody copies, ours, and the bare products that neither can avoid.

    python benchmarks/training.py [--rounds 5] [--nets mlp conv] [--images 12800] [--device cpu] [--json FILE]

The models are 784-400-20-400-784 (its floor: the matrix products) and 1-32-64 convolutions with 20 latent dimensions
(its floor: the convolutions and matrix products, float32); the batch 128, the optimiser Adam, the data MNIST's 60,000
training images, or the first so many of them. Rounds are interleaved, so that a machine that slows down slows all of
them. Printed are medians of the epochs alone, without loading data or making models, images a second, and ratios within
the one run; on a GPU also the share of our epoch in which it has nothing to do.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vae_tutorial import data, models, training

BATCH = 128
OURS = "fit, binarized anew in each batch"


class CopiedVAE(nn.Module):
    """The model of the loop that everybody copies: two heads, sigmoids, binary cross-entropy on grey pixels."""

    def __init__(self):
        super().__init__()
        self.hidden_layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
        self.mu_head, self.logvar_head = nn.Linear(400, 20), nn.Linear(400, 20)
        self.output_layers = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

    def forward(self, x, generator=None):
        h = self.hidden_layers(x)
        mu, logvar = self.mu_head(h), self.logvar_head(h)
        eps = torch.randn(mu.shape, generator=generator, device=mu.device)
        z = mu + eps * torch.exp(0.5 * logvar)
        return self.output_layers(z).view(-1, 784), mu, logvar


class CopiedConvVAE(CopiedVAE):
    """The same with ConvVAE's layers."""

    def __init__(self):
        nn.Module.__init__(self)
        self.hidden_layers = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.mu_head, self.logvar_head = nn.Linear(64 * 7 * 7, 20), nn.Linear(64 * 7 * 7, 20)
        self.output_layers = nn.Sequential(
            nn.Linear(20, 64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip


def copied_loader(train):
    """torchvision's own data set, which makes a picture of each image and a tensor of the picture, and a DataLoader."""
    from torchvision import datasets, transforms

    dataset = datasets.MNIST.__new__(datasets.MNIST)  # its __init__ would read the files once more
    dataset.data, dataset.targets = train.images.squeeze(1).cpu(), train.labels.cpu()
    dataset.transform, dataset.target_transform = transforms.ToTensor(), None
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True)


def copied_epoch(model, loader, optimizer, device):
    """One epoch of the loop, as it is copied; returns its seconds."""
    total, start = 0.0, time.perf_counter()
    for x, _ in loader:
        x = x.to(device)
        optimizer.zero_grad()
        probabilities, mu, logvar = model(x)
        loss = F.binary_cross_entropy(probabilities, x.view(-1, 784), reduction="sum")
        loss = loss - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss.backward()
        total += loss.item()
        optimizer.step()
    assert total / len(loader.dataset) < 543  # it did learn
    return time.perf_counter() - start


def copied_loop(make, train, device):
    model = make().to(device)
    return copied_epoch(model, copied_loader(train), torch.optim.Adam(model.parameters(), lr=1e-3), device)


def matrix_products(steps, device):
    """Forward and backward products of the four layers; the first layer needs no gradient of its input."""
    sizes = [(784, 400), (400, 40), (20, 400), (400, 784)]
    operands = [
        (torch.rand(BATCH, i, device=device), torch.rand(o, i, device=device), torch.rand(BATCH, o, device=device))
        for i, o in sizes
    ]
    start = time.perf_counter()
    for _ in range(steps):
        for layer, (x, weight, gradient) in enumerate(operands):
            x @ weight.T
            gradient.T @ x
            if layer > 0:
                gradient @ weight
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def convolutions(steps, device):
    """Forward and backward products of ConvVAE's layers, by autograd on each layer alone, with nothing between them."""
    model, z = models.ConvVAE().to(device), torch.rand(BATCH, 20, device=device)
    pairs, x = [], torch.rand(BATCH, 1, 28, 28, device=device)
    with torch.no_grad():
        for layers, features in ((model.encoder.layers, x), (model.decoder.layers, z)):
            for layer in layers:
                out = layer(features)
                if any(True for _ in layer.parameters()):
                    pairs.append((layer, features.clone(), torch.rand_like(out)))
                features = out
    for layer, inputs, _ in pairs:
        inputs.requires_grad_(layer is not model.encoder.layers[0])  # the pixels need no gradient
    start = time.perf_counter()
    for _ in range(steps):
        for layer, inputs, gradient in pairs:
            wanted = [*layer.parameters(), *([inputs] if inputs.requires_grad else [])]
            torch.autograd.grad(layer(inputs), wanted, gradient)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def busy_seconds(events):
    """How long a GPU computed or copied, from a profiler's events: the union of their times, which are microseconds."""
    from torch.autograd import DeviceType

    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in events
        # A named range, such as Optimizer.step's, lasts from its first kernel to its last, with all pauses between.
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    total, reached = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6


def waiting(make, images, device, seconds):
    """The share of ``seconds``, an epoch's without the profiler, in which the GPU waits; None on another device."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    model = make().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    training.run_epoch(model, images, optimizer, batch_size=BATCH)  # warms up
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        training.run_epoch(model, images, optimizer, batch_size=BATCH)
    return 1 - busy_seconds(profiler.events()) / seconds


def table(title, contestants, rounds, images):
    """Run the contestants in turn, print and return their medians, the first as floor, the second as baseline."""
    seconds = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, run in contestants.items():
            measured = run()
            if round_ > 0:  # the first round warms up
                seconds[name].append(measured)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    floor, copied = list(medians.values())[:2]
    print(f"\n{title:42s}{'median':>8s}{'least':>8s}{'most':>8s}{'x floor':>9s}{'speed-up':>10s}{'images/s':>10s}")
    for name, values in seconds.items():
        median = medians[name]
        row = f"{name:42s}{median:8.3f}{min(values):8.3f}{max(values):8.3f}"
        print(f"{row}{median / floor:9.2f}{copied / median:10.2f}{images / median:10,.0f}", flush=True)
    return medians


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=("mlp", "conv"), default=["mlp", "conv"])
    parser.add_argument("--images", type=int, help="so many of the training images (default: all)")
    parser.add_argument("--device", type=torch.device, default=training.best_device())
    parser.add_argument("--root", default=os.environ.get("VAE_TUTORIAL_DATA"), help="folder that holds MNIST/raw")
    parser.add_argument("--json", type=Path, help="write what is measured to this file, too")
    return parser.parse_args()


def contestants(net, train, device):
    """What is timed on a net, by name: functions that return the seconds of an epoch."""
    copied, make = {"mlp": (CopiedVAE, models.MLPVAE), "conv": (CopiedConvVAE, models.ConvVAE)}[net]
    grey, steps = train.images.float() / 255, -(-len(train) // BATCH)

    def ours(images):
        torch.manual_seed(0)
        (seconds,) = training.fit(make().to(device), images, epochs=1, batch_size=BATCH, progress=False)["seconds"]
        return seconds

    if net == "mlp":
        found = {"matrix products alone (the floor)": lambda: matrix_products(steps, device)}
    else:
        found = {"layers alone (the floor)": lambda: convolutions(steps, device)}
    found["the loop everybody copies (grey pixels)"] = lambda: copied_loop(copied, train, device)
    found["fit, grey pixels (the same work)"] = lambda: ours(grey)
    found[OURS] = lambda: ours(train.images)
    return make, found


def main():
    arguments = options()
    device = arguments.device
    train = data.load("mnist", "train", root=arguments.root, device=device)
    train = data.Images(train.images[: arguments.images], train.labels[: arguments.images], train.name, train.split)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {platform.machine()}, {where}; {len(train):,} images of {train.name}; ", end="")
    print(f"seconds an epoch, {arguments.rounds} rounds", flush=True)
    found = {"torch": torch.__version__, "device": where, "images": len(train), "data": train.name}
    for net in arguments.nets:
        make, timed = contestants(net, train, device)
        title = {"mlp": "784-400-20", "conv": "1-32-64 convolutions, 20"}[net]
        medians = table(title, timed, arguments.rounds, len(train))
        share = waiting(make, train.images, device, medians[OURS])
        if share is not None:
            print(f"{'':42s}in the last, the GPU waits {100 * share:.0f} % of the time")
        found[net] = {"seconds": medians, "images per second": len(train) / medians[OURS], "waiting": share}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
