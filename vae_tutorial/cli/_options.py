"""What several commands share: the options for a model, for images and for results, and what is made of them."""

import argparse
import math
import os
import textwrap
from pathlib import Path
from typing import Any

import torch

from vae_tutorial import data, likelihoods, models, pretrained, training

MODELS = {"mlp": models.MLPVAE, "conv": models.ConvVAE, "autoencoder": models.Autoencoder}
_LATENT = (
    "(default: 20; for images of 32 x 32 and more 32; for --table a third of the columns, from 2 to 20; for an "
    "autoencoder 2)"
)
SIZES = ("latent_dim", "hidden", "channels", "norm")


def describe_model(p):
    """Add the options that say which model."""
    none = argparse.SUPPRESS  # then the model's own default applies
    p.add_argument("--model", choices=MODELS, help="which networks (default: mlp; for --images conv)")
    p.add_argument(
        "--likelihood",
        choices=likelihoods.NAMES,
        metavar="NAME",
        help=f"of {', '.join(likelihoods.NAMES)} (default: bernoulli; for --images and --table what fits, and why)",
    )
    p.add_argument("--latent-dim", type=int, default=none, help=_LATENT)
    p.add_argument(
        "--hidden",
        type=int,
        nargs="+",
        default=none,
        help="widths of mlp and autoencoder (default: 400; for --table 64)",
    )
    p.add_argument(
        "--channels",
        type=int,
        nargs="+",
        default=none,
        help="channels of conv, a halving of the image each (default: 32 64; 32 64 128 256 for 64 x 64)",
    )
    p.add_argument("--norm", choices=("group",), default=none, help="of conv: normalize its channels in groups")


def describe_trained(p):
    """Add the argument that says which trained model."""
    p.add_argument("what", metavar="MODEL", help="a file of train --out or models.save, or the name of a shipped model")


def describe_data(p):
    """Add the options that say which data: images or a table of the reader's own, or a data set."""
    which = p.add_mutually_exclusive_group()
    which.add_argument("--images", type=path, metavar="FOLDER", help="your images: a folder, with its sub-folders")
    which.add_argument(
        "--table", type=path, metavar="FILE", help="your numbers: .csv, whose first row has names, or .npy"
    )
    which.add_argument("--dataset", choices=data.NAMES, default="mnist", help="a data set (default: %(default)s)")
    p.add_argument("--root", help="folder that holds MNIST/raw (default: VAE_TUTORIAL_DATA, else a cache folder)")
    p.add_argument("--strict", action="store_true", help="fail where the data set is not available, without a stand-in")


def describe_result(p, option, kinds, what, **more):
    """Add the option for the file that a command writes, and the one that allows to replace a file."""
    p.add_argument(option, type=path, metavar="FILE", help=f"{what} ({' or '.join(kinds)})", **more)
    p.add_argument("--overwrite", action="store_true", help=f"let {option} replace a file that is there")


def describe_device(p):
    """Add the option that says where to compute."""
    what = "default: cuda where PyTorch finds it, else cpu; mps only if asked for"
    p.add_argument("--device", choices=("cpu", "cuda", "mps"), help=what)


def examples(p, text):
    """Print lines below the options in --help."""
    p.formatter_class, p.epilog = argparse.RawDescriptionHelpFormatter, f"examples:\n{textwrap.indent(text, '  ')}"


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


def device(name):
    """Return the device of that name, or for None the best. Raises ValueError where it is not available."""
    if name is None:
        return training.best_device()
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[name]:
        raise ValueError(f"--device {name} is not available here; leave it out, or give cpu")
    return torch.device(name)


def build(arguments, shape=(1, 28, 28)):
    """Return the model that the arguments describe, for images of that shape, its first weights from the seed."""
    name = model_name(arguments)
    sizes = {option: value for option, value in vars(arguments).items() if option in SIZES}
    torch.manual_seed(arguments.seed)
    return MODELS[name](
        likelihood=arguments.likelihood or "bernoulli", image_shape=shape, **_defaults(name, shape) | sizes
    )


def model_name(arguments):
    """Return the name of the networks. Raises ValueError for sizes that they do not have."""
    name = arguments.model or ("conv" if getattr(arguments, "images", None) else "mlp")
    if name == "conv" and getattr(arguments, "table", None):
        raise ValueError("--model conv is for images, whose neighbours are alike; for --table give mlp or autoencoder")
    for wrong in ("hidden",) if name == "conv" else ("channels", "norm"):
        if wrong in arguments:
            raise ValueError(f"--{wrong} is not an option of --model {name}")
    return name


def _defaults(name, shape):
    """Sizes for the reader's own data; an empty dict for 28 x 28, where the models' own defaults apply."""
    if shape == (1, 28, 28):
        return {}
    found: dict[str, Any] = {}
    if len(shape) == 1:
        found = {"hidden": (64,), "latent_dim": max(2, min(20, shape[0] // 3))}
    elif min(shape[1:]) >= 32:
        found = {"latent_dim": 32}
    if name == "conv":  # halvings that leave between 4 x 4 and 7 x 7
        halvings = max(1, int(math.log2(max(min(shape[1:]), 8) / 4)))
        found["channels"] = tuple(min(32 << step, 256) for step in range(halvings))
    if name == "autoencoder":
        found.pop("latent_dim", None)
    return found


def trained(what):
    """Return a model by its file, or a shipped one by its name."""
    return pretrained.load(what) if what in pretrained.names() else models.load(path(what))


def kind(file):
    """Return the suffix that says of what kind a file is, in small letters."""
    return file.suffix.lower()


def new_file(option, found, kinds, overwrite, **others):
    """Return the path of a file to write, before the work for it begins. Raises ValueError where it cannot be one.

    ``others``: by their options, the command's other files, None where not given, of which it must be none.
    """
    if kind(found) not in kinds:
        raise ValueError(f"{option} must end in {' or '.join(kinds)}; got {str(found)!r}")
    if not found.parent.is_dir():
        raise ValueError(f"{option} must lie in a folder that exists; got {str(found)!r}")
    if found.exists() and not found.is_file():
        raise ValueError(f"{option} must be an ordinary file; got {str(found)!r}")
    for other in (name for name, file in others.items() if file and os.path.realpath(file) == os.path.realpath(found)):
        raise ValueError(f"{option} and --{other} are the same file, {str(found)!r}; give each its own")
    if found.exists() and not overwrite:
        raise ValueError(f"{found} exists already; give another name, or --overwrite to replace it")
    if not os.access(found.parent, os.W_OK):
        raise ValueError(f"{option} must lie in a folder that you may write to; got {str(found)!r}")
    return found


def test_images(arguments, likelihood, device="cpu"):
    """Return the test images as the likelihood takes them, black and white or grey from 0 to 1; and their true name."""
    where = {"root": arguments.root, "device": device, "strict": arguments.strict}
    loaded = data.load(arguments.dataset, "test", **where)
    if likelihood.binary:
        return data.test_binarization(arguments.dataset, **where), loaded.name
    return loaded.images[:].float() / 255, loaded.name
