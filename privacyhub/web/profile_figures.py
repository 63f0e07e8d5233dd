"""A profile's columns as figures: a histogram of measures, bars of frequent values."""

from __future__ import annotations

from typing import Any

from privacyhub.engines.tables import ColumnProfile, TableProfile

MOST_BARS = 12
MOST_CHARACTERS = 24
MOST_UNIQUE = 0.5


def figures(told: TableProfile) -> list[dict[str, Any]]:
    """One for each column that has something to draw."""
    found = []
    for number, column in enumerate(told.columns):
        figure = _histogram(column) or _bars(column)
        if figure is not None:
            found.append({"id": f"column-{number}", "column": column, "figure": figure})
    return found


def _histogram(column: ColumnProfile) -> dict[str, Any] | None:
    counts = column.histogram.get("counts")
    if not counts:
        return None
    edges = column.histogram["edges"]
    series = [{"name": "Rows", "counts": counts}]
    if isinstance(edges[0], str):
        bins = [str(edge)[:10] for edge in edges[:-1]]
        return {"kind": "histogram", "bins": bins, "series": series, "x": {}, "y": {}}
    return {"kind": "histogram", "edges": edges, "series": series, "x": {}, "y": {}}


def _bars(column: ColumnProfile) -> dict[str, Any] | None:
    """Frequent values; where most values stand once there is nothing to see."""
    top = column.top[:MOST_BARS]
    if not top or column.unique_share > MOST_UNIQUE:
        return None
    return {
        "kind": "bar",
        "categories": [_short(value) for value, _ in top],
        "series": [{"name": "Rows", "values": [count for _, count in top]}],
        "horizontal": True,
        "x": {},
        "y": {},
    }


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
