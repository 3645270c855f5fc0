"""How many nats, after ten epochs with the defaults: the script everybody copies, MLPVAE and ConvVAE.

    python benchmarks/likelihood.py [--epochs 10] [--seeds 1] [--root FOLDER] [--only conv ...]

Two protocols. "grey": targets are grey values, as in the copied script; its nats are a cross-entropy, no likelihood
(chapter 10), and stand here for the comparison alone. "binarized": the ledger's. Printed is the mean over the 10,000
test images of the ELBO with one draw of z, and its standard error over the images (not over seeds).
"""

import argparse
import os

import torch
from training import BATCH, CopiedVAE, copied_epoch, copied_loader

from vae_tutorial import data, models, objectives, training


class AsOurs(torch.nn.Module):
    """The copied model, seen as one of ours so that the same code measures it."""

    likelihood = models.MLPVAE().likelihood

    def __init__(self, copied):
        super().__init__()
        self.copied = copied

    def forward(self, x, samples, generator):
        probabilities, mu, logvar = self.copied(x, generator)
        return torch.logit(probabilities, eps=1e-7).view(1, *x.shape), mu, logvar


@torch.no_grad()
def measured(model, x):
    generator = torch.Generator(x.device).manual_seed(0)
    elbo = torch.cat([objectives.elbo(model, batch, generator=generator).elbo for batch in x.split(1000)])
    return elbo.mean().item(), elbo.std().item() / len(elbo) ** 0.5


def copied(train, epochs, grey):
    model, seconds = CopiedVAE(), 0.0
    loader, optimizer = copied_loader(train), torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        seconds += copied_epoch(model, loader, optimizer, "cpu")
    return measured(AsOurs(model), grey), seconds


def ours(make, images, test, epochs, seed):
    model = make()
    history = training.fit(model, images, epochs=epochs, batch_size=BATCH, seed=seed)
    return measured(model, test), sum(history["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--root", default=os.environ.get("VAE_TUTORIAL_DATA"), help="folder that holds MNIST/raw")
    parser.add_argument("--only", nargs="+", default=["copied", "mlp", "conv"], help="which of copied, mlp, conv")
    arguments = parser.parse_args()
    root, epochs = arguments.root, arguments.epochs
    train = data.load("mnist", "train", root=root, strict=True)
    grey_test = data.load("mnist", "test", root=root, strict=True).images.float() / 255
    binary_test = data.test_binarization("mnist", root=root, strict=True)

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {epochs} epochs")
    print(f"{'':28s}{'targets':>10s}{'seed':>5s}{'test ELBO':>11s}{'+-':>6s}{'seconds':>9s}")
    targets = {"grey": (train.images.float() / 255, grey_test), "binarized": (train.images, binary_test)}
    for seed in range(arguments.seeds):
        for name, make in {"copied": CopiedVAE, "mlp": models.MLPVAE, "conv": models.ConvVAE}.items():
            for target, (images, test) in targets.items():
                if name not in arguments.only or (name == "copied" and target != "grey"):
                    continue
                torch.manual_seed(seed)
                if name == "copied":
                    (elbo, error), seconds = copied(train, epochs, test)
                else:
                    (elbo, error), seconds = ours(make, images, test, epochs, seed)
                row = f"{make.__name__:28s}{target:>10s}{seed:5d}{elbo:11.2f}{error:6.2f}{seconds:9.0f}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
