"""A stack of bits: pushing a symbol of probability p lengthens it by log2(1 / p) bits, popping one shortens it.

The stack itself is that of asymmetric numeral systems in the library ``constriction``. A symbol goes onto it as a few
coin flips, so that a probability is nothing but a whole number of 2^24ths, the same on every machine.
Source: Duda (2009), asymmetric numeral systems.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["NeedsConstriction", "Stack"]


class NeedsConstriction(ImportError):
    """The library ``constriction`` is not installed, or is too old."""


try:
    from constriction import stream  # ty: ignore[missing-module-member]

    _COIN = stream.model.Bernoulli(perfect=False)  # constriction before 0.4 knows no such argument
except (ImportError, TypeError) as error:
    raise NeedsConstriction(
        f"vae_tutorial.compress needs constriction 0.4 or newer: pip install constriction ({error})"
    ) from error

_BITS = 24  # of a coin's probability: constriction's own precision
_LEAST = 3  # words; with fewer, constriction has popped bits that were never there


class Stack:
    """A stack of bits. What was pushed last is popped first; popping and pushing the same symbols changes nothing.

    ``words``: uint32, what it begins with. ``seal``: keep its last words even if they are 0, as for first bits that
    nobody pushed. A ``cdf`` takes whole numbers s, one for each of n variables, ``(n,)``, and returns the weight of
    all symbols below s, int64: 0 at s = 0, greater at each s than at s - 1, and below 2^37 at the last.
    """

    def __init__(self, words: np.ndarray, seal: bool = False):
        self._coder = stream.stack.AnsCoder(words.astype(np.uint32), seal=seal)

    @property
    def bits(self) -> int:
        """How many bits lie on the stack."""
        return self._coder.num_valid_bits()

    @property
    def ran_out(self) -> bool:
        """Whether more may have been popped than there was; pushed symbols would then not be those popped later."""
        return self._coder.num_words() < _LEAST

    def words(self, unseal: bool = False) -> np.ndarray:
        """Return all bits as uint32. Raises AssertionError for ``unseal`` unless the stack is again as it began."""
        return self._coder.get_compressed(unseal=unseal)

    def push_uniform(self, symbols: np.ndarray, bits: int) -> None:
        """Push whole numbers below ``2**bits``, all of them equally probable, ``(n,)``; each costs ``bits`` bits."""
        self._coder.encode_reverse(symbols.astype(np.int32), stream.model.Uniform(1 << bits))

    def pop_uniform(self, n: int, bits: int) -> np.ndarray:
        """Pop what :meth:`push_uniform` pushed, ``(n,)``."""
        return self._coder.decode(stream.model.Uniform(1 << bits), n).astype(np.int64)

    def push(self, symbols: np.ndarray, bits: int, cdf: Callable[[np.ndarray], np.ndarray]) -> None:
        """Push one symbol below ``2**bits`` of each of n variables with the distribution ``cdf``; ``(n,)``."""
        flips, low = [], np.zeros_like(symbols)
        edges = _Edges(cdf, low, bits)
        for level in reversed(range(bits)):
            probability = edges.upper_half()
            coin = (symbols >> level) & 1
            flips.append((coin, probability))
            edges.halve(coin)
        for coin, probability in reversed(flips):  # what is pushed last is popped first
            self._coder.encode_reverse(coin.astype(np.int32), _COIN, probability)

    def pop(self, n: int, bits: int, cdf: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Pop what :meth:`push` pushed, ``(n,)``; on other bits, it draws symbols from the distribution ``cdf``."""
        edges = _Edges(cdf, np.zeros(n, dtype=np.int64), bits)
        for _ in range(bits):
            edges.halve(self._coder.decode(_COIN, edges.upper_half()).astype(np.int64))
        return edges.low


class _Edges:
    """The interval in which each symbol lies, and the weight below its edges and its middle."""

    def __init__(self, cdf, low, bits):
        self.cdf, self.low, self.half = cdf, low, 1 << bits >> 1
        self.below, self.above = cdf(low), cdf(low + (1 << bits))

    def upper_half(self):
        """The probability that the symbol lies in the upper half of its interval, a multiple of 2^-24, as a float."""
        self.middle = self.cdf(self.low + self.half)
        # constriction turns 0 and 1 into the nearest of 2^24ths that leaves the other side possible.
        return (((self.above - self.middle) << _BITS) // (self.above - self.below)) / (1 << _BITS)

    def halve(self, upper):
        """Keep the upper half where ``upper`` is 1, the lower half where it is 0."""
        chosen = upper == 1
        self.below = np.where(chosen, self.middle, self.below)
        self.above = np.where(chosen, self.above, self.middle)
        self.low, self.half = self.low + self.half * upper, self.half >> 1
