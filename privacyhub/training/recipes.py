"""From a request to a recipe: everything that it leaves open is filled in and checked.

All of it happens before anything is read or charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.engines.dp.spec import REFERENCES
from privacyhub.governance.models import Unit
from privacyhub.training.models import Privacy
from privacyhub.training.recipe_columns import (
    inputs_of,
    suggested_classes,
    target_of,
    task_of,
)
from privacyhub.training.recipe_settings import holdout, positive, settings_of
from privacyhub.training.recipe_spec import (
    DEFAULT_EPSILON,
    DEFAULT_HOLDOUT,
    DEFAULT_METRICS_EPSILON,
    ENCODED_KINDS,
    InputColumn,
    RecipeSpec,
    target_spec,
)
from privacyhub.training.sources import Source
from privacyhub.training.tuning import tuning_of

__all__ = [
    "DEFAULT_EPSILON",
    "DEFAULT_HOLDOUT",
    "DEFAULT_METRICS_EPSILON",
    "ENCODED_KINDS",
    "InputColumn",
    "RecipeSpec",
    "build",
    "fit_to",
    "positive",
    "suggested_classes",
    "target_spec",
]


def build(
    *,
    version: Version,
    request: Mapping[str, Any],
    by: Any,
    after: AnonymizationRun | None = None,
) -> RecipeSpec:
    """The recipe of a request on this version, or on the release `after` makes of it.

    request: target, features, task, classes, privacy, epsilon, delta,
    metrics_epsilon, holdout, settings, tuning; each may be left out. `by` may look at
    the profile for classes. Raises DataError (400) or Conflict (409) naming the column
    or the field.
    """
    source = Source(version=version, after=after)
    source.require_open()
    columns = source.columns
    target = target_of(columns, request.get("target"))
    task, classes, declared = task_of(target, request, by=by)
    privacy = request.get("privacy") or Privacy.DP
    if privacy not in Privacy.values:
        raise DataError("Privacy is “dp” or “none”.", code="privacy")
    bounds = None
    if task == "regression" and target.lower is not None and target.upper is not None:
        bounds = (target.lower, target.upper)
    return RecipeSpec(
        target=target.name,
        task=task,
        classes=classes,
        classes_declared=declared,
        target_bounds=bounds,
        columns=inputs_of(columns, target, request.get("features")),
        privacy=privacy,
        epsilon=positive(
            request.get("epsilon") or DEFAULT_EPSILON, name="Epsilon", code="epsilon"
        ),
        delta=positive(request["delta"], name="Delta", code="delta")
        if request.get("delta")
        else "",
        metrics_epsilon=positive(
            request.get("metrics_epsilon") or DEFAULT_METRICS_EPSILON,
            name="The metrics' epsilon",
            code="metrics_epsilon",
        ),
        holdout=holdout(request.get("holdout")),
        settings=settings_of(request.get("settings") or {}),
        tuning=_tuning(request, privacy=privacy),
        target_kind=ENCODED_KINDS[target.kind],
    )


def _tuning(request: Mapping[str, Any], *, privacy: str) -> dict[str, Any] | None:
    search = tuning_of(request.get("tuning"))
    settings = request.get("settings") or {}
    if search and privacy != Privacy.DP:
        raise DataError(
            "A search over settings is offered with privacy, which it is priced for.",
            code="tuning",
        )
    if search and str(settings.get("implementation")) in REFERENCES:
        raise DataError(
            "A search over settings runs the hub's own loop, not TensorFlow Privacy's.",
            code="tuning",
        )
    return search


def fit_to(
    *, recipe: RecipeSpec, version: Version, after: AnonymizationRun | None = None
) -> None:
    """Refuse a version that lacks a column of the recipe, or has it as another kind.

    after: the run whose release of the version is meant, as far as that is known.
    """
    source = Source(version=version, after=after)
    source.require_open()
    columns = source.columns
    _require_unit_key(source)
    for name in [recipe.target, *(column.name for column in recipe.columns)]:
        if name not in columns:
            raise Conflict(
                f"{source} has no column “{name}” any more.",
                code="column_vanished",
                column=name,
            )
        if columns[name].role == Role.IDENTIFIER:
            raise Conflict(
                f"Column “{name}” is an identifier now: nothing is trained on it.",
                code="identifier",
                column=name,
            )
    target_kind = "number" if recipe.task == "regression" else recipe.target_kind
    kinds = {column.name: column.kind for column in recipe.columns}
    for name, kind in [*kinds.items(), (recipe.target, target_kind)]:
        if kind and ENCODED_KINDS[columns[name].kind] != kind:
            raise Conflict(
                f"Column “{name}” is of another kind than in the recipe.",
                code="column_kind",
                column=name,
            )


def _require_unit_key(source: Source) -> None:
    """Where the unit is a key, the version must still hold it as it was uploaded."""
    for account in source.version.ledgers.filter(unit=Unit.KEY):
        if account.unit_key not in source.columns or source.is_anonymized:
            raise Conflict(
                f"{source} does not hold the unit key “{account.unit_key}” as it was "
                "uploaded, so its units cannot be told apart. Train on the upload.",
                code="unit_key",
                column=account.unit_key,
            )
