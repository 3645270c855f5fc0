"""A check-up for a VAE, of this package or anybody's: ``examine(model, images)``, ``examine(encode=..., decode=...)``.

Each gauge looks at one side of it and says what it found, how sure it is, how to see it and how to mend it. What was
not tested is told, too. Read ``gauge``, then the gauges: ``losses``, ``noise``, ``decoders``, ``codes``, ``steps``.
They stand on ``subject`` (one form for all VAEs; ``returned`` and ``halves`` bring strangers into it), ``form`` (what a
loss is made of), ``spread``, ``nats``.
"""

import importlib

_HOMES = {
    "BEYOND": "report",
    "CheckupError": "subject",
    "GAUGES": "gauge",
    "Fault": "gauge",
    "Finding": "gauge",
    "Found": "report",
    "Report": "report",
    "examine": "examining",
    "examine_file": "script",
    "faults": "gauge",
}
__all__ = [
    "BEYOND",
    "GAUGES",
    "CheckupError",
    "Fault",
    "Finding",
    "Found",
    "Report",
    "examine",
    "examine_file",
    "faults",
]


def __getattr__(name):
    # The words on faults need no torch; a book that lists them loads nothing else.
    if name in _HOMES:
        if name == "GAUGES":
            importlib.import_module(f"{__name__}.examining")  # which fills the list
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return [*globals(), *__all__]
