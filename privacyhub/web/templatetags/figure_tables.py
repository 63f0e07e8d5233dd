"""The table that stands beside a figure, made from the figure's own numbers.

A figure is the dict that `static/hub/charts.js` draws. Every kind yields one
`FigureTable`, so that no chart is readable by eye alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figure = Mapping[str, Any]

# A curve of a thousand points is no table: past this, rows are taken evenly.
MOST_ROWS = 60


@dataclass(frozen=True)
class FigureTable:
    """Column heads and rows of text or numbers; `total` rows before thinning."""

    columns: list[str]
    rows: list[list[Any]]
    total: int


def table_of(figure: Figure) -> FigureTable:
    """The table of a figure; ValueError names a kind that is not known."""
    kind = figure.get("kind")
    build = _BUILDERS.get(str(kind))
    if build is None:
        raise ValueError(f"no figure of kind {kind!r}; kinds: {sorted(_BUILDERS)}")
    columns, rows = build(figure)
    return FigureTable(columns=columns, rows=_thinned(rows), total=len(rows))


def _thinned(rows: list[list[Any]]) -> list[list[Any]]:
    if len(rows) <= MOST_ROWS:
        return rows
    last = len(rows) - 1
    picked = sorted({round(i * last / (MOST_ROWS - 1)) for i in range(MOST_ROWS)})
    return [rows[i] for i in picked]


def _axis_title(figure: Figure, axis: str, default: str) -> str:
    return str((figure.get(axis) or {}).get("title") or default)


def _line(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    x_title = _axis_title(figure, "x", "x")
    y_title = _axis_title(figure, "y", "y")
    series: Sequence[Mapping[str, Any]] = figure["series"]
    banded = any(s.get("lower") for s in series)
    named = len(series) > 1
    columns = [*(["Series"] if named else []), x_title, y_title]
    columns += ["Lower", "Upper"] if banded else []
    rows = []
    for one in series:
        lower, upper = one.get("lower") or [], one.get("upper") or []
        for i, (x, y) in enumerate(zip(one["x"], one["y"], strict=True)):
            row = [*([one["name"]] if named else []), x, y]
            if banded:
                row += [_at(lower, i), _at(upper, i)]
            rows.append(row)
    return columns, rows


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else ""


def _bar(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    series = figure["series"]
    columns = [_axis_title(figure, "x", "Category"), *(str(s["name"]) for s in series)]
    rows = [
        [category, *(_at(s["values"], i) for s in series)]
        for i, category in enumerate(figure["categories"])
    ]
    return columns, rows


def _heatmap(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    corner = f"{_axis_title(figure, 'y', 'Row')} / {_axis_title(figure, 'x', 'column')}"
    columns = [corner, *(str(c) for c in figure["columns"])]
    pairs = zip(figure["rows"], figure["values"], strict=True)
    return columns, [[name, *values] for name, values in pairs]


def _scatter(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    columns = ["Name", _axis_title(figure, "x", "x"), _axis_title(figure, "y", "y")]
    return columns, [[p.get("label", ""), p["x"], p["y"]] for p in figure["points"]]


def _histogram(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    edges = figure.get("edges")
    labels = (
        [f"{a} to {b}" for a, b in zip(edges, edges[1:], strict=False)]
        if edges
        else [str(b) for b in figure["bins"]]
    )
    series = figure["series"]
    columns = [_axis_title(figure, "x", "Bin"), *(str(s["name"]) for s in series)]
    rows = [
        [label, *(_at(s["counts"], i) for s in series)]
        for i, label in enumerate(labels)
    ]
    return columns, rows


def _steps(figure: Figure) -> tuple[list[str], list[list[Any]]]:
    points = figure["points"]
    columns = ["When (UTC)", _axis_title(figure, "y", "Spent"), "What"]
    return columns, [[p["at"], p["value"], p.get("label", "")] for p in points]


_BUILDERS: dict[str, Callable[[Figure], tuple[list[str], list[list[Any]]]]] = {
    "line": _line,
    "bar": _bar,
    "heatmap": _heatmap,
    "scatter": _scatter,
    "histogram": _histogram,
    "steps": _steps,
}
