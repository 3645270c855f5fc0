"""``python -m vae_tutorial reconstruct``: images, or rows of a table, beside what a model makes of them."""

import torch

from vae_tutorial import _checks
from vae_tutorial.cli import _options, _own, _sheet, _tables


def describe(p):
    """Add the command's options to its parser."""
    _options.describe_trained(p)
    _options.describe_data(p)
    p.add_argument("--n", type=int, default=32, help="how many, evenly spaced among all (default: %(default)s)")
    what = "picture with a row of reconstructions below each row of originals, arrays, or a table of reconstructed rows"
    _options.describe_result(p, "--to", (".png", ".npz", ".csv"), what, required=True)


def run(arguments) -> int:
    """Reconstruct and write the result; return 0."""
    count = _checks.whole("--n", arguments.n)
    model = _options.trained(arguments.what)
    is_table = len(model.image_shape) == 1
    kinds = (".csv", ".npz") if is_table else (".png", ".npz")
    to = _options.new_file("--to", arguments.to, kinds, arguments.overwrite, table=arguments.table)
    found = _own.to_measure(arguments, model)
    chosen = _own.spread(len(found.test), count)
    originals = _own.between_0_and_1(found.test[chosen], model)
    made = torch.cat([_own.reconstructed(model, x) for x in _own.batches(originals, "batch")])
    if _options.kind(to) == ".png":
        _sheet.write(to, _sheet.in_turn(originals, made))
    elif _options.kind(to) == ".csv":
        _tables.write(to, dict(zip(_own.columns_of(model), made.T.numpy(), strict=True)))
    else:
        which = {"rows": chosen}
        if found.train.files:
            which = {"files": [found.train.files[place] for place in chosen.tolist()]}
        _tables.write_arrays(to, **which, x=originals, reconstruction=made)
    what = f"{len(made):,} of {len(found.test):,} {'rows' if is_table else 'images'}"
    print(f"{to}: {what}, E[x | z] at the mean of q(z | x)")
    return 0
