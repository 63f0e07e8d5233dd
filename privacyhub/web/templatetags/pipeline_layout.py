"""Where the nodes of a family's pipeline stand, and how its edges run.

Each version opens a lane; its runs, their models, reports and feedback stand in the
columns to its right. A version that a run or feedback made opens the next lane, and the
edge to it runs back along the gap between the two lanes. All lengths are SVG units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = ("version", "run", "model", "report", "feedback")
TITLES = ("Versions", "Runs", "Models", "Reports", "Feedback")

NODE_WIDTH, NODE_HEIGHT = 176, 62
COLUMN_GAP, ROW_GAP, LANE_GAP = 40, 14, 34
MARGIN, HEAD = 16, 28


@dataclass(frozen=True)
class Placed:
    """A node with its corner; `data` is what the caller passed."""

    data: Mapping[str, Any]
    x: int
    y: int

    @property
    def right(self) -> int:
        """x of the right edge."""
        return self.x + NODE_WIDTH

    @property
    def middle(self) -> int:
        """y of the centre line."""
        return self.y + NODE_HEIGHT // 2


@dataclass(frozen=True)
class Edge:
    """A path in SVG's language; `back` marks one that leads to an earlier column."""

    path: str
    back: bool


@dataclass(frozen=True)
class Layout:
    """Everything that components/pipeline.html draws."""

    nodes: list[Placed]
    edges: list[Edge]
    heads: list[tuple[int, str]]
    width: int
    height: int
    node_width: int = NODE_WIDTH
    node_height: int = NODE_HEIGHT


def layout(
    *, nodes: Sequence[Mapping[str, Any]], edges: Iterable[tuple[str, str]]
) -> Layout:
    """Place nodes and route edges.

    nodes: mappings with `id` and `kind` (one of COLUMNS), parents before children.
    edges: pairs (from id, to id); a pair that names an absent node is left out.
    """
    known = {str(n["id"]): n for n in nodes}
    pairs = [(str(a), str(b)) for a, b in edges]
    pairs = [(a, b) for a, b in pairs if a in known and b in known]
    parents: dict[str, list[str]] = defaultdict(list)
    for a, b in pairs:
        parents[b].append(a)
    slots = _slots(nodes=nodes, parents=parents)
    placed, height = _placed(nodes=nodes, slots=slots)
    used = max((COLUMNS.index(n["kind"]) for n in nodes), default=0)
    return Layout(
        nodes=list(placed.values()),
        edges=[_edge(source=placed[a], target=placed[b]) for a, b in pairs],
        heads=[(_column_x(i), TITLES[i]) for i in range(used + 1)],
        width=_column_x(used) + NODE_WIDTH + MARGIN,
        height=height,
    )


def _slots(
    *, nodes: Sequence[Mapping[str, Any]], parents: Mapping[str, Sequence[str]]
) -> dict[str, tuple[int, int]]:
    """Lane and row of each node: a child stands no higher than its parent."""
    slots: dict[str, tuple[int, int]] = {}
    free: dict[tuple[int, str], int] = defaultdict(int)
    lanes = 0
    for node in nodes:
        key, kind = str(node["id"]), str(node["kind"])
        above = [slots[p] for p in parents.get(key, ()) if p in slots]
        if kind == "version":
            lane, row, lanes = lanes, 0, lanes + 1
        else:
            lane = max((slot[0] for slot in above), default=max(lanes - 1, 0))
            lowest = max((slot[1] for slot in above if slot[0] == lane), default=0)
            row = max(free[lane, kind], lowest)
        free[lane, kind] = row + 1
        slots[key] = (lane, row)
    return slots


def _placed(
    *, nodes: Sequence[Mapping[str, Any]], slots: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Placed], int]:
    depth: dict[int, int] = defaultdict(lambda: 1)
    for lane, row in slots.values():
        depth[lane] = max(depth[lane], row + 1)
    tops, y = {}, HEAD + MARGIN
    for lane in range(max(depth, default=0) + 1):
        tops[lane] = y
        y += depth[lane] * (NODE_HEIGHT + ROW_GAP) - ROW_GAP + LANE_GAP
    placed = {}
    for node in nodes:
        lane, row = slots[str(node["id"])]
        placed[str(node["id"])] = Placed(
            data=node,
            x=_column_x(COLUMNS.index(str(node["kind"]))),
            y=tops[lane] + row * (NODE_HEIGHT + ROW_GAP),
        )
    return placed, y - LANE_GAP + MARGIN


def _column_x(index: int) -> int:
    return MARGIN + index * (NODE_WIDTH + COLUMN_GAP)


def _edge(*, source: Placed, target: Placed) -> Edge:
    if target.x > source.x:
        bend = source.right + COLUMN_GAP // 2
        start, end = f"M{source.right} {source.middle}", f"{target.x} {target.middle}"
        if target.x - source.right > COLUMN_GAP:  # skips a column: pass beneath it
            lane = source.y + NODE_HEIGHT + ROW_GAP // 2
            last = target.x - COLUMN_GAP // 2
            return Edge(
                path=f"{start} C{bend} {source.middle} {bend - 10} {lane}"
                f" {bend + 10} {lane} H{last - 10} C{last + 10} {lane}"
                f" {last} {target.middle} {end}",
                back=False,
            )
        return Edge(
            path=f"{start} C{bend} {source.middle} {bend} {target.middle} {end}",
            back=False,
        )
    gap = target.y - LANE_GAP // 2
    out, into, turn = source.right + 12, target.x - 12, 6
    down = 1 if gap > source.middle else -1
    return Edge(
        path=f"M{source.right} {source.middle} H{out - turn}"
        f" Q{out} {source.middle} {out} {source.middle + down * turn}"
        f" V{gap - down * turn} Q{out} {gap} {out - turn} {gap} H{into + turn}"
        f" Q{into} {gap} {into} {gap + turn} V{target.middle - turn}"
        f" Q{into} {target.middle} {into + turn} {target.middle} H{target.x}",
        back=True,
    )
