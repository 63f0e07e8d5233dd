"""Class sizes in a few bins: enough to compare, too few to tell the table's shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def binned(histogram: Iterable[Sequence[int]]) -> list[dict[str, int | str]]:
    """Rows and classes by bin of class size, of (class size, classes) pairs.

    >>> binned([(1, 4), (6, 2)])[0]
    {'size': '1', 'rows': 4, 'classes': 4}
    """
    pairs = list(histogram)
    told: list[dict[str, int | str]] = []
    for place, low in enumerate(_EDGES):
        last = place + 1 == len(_EDGES)
        high = float("inf") if last else _EDGES[place + 1]
        inside = [(size, count) for size, count in pairs if low <= size < high]
        told.append(
            {
                "size": _label(low, None if last else _EDGES[place + 1]),
                "rows": sum(size * count for size, count in inside),
                "classes": sum(count for _, count in inside),
            }
        )
    return told


def _label(low: int, above: int | None) -> str:
    if above is None:
        return f"{low:,} or more"
    return f"{low}" if above - low == 1 else f"{low} to {above - 1}"
