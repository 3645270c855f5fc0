"""Images in files, by bits-back coding with a VAE: about as long as the negative ELBO says, and the same pixels back.

``write`` and ``read`` are all that a chapter needs. ``stack`` is the stack of bits, ``coding`` puts images on it,
``integers`` and ``tables`` compute in whole numbers, so that a file opens on every machine; ``files`` has the header.
Needs the library ``constriction``: ``pip install constriction``.
"""

from vae_tutorial.compress.files import Written, read, write
from vae_tutorial.compress.integers import CompressError
from vae_tutorial.compress.stack import NeedsConstriction, Stack

__all__ = ["CompressError", "NeedsConstriction", "Stack", "Written", "read", "write"]
