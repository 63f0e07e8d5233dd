"""A model's error by declared group on the held-out units.

The groups are a column's declared categories. Exact figures are steward-only; those
that may leave are post-processing of one noisy histogram, which the held-out units pay
for. Without an epsilon nothing is paid and nothing is released.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from django.db import transaction
from numpy.typing import NDArray

from jobs import services as jobs
from jobs.models import Job
from privacyhub.assessment.evaluation import Scored, assessed_by, source_of
from privacyhub.assessment.models import GroupAssessment
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Column, Role, Version
from privacyhub.engines.assess.group_errors import (
    exact_group_errors,
    released_group_errors,
)
from privacyhub.engines.dp.events import LaplaceEvent
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare.encoding import as_texts, places_in
from privacyhub.governance import audit, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.training import deliveries, plans, recipes
from privacyhub.training.models import ModelVersion
from privacyhub.training.services import plan_of

MOST_GROUPS = 20
BOOLEANS = ("false", "true")


def groups_of(column: Column) -> tuple[str, ...]:
    """The declared groups of a column; empty where none are declared."""
    if column.kind == "boolean":
        return BOOLEANS
    return tuple(str(name).strip() for name in column.categories or ())


def columns_to_group_by(version: Version) -> list[Column]:
    """Columns with declared groups that are neither identifiers nor the unit key."""
    found = version.columns.exclude(role=Role.IDENTIFIER).exclude(is_unit_key=True)
    return [c for c in found if 2 <= len(groups_of(c)) <= MOST_GROUPS]


def submit(*, model_version: ModelVersion, by: Any, column: str, epsilon: Any) -> Job:
    """Queue the assessment by this column; with an epsilon, reserve its price.

    Raises DataError, Conflict, LedgerError, or BudgetRefused, which is put on record.
    """
    datasets.require_manager(dataset=model_version.model.dataset, by=by)
    try:
        return _submit(
            model_version=model_version, by=by, column=column, epsilon=epsilon
        )
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise


@transaction.atomic
def _submit(*, model_version: ModelVersion, by: Any, column: str, epsilon: Any) -> Job:
    version = source_of(model_version)
    groups = _declared_groups(version, column)
    wanted = (
        recipes.positive(epsilon, name="Epsilon", code="epsilon") if epsilon else ""
    )
    job_id = uuid.uuid4()
    event = plans.metrics_event(epsilon=wanted) if wanted else None
    if event is not None:
        plan = plan_of(model_version.run)
        price = plans.metrics_price(
            event=event, epsilon=wanted, part=plan.part_heldout, unit=plan.unit
        )
        accounts = list(version.ledgers.all())
        ledger.reserve(
            ledgers=accounts,
            run_id=job_id,
            prices=[price],
            recipient=by.username,
            by=by,
            audience=deliveries.fixed_audience(model_version.model, accounts=accounts),
        )
    job = jobs.submit(
        kind="assess_groups",
        title=f"Assess {model_version} by {column}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(version.dataset_id),
            "run": str(model_version.run_id),
            "column": column,
            "groups": list(groups),
            "epsilon": wanted,
            "event": event and event.to_dict(),
        },
        job_id=job_id,
    )
    audit.record(
        actor=by,
        action="group_assessment.submit",
        target=model_version,
        column=column,
        epsilon=wanted,
    )
    return job


def again(*, job: Job, by: Any) -> Job:
    """For one that failed or was cancelled: the same, priced anew."""
    return submit(
        model_version=assessed_by(job),
        by=by,
        column=job.spec["column"],
        epsilon=job.spec["epsilon"],
    )


def _declared_groups(version: Version, name: str) -> tuple[str, ...]:
    column = version.columns.filter(name=name).first()
    if column is None:
        raise Conflict(
            f"This version has no column “{name}”.", code="no_column", column=name
        )
    if column.role == Role.IDENTIFIER or column.is_unit_key:
        raise Conflict(
            f"Column “{name}” names people and makes no groups.",
            code="identifier",
            column=name,
        )
    groups = groups_of(column)
    if not 2 <= len(groups) <= MOST_GROUPS:
        raise Conflict(
            f"Declare 2 to {MOST_GROUPS} categories of column “{name}” first: the "
            "groups are never taken from the rows.",
            code="groups",
            column=name,
        )
    return groups


def codes_of(values: pl.Series, groups: tuple[str, ...]) -> NDArray[np.int64]:
    """Each row's place in the groups, len(groups) for one of none of them."""
    if groups == BOOLEANS:
        values = as_texts(values).str.to_lowercase()
    return np.minimum(places_in(values, groups), len(groups))


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What the model said of the held-out rows, and the group of each."""

    model: TrainedModel
    units: Any
    asked: dict[str, Any]  # of the engine


def outcomes_of(
    *,
    model: TrainedModel,
    scored: Scored,
    values: pl.Series,
    groups: tuple[str, ...],
) -> Outcomes:
    task = model.spec.task
    if task == "binary":
        predicted = (scored.scores >= 0.5).astype(np.float64)
    elif task == "multiclass":
        predicted = scored.scores.argmax(axis=1).astype(np.float64)
    else:
        predicted = scored.scores
    asked: dict[str, Any] = {
        "predicted": predicted,
        "truth": scored.truth,
        "groups": codes_of(values, groups),
        "names": groups,
        "task": task,
    }
    return Outcomes(model=model, units=scored.units, asked=asked)


def exact(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Exact figures of each group, for stewards."""
    return exact_group_errors(**outcomes.asked, units=outcomes.units)


def released(
    *, outcomes: Outcomes, event: LaplaceEvent, most_rows: int
) -> list[dict[str, Any]]:
    """Released figures of each group; charge the event first."""
    encoder = outcomes.model.encoder
    target = encoder.target if encoder else None
    width = 1.0
    if target is not None and target.lower is not None and target.upper is not None:
        width = target.upper - target.lower
    return released_group_errors(
        **outcomes.asked,
        noise_multiplier=event.noise_multiplier,
        max_rows_per_unit=most_rows,
        width=width,
    )


@transaction.atomic
def record(
    *,
    model_version: ModelVersion,
    job: Job,
    exact: list[dict[str, Any]],
    released: list[dict[str, Any]],
) -> GroupAssessment:
    """What the job found; call it where the job publishes."""
    made = GroupAssessment.objects.create(
        model_version=model_version,
        job=job,
        column=job.spec["column"],
        epsilon=job.spec["epsilon"],
        exact=exact,
        released=released,
    )
    audit.record(
        actor=job.owner,
        action="group_assessment.publish",
        target=made,
        model_version=str(model_version.pk),
        column=made.column,
        epsilon=made.epsilon,
    )
    return made
