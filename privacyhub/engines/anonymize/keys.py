"""Arrays of codes, and packing several codes into one integer key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Codes and counts; some are kept in fewer bytes than eight.
Ints = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Keys hold fewer combinations than this: what np.int64 has.
WIDE = 2**63


def count_by(codes: Ints, *, weights: Ints | Floats, size: int) -> Ints:
    """Sum of weights by code; exact below 2**53 rows."""
    return np.bincount(codes, weights=weights, minlength=size).astype(np.int64)


def first_rows(groups: Ints, *, rows: Ints, size: int) -> Ints:
    """The first of the ascending rows in each group; the number of all where none is.

    `groups`: the group of every row, below `size`.
    """
    first = np.full(size, len(groups))
    # Written from the last row to the first, so the first one stays.
    first[groups[rows[::-1]]] = rows[::-1]
    return first


def pack(codes: Sequence[Ints], *, sizes: Sequence[int]) -> tuple[Ints, list[int]]:
    """Mixed-radix keys, of less than WIDE combinations; see `dense_keys` for more."""
    space = math.prod(sizes)
    assert space < WIDE  # noqa: S101 - callers take another path
    kind = np.uint32 if space < 2**32 else np.int64
    keys: Ints = np.zeros(len(codes[0]) if codes else 0, dtype=kind)
    for code, size in zip(codes, sizes, strict=True):
        keys *= kind(size)
        keys += code.astype(kind, copy=False)
    return keys, list(sizes)


def dense_keys(codes: Sequence[Ints], *, sizes: Sequence[int]) -> Ints:
    """Keys of any number of combinations, in the order of `pack`.

    Where the product would pass 63 bits, the keys so far are numbered anew, by rank:
    there are no more of them than rows. Codes cannot be read from such keys.
    """
    keys, space = codes[0].astype(np.int64), int(sizes[0])
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        if space * size >= WIDE:
            unique, keys = np.unique(keys, return_inverse=True)
            space = len(unique)
        keys = keys * size + code
        space *= size
    return keys


def matched(
    wanted: Sequence[Ints], codes: Sequence[Ints], *, sizes: Sequence[int]
) -> Ints:
    """For each wanted combination the place of one that is the same; 0 if none is."""
    pairs = zip(codes, wanted, strict=True)
    keys = dense_keys([np.concatenate(pair) for pair in pairs], sizes=sizes)
    count = len(codes[0])
    unique, groups = np.unique(keys, return_inverse=True)
    place = np.zeros(len(unique), dtype=np.int64)
    place[groups[:count]] = np.arange(count)
    return place[groups[count:]]


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


# A counting array may have this many cells for each key before sorting is cheaper.
DENSE_CELLS = 8


def is_dense(space: int, *, keys: int) -> bool:
    """Whether that many keys below `space` are counted in an array."""
    return space <= DENSE_CELLS * max(keys, 1024)


def number(keys: Ints, *, space: int) -> tuple[Ints, Ints]:
    """The distinct keys, ascending, and the place of each key among them."""
    if is_dense(space, keys=len(keys)):
        seen = np.zeros(space, dtype=bool)
        seen[keys] = True
        distinct = np.flatnonzero(seen)
        place = np.empty(space, dtype=np.int32)
        place[distinct] = np.arange(len(distinct))
        return distinct, place[keys]
    order, starts, distinct = group(keys, space=space)
    return distinct, places(order, starts)


def number_by_place(keys: Ints, *, places: Ints) -> tuple[Ints, Ints]:
    """The place of one key of each kind, and the number of each key among these.

    `places`: int32, longer than the largest key, of any content, which is lost: so a
    long one costs no more than a short one, as it would if it had to be cleared.
    """
    keys = keys.astype(np.intp, copy=False)
    own = np.arange(len(keys), dtype=np.int32)
    places[keys] = own  # one of those with the same key stays
    found = places.take(keys)
    first = np.flatnonzero(found == own)
    of = np.empty(len(keys), dtype=np.intp)
    of[first] = own[: len(first)]
    return first, of.take(found)


def group(keys: Ints, *, space: int) -> tuple[Ints, Ints, Ints]:
    """Positions in the order of their keys, where each group starts, and its key.

    Keys and positions are packed into one integer where they fit, because sorting
    values is several times faster than sorting positions by value.
    """
    bits = max(len(keys) - 1, 1).bit_length()
    if space < 2 ** (63 - bits):
        packed = keys.astype(np.int64) << bits
        packed |= np.arange(len(keys))
        packed.sort()
        order = packed & ((1 << bits) - 1)
        ordered = packed >> bits
    else:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
    change = np.empty(len(keys), dtype=bool)
    change[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=change[1:])
    starts = np.flatnonzero(change)
    return order, starts, ordered[starts]


def places(order: Ints, starts: Ints) -> Ints:
    """For each position the number of its group, as `group` tells them."""
    out = np.empty(len(order), dtype=np.int32)
    ends = np.append(starts[1:], len(order))
    out[order] = np.repeat(np.arange(len(starts), dtype=np.int32), ends - starts)
    return out
