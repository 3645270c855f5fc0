"""The package behind the course "Variational autoencoders, in nats".

Read its modules in this order. Begin with ``examples/vae.py``, the whole idea in one file, and then:
``models``, ``objectives``, ``training``. Look up the others when a chapter uses them:
``information``, ``exact``, ``data``, ``likelihoods``, ``plotting``, ``diagrams``, ``proposals``, ``marginal``,
``witnesses``, ``evaluation``, ``imputation``, ``checkup``, ``compress``, ``stored``, ``pretrained``, ``claims``,
``exercises``, ``ledger``, ``explorers``, ``reproduce``, ``pixelvae``.
All amounts of information are in nats unless a name or an argument says bits.
"""

import importlib

__version__ = "0.1.0"
__all__ = [
    "checkup",
    "claims",
    "compress",
    "data",
    "diagrams",
    "evaluation",
    "exact",
    "exercises",
    "explorers",
    "imputation",
    "information",
    "ledger",
    "likelihoods",
    "marginal",
    "models",
    "objectives",
    "pixelvae",
    "plotting",
    "pretrained",
    "proposals",
    "reproduce",
    "stored",
    "training",
    "witnesses",
]


def __getattr__(name):
    # Modules load when they are first used, so that `import vae_tutorial` costs nothing and needs no torch.
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its modules are {', '.join(__all__)}")


def __dir__():
    return [*globals(), *__all__]
