"""``python -m vae_tutorial checkup FILE.py``: examine the VAE that a script defines."""

import contextlib
import sys

from vae_tutorial.cli._options import describe_result, new_file, path, seed

_KINDS = (".png", ".pdf", ".svg", ".jpg")


def describe(p):
    """Add the command's options to its parser."""
    p.add_argument(
        "file",
        type=path,
        metavar="FILE.py",
        help="a script with a model whose forward returns (output, mu, logvar), and loss_function; or with "
        "encode, reparameterize, decode and loss_function; it is tried on our digits, or on its images; it is run, "
        'without what is below if __name__ == "__main__"',
    )
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    describe_result(p, "--picture", _KINDS, "the report as a picture")
    p.add_argument("--seed", type=seed, default=0, help="of weights and noise (default: %(default)s)")


def run(arguments) -> int:
    """Print the report; return 1 where a fault was found, else 0."""
    from vae_tutorial.checkup import examine_file

    if arguments.picture:
        new_file("--picture", arguments.picture, _KINDS, arguments.overwrite)
    with contextlib.redirect_stdout(sys.stderr):  # what the script prints is no part of the report
        report = examine_file(arguments.file, seed=arguments.seed)
    print(report.to_json() if arguments.json else report)
    if arguments.picture:
        report.save(arguments.picture)
    return int(bool(report.found))
