"""The fields of a privacy report: a value that says where it comes from.

A value is text, a list of texts, or a table; never a float, so that the canonical
JSON, and with it the report's hash, is the same on every database.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Literal

Source = Literal["measured", "declared", "assumed", "not known"]
NOT_KNOWN: Source = "not known"
SOURCES: tuple[Source, ...] = ("measured", "declared", "assumed", NOT_KNOWN)

_FOURTH = Decimal("0.0001")


@dataclass(frozen=True)
class Table:
    """A small table as a field's value. Cells are text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_dict(self) -> dict[str, Any]:
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}


Value = str | Sequence[str] | Table | None


def field(key: str, label: str, value: Value, source: Source) -> dict[str, Any]:
    """One field. An empty value says "not known", whatever source was named."""
    told: Any
    if isinstance(value, Table):
        told = value.to_dict() if value.rows else None
    elif value is None or isinstance(value, str):
        told = (value or "").strip() or None
    else:
        told = list(value) or None
    if told is None:
        told, source = NOT_KNOWN, NOT_KNOWN
    return {"key": key, "label": label, "value": told, "source": source}


def measured(key: str, label: str, value: Value) -> dict[str, Any]:
    """Computed or recorded by the hub."""
    return field(key, label, value, "measured")


def declared(key: str, label: str, value: Value) -> dict[str, Any]:
    """Said by a person, and not checked against data."""
    return field(key, label, value, "declared")


def assumed(key: str, label: str, value: Value) -> dict[str, Any]:
    """Taken to hold by design or by theory."""
    return field(key, label, value, "assumed")


def not_known(key: str, label: str) -> dict[str, Any]:
    return field(key, label, None, NOT_KNOWN)


def section(key: str, title: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"key": key, "title": title, "fields": list(fields)}


def shown(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections for a template: each field has `text`, `lines` or `table`."""
    return [
        {**part, "fields": [_shown(one) for one in part["fields"]]}
        for part in content["sections"]
    ]


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    value = told["value"]
    if isinstance(value, dict):
        return {**told, "table": value}
    if isinstance(value, list) and len(value) > 1:
        return {**told, "lines": value}
    return {**told, "text": value[0] if isinstance(value, list) else value}


def decimal_up(value: Any) -> str | None:
    """A cost with four decimals, never told too low; None where there is no number."""
    return _rounded(value, ROUND_CEILING)


def decimal_down(value: Any) -> str | None:
    """What is left with four decimals, never told too high."""
    return _rounded(value, ROUND_FLOOR)


def _rounded(value: Any, rounding: str) -> str | None:
    number = _decimal(value)
    return None if number is None else f"{number.quantize(_FOURTH, rounding):f}"


def exact(value: Any) -> str | None:
    """A number in plain decimal digits: 1e-05 -> '0.00001'."""
    number = _decimal(value)
    if number is None:
        return None
    whole = number == number.to_integral_value()
    return f"{number:.0f}" if whole else f"{number.normalize():f}"


def share(value: Any) -> str | None:
    """A figure between 0 and 1 with four decimals."""
    number = _decimal(value)
    return None if number is None else f"{number:.4f}"


def significant(value: Any, digits: int = 6) -> str | None:
    """A number to so many significant digits, in plain decimal digits."""
    number = _decimal(value)
    return None if number is None else exact(f"{number:.{digits}g}")


def _decimal(value: Any) -> Decimal | None:
    """The finite number, from a number or its text."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def odds_of_100(epsilon: str | None) -> str | None:
    """How often, of 100, an attacker with a 50% prior is right at most."""
    number = _decimal(epsilon)
    if number is None or number < 0:
        return None
    found = 100 / (1 + math.exp(-min(float(number), 700.0)))
    return f"{found:.1f}" if found < 99.95 else "more than 99.9"
