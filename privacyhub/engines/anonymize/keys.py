"""Arrays of codes, and packing several codes into one integer key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import AnonymizeError

# Codes and counts; some are kept in fewer bytes than eight.
Ints = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def count_by(codes: Ints, *, weights: Ints | Floats, size: int) -> Ints:
    """Sum of weights by code; exact below 2**53 rows."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.int64)


def pack(codes: Sequence[Ints], *, sizes: Sequence[int]) -> tuple[Ints, list[int]]:
    """Mixed-radix keys. Raises AnonymizeError past 63 bits of combinations."""
    space = 1
    for size in sizes:
        space *= int(size)
    if space >= 2**63:
        raise AnonymizeError(
            "The columns have too many distinct values together; generalize one "
            "before, or leave one out."
        )
    kind = np.uint32 if space < 2**32 else np.int64
    keys: Ints = np.zeros(len(codes[0]) if codes else 0, dtype=kind)
    for code, size in zip(codes, sizes, strict=True):
        keys *= kind(size)
        keys += code.astype(kind, copy=False)
    return keys, list(sizes)


def unpack(keys: Ints, *, radices: Sequence[int]) -> list[Ints]:
    """The codes that `pack` was given."""
    codes: list[Ints] = []
    for size in reversed(radices):
        rest = keys // keys.dtype.type(size)  # faster than np.divmod
        code = keys - rest * keys.dtype.type(size)
        codes.append(code.astype(np.min_scalar_type(size)))
        keys = rest
    return codes[::-1]


def sorted_counts(keys: Ints) -> tuple[Ints, Ints]:
    """Distinct values of a sorted array and how often each occurs."""
    if not len(keys):
        return keys, np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.diff(np.append(starts, len(keys)))
