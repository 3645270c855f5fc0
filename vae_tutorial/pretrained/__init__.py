"""The trained models that come with the package: ``load`` one, and see on its ``card`` what was measured on it.

``shipped`` is what a chapter uses; ``making`` retrains and measures them.
"""

from vae_tutorial.pretrained.making import remeasure, train
from vae_tutorial.pretrained.shipped import Card, PretrainedError, build, card, command, load, names, recipe

__all__ = ["Card", "PretrainedError", "build", "card", "command", "load", "names", "recipe", "remeasure", "train"]
