"""The solution space as a plot: the risk against the loss of each checked node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from privacyhub.anonymization import narration

Outcome = Mapping[str, Any]
Node = Mapping[str, Any]

# Past this many points neighbours are drawn as one.
MOST_POINTS = 5_000
CELLS = 60  # on each axis


@dataclass(frozen=True)
class Risk:
    """What the axis of privacy shows: the risk of re-identification of a node."""

    name: str
    label: str
    title: str

    def of(self, node: Node) -> float | None:
        """From 0 to 1; None where it is not known."""
        if node["smallest"] is None:
            return None
        if self.name == "average":
            return float(node["average_risk"])
        return 1 / node["smallest"] if node["smallest"] else 0.0


RISKS = {
    risk.name: risk
    for risk in (
        Risk("average", "Average risk", "Average risk of re-identification"),
        Risk("highest", "Highest risk", "Highest risk of re-identification"),
    )
}


def risk_axis(name: str | None) -> Risk:
    return RISKS.get(name or "", RISKS["average"])


@dataclass(frozen=True)
class _Point:
    """A node in the plot, by its place in the list of nodes; `alike` more lie there."""

    index: int
    node: Node
    x: float
    y: float
    alike: int = 0


def figure(
    outcome: Outcome, nodes: list[dict[str, Any]], *, risk: Risk, pick: bool
) -> dict[str, Any] | None:
    """Every node that was checked: risk against loss; None where no risk is known.

    With `pick` a node that holds leads to the form that applies it.
    """
    best = list(outcome["optimum"]["levels"].values())
    points = _binned(_points(nodes, risk=risk), best=best)
    if not points:
        return None
    unit = outcome.get("score_unit", "")
    return {
        "kind": "scatter",
        "x": {"title": risk.title, "percent": True},
        "y": (
            {"title": f"Loss, {unit}"} if unit else {"title": "Loss", "percent": True}
        ),
        "points": [_drawn(one, outcome, best=best, pick=pick) for one in points],
    }


def summary(outcome: Outcome, nodes: list[dict[str, Any]]) -> str:
    """What the plot shows, and what it leaves out."""
    known, checked = outcome["nodes_total"], outcome["checked"]
    lines = [
        f"{checked:,} of {outcome['lattice_size']:,} were computed, the others ruled "
        "out. Left is private, low is useful. The ringed point is the best."
    ]
    if len(nodes) < known:
        lines.append(f"{len(nodes):,} of {known:,} are kept.")
    if len(nodes) > MOST_POINTS:
        lines.append("Points that lie close together are drawn as one.")
    if any(_loss(node) is None and node["smallest"] is not None for node in nodes):
        lines.append(
            "The metric says nothing of the loss of some that suppress too many rows: "
            "they are drawn along the upper edge."
        )
    return " ".join(lines)


def _points(nodes: Iterable[Node], *, risk: Risk) -> list[_Point]:
    """Nodes whose risk is known; those of unknown loss lie along the upper edge."""
    found = [
        (index, node, x, _loss(node))
        for index, node in enumerate(nodes)
        if (x := risk.of(node)) is not None
    ]
    edge = max((y for *_, y in found if y is not None), default=0.0)
    return [
        _Point(index=index, node=node, x=x, y=edge if y is None else y)
        for index, node, x, y in found
    ]


def _loss(node: Node) -> float | None:
    """A node's score, or what it is at least; None where nothing is known of it."""
    figure = node["bound"] if node["score"] is None else node["score"]
    return None if figure is None else float(figure)


def _binned(points: list[_Point], *, best: list[int]) -> list[_Point]:
    """Of too many points the lowest of each cell and kind, and the optimum."""
    if len(points) <= MOST_POINTS:
        return points
    x_cell = _cells([point.x for point in points])
    y_cell = _cells([point.y for point in points])
    groups: dict[tuple[int, int, bool], list[_Point]] = {}
    for point in points:
        holds = point.node["score"] is not None
        groups.setdefault((x_cell(point.x), y_cell(point.y), holds), []).append(point)
    out = []
    for alike in groups.values():
        first = min(alike, key=lambda p: (p.node["levels"] != best, p.y))
        out.append(
            _Point(first.index, first.node, first.x, first.y, alike=len(alike) - 1)
        )
    return out


def _cells(values: list[float]) -> Any:
    low, high = min(values), max(values)
    width = (high - low) / CELLS or 1.0
    return lambda value: min(int((value - low) / width), CELLS - 1)


def _drawn(
    point: _Point, outcome: Outcome, *, best: list[int], pick: bool
) -> dict[str, Any]:
    node, holds = point.node, point.node["score"] is not None
    optimum = node["levels"] == best
    drawn = {
        "x": point.x,
        "y": point.y,
        "label": levels_text(outcome, node["levels"]),
        "group": "Meets the models" if holds else "Suppresses too many rows",
        "highlight": optimum,
        "note": _note(point, optimum=optimum),
    }
    if pick and holds:
        drawn["url"] = f"?node={point.index}#another"
    return drawn


def levels_text(outcome: Outcome, levels: list[int]) -> str:
    """Levels by column, as the marks of a node."""
    pairs = zip(outcome["columns"], levels, strict=True)
    return ", ".join(f"{name} {level}" for name, level in pairs)


def _note(point: _Point, *, optimum: bool) -> str:
    node = point.node
    parts = [f"{narration.rows(node['suppressed'])} suppressed"]
    if node["smallest"]:
        parts.append(f"smallest group {node['smallest']:,}")
    if node["score"] is None:
        known = _loss(node) is not None
        parts.append("its loss is at least this" if known else "its loss is not known")
    if optimum:
        parts.insert(0, "The best that was found")
    if point.alike:
        parts.append(f"and {point.alike:,} more close by")
    return "; ".join(parts)
