"""``python -m vae_tutorial train``: train a model and measure it. In several processes: see ``distributed``."""

from typing import Any

import torch
from torch.optim import swa_utils
from torch.optim.lr_scheduler import CosineAnnealingLR

from vae_tutorial import data, evaluation, models, training
from vae_tutorial.cli import distributed
from vae_tutorial.cli._options import build, describe_data, describe_model, path, seed, test_images


def describe(p):
    """Add the command's options to its parser."""
    describe_model(p)
    describe_data(p)
    p.add_argument("--epochs", type=int, default=10, help="passes over the images (default: %(default)s)")
    p.add_argument("--batch-size", type=int, default=128, help="of all processes together (default: %(default)s)")
    p.add_argument("--lr", type=float, default=1e-3, help="Adam's learning rate (default: %(default)s)")
    p.add_argument("--cosine", action="store_true", help="let the learning rate fall to 0 along a cosine")
    p.add_argument("--beta", type=float, default=1.0, help="weight of the KL (default: %(default)s)")
    p.add_argument(
        "--warm-up",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="share of the training in which beta rises from 0",
    )
    p.add_argument("--free-bits", type=float, default=0.0, help="nats of KL in each latent dimension without a penalty")
    p.add_argument(
        "--average", type=float, metavar="DECAY", help="of an exponential moving average of the weights, such as 0.999"
    )
    p.add_argument(
        "--seed", type=seed, default=0, help="of the first weights, the order and the noise (default: %(default)s)"
    )
    p.add_argument(
        "--device",
        choices=("cpu", "cuda", "mps"),
        help="default: cuda where PyTorch finds it, else cpu; mps only if asked for",
    )
    p.add_argument("--checkpoint", type=path, metavar="FILE", help="file for the whole state, written after each epoch")
    p.add_argument("--resume", type=path, metavar="FILE", help="the checkpoint to resume from")


def run(arguments) -> int:
    """Train, say how well the test images are described, and return the exit status."""
    if not 0 <= arguments.warm_up <= 1:
        raise ValueError(f"--warm-up must be a fraction from 0 to 1; got {arguments.warm_up}")
    if arguments.average is not None and not 0 <= arguments.average < 1:
        raise ValueError(f"--average must be a decay from 0 to below 1, such as 0.999; got {arguments.average}")
    place = distributed.join(_device(arguments.device))
    if arguments.batch_size % place.world:
        raise ValueError(f"--batch-size {arguments.batch_size} cannot be shared by {place.world} processes")
    model = build(arguments).to(place.device)
    where: dict[str, Any] = {"root": arguments.root, "device": place.device, "strict": arguments.strict}
    images, test = place.in_turn(
        lambda: (data.load(arguments.dataset, **where), test_images(arguments, model.likelihood, place.device)[0])
    )
    if place.rank == 0:
        _announce(model, images, place)
    average = None
    if arguments.average is not None:
        average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(arguments.average))
    history = training.fit(
        place.parallel(model, images.images, arguments.seed),
        place.share(images.images),
        epochs=arguments.epochs,
        batch_size=arguments.batch_size // place.world,
        lr=arguments.lr,
        beta=_beta(arguments),
        free_bits=arguments.free_bits,
        schedule=_cosine(arguments.epochs) if arguments.cosine else None,
        average=average,
        seed=arguments.seed + 15_485_863 * place.rank,  # other noise in each process
        test=test,
        checkpoint=arguments.checkpoint if place.rank == 0 else None,
        resume=arguments.resume,
        progress=place.rank == 0,
    )
    place.leave(history)
    if place.rank == 0:
        _report(history, model if average is None else average.module, test, arguments.seed)
    return 0 if len(history) >= arguments.epochs else 130  # what a shell expects after Ctrl-C


def _device(name):
    if name is None:
        return training.best_device()
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[name]:
        raise ValueError(f"--device {name} is not available here; leave it out, or give cpu")
    return torch.device(name)


def _beta(arguments):
    if not arguments.warm_up:
        return arguments.beta
    return lambda progress: arguments.beta * min(1.0, progress / arguments.warm_up)


def _cosine(epochs):
    return lambda optimizer: CosineAnnealingLR(optimizer, epochs)


def _announce(model, images, place):
    size = sum(p.numel() for p in model.parameters())
    several = f", {place.world} processes" if place.world > 1 else ""
    print(f"{type(model).__name__}, {size:,} parameters, on {images.name} ({len(images):,} images)", end="")
    print(f", {place.device}{several}", flush=True)


def _report(history, model, test, seed):
    """Print the history, and the test images' mean ELBO with its standard error over the images."""
    if not history.rows:
        print("interrupted before the end of the first epoch")
        return
    print(history.to_frame().round(2).to_string())
    parts = evaluation.rate_distortion(model, test, generator=torch.Generator(test.device).manual_seed(seed))
    name = "log p(x | z), not a bound" if isinstance(model, models.Autoencoder) else "ELBO"
    elbo, error = -parts.negative_elbo.value, parts.negative_elbo.stderr
    print(f"test {name}: {elbo:.2f} +- {error:.2f} nats per image", end="")
    print(f" (reconstruction {-parts.distortion.value:.2f}, KL {parts.rate.value:.2f}, {len(test):,} images)")
