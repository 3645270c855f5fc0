"""``python -m vae_tutorial pretrained``: retrain shipped models, and compare them with their cards."""

from vae_tutorial import pretrained
from vae_tutorial.cli._options import path
from vae_tutorial.pretrained import making


def describe(p):
    """Add the command's options to its parser."""
    p.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(pretrained.names())} (default: all)")
    p.add_argument("--folder", type=path, default="build/pretrained", help="where they go (default: %(default)s)")
    p.add_argument("--install", action="store_true", help="put them in the place of the shipped ones")
    p.add_argument("--measure", action="store_true", help="do not train; measure the shipped ones again")


def run(arguments) -> int:
    """Retrain the shipped models; return 1 where one differs from its card, else 0."""
    different = False
    for name in arguments.names or pretrained.names():
        print(f"{name}: {pretrained.recipe(name)}", flush=True)
        found = (making.remeasure if arguments.measure else making.train)(name, arguments.folder)
        print(f"  ELBO {found.elbo}, log p(x) {found.log_p} nats, {found.active_units} active units", end="")
        print(f", {found.seconds:.0f} s", flush=True)
        if arguments.install:
            making.install(name, arguments.folder, card_only=arguments.measure)
        for line in making.differences(found, pretrained.card(name)):
            different = True
            print(f"  differs: {line}", flush=True)
    return int(different)
