"""Keys of generalized entries, put together from two halves of the columns.

Most nodes share a half with a node before, so that halves are kept. A half numbers the
combinations that occur, in the order of their codes: there are far fewer of them than
the sizes of the columns multiply to, which lets most nodes be counted in an array
rather than sorted, and keys never pass 63 bits, whatever the columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .keys import WIDE, Ints, dense_keys, is_dense, number

# Halves that are kept for the next nodes.
KEPT_BYTES = 48_000_000


class Half:
    """Neighbouring columns at their levels, which have `sizes` codes.

    `ids` numbers the combination of each entry, shape (entries,), below `count`. `keys`
    are the mixed-radix keys of the numbers, ascending; None where these would pass 63
    bits.
    """

    def __init__(
        self, lifted: Sequence[Ints], *, sizes: Sequence[int], entries: int
    ) -> None:
        self._lifted = lifted
        self.sizes = tuple(sizes)
        space = math.prod(sizes)
        self.keys: Ints | None = None
        if space >= WIDE:
            distinct, self.ids = number(dense_keys(lifted, sizes=sizes), space=WIDE)
            self.count = len(distinct)
            return
        self.ids = _packed(lifted, sizes=sizes, rows=entries)
        if is_dense(space**2, keys=entries):  # few enough, whichever the other half
            self.keys, self.count = np.arange(space), space
        else:
            self.keys, self.ids = number(self.ids, space=space)
            self.count = len(self.keys)

    @property
    def columns(self) -> int:
        """How many there are."""
        return len(self.sizes)

    @cached_property
    def codes(self) -> list[Ints]:
        """For each column the code of each number, shape (count,).

        A number that no entry has may have any code.
        """
        one = np.zeros(self.count, dtype=np.int64)
        one[self.ids] = np.arange(len(self.ids))
        return [codes[one] for codes in self._lifted]

    def ids_of(self, codes: Sequence[Ints], *, sizes: Sequence[int]) -> Ints:
        """The numbers of other rows, by their codes at the same levels."""
        assert self.keys is not None  # noqa: S101 - callers look
        rows = len(codes[0]) if codes else 0
        return np.searchsorted(self.keys, _packed(codes, sizes=sizes, rows=rows))


def _packed(codes: Sequence[Ints], *, sizes: Sequence[int], rows: int) -> Ints:
    kind = np.int32 if math.prod(sizes) < 2**31 else np.int64
    keys: Ints = np.zeros(rows, dtype=kind)
    for code, size in zip(codes, sizes, strict=True):
        if size > 1:
            keys *= kind(size)
            keys += code.astype(kind, copy=False)
    return keys
