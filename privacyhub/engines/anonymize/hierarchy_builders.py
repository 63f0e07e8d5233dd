"""Builders of hierarchy tables: each takes distinct values and returns their rows.

A missing value (the empty string) keeps a branch of its own up to the root in every
builder, so that no row is lost and nobody is put into an interval they did not state.
A cell that holds the root was suppressed before: it is no value, and gets no row.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import polars as pl

from .errors import AnonymizeError

MISSING = ""
ROOT = "*"
MISSING_LABEL = "missing"

Rows = list[list[str]]
Tree = Mapping[str, "Tree | Sequence[str]"]

DATE_UNITS = ("day", "week", "month", "quarter", "year", "decade", "century")
SMALL_DOMAIN = 50
MAX_MASKING_LEVELS = 8
# Spans of numbers whose intervals have a width, and bounds that differ when written.
_LEAST_SPAN, _MOST_SPAN = 1e-250, 1e300
_LEAST_PART = 1e-9  # of the largest number
_ZIP_NAME = re.compile(r"zip|postal|postcode|plz", re.IGNORECASE)
_ZIP_VALUE = re.compile(r"\d{3,5}(-\d{4})?$")


def distinct(values: Iterable[object]) -> list[str]:
    """The distinct values as strings, in order; None becomes the empty string.

    The root is left out, but where a column holds nothing else.
    """
    found = list(dict.fromkeys(MISSING if v is None else str(v) for v in values))
    return [value for value in found if value != ROOT] or found


def suppress(values: Sequence[str]) -> Rows:
    return [[value, ROOT] for value in values]


def _build(
    values: Sequence[str], *, levels: int, path: Callable[[str, int], list[str]]
) -> Rows:
    """A row for each value: itself, `levels` labels from `path`, the root."""
    rows = []
    for number, value in enumerate(values, start=1):
        if value in (MISSING, ROOT):
            labels = [MISSING_LABEL if value == MISSING else ROOT] * levels
        else:
            labels = path(value, number)
        rows.append([value, *labels, ROOT])
    return rows


def intervals(
    values: Sequence[str],
    *,
    widths: Sequence[float],
    origin: float = 0.0,
    bottom: float | None = None,
    top: float | None = None,
    snap: float = 0.0,
) -> Rows:
    """Numbers in nested intervals, closed below and open above.

    `widths` grow, each a whole multiple of the one before; edges lie at `origin` plus
    multiples of the width. Values below `bottom` are coded together, and so are values
    from `top` on. An interval whose part inside the bounds is narrower than `snap`
    times its width is joined to its neighbour inside.
    """
    if not widths or any(not (math.isfinite(w) and w > 0) for w in widths):
        raise AnonymizeError("Interval widths must be numbers above 0.")
    for narrow, wide in pairwise(widths):
        ratio = wide / narrow
        if ratio < 2 - 1e-9 or abs(ratio - round(ratio)) > 1e-9:
            raise AnonymizeError(
                "Each interval width must be a whole multiple of the one before."
            )
    if bottom is not None and top is not None and bottom >= top:
        raise AnonymizeError("The lower bound must be below the upper bound.")
    if not 0 <= snap < 1:
        raise AnonymizeError("The snapping share must be from 0 to less than 1.")
    whole = all(_is_whole(x) for x in (*widths, origin)) and all(
        _is_whole(_number(v, row))
        for row, v in enumerate(values, start=1)
        if v not in (MISSING, ROOT)
    )
    cells: list[dict[int, tuple[float, float]]] = [{} for _ in widths]

    def path(value: str, row: int) -> list[str]:
        x = _number(value, row)
        if bottom is not None and x < bottom:
            return [f"<{_text(bottom)}"] * len(widths)
        if top is not None and x >= top:
            return [f">={_text(top)}"] * len(widths)
        labels = []
        inner: tuple[float, float] | None = None
        for level, width in enumerate(widths):
            # A wider interval is found from the narrower one, so that the two nest
            # even where snapping has moved an edge.
            at = x if inner is None else _middle(inner, cells[level - 1])
            inner = _interval(
                at, width=width, origin=origin, bottom=bottom, top=top, snap=snap
            )
            labels.append(_interval_label(inner, whole=whole))
        return labels

    return _build(values, levels=len(widths), path=path)


def _middle(inner: tuple[float, float], _: object) -> float:
    return (inner[0] + inner[1]) / 2


def _interval(
    x: float,
    *,
    width: float,
    origin: float,
    bottom: float | None,
    top: float | None,
    snap: float,
) -> tuple[float, float]:
    index = math.floor((x - origin) / width + 1e-12)
    low, high = origin + index * width, origin + (index + 1) * width
    if bottom is not None:
        first = math.floor((bottom - origin) / width + 1e-12)
        edge = origin + (first + 1) * width
        if index == first or (index == first + 1 and edge - bottom < snap * width):
            low = bottom
            if edge - bottom < snap * width:
                high = max(high, edge + width)
    if top is not None:
        last = math.ceil((top - origin) / width - 1e-12) - 1
        edge = origin + last * width
        if index == last or (index == last - 1 and top - edge < snap * width):
            high = top
            if top - edge < snap * width:
                low = min(low, edge - width)
                low = low if bottom is None else max(low, bottom)
    if top is not None:
        high = min(high, top)
    return low, high


def _interval_label(cell: tuple[float, float], *, whole: bool) -> str:
    low, high = cell
    if whole and _is_whole(low) and _is_whole(high):
        if high - low == 1:
            return _text(low)
        separator = "-" if low >= 0 else " to "
        return f"{_text(low)}{separator}{_text(high - 1)}"
    return f"[{_text(low)}, {_text(high)})"


def _number(value: str, row: int) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise AnonymizeError(f"Value {row} of the list is not a number.")
    return number


def _is_whole(x: float) -> bool:
    return float(x).is_integer()


def _text(x: float) -> str:
    return str(int(x)) if _is_whole(x) else repr(round(x, 12))


def dates(
    values: Sequence[str], *, units: Sequence[str] = ("month", "year", "decade")
) -> Rows:
    """Dates by unit, from narrow to wide; weeks do not nest in longer units."""
    order = [DATE_UNITS.index(u) if u in DATE_UNITS else -1 for u in units]
    if not units or -1 in order or any(a >= b for a, b in pairwise(order)):
        raise AnonymizeError(
            f"Date units must be some of {', '.join(DATE_UNITS)}, in this order."
        )
    if "week" in units and units[-1] != "week":
        raise AnonymizeError("A week lies in two months or years: use it last.")

    def path(value: str, row: int) -> list[str]:
        day = _date(value, row)
        return [_date_label(day, unit) for unit in units]

    return _build(values, levels=len(units), path=path)


def _date(value: str, row: int) -> dt.date:
    try:
        return dt.date.fromisoformat(value[:10])
    except ValueError as error:
        raise AnonymizeError(f"Value {row} of the list is not a date.") from error


def _date_label(day: dt.date, unit: str) -> str:
    if unit == "day":
        return day.isoformat()
    if unit == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    if unit == "month":
        return f"{day.year:04d}-{day.month:02d}"
    if unit == "quarter":
        return f"{day.year:04d}-Q{(day.month + 2) // 3}"
    if unit == "year":
        return f"{day.year:04d}"
    span = 10 if unit == "decade" else 100
    start = day.year // span * span
    return f"{start:04d}-{start + span - 1:04d}"


def masking(
    values: Sequence[str],
    *,
    side: str = "right",
    character: str = "*",
    levels: int | None = None,
) -> Rows:
    """Level i hides i characters, counted from one side of the longest value.

    Shorter values are aligned to the other side, so that a level hides the same
    positions of every value.
    """
    if side not in ("left", "right"):
        raise AnonymizeError("Masking starts from the left or from the right.")
    if len(character) != 1:
        raise AnonymizeError("The masking character must be one character.")
    width = max((len(v) for v in values), default=0)
    count = max(width - 1, 0) if levels is None else min(levels, max(width - 1, 0))
    if count < 0:
        raise AnonymizeError("The number of levels must not be below 0.")

    def path(value: str, _: int) -> list[str]:
        if side == "right":
            padded = value.ljust(width)
            return [padded[: width - i] + character * i for i in range(1, count + 1)]
        padded = value.rjust(width)
        return [character * i + padded[i:] for i in range(1, count + 1)]

    return _build(values, levels=count, path=path)


def zip_codes(values: Sequence[str]) -> Rows:
    """US ZIP codes: five digits, then one digit fewer a level.

    The level of five digits is left out where every value has just these: a level that
    changes nothing would only enlarge the lattice.
    """
    plain = all(len(value) == 5 for value in values if value not in (MISSING, ROOT))

    def path(value: str, row: int) -> list[str]:
        if not _ZIP_VALUE.match(value):
            raise AnonymizeError(f"Value {row} of the list is not a ZIP code.")
        code = value.split("-")[0].zfill(5)
        masked = [code[: 5 - i] + "*" * i for i in range(1, 5)]
        return masked if plain else [code, *masked]

    return _build(values, levels=4 if plain else 5, path=path)


def ordered_groups(order: Sequence[str], *, sizes: Sequence[int] = (2, 2)) -> Rows:
    """Neighbours in the given order joined: `sizes[i]` groups of level i a group."""
    if any(size < 2 for size in sizes):
        raise AnonymizeError("A group must join at least 2 members.")
    ranked = [v for v in order if v not in (MISSING, ROOT)]
    place = {value: index for index, value in enumerate(ranked)}

    def path(value: str, _: int) -> list[str]:
        labels, span = [], 1
        for size in sizes:
            span *= size
            start = place[value] // span * span
            members = ranked[start : start + span]
            labels.append(
                members[0] if len(members) == 1 else f"{members[0]} - {members[-1]}"
            )
        return labels

    return _build(order, levels=len(sizes), path=path)


def by_frequency(values: Iterable[object], *, levels: int = 3) -> Rows:
    """The rarest values go first: level i keeps the more frequent part of them.

    Half of the distinct values that are left are given up a level; ties by value.
    """
    if levels < 1:
        raise AnonymizeError("The number of levels must be at least 1.")
    counts = Counter(MISSING if v is None else str(v) for v in values)
    if len(counts) > 1:
        counts.pop(ROOT, None)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    place = {value: index for index, value in enumerate(ranked)}
    keep = [len(ranked) // 2**level for level in range(1, levels + 1)]

    def path(value: str, _: int) -> list[str]:
        return [value if place[value] < kept else ROOT for kept in keep]

    return [[value, *path(value, 0), ROOT] for value in ranked]


def tree(branches: Tree) -> Rows:
    """A nested mapping from label to branches; a list holds the values.

    A value that lies higher than others repeats its parent's label on the levels
    between.
    """
    paths: list[list[str]] = []

    def walk(node: Tree | Sequence[str], above: list[str]) -> None:
        if isinstance(node, Mapping):
            for label, below in node.items():
                walk(below, [label, *above])
        else:
            paths.extend([value, *above] for value in node if value != ROOT)

    walk(branches, [])
    depth = max((len(path) for path in paths), default=0)
    return [
        [path[0], *[path[1] if len(path) > 1 else path[0]] * (depth - len(path))]
        + [*path[1:], ROOT]
        for path in paths
    ]


def automatic(text: pl.Series, *, name: str) -> Rows:
    """Choose a builder for a column of strings by its content, and name for ZIP."""
    present = text.filter(text != MISSING)
    unique = distinct(text.unique(maintain_order=True))
    values = [v for v in unique if v not in (MISSING, ROOT)]
    if len(values) <= 2:
        return suppress(unique)
    if all(_looks_like_date(v) for v in values):
        return _automatic_dates(unique)
    if _ZIP_NAME.search(name) and all(_ZIP_VALUE.match(v) for v in values):
        return zip_codes(unique)
    numbers = pl.Series(values).cast(pl.Float64, strict=False)
    if numbers.is_finite().fill_null(value=False).all():
        return _automatic_intervals(sorted(unique, key=_numeric_key), numbers)
    if len(values) <= SMALL_DOMAIN:
        return suppress(unique)
    if len({len(v) for v in values}) == 1:
        levels = min(len(values[0]) - 1, MAX_MASKING_LEVELS)
        return masking(unique, levels=levels)
    return by_frequency([*present.to_list(), *[v for v in unique if v == MISSING]])


def _automatic_dates(unique: list[str]) -> Rows:
    """Days only where the values are finer than that: a level must change something."""
    plain = all(len(value) == 10 for value in unique if value not in (MISSING, ROOT))
    units = ("month", "year", "decade")
    return dates(unique, units=units if plain else ("day", *units))


def _numeric_key(value: str) -> float:
    return -math.inf if value in (MISSING, ROOT) else float(value)


def _automatic_intervals(unique: list[str], numbers: pl.Series) -> Rows:
    low, high = float(numbers.min()), float(numbers.max())  # type: ignore[arg-type]
    span = high - low
    whole = all(_is_whole(x) for x in numbers)
    least = max(_LEAST_SPAN, _LEAST_PART * max(abs(low), abs(high)))
    if whole and span < 4 or not least < span < _MOST_SPAN:
        return suppress(unique)
    # About twenty intervals first: 1, 2 or 5 times a power of ten.
    power = 10.0 ** math.floor(math.log10(span / 20))
    width = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 20)
    if whole:
        width = max(width, 2.0)
    widths = [width]
    while widths[-1] * 2 < span and len(widths) < 4:
        widths.append(widths[-1] * 2)
    return intervals(unique, widths=widths)


def _looks_like_date(value: str) -> bool:
    if len(value) < 10 or value[4] != "-":
        return False
    try:
        dt.date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True
