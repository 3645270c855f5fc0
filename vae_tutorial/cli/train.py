"""``python -m vae_tutorial train``: train a model and measure it. In several processes: see ``distributed``."""

import contextlib
import sys

from torch.optim import swa_utils
from torch.optim.lr_scheduler import CosineAnnealingLR

from vae_tutorial import _saved, models, training
from vae_tutorial.cli import _own, _report, distributed
from vae_tutorial.cli._options import (
    build,
    describe_data,
    describe_device,
    describe_model,
    describe_result,
    device,
    examples,
    model_name,
    new_file,
    path,
    seed,
)

_EXAMPLES = """\
python -m vae_tutorial train --model conv --epochs 20                 MNIST
python -m vae_tutorial train --images photographs --size 64 --epochs 50 --out faces.safetensors
python -m vae_tutorial train --images scans --size 28 --grey --likelihood bernoulli --out scans.safetensors
python -m vae_tutorial train --table wine.csv --epochs 200 --batch-size 32 --out wine.safetensors
python -m vae_tutorial sample faces.safetensors --to samples.png      see also: reconstruct, encode, evaluate"""


def describe(p):
    """Add the command's options to its parser."""
    examples(p, _EXAMPLES)
    learned = p.add_argument_group("what to learn from")
    describe_data(learned)
    _own.describe(learned)
    describe_model(p.add_argument_group("which model"))
    _describe_training(p.add_argument_group("how to train"))
    kept = p.add_argument_group("what to keep")
    kept.add_argument("--checkpoint", type=path, metavar="FILE", help="the whole state, written after each epoch")
    kept.add_argument("--resume", type=path, metavar="FILE", help="the checkpoint to resume from")
    what = "the trained model, for the other commands and models.load, with a picture beside it"
    describe_result(kept, "--out", (".safetensors",), what)


def _describe_training(p):
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
    describe_device(p)


def run(arguments) -> int:
    """Train, say how well the test images are described, and return the exit status."""
    _check(arguments)
    place = distributed.join(device(arguments.device))
    if arguments.batch_size % place.world:
        raise ValueError(f"--batch-size {arguments.batch_size} cannot be shared by {place.world} processes")
    with contextlib.redirect_stdout(None if place.rank else sys.stdout):  # the first process speaks for all
        found = place.in_turn(lambda: _own.for_training(arguments, place.device))
    arguments.likelihood = found.likelihood
    images, test = found.train.images, found.test
    model = build(arguments, found.shape)
    if found.columns:
        model.columns = found.columns
        if model.likelihood.unset:  # by all rows, though each process trains on a part of them
            model.standardize(images)
    model.to(place.device)
    if place.rank == 0:
        _announce(model, found, place)
    average = None
    if arguments.average is not None:
        average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(arguments.average))
    history = training.fit(
        place.parallel(model, images, arguments.seed),
        place.share(images),
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
        _tell(history, model if average is None else average.module, found, arguments)
    return 0 if len(history) >= arguments.epochs else 130  # what a shell expects after Ctrl-C


def _check(arguments):
    """Raise ValueError for what can be known to be wrong before any image is read."""
    if not 0 <= arguments.warm_up <= 1:
        raise ValueError(f"--warm-up must be a fraction from 0 to 1; got {arguments.warm_up}")
    if arguments.average is not None and not 0 <= arguments.average < 1:
        raise ValueError(f"--average must be a decay from 0 to below 1, such as 0.999; got {arguments.average}")
    _own.check(arguments)
    model_name(arguments)
    if arguments.out is not None:
        others = {"cache": arguments.cache, "checkpoint": arguments.checkpoint}
        new_file("--out", arguments.out, (".safetensors",), arguments.overwrite, **others)
        _saved.check_place(arguments.out)
        if arguments.table is None:
            picture = arguments.out.with_suffix(".png")
            new_file("the picture beside --out", picture, (".png",), arguments.overwrite, **others)


def _beta(arguments):
    if not arguments.warm_up:
        return arguments.beta
    return lambda progress: arguments.beta * min(1.0, progress / arguments.warm_up)


def _cosine(epochs):
    return lambda optimizer: CosineAnnealingLR(optimizer, epochs)


def _announce(model, found, place):
    size = sum(p.numel() for p in model.parameters())
    several = f", {place.world} processes" if place.world > 1 else ""
    if found.why:
        print(found.why)
    what = "rows" if found.columns else "images"
    print(f"{type(model).__name__}, {size:,} parameters, on {found.train.name} ({len(found.train):,} {what})", end="")
    print(f", {place.device}{several}", flush=True)


def _tell(history, model, found, arguments):
    """Print the history and what the test images cost, and keep the model."""
    if not history.rows:
        print("interrupted before the end of the first epoch; nothing is kept")
        return
    print(history.to_frame().round(2).to_string(max_rows=30))  # of more, the first and the last
    if arguments.out is not None:
        models.save(model, arguments.out)  # first: nothing that goes wrong below may cost the training
    parts = _report.measure(model, found.test, arguments.seed)
    _report.say(model, found.test, parts)
    _report.compare(model, found.train.images, found.test, parts)
    if arguments.out is not None:
        _report.show(model, arguments.out, found.test, arguments.seed)
