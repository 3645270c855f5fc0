"""What several commands share: the options for a model and for images, and what is made of them."""

import argparse
from pathlib import Path

import torch

from vae_tutorial import data, likelihoods, models

MODELS = {"mlp": models.MLPVAE, "conv": models.ConvVAE, "autoencoder": models.Autoencoder}


def describe_model(p):
    """Add the options that say which model."""
    none = argparse.SUPPRESS  # then the model's own default applies
    p.add_argument("--model", choices=MODELS, default="mlp", help="which networks (default: %(default)s)")
    p.add_argument(
        "--likelihood",
        choices=likelihoods.NAMES,
        default="bernoulli",
        help="distribution of a pixel (default: %(default)s)",
    )
    p.add_argument("--latent-dim", type=int, default=none, help="(default: 20; 2 for an autoencoder)")
    p.add_argument("--hidden", type=int, nargs="+", default=none, help="widths of mlp and autoencoder (default: 400)")
    p.add_argument("--channels", type=int, nargs="+", default=none, help="channels of conv (default: 32 64)")


def describe_data(p):
    """Add the options that say which images."""
    p.add_argument("--dataset", choices=data.NAMES, default="mnist", help="which images (default: %(default)s)")
    p.add_argument("--root", help="folder that holds MNIST/raw (default: VAE_TUTORIAL_DATA, else a cache folder)")
    p.add_argument("--strict", action="store_true", help="fail where the images are not available, without a stand-in")


def path(text):
    """Return a path with ``~`` expanded, for argparse."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r} lies in an unknown home folder") from None


def seed(text):
    """Return a seed that torch's generators take, with room for one of each epoch and process, for argparse."""
    try:
        if abs(value := int(text)) < 2**53:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a whole number below 2^53; got {text}")


def build(arguments):
    """Return the model that the arguments describe, its first weights drawn from the seed."""
    sizes = {name: value for name, value in vars(arguments).items() if name in ("latent_dim", "hidden", "channels")}
    wrong = "hidden" if arguments.model == "conv" else "channels"
    if wrong in sizes:
        raise ValueError(f"--{wrong} is not an option of --model {arguments.model}")
    torch.manual_seed(arguments.seed)
    return MODELS[arguments.model](likelihood=arguments.likelihood, **sizes)


def test_images(arguments, likelihood, device="cpu"):
    """Return the test images as the likelihood takes them, black and white or grey from 0 to 1; and their true name."""
    where = {"root": arguments.root, "device": device, "strict": arguments.strict}
    loaded = data.load(arguments.dataset, "test", **where)
    if likelihood.binary:
        return data.test_binarization(arguments.dataset, **where), loaded.name
    return loaded.images.float() / 255, loaded.name
