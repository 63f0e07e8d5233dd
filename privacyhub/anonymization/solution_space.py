"""The nodes that a search checked, as a run keeps them: a list for each figure.

    {"node": [0, 7, ...], "holds": [1, 0, ...], "suppressed": [12, 90, ...],
     "figure": [0.3, 0.1, ...], "smallest": [5, 7, ...], "average_risk": [0.02, ...]}

`node` numbers a node by its levels, the last column's level counting by one; `figure`
is its score where it holds, else what its score is at least. Runs of before keep
`nodes`, objects as `nodes` gives them, without the risk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from privacyhub.engines import anonymize as an

MOST_NODES = 20_000
Told = Mapping[str, Any]


def kept(result: an.Result) -> dict[str, list[Any]]:
    """The nodes of a search, all of them up to `MOST_NODES`."""
    heights = result.checker.problem.heights
    some = _some(result.nodes, best=result.check.levels)
    return {
        "node": [_number(node.levels, heights=heights) for node in some],
        "holds": [int(node.score is not None) for node in some],
        "suppressed": [int(node.suppressed) for node in some],
        "figure": [_figure(node) for node in some],
        "smallest": [node.smallest for node in some],
        "average_risk": [node.average_risk for node in some],
    }


def nodes(told: Told) -> list[dict[str, Any]]:
    """The nodes of a run's figures, each as an object.

    `bound` is null where `score` is not; where the risk is not known, both its figures
    are null.
    """
    space = told.get("space")
    if space is None:
        unknown = {"smallest": None, "average_risk": None}
        return [unknown | node for node in told.get("nodes", [])]
    heights = [told["heights"][name] for name in told["columns"]]
    return [
        {
            "levels": _levels(number, heights=heights),
            "anonymous": bool(holds),
            "suppressed": suppressed,
            "score": figure if holds else None,
            "bound": None if holds else figure,
            "smallest": smallest,
            "average_risk": average,
        }
        for number, holds, suppressed, figure, smallest, average in zip(
            *(space[key] for key in _KEYS), strict=True
        )
    ]


_KEYS = ("node", "holds", "suppressed", "figure", "smallest", "average_risk")


def node_at(told: Told, levels: Sequence[int]) -> dict[str, Any] | None:
    """The node at these levels; None where it was not checked, or is not kept."""
    wanted = list(levels)
    return next((node for node in nodes(told) if node["levels"] == wanted), None)


def of_earlier(told: Told) -> dict[str, Any]:
    """What another run that applies one of the nodes keeps of them."""
    keys = ("space", "nodes", "nodes_total")
    return {"space": None} | {key: told[key] for key in keys if key in told}


def _figure(node: an.Node) -> float | None:
    figure = node.bound if node.score is None else node.score
    return figure if math.isfinite(figure) else None


def _number(levels: Sequence[int], *, heights: Sequence[int]) -> int:
    number = 0
    for level, height in zip(levels, heights, strict=True):
        number = number * (height + 1) + int(level)
    return number


def _levels(number: int, *, heights: Sequence[int]) -> list[int]:
    levels = []
    for height in reversed(heights):
        number, level = divmod(number, height + 1)
        levels.append(level)
    return levels[::-1]


def _some(found: Sequence[an.Node], *, best: tuple[int, ...]) -> list[an.Node]:
    """All of the nodes; of too many the best that hold, and others taken evenly.

    Of nodes that score the same the one at the `best` levels comes first.
    """
    if len(found) <= MOST_NODES:
        return list(found)
    holding = sorted(
        (node for node in found if node.score is not None),
        key=lambda node: (node.score, node.levels != best, node.suppressed),
    )
    others = [node for node in found if node.score is None]
    some = holding[: MOST_NODES // 2]
    some += evenly(holding[MOST_NODES // 2 :], MOST_NODES // 4)
    return some + evenly(others, MOST_NODES - len(some))


def evenly(items: list[Any], count: int) -> list[Any]:
    """So many of the items, taken evenly."""
    if len(items) <= count:
        return items
    return [items[place * len(items) // count] for place in range(count)]
