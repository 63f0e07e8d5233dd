"""Standard normal noise for training, drawn ahead from a cryptographic stream.

Only tests pass another source; no setting, spec or seed of a user reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacyhub.engines.dp.entropy import Words, fresh_words

# Fills a contiguous array with standard normal values.
NoiseSource = Callable[[NDArray[np.float32]], None]

_PAIRS_AT_ONCE = 16_384  # whose arrays stay in a core's own cache
_ANGLE_BITS = 23  # and a half: as many as float32 tells apart
_RADIUS_BITS = 64 - _ANGLE_BITS


def entropy_noise() -> NoiseSource:
    """A fresh source: two of them never give the same values."""
    return normal_noise(fresh_words())


def normal_noise(words: Words) -> NoiseSource:
    """Standard normal values from uniform 64-bit words, a pair from each.

    Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958): twice
    as fast here as NumPy's ziggurat, since each step is one vectorised call. The
    largest value is sqrt(84 ln 2) = 7.63, which a normal variable passes in one of
    4e13 draws; none is 0.
    """

    def fill(values: NDArray[np.float32]) -> None:
        flat = values.reshape(-1)
        for start in range(0, flat.size, 2 * _PAIRS_AT_ONCE):
            _fill_part(flat[start : start + 2 * _PAIRS_AT_ONCE], words)

    return fill


def _fill_part(values: NDArray[np.float32], words: Words) -> None:
    pairs = -(-values.size // 2)
    drawn = words(pairs)
    angle = _middles(drawn & np.uint64(2**_ANGLE_BITS - 1), dtype=np.float32)
    angle *= np.float32(2 * math.pi / 2**_ANGLE_BITS)
    drawn >>= np.uint64(_ANGLE_BITS)
    # In double precision: next to 1, float32 would make some of them 1, and no noise.
    share = _middles(drawn, dtype=np.float64)
    share *= 2.0**-_RADIUS_BITS
    radius = np.log(share, out=share).astype(np.float32)
    radius *= np.float32(-2)
    np.sqrt(radius, out=radius)
    np.multiply(radius, np.cos(angle), out=values[:pairs])
    rest = values.size - pairs
    np.multiply(radius[:rest], np.sin(angle[:rest]), out=values[pairs:])


def _middles(words: NDArray[np.uint64], *, dtype: type[np.floating[Any]]) -> Any:
    """The middles of the intervals [k, k + 1) of words below 2^63, which processors
    turn into floats faster as signed numbers."""
    middles = words.view(np.int64).astype(dtype)
    middles += 0.5
    return middles
