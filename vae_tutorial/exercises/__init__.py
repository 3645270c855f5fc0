"""Are you right? ``check("8.6", f)`` tells it of a function, ``ask("8.1")`` of numbers and choices, and what is wrong.

``first_loss`` says what the first loss of a training tells. Right and wrong answers are data: see ``catalogue``.
"""

import importlib

# Each loads when it is first used: asking needs neither PyTorch nor NumPy.
_HOMES = {"ask": "page", "check": "checking", "first_loss": "losses"}
__all__ = ["ask", "check", "first_loss"]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")


def __dir__():
    return [*globals(), *_HOMES]
