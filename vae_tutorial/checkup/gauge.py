"""What a gauge is: a function that looks at one side of a VAE, and yields what it finds. The list of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

__all__ = ["CERTAIN", "GAUGES", "LIKELY", "PERHAPS", "Fault", "Finding", "Gauge", "faults", "gauge"]

CERTAIN, LIKELY, PERHAPS = "certain", "likely", "perhaps"


class Fault(NamedTuple):
    """A fault that is known here: its ``name``, the ``symptom`` as people ask it, how to ``see`` and to ``mend`` it.

    ``chapter`` explains it. A ``note`` is no fault: worth knowing, and often meant.
    """

    key: str
    name: str
    symptom: str
    see: str
    mend: str
    chapter: str
    note: bool = False


class Finding(NamedTuple):
    """What a gauge found: the key of a fault, what was measured, and how sure it is."""

    fault: str
    says: str
    sure: str = CERTAIN


class Gauge(NamedTuple):
    """A gauge's ``title`` says what it looks at; ``look(subject)`` yields findings, or raises NotTested."""

    title: str
    look: Callable[..., Iterator[Finding]]


GAUGES: dict[str, Gauge] = {}  # in the order in which they run and are told


def gauge(title: str):
    """Decorate a function of a Subject: it becomes a gauge of that title, named as the function."""

    def listed(look):
        GAUGES[look.__name__] = Gauge(title, look)
        return look

    return listed


@cache
def faults() -> dict[str, Fault]:
    """Return all faults that have a name here, by key."""
    text = (resources.files("vae_tutorial") / "checkup" / "faults.json").read_text("utf-8")
    return {key: Fault(key, **entry) for key, entry in json.loads(text).items()}
