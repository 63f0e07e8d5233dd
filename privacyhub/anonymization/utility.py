"""What a release leaves of the table's use, measured in the worker.

Steward-only, as it compares private rows with the release. Large tables are measured
on rows taken evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from privacyhub.engines import anonymize as an

MOST_ROWS = 200_000
ACCURACY_ROWS = 20_000


def describe(
    *,
    before: pl.DataFrame,
    after: pl.DataFrame,
    columns: Sequence[str],
    features: Sequence[str],
    target: str | None,
) -> dict[str, Any]:
    """By column and overall, and the accuracy for a target; both frames row by row.

    `features`: the columns that a model of the target may learn from.
    """
    rows = _evenly(before.height, MOST_ROWS)
    old, new = before[rows], after[rows]
    compared = [asdict(one) for one in an.compare_columns(old, new, columns)]
    told: dict[str, Any] = {
        "rows": len(rows),
        "columns": compared,
        **_averages([one for one in compared if one["column"] in features]),
        "accuracy": None,
        "accuracy_problem": "",
    }
    if target is not None:
        told |= _accuracy(old, new, features=features, target=target)
    return told


def _averages(compared: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Over the columns; a pseudonym tells nothing of its value and is left out."""
    return {
        key: sum(one[key] for one in compared) / max(len(compared), 1)
        for key in ("kept", "hidden", "changed")
    }


def _accuracy(
    before: pl.DataFrame, after: pl.DataFrame, *, features: Sequence[str], target: str
) -> dict[str, Any]:
    try:
        found = an.accuracy(
            before,
            after,
            target=target,
            features=[name for name in features if name != target],
            max_rows=ACCURACY_ROWS,
        )
    except an.AnonymizeError as error:
        return {"accuracy_problem": str(error)}
    return {"accuracy": asdict(found)}


def sentences(told: Mapping[str, Any]) -> list[str]:
    """The figures in words."""
    lines = [
        f"On average {told['kept']:.1%} of what the changed columns told is left, "
        f"and {told['hidden']:.1%} of their cells are hidden."
    ]
    found = told["accuracy"]
    if found:
        lines.append(
            f"A model that predicts “{found['target']}” is right in "
            f"{found['anonymized']:.1%} of the rows when it learns from the release, "
            f"and in {found['original']:.1%} when it learns from the original; always "
            f"guessing the commonest value, {found['baseline']:.1%}."
        )
    elif told["accuracy_problem"]:
        lines.append(f"No accuracy was measured: {told['accuracy_problem']}")
    return lines


def _evenly(rows: int, most: int) -> list[int]:
    if rows <= most:
        return list(range(rows))
    return [place * rows // most for place in range(most)]
