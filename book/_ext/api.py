"""The reference of the package, from its docstrings, the same with and without PyTorch on the machine."""

import importlib
import inspect
import sys
from pathlib import Path

from sphinx.ext.autodoc.mock import MockFinder, mock

LAZY = ("vae_tutorial.checkup", "vae_tutorial.exercises", "vae_tutorial.explorers")  # they load what is asked for


def load(app):
    """Load all names of the lazy packages among the mocks: Sphinx 9 asks for them when its mocks have gone."""
    with mock(app.config.autodoc_mock_imports):
        for name in LAZY:
            package = importlib.import_module(name)
            for member in package.__all__:
                getattr(package, member)


def skip(app, what, name, value, skipped, options):
    """Leave out the fields of named tuples: their docstring only repeats their position."""
    alias = (getattr(value, "__doc__", None) or "").startswith("Alias for field number")
    return True if alias else None


def signature(app, what, name, value, options, arguments, returns):
    """Give a class that inherits from a mock the arguments of its own ``__init__``; the mock's would be ``*args``."""
    if what != "class" or "*args" not in (arguments or ""):
        return None
    own = [c.__init__ for c in value.__mro__ if c.__module__.startswith("vae_tutorial") and "__init__" in vars(c)]
    if not own:
        return "()", returns
    parameters = list(inspect.signature(own[0]).parameters.values())[1:]
    return str(inspect.Signature(parameters)), returns


def setup(app):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # what builds the book does not install the package
    # Autodoc's own list of mocks holds while it imports; later it asks for the source of a base class, and would
    # then load the real PyTorch where there is one.
    sys.meta_path.insert(0, MockFinder(["torch", "torchvision"]))
    app.connect("builder-inited", load)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
