"""``python -m vae_tutorial sample``: images, or rows of a table, drawn from a model."""

import math

import torch

from vae_tutorial import _bars, _checks
from vae_tutorial.cli import _options, _own, _sheet, _tables
from vae_tutorial.models import Autoencoder

KINDS = (".png", ".npz", ".csv")
MOST = 1000  # on a picture
_AT_ONCE = 500


def describe(p):
    """Add the command's options to its parser."""
    _options.describe_trained(p)
    p.add_argument("--n", type=int, default=64, help="how many (default: %(default)s)")
    p.add_argument(
        "--mean", action="store_true", help="write E[x | z] for each z of the prior, without the noise of p(x | z)"
    )
    p.add_argument("--seed", type=_options.seed, default=0, help="of the draws (default: %(default)s)")
    _options.describe_result(p, "--to", KINDS, "picture, arrays or table", required=True)


def run(arguments) -> int:
    """Draw from a model and write what was drawn; return 0."""
    count = _checks.whole("--n", arguments.n)
    model = _options.trained(arguments.what)
    if isinstance(model, Autoencoder):
        raise ValueError(f"{arguments.what} is an autoencoder: it has no prior to draw from (chapter 7)")
    kinds = KINDS[1:] if len(model.image_shape) == 1 else KINDS[:2]
    to = _options.new_file("--to", arguments.to, kinds, arguments.overwrite)
    if _options.kind(to) == ".png" and count > MOST:
        raise ValueError(f"--n must be at most {MOST:,} for a picture, and can be any number for .npz; got {count:,}")
    generator = torch.Generator().manual_seed(arguments.seed)
    sizes = [min(_AT_ONCE, count - first) for first in range(0, count, _AT_ONCE)]
    draw = _own.prior_means if arguments.mean else type(model).sample
    drawn = torch.cat([draw(model, size, generator) for size in _bars.bar(sizes, "batch")])
    if _options.kind(to) == ".png":
        _sheet.write(to, drawn, max(_sheet.COLUMNS, math.isqrt(count - 1) + 1))
    elif _options.kind(to) == ".csv":
        _tables.write(to, dict(zip(_own.columns_of(model), drawn.T.numpy(), strict=True)))
    else:
        _tables.write_arrays(to, x=drawn)
    print(f"{to}: {count:,} {'means of p(x | z), z' if arguments.mean else 'draws of p(x | z), z'} from the prior")
    return 0
