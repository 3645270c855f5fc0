"""``python -m vae_tutorial compress``: images in a file, about as long as a model's negative ELBO says."""

import torch

from vae_tutorial import _checks, compress
from vae_tutorial.cli import _options, _own

SUFFIX = ".nats"


def describe(p):
    """Add the command's options to its parser."""
    _options.describe_trained(p)
    _options.describe_data(p)
    p.add_argument("--count", type=int, help="how many images, the first ones (default: all)")
    p.add_argument("--precision", type=int, default=12, help="bits of each latent, 1 to 14 (default: %(default)s)")
    p.add_argument("--seed", type=_options.seed, default=0, help="of black and white for --images (default: 0)")
    _options.describe_result(p, "--to", (SUFFIX,), "the file", required=True)


def run(arguments) -> int:
    """Write the file, and say how long it is; return 0."""
    model = _options.trained(arguments.what)
    to = _options.new_file("--to", arguments.to, (SUFFIX,), arguments.overwrite)
    if arguments.table is not None:
        raise ValueError("--table holds numbers of any size, which have densities; compress takes images")
    most = None if arguments.count is None else _checks.whole("--count", arguments.count)
    if arguments.images is None and tuple(model.image_shape) == (1, 28, 28):
        images, name = _options.test_images(arguments, model.likelihood)
        images = images[:most]
    else:
        found = _own.to_measure(arguments, model)
        generator = torch.Generator().manual_seed(arguments.seed)
        some = found.test[torch.arange(len(found.test))[:most]]
        images, name = _own.as_taken(some, model, generator), str(arguments.images)
    written = compress.write(to, model, images, precision=arguments.precision)
    print(f"{to}: {written} ({name})")
    return 0
