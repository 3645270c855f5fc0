"""``python -m vae_tutorial evaluate``: how many nats a model needs for an image, and how sure that is."""

import torch

from vae_tutorial import _checks, evaluation, pretrained, training
from vae_tutorial.cli._options import build, describe_data, describe_model, seed, test_images


def describe(p):
    """Add the command's options to its parser."""
    p.add_argument(
        "what", metavar="NAME_OR_FILE", help="a shipped model, or a checkpoint, with the model's options as in training"
    )
    describe_model(p)
    describe_data(p)
    p.add_argument("--images", type=int, default=1000, help="how many test images (default: %(default)s)")
    p.add_argument("--samples", type=int, default=500, help="draws of z for each (default: %(default)s)")
    p.add_argument("--proposal", choices=("refined", "encoder"), default="refined", help="what z is drawn from")
    p.add_argument("--seed", type=seed, default=0, help="of the draws (default: %(default)s)")


def run(arguments) -> int:
    """Print ELBO, its parts and log p(x) of test images, the last with diagnostics; return 0."""
    images = _checks.whole("--images", arguments.images, least=2)
    if arguments.what in pretrained.names():
        model = pretrained.load(arguments.what)
    else:
        if arguments.model == "autoencoder":
            raise ValueError("--model autoencoder has no log p(x): it has no prior (chapter 7)")
        model = build(arguments)
        training.load_checkpoint(arguments.what, model)
    test, name = test_images(arguments, model.likelihood)
    test = test[:images]
    generator = torch.Generator().manual_seed(arguments.seed)
    parts = evaluation.rate_distortion(model.eval(), test, samples=10, generator=generator)
    found = evaluation.log_marginal(model, test, arguments.samples, generator, proposal=arguments.proposal).summary()
    print(f"{arguments.what}, {len(test):,} test images of {name}, nats per image")
    print(f"ELBO {-parts.negative_elbo.value:.2f} ± {parts.negative_elbo.stderr:.2f}", end="")
    print(f" (rate {parts.rate}, distortion {parts.distortion})")
    print(f"log p(x), {arguments.proposal} proposal: {found}")
    return 0
