"""java.util.Random, because ARX's known answers draw their rows with it."""

from __future__ import annotations

_MASK = (1 << 48) - 1


class JavaRandom:
    """The linear congruential generator of java.util.Random."""

    def __init__(self, seed: int) -> None:
        # A Java int literal such as 0xDEADBEEF is negative before it becomes a long.
        signed = seed - (1 << 32) if seed >= 1 << 31 else seed
        self._state = (signed ^ 0x5DEECE66D) & _MASK

    def _next(self, bits: int) -> int:
        self._state = (self._state * 0x5DEECE66D + 0xB) & _MASK
        value = self._state >> (48 - bits)
        return value - (1 << bits) if value >= 1 << (bits - 1) else value

    def next_double(self) -> float:
        high, low = self._next(26) & ((1 << 26) - 1), self._next(27) & ((1 << 27) - 1)
        return ((high << 27) + low) / (1 << 53)

    def next_int(self, bound: int) -> int:
        if bound & -bound == bound:
            return (bound * (self._next(31) & 0x7FFFFFFF)) >> 31
        while True:
            bits = self._next(31) & 0x7FFFFFFF
            value = bits % bound
            if bits - value + (bound - 1) < 1 << 31:
                return value
