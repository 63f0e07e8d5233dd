"""The builders of hierarchies as pages and the API offer them, with their parameters.

A builder takes a column's values; what it makes is kept like an uploaded hierarchy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from privacyhub.datasets.errors import DataError
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.hierarchies import MISSING, as_text
from privacyhub.engines.anonymize.hierarchy_builders import DATE_UNITS

MOST_TEXT = 200_000
MOST_WHOLE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Field:
    """A parameter as text; `lines`: it takes several lines."""

    name: str
    label: str
    default: str = ""
    hint: str = ""
    choices: tuple[str, ...] = ()
    lines: bool = False


@dataclass(frozen=True, kw_only=True)
class BuilderKind:
    """`build(values, name, **texts)` gives the hierarchy of a column's values."""

    name: str
    label: str
    says: str
    build: Callable[..., an.Hierarchy]
    fields: tuple[Field, ...] = ()


def build(
    *, builder: str, values: pl.Series, column: str, given: Mapping[str, Any]
) -> an.Hierarchy:
    """The hierarchy, or DataError saying what is wrong with which parameter."""
    kind = BUILDERS.get(builder)
    if kind is None:
        raise _wrong(f"A builder is one of {', '.join(BUILDERS)}.")
    unknown = set(given) - {one.name for one in kind.fields}
    if unknown:
        raise _wrong(f"{kind.label} has no “{min(map(str, unknown))}”.")
    texts = {one.name: _text(given.get(one.name), one) for one in kind.fields}
    try:
        return kind.build(as_text(values), column, **texts)
    except an.AnonymizeError as error:
        raise _wrong(str(error), column=column) from error
    except (ArithmeticError, ValueError) as error:  # of numbers at the ends of floats
        raise _wrong(
            "These numbers are too large or too small to work with.", column=column
        ) from error


def _text(given: Any, field: Field) -> str:
    if given is None:
        return field.default
    text = ", ".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    if len(text) > MOST_TEXT:
        raise _wrong(f"{field.label}: this is too long.")
    if field.choices and text not in field.choices:
        raise _wrong(f"{field.label} is one of {', '.join(field.choices)}.")
    return text.strip("\n")


def _automatic(values: pl.Series, column: str) -> an.Hierarchy:
    return an.Hierarchy.automatic(values, name=column)


def _intervals(
    values: pl.Series,
    _: str,
    *,
    widths: str,
    origin: str,
    bottom: str,
    top: str,
    snap: str,
) -> an.Hierarchy:
    return an.Hierarchy.intervals(
        _sorted_numbers(values),
        widths=[_number(part, "Widths") for part in _parts(widths)],
        origin=_number(origin or "0", "Origin"),
        bottom=_optional(bottom, "Lower bound"),
        top=_optional(top, "Upper bound"),
        snap=_number(snap or "0", "Snapping"),
    )


def _sorted_numbers(values: pl.Series) -> list[str]:
    """Distinct values by size; those that are no numbers are refused by the engine."""
    unique = values.unique(maintain_order=True)
    numbers = unique.cast(pl.Float64, strict=False)
    order = pl.DataFrame({"value": unique, "number": numbers})
    ranked: list[str] = order.sort("number", nulls_last=True)["value"].to_list()
    return ranked


def _dates(values: pl.Series, _: str, *, units: str) -> an.Hierarchy:
    return an.Hierarchy.dates(values.unique().sort(), units=_parts(units))


def _ordered(values: pl.Series, _: str, *, order: str, sizes: str) -> an.Hierarchy:
    listed = [line.strip() for line in order.splitlines() if line.strip()]
    known = values.unique(maintain_order=True).to_list()
    ranked = listed or sorted(value for value in known if value != MISSING)
    if MISSING in known and MISSING not in ranked:
        ranked.append(MISSING)
    widths = [_whole(part, "Group sizes") for part in _parts(sizes)]
    return an.Hierarchy.ordered_groups(ranked, sizes=widths)


def _masking(
    values: pl.Series, _: str, *, side: str, character: str, levels: str
) -> an.Hierarchy:
    return an.Hierarchy.masking(
        values.unique().sort(),
        side=side,
        character=character or "*",
        levels=_whole(levels, "Levels") if levels.strip() else None,
    )


def _zip_codes(values: pl.Series, _: str) -> an.Hierarchy:
    return an.Hierarchy.zip_codes(values.unique().sort())


def _priority(values: pl.Series, _: str, *, levels: str) -> an.Hierarchy:
    return an.Hierarchy.by_frequency(values, levels=_whole(levels, "Levels"))


def _suppress(values: pl.Series, _: str) -> an.Hierarchy:
    return an.Hierarchy.suppress(values.unique().sort())


def _tree(_: pl.Series, __: str, *, tree: str) -> an.Hierarchy:
    return an.Hierarchy.tree(_branches(tree))


def _branches(text: str) -> dict[str, Any]:
    """A tree of indented lines: a line with deeper lines below it is a label.

    >>> _branches("north\\n  Oslo\\n  Bergen")
    {'north': ['Oslo', 'Bergen']}
    """
    lines = [
        (len(line) - len(line.lstrip()), line.strip(), number)
        for number, line in enumerate(text.expandtabs(2).splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise _wrong("Write the tree: labels, with their values indented below.")

    def below(start: int, depth: int) -> tuple[Any, int]:
        labels: dict[str, Any] = {}
        values: list[str] = []
        at = start
        while at < len(lines) and lines[at][0] >= depth:
            indent, word, number = lines[at]
            if indent > depth:
                raise _wrong(f"Line {number} is indented without a label above it.")
            deeper = at + 1 < len(lines) and lines[at + 1][0] > indent
            if deeper:
                labels[word], at = below(at + 1, lines[at + 1][0])
            else:
                values.append(word)
                at += 1
        if labels and values:
            labels |= {value: [value] for value in values}
        return (labels or values), at

    found, end = below(0, lines[0][0])
    if end < len(lines):
        raise _wrong(f"Line {lines[end][2]} is indented less than the first line.")
    return found if isinstance(found, dict) else {"all": found}


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.replace(";", ",").split(",") if part.strip()]


def _number(text: str, label: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise _wrong(f"{label}: “{text[:20]}” is not a number.") from error
    if not math.isfinite(number):
        raise _wrong(f"{label}: a number is needed that is finite.")
    return number


def _whole(text: str, label: str) -> int:
    number = _number(text, label)
    if not number.is_integer() or not 1 <= number <= MOST_WHOLE:
        raise _wrong(f"{label}: a whole number from 1 to {MOST_WHOLE:,} is needed.")
    return int(number)


def _optional(text: str, label: str) -> float | None:
    return _number(text, label) if text.strip() else None


def _wrong(message: str, *, column: str | None = None) -> DataError:
    return DataError(message, code="hierarchy", column=column)


BUILDERS: dict[str, BuilderKind] = {
    kind.name: kind
    for kind in (
        BuilderKind(
            name="automatic",
            label="Automatic",
            says="By the column's type, content and name.",
            build=_automatic,
        ),
        BuilderKind(
            name="intervals",
            label="Intervals of numbers",
            says="Numbers in intervals that nest, each width a whole multiple of the "
            "one before. Values beyond a bound are coded together; an end interval "
            "narrower than the snapping share is joined to its neighbour.",
            build=_intervals,
            fields=(
                Field(
                    name="widths",
                    label="Widths",
                    default="5, 10, 20",
                    hint="from narrow to wide",
                ),
                Field(name="origin", label="Edges start at", default="0"),
                Field(name="bottom", label="Lower bound", hint="optional"),
                Field(name="top", label="Upper bound", hint="optional"),
                Field(name="snap", label="Snapping", default="0", hint="0 to 1"),
            ),
        ),
        BuilderKind(
            name="dates",
            label="Dates by unit",
            says=f"Units from narrow to wide: {', '.join(DATE_UNITS)}.",
            build=_dates,
            fields=(Field(name="units", label="Units", default="month, year, decade"),),
        ),
        BuilderKind(
            name="ordered",
            label="Ordered groups",
            says="Neighbours in an order are joined: so many values a group, then so "
            "many groups, and so on.",
            build=_ordered,
            fields=(
                Field(
                    name="sizes",
                    label="Group sizes",
                    default="2, 2",
                    hint="one for each level",
                ),
                Field(
                    name="order",
                    label="Order",
                    hint="a value a line, lowest first; empty: by alphabet",
                    lines=True,
                ),
            ),
        ),
        BuilderKind(
            name="masking",
            label="Redaction",
            says="Level by level one character more is hidden, from one side.",
            build=_masking,
            fields=(
                Field(
                    name="side",
                    label="From the",
                    default="right",
                    choices=("right", "left"),
                ),
                Field(name="character", label="Character", default="*"),
                Field(name="levels", label="Levels", hint="empty: all"),
            ),
        ),
        BuilderKind(
            name="zip",
            label="ZIP codes",
            says="US ZIP codes: five digits, then one digit fewer a level. Leading "
            "zeros that were lost in a column of numbers are put back at level 1.",
            build=_zip_codes,
        ),
        BuilderKind(
            name="priority",
            label="By frequency",
            says="The rarest values go first: each level keeps the more frequent half.",
            build=_priority,
            fields=(Field(name="levels", label="Levels", default="3"),),
        ),
        BuilderKind(
            name="suppress",
            label="Value or nothing",
            says="One level: the value, or *.",
            build=_suppress,
        ),
        BuilderKind(
            name="tree",
            label="Custom tree",
            says="Your own groups: labels with their values indented below.",
            build=_tree,
            fields=(
                Field(
                    name="tree",
                    label="Tree",
                    hint="two spaces deeper a level",
                    lines=True,
                ),
            ),
        ),
    )
}
