"""Explorers: interactive widgets. Each works in a web page without a kernel, in Jupyter and in Colab.

``explorers.KLExplorer()`` as the last line of a cell shows one. Its values are traits: set them, and the picture
follows; move the picture, and they follow. ``numbers()`` gives what its table shows, computed by the package.
"""

import importlib

_HOMES = {
    "EntropyExplorer": "entropy",
    "KLExplorer": "kl",
    "ELBOExplorer": "elbo",
    "ReparameterizationExplorer": "reparameterization",
    "LatentExplorer": "latent",
    "OwnDigitExplorer": "own_digit",
    "TradeOffExplorer": "trade_off",
    "TrainExplorer": "train_one",
}
__all__ = [*_HOMES, "TrainingPanel"]


def __getattr__(name):
    if name in __all__:  # each loads when it is first used
        return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'panel')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
