"""``python -m vae_tutorial decompress``: the images of a file that ``compress`` wrote, every pixel as it was."""

from vae_tutorial import _checks, compress
from vae_tutorial.cli import _options, _own, _sheet, _tables

_MOST = 1000  # images on one sheet


def describe(p):
    """Add the command's options to its parser."""
    _options.describe_trained(p)
    p.add_argument("file", type=_options.path, metavar="FILE", help="what compress wrote with the same model")
    p.add_argument(
        "--batch-size", type=int, default=100, help="images at once; changes no pixel (default: %(default)s)"
    )
    what = f"the images as an array, or the first {_MOST} on a sheet"
    _options.describe_result(p, "--to", (".npz", ".png"), what, required=True)


def run(arguments) -> int:
    """Read the file and write its images; return 0."""
    model = _options.trained(arguments.what)
    to = _options.new_file("--to", arguments.to, (".npz", ".png"), arguments.overwrite)
    size = _checks.whole("--batch-size", arguments.batch_size)
    images = compress.read(arguments.file, model, batch_size=size)
    if _options.kind(to) == ".npz":
        _tables.write_arrays(to, images=images)
    else:
        _sheet.write(to, _own.between_0_and_1(images[:_MOST], model))
    print(f"{to}: {len(images):,} images of {tuple(images.shape[1:])}")
    return 0
