"""What anonymization leaves of a table's use: by column, and for a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import OneHotEncoder

from .errors import AnonymizeError
from .hierarchies import as_text
from .rows import factorize

MAX_CATEGORIES = 200


@dataclass(frozen=True)
class ColumnUtility:
    """One column before and after. Entropies are in bits.

    `changed`: part of the cells that differ; `hidden`: part that shows `*`; `kept`:
    the mutual information of before and after over the entropy before, 1 if nothing
    is lost.
    """

    column: str
    values_before: int
    values_after: int
    entropy_before: float
    entropy_after: float
    changed: float
    hidden: float
    kept: float


@dataclass(frozen=True)
class Accuracy:
    """Cross-validated accuracy of a model, and of always guessing the commonest."""

    target: str
    original: float
    anonymized: float
    baseline: float
    folds: int


def compare_columns(
    before: pl.DataFrame, after: pl.DataFrame, columns: Sequence[str]
) -> list[ColumnUtility]:
    """Each column of the original against the anonymized table."""
    _check(before, after, columns)
    out = []
    for name in columns:
        old, old_values = factorize(as_text(before[name]))
        new, new_values = factorize(as_text(after[name]))
        joint = old.astype(np.int64) * len(new_values) + new
        before_bits, after_bits = _bits(old), _bits(new)
        mutual = before_bits + after_bits - _bits(joint)
        same = as_text(before[name]) == as_text(after[name])
        out.append(
            ColumnUtility(
                column=name,
                values_before=len(old_values),
                values_after=len(new_values),
                entropy_before=before_bits,
                entropy_after=after_bits,
                changed=_share(~same),
                hidden=_share(as_text(after[name]) == "*"),
                kept=mutual / before_bits if before_bits > 0 else 1.0,
            )
        )
    return out


def accuracy(
    before: pl.DataFrame,
    after: pl.DataFrame,
    *,
    target: str,
    features: Sequence[str],
    folds: int = 5,
    max_rows: int = 50_000,
    seed: int = 0,
) -> Accuracy:
    """Accuracy of logistic regression, original against anonymized features.

    Both models learn from the same folds and are tested on the original target;
    features are one-hot coded, the commonest values of each.
    """
    _check(before, after, [*features, target])
    if target in features or not features:
        raise AnonymizeError("Name features, and a target that is not among them.")
    rng = np.random.default_rng(seed)
    rows = np.arange(before.height)
    if before.height > max_rows:
        rows = np.sort(rng.choice(rows, max_rows, replace=False))
    classes, _ = factorize(as_text(before[target])[rows])
    counts = np.bincount(classes)
    enough = np.flatnonzero(counts[classes] >= folds)
    rows, classes = rows[enough], classes[enough]
    if len(np.unique(classes)) < 2:
        raise AnonymizeError("The target needs two values with enough rows each.")
    splits = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    pairs = list(splits.split(rows, classes))
    scores = []
    for table in (before, after):
        values = np.column_stack(
            [as_text(table[name])[rows].to_numpy() for name in features]
        ).astype(object)
        scores.append(_validated(values, classes, pairs))
    return Accuracy(
        target=target,
        original=scores[0],
        anonymized=scores[1],
        baseline=float(np.bincount(classes).max() / len(classes)),
        folds=folds,
    )


def _validated(
    values: np.ndarray, classes: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]
) -> float:
    right = 0
    for train, test in pairs:
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES
        )
        model = LogisticRegression(max_iter=200)
        model.fit(encoder.fit_transform(values[train]), classes[train])
        guessed = model.predict(encoder.transform(values[test]))
        right += int((guessed == classes[test]).sum())
    return right / sum(len(test) for _, test in pairs)


def _share(chosen: pl.Series) -> float:
    return int(chosen.sum()) / max(len(chosen), 1)


def _bits(codes: np.ndarray) -> float:
    _, counts = np.unique(codes, return_counts=True)
    part = counts / max(counts.sum(), 1)
    return float(-(part * np.log2(part)).sum())


def _check(before: pl.DataFrame, after: pl.DataFrame, columns: Sequence[str]) -> None:
    if before.height != after.height:
        raise AnonymizeError("The two tables differ in their number of rows.")
    for name in columns:
        if name not in before.columns or name not in after.columns:
            raise AnonymizeError(f"Column {name} is missing.")
