"""Time an epoch of training: the loop everybody copies, ours, and the bare products that neither can avoid.

    python benchmarks/training.py [--rounds 5] [--nets mlp conv] [--pythae] [--device cpu] [--root FOLDER]

The models are 784-400-20-400-784 (its floor: the matrix products) and 1-32-64 convolutions with 20 latent dimensions
(its floor: the convolutions and matrix products, float32); the batch 128, the optimiser Adam, the data MNIST's 60,000
training images. Rounds are interleaved, so that a machine that slows down slows all of them. Printed are medians of the
epochs alone, without loading data or making models, and ratios within the one run. --pythae installs that library into
a temporary folder, for this run only, and times its trainer on the same model.
"""

import argparse
import contextlib
import io
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

from vae_tutorial import data, models, training

BATCH = 128


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


def copied_loader(root):
    from torchvision import datasets, transforms

    dataset = datasets.MNIST(root, train=True, transform=transforms.ToTensor())
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


def copied_loop(make, root, device):
    model = make().to(device)
    return copied_epoch(model, copied_loader(root), torch.optim.Adam(model.parameters(), lr=1e-3), device)


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


def pythae_epoch(grey, device, net):
    """One epoch of pythae's own trainer, on the layers of the copied models (sigmoids, binary cross-entropy)."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    copied = {"mlp": CopiedVAE, "conv": CopiedConvVAE}[net]()

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.body, self.mu_head, self.logvar_head = copied.hidden_layers, copied.mu_head, copied.logvar_head

        def forward(self, x):
            h = self.body(x)
            return ModelOutput(embedding=self.mu_head(h), log_covariance=self.logvar_head(h))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.body = copied.output_layers

        def forward(self, z):
            return ModelOutput(reconstruction=self.body(z))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=20, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    logging.disable()  # it reports each step and each stage
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=1, per_device_train_batch_size=BATCH, learning_rate=1e-3,
            no_cuda=device.type != "cuda",
        )  # fmt: skip
        trainer = BaseTrainer(model, BaseDataset(grey, torch.zeros(len(grey))), training_config=settings)
        trainer.prepare_training()
        start = time.perf_counter()
        trainer.train_step(epoch=1)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def table(title, contestants, rounds):
    """Run the contestants in turn, and print their medians, the first as the floor, the second as the baseline."""
    seconds = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, run in contestants.items():
            measured = run()
            if round_ > 0:  # the first round warms up
                seconds[name].append(measured)
    floor, copied = (statistics.median(seconds[name]) for name in list(contestants)[:2])
    print(f"\n{title:42s}{'median':>8s}{'least':>8s}{'most':>8s}{'x floor':>9s}{'speed-up':>10s}")
    for name, values in seconds.items():
        median = statistics.median(values)
        row = f"{name:42s}{median:8.2f}{min(values):8.2f}{max(values):8.2f}"
        print(f"{row}{median / floor:9.2f}{copied / median:10.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=("mlp", "conv"), default=["mlp", "conv"])
    parser.add_argument("--pythae", action="store_true", help="install pythae for this run and time it too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--root", default=os.environ.get("VAE_TUTORIAL_DATA"), help="folder that holds MNIST/raw")
    arguments = parser.parse_args()
    device, root = torch.device(arguments.device), data.find_root(arguments.root)
    train = data.load("mnist", "train", root=root, device=device, strict=True).images
    grey, steps = train.float() / 255, -(-len(train) // BATCH)

    def ours(make, images, **options):
        torch.manual_seed(0)
        (seconds,) = training.fit(make().to(device), images, epochs=1, progress=False, **options)["seconds"]
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        if arguments.pythae:
            # Without its dependencies, which would bring a PyTorch of their own; these few are all that is missing.
            few = ["pythae", "cloudpickle", "imageio"]
            few += ["pydantic", "pydantic-core", "annotated-types", "typing-inspection"]
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *few]
            subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
            sys.path.append(folder)
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"torch {torch.__version__}, {platform.machine()}, {where}; seconds an epoch, {arguments.rounds} rounds")
        for net in arguments.nets:
            copied, make = {"mlp": (CopiedVAE, models.MLPVAE), "conv": (CopiedConvVAE, models.ConvVAE)}[net]
            floor = {"mlp": matrix_products, "conv": convolutions}[net]
            contestants = {
                "matrix products alone (the floor)" if net == "mlp" else "layers alone (the floor)": lambda f=floor: f(
                    steps, device
                ),
                "the loop everybody copies (grey pixels)": lambda c=copied: copied_loop(c, root, device),
                "fit, grey pixels (the same work)": lambda m=make: ours(m, grey),
                "fit, binarized anew in each batch": lambda m=make: ours(m, train),
                "fit, grey pixels, bfloat16": lambda m=make: ours(m, grey, precision="bfloat16"),
            }
            if arguments.pythae:
                contestants["pythae's trainer (grey pixels)"] = lambda n=net: pythae_epoch(grey, device, n)
            table({"mlp": "784-400-20", "conv": "1-32-64 convolutions, 20"}[net], contestants, arguments.rounds)


if __name__ == "__main__":
    main()
