"""One coin a unit splits a family into training and held-out units.

The coin is a keyed pseudo-random function of the unit's id: the same for every version
of the family, unpredictable without the key, and independent of all other units. Each
unit is in exactly one half, so what both halves pay composes in parallel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 32
_SCALE = 2**64


def coins(
    unit_ids: NDArray[np.generic] | Iterable[object],
    *,
    key: bytes,
    holdout: float = 0.2,
) -> NDArray[np.bool_]:
    """True where a row's unit is held out; bool [rows].

    unit_ids: one id a row, integers or text; equal ids get equal coins. Integers and
    their decimal text are the same id. key: 32 secret bytes, one for each family.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"The key of a split has {KEY_BYTES} bytes.")
    if not 0 < holdout < 1:
        raise ValueError("The held-out share must lie between 0 and 1.")
    threshold = int(holdout * _SCALE)
    # A set, and no array of texts: that takes the longest id's room for each row.
    ids = [str(unit) for unit in unit_ids]
    held_out = {unit: _number(unit, key) < threshold for unit in set(ids)}
    return np.fromiter((held_out[unit] for unit in ids), dtype=bool, count=len(ids))


def _number(unit: str, key: bytes) -> int:
    """A unit's number below `_SCALE`; NUL at an id's end never counted."""
    unit = unit.rstrip("\0")
    digest = hashlib.blake2b(unit.encode(), key=key, digest_size=8).digest()
    return int.from_bytes(digest, "big")
