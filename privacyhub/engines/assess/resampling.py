"""The bootstrap over units: all rows of a unit are drawn together, as they came.

Rows of one unit are alike, so drawing them one by one would make intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Units = NDArray[np.int64]


def resampled_weights(
    *, rows: int, units: Units | None, replicates: int, seed: int = 0
) -> Iterator[Floats]:
    """How often each row is in a resample of the units, float64 [rows] a replicate.

    units: int64 [rows], equal for rows of one unit and -1 without a key; None where
    each row is a unit.
    """
    codes, count = _codes(rows=rows, units=units)
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        drawn = generator.integers(count, size=count)
        times = np.bincount(drawn, minlength=count).astype(np.float64)
        yield times if codes is None else times[codes]


def _codes(*, rows: int, units: Units | None) -> tuple[Units | None, int]:
    """Each row's unit, from 0; and how many units there are."""
    if units is None:
        return None, rows
    keys = np.asarray(units, dtype=np.int64).copy()
    alone = keys < 0
    keys[alone] = keys.max(initial=0) + 1 + np.arange(int(alone.sum()))
    _, codes = np.unique(keys, return_inverse=True)
    return codes, int(codes.max(initial=-1)) + 1
