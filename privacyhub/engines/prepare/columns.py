"""What is known of a table's columns and target before their rows are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["number", "category", "boolean", "date"]
Source = Literal["declared", "dp", "not covered"]


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """What is known of an input column before its rows are read for training.

    lower, upper: bounds of numbers; of dates in days since 1970-01-01.
    categories: the domain, as text without surrounding blanks.
    knots: increasing positions for the piecewise-linear basis; empty picks them from
        the bounds.
    source: where bounds, knots and categories come from.
    """

    name: str
    kind: Kind
    lower: float | None = None
    upper: float | None = None
    categories: tuple[str, ...] = ()
    knots: tuple[float, ...] = ()
    source: Source = "declared"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"Column {self.name}: the kind is unknown.")
        if self.source not in get_args(Source):
            raise ValueError(f"Column {self.name}: the source is unknown.")
        if self.kind in ("number", "date"):
            if self.lower is None or self.upper is None:
                raise ValueError(
                    f"Column {self.name}: declare its bounds, or let them be found "
                    "by charged statistics."
                )
            if not (
                math.isfinite(self.lower)
                and math.isfinite(self.upper)
                and self.lower < self.upper
            ):
                raise ValueError(
                    f"Column {self.name}: the lower bound must be below the upper one."
                )
            if any(a >= b for a, b in zip(self.knots, self.knots[1:], strict=False)):
                raise ValueError(f"Column {self.name}: the knots must increase.")
        if self.kind == "category" and len(set(self.categories)) != len(
            self.categories
        ):
            raise ValueError(f"Column {self.name}: the domain lists a value twice.")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "lower": self.lower,
            "upper": self.upper,
            "categories": list(self.categories),
            "knots": list(self.knots),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ColumnSpec:
        return cls(
            name=str(stored["name"]),
            kind=stored["kind"],
            lower=stored.get("lower"),
            upper=stored.get("upper"),
            categories=tuple(str(c) for c in stored.get("categories", ())),
            knots=tuple(float(k) for k in stored.get("knots", ())),
            source=stored.get("source", "declared"),
        )


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """The column to predict.

    classes: its values, as text; of two the second is the positive one. None of them
        for a regression, which has bounds instead and is scaled to [-1, 1].
    """

    name: str
    classes: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.classes:
            if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
                raise ValueError("The target needs two different classes or more.")
        elif self.lower is None or self.upper is None or self.lower >= self.upper:
            raise ValueError("Declare the target's classes, or its two bounds.")

    @property
    def task(self) -> Literal["binary", "multiclass", "regression"]:
        if not self.classes:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "classes": list(self.classes),
            "lower": self.lower,
            "upper": self.upper,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TargetSpec:
        return cls(
            name=str(stored["name"]),
            classes=tuple(str(c) for c in stored.get("classes", ())),
            lower=stored.get("lower"),
            upper=stored.get("upper"),
        )
