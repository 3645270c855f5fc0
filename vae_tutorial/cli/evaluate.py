"""``python -m vae_tutorial evaluate``: how many nats a model needs for an image, and how sure that is."""

import zipfile

import torch

from vae_tutorial import _bars, _checks, evaluation, pretrained, training
from vae_tutorial.cli import _options, _own
from vae_tutorial.models import Autoencoder

_AT_ONCE = 100  # images whose log p(x) is estimated together, as evaluation.log_marginal does


def describe(p):
    """Add the command's options to its parser."""
    what = "a file of train --out, a shipped model, or a checkpoint, with the model's options as in training"
    p.add_argument("what", metavar="MODEL", help=what)
    _options.describe_model(p)
    _options.describe_data(p)
    p.add_argument("--count", type=int, default=1000, help="how many images (default: %(default)s)")
    p.add_argument("--samples", type=int, default=500, help="draws of z for each (default: %(default)s)")
    p.add_argument("--proposal", choices=("refined", "encoder"), default="refined", help="what z is drawn from")
    p.add_argument("--seed", type=_options.seed, default=0, help="of the draws (default: %(default)s)")
    _options.describe_device(p)


def run(arguments) -> int:
    """Print ELBO, its parts and log p(x) of images, the last with diagnostics; return 0."""
    count = _checks.whole("--count", arguments.count, least=2)
    if str(arguments.images).isdigit() and not arguments.images.is_dir():
        raise ValueError(f"--images is a folder of your images; for how many: --count {arguments.images}")
    device = _options.device(arguments.device)
    model = _model(arguments).to(device)
    test, what = _test(arguments, model, count)
    generator = torch.Generator(device).manual_seed(arguments.seed)
    named = {"samples": 10, "generator": generator, "batch_size": _own.at_once(test)}
    parts = evaluation.rate_distortion(model.eval(), test, **named)
    found = _log_marginal(model, test, arguments, generator).summary()
    elbo = parts.negative_elbo
    print(f"{arguments.what}, {len(test):,} {what}, nats per {'row' if test.ndim == 2 else 'image'}")
    print(f"ELBO {-elbo.value:.2f} ± {elbo.stderr:.2f} (rate {parts.rate}, distortion {parts.distortion})")
    print(f"log p(x), {arguments.proposal} proposal: {found}")
    return 0


def _test(arguments, model, count):
    """What is measured, as the likelihood takes it, and what it is."""
    where = arguments.images or arguments.table
    if where is None and tuple(model.image_shape) == (1, 28, 28):
        device = next(model.parameters()).device
        test, name = _options.test_images(arguments, model.likelihood, device)
        return test[:count], f"test images of {name}"
    found = _own.to_measure(arguments, model)
    some = found.test[_own.spread(len(found.test), count)]
    test = _own.as_taken(some, model, torch.Generator().manual_seed(arguments.seed))
    return test, f"of {len(found.test):,} {'rows' if found.columns else 'images'} of {where}"


def _model(arguments):
    what, file, own = arguments.what, _options.path(arguments.what), arguments.images or arguments.table
    is_checkpoint = what not in pretrained.names() and (zipfile.is_zipfile(file) or not (own or file.is_file()))
    if is_checkpoint and own:
        raise ValueError(f"{what} is a checkpoint; for your own images and tables give the file that train --out wrote")
    model = _options.build(arguments) if is_checkpoint else _options.trained(what)
    if isinstance(model, Autoencoder):
        raise ValueError(f"{what} is an autoencoder, which has no log p(x): it has no prior (chapter 7)")
    if is_checkpoint:
        training.load_checkpoint(file, model)
        return model
    given = [name for name in ("model", "likelihood", *_options.SIZES) if getattr(arguments, name, None) is not None]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} is for a checkpoint; {what} says itself how it was built")
    return model


def _log_marginal(model, test, arguments, generator):
    """What log_marginal returns for all images, some at a time, so that there is a bar."""
    at_once = min(_AT_ONCE, _own.at_once(test))
    parts = [
        evaluation.log_marginal(model, x, arguments.samples, generator, proposal=arguments.proposal)
        for x in _bars.bar(test.split(at_once), "batch")
    ]
    value, stderr, ess, half, fallback = (torch.cat(column) for column in zip(*(p[:5] for p in parts), strict=True))
    return evaluation.LogMarginal(value, stderr, ess, half, fallback, arguments.samples)
