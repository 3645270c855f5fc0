"""``python -m vae_tutorial encode``: the codes of images, or of rows of a table."""

import torch

from vae_tutorial.cli import _options, _own, _tables
from vae_tutorial.models import Autoencoder


def describe(p):
    """Add the command's options to its parser."""
    _options.describe_trained(p)
    _options.describe_data(p)
    what = "table with a row for each image: its file, mu and logvar of q(z | x)"
    _options.describe_result(p, "--to", (".csv", ".npz"), what, required=True)


def run(arguments) -> int:
    """Encode everything and write the codes; return 0."""
    model = _options.trained(arguments.what)
    to = _options.new_file("--to", arguments.to, (".csv", ".npz"), arguments.overwrite, table=arguments.table)
    found = _own.to_measure(arguments, model)
    codes = [_code(model, _own.between_0_and_1(x, model)) for x in _own.batches(found.test, "batch")]
    names = ("z",) if isinstance(model, Autoencoder) else ("mu", "logvar")
    columns = dict(zip(names, map(torch.cat, zip(*codes, strict=True)), strict=True))
    name, which = ("file", found.train.files) if found.train.files else ("row", range(len(found.test)))
    if _options.kind(to) == ".npz":
        _tables.write_arrays(to, **{f"{name}s": list(which)}, **columns)
    else:
        each = {f"{part}_{j}": v for part, values in columns.items() for j, v in enumerate(values.T.numpy())}
        _tables.write(to, {name: list(which)} | each)
    what = f"{len(found.test):,} {'rows' if found.columns else 'images'}"
    print(f"{to}: {' and '.join(names)} of {what}, Z = {model.latent_dim}")
    return 0


@torch.no_grad()
def _code(model, x):
    code = model.encode(x)
    return (code,) if isinstance(model, Autoencoder) else code
