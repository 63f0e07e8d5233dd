"""Randomness of what is released: a cryptographic stream under a key of its own.

The stream is AES-256 in counter mode (NIST SP 800-38A). Its 256-bit key comes from the
operating system, is drawn anew for each stream and is kept nowhere: who sees some
words, or noise that was made of them, learns nothing of the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

# Draws that many uniform words of 64 bits, in an array of the caller's own.
Words = Callable[[int], NDArray[np.uint64]]

_KEY_BYTES = 32
_BLOCK_BYTES = 16
_UNIT_BITS = 53  # as many as a double holds


def fresh_words() -> Words:
    """A fresh stream: two of them never give the same words."""
    key = algorithms.AES256(secrets.token_bytes(_KEY_BYTES))
    stream = Cipher(key, modes.CTR(bytes(_BLOCK_BYTES))).encryptor()

    def words(count: int) -> NDArray[np.uint64]:
        zeros = bytes(8 * count)
        # The cipher asks for room for one block more.
        drawn = np.empty(count + _BLOCK_BYTES // 8, dtype=np.uint64)
        stream.update_into(zeros, drawn.view(np.uint8).data)
        return drawn[:count]

    return words


def unit_interval(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers above 0 and at most 1, one of each word."""
    whole = (words >> np.uint64(64 - _UNIT_BITS)).astype(np.float64)
    whole += 1
    whole *= 2.0**-_UNIT_BITS
    return whole
