"""Time an epoch of training: the loop everybody copies, ours, and the bare matrix products that neither can avoid.

    python benchmarks/training.py [--rounds 5] [--device cpu] [--root FOLDER]

The model is 784-400-20-400-784, the batch 128, the optimiser Adam, the data MNIST's 60,000 training images. Rounds are
interleaved, so that a machine that slows down slows all of them. Printed are medians of the epochs alone, without
loading data or making models, and ratios within the one run.
"""

import argparse
import os
import platform
import statistics
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
        self.hidden = nn.Linear(784, 400)
        self.mu_head, self.logvar_head = nn.Linear(400, 20), nn.Linear(400, 20)
        self.back, self.out = nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, x, generator=None):
        h = F.relu(self.hidden(x.view(-1, 784)))
        mu, logvar = self.mu_head(h), self.logvar_head(h)
        eps = torch.randn(mu.shape, generator=generator, device=mu.device)
        z = mu + eps * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.out(F.relu(self.back(z)))), mu, logvar


class CopiedConvVAE(nn.Module):
    """The same loop's model with ConvVAE's layers."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.mu_head, self.logvar_head = nn.Linear(64 * 7 * 7, 20), nn.Linear(64 * 7 * 7, 20)
        self.back = nn.Linear(20, 64 * 7 * 7)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()
        )

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu_head(h), self.logvar_head(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(F.relu(self.back(z)).view(-1, 64, 7, 7)).view(-1, 784), mu, logvar


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--root", default=os.environ.get("VAE_TUTORIAL_DATA"), help="folder that holds MNIST/raw")
    arguments = parser.parse_args()
    device, root = torch.device(arguments.device), data.find_root(arguments.root)
    train = data.load("mnist", "train", root=root, device=device, strict=True).images
    grey = train.float() / 255

    def ours(images):
        torch.manual_seed(0)
        (seconds,) = training.fit(models.MLPVAE().to(device), images, epochs=1, progress=False)["seconds"]
        return seconds

    contestants = {
        "matrix products alone (the floor)": lambda: matrix_products(-(-len(train) // BATCH), device),
        "the loop everybody copies (grey pixels)": lambda: copied_loop(root, device),
        "fit, grey pixels (the same work)": lambda: ours(grey),
        "fit, binarized anew in each batch": lambda: ours(train),
    }
    seconds = {name: [] for name in contestants}
    for round_ in range(arguments.rounds + 1):
        for name, run in contestants.items():
            measured = run()
            if round_ > 0:  # the first round warms up
                seconds[name].append(measured)

    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {platform.machine()}, {where}; seconds an epoch, median of {arguments.rounds}")
    floor, copied = (statistics.median(seconds[name]) for name in list(contestants)[:2])
    print(f"{'':42s}{'median':>8s}{'least':>8s}{'most':>8s}{'x floor':>9s}{'speed-up':>10s}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{name:42s}{median:8.2f}{min(values):8.2f}{max(values):8.2f}{median / floor:9.2f}{copied / median:10.2f}"
        )


if __name__ == "__main__":
    main()
