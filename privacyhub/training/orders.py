"""An order becomes a run: its budget is reserved and its two jobs are queued."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from jobs import services as jobs
from jobs.models import Job
from privacyhub.anonymization import awaited
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance import audit, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import Ledger
from privacyhub.training import deliveries
from privacyhub.training.models import (
    Model,
    Recipe,
    Sweep,
    TrainingDraft,
    TrainingRun,
)
from privacyhub.training.plans import Plan
from privacyhub.training.recipes import RecipeSpec, fit_to

NAME_LIMIT = 200
SHORTEST_REASON = 10


@dataclass(frozen=True, kw_only=True)
class Order:
    """A recipe with its plan, for a version that may still be due.

    depends_on: the job that makes it. after: or the anonymization run, whose release
    it is. run_id: the run's, so that an order that comes twice makes one run.
    """

    recipe: RecipeSpec
    plan: Plan
    dataset: Dataset
    accounts: Sequence[Ledger]
    version: Version | None
    name: str
    reason: str = ""
    model: Model | None = None
    retrain_of: TrainingRun | None = None
    depends_on: Job | None = None
    after: AnonymizationRun | None = None
    run_id: UUID | None = None
    sweep: Sweep | None = None


def place(order: Order, *, by: Any) -> TrainingRun:
    """Reserve and queue; a refusal is put on record after its transaction is undone."""
    known = _known(order, by=by)
    if known is not None:
        return known
    try:
        return write(order, by=by)
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise
    except IntegrityError:
        known = _known(order, by=by)  # the same order was placed meanwhile
        if known is None:
            raise
        return known


def _known(order: Order, *, by: Any) -> TrainingRun | None:
    if order.run_id is None:
        return None
    return TrainingRun.objects.filter(pk=order.run_id, owner=by).first()


@transaction.atomic
def write(order: Order, *, by: Any) -> TrainingRun:
    """The run with its reservations and jobs. Raises BudgetRefused, unrecorded."""
    order = _in_order(order)
    recipe, plan = order.recipe, order.plan
    require_reason(recipe=recipe, reason=order.reason)
    model = order.model or new_model(order)
    _require_same_question(model, order)
    _require_same_privacy(model, order)
    run_id, train_id, assess_id = (
        order.run_id or uuid.uuid4(),
        uuid.uuid4(),
        uuid.uuid4(),
    )
    audience = deliveries.fixed_audience(model, accounts=order.accounts)
    reserve = {
        "ledgers": order.accounts,
        "recipient": by.username,
        "by": by,
        "audience": audience,
    }
    if plan.training_price is not None:
        ledger.reserve(run_id=train_id, prices=[plan.training_price], **reserve)
    ledger.reserve(run_id=assess_id, prices=[plan.metrics_price], **reserve)
    spec = {"schema": 1, "dataset": str(order.dataset.pk), "run": str(run_id)}
    which = f"{model.name} at epsilon {plan.epsilon}" if order.sweep else model.name
    named = which if recipe.is_private else model.name
    train = jobs.submit(
        kind="train",
        title=f"Train {named}",
        owner=by,
        spec=spec
        | {"version": str(order.version.pk) if order.version else ""}
        | ({"after": str(order.after.pk)} if order.after else {})
        # How many trials a search has begun is part of its privacy.
        | ({"secret_position": True} if plan.selection else {}),
        depends_on=order.depends_on,
        job_id=train_id,
    )
    assess = jobs.submit(
        kind="assess",
        title=f"Assess {named}",
        owner=by,
        spec=spec | {"epsilon": plan.metrics_epsilon, "event": plan.metrics.to_dict()},
        depends_on=train,
        job_id=assess_id,
    )
    run = TrainingRun.objects.create(
        id=run_id,
        model=model,
        version=order.version,
        after=order.after,
        recipe=_recipe_row(order, by=by),
        owner=by,
        job=train,
        assess_job=assess,
        privacy=recipe.privacy,
        reason=order.reason if not recipe.is_private else "",
        plan=plan.to_dict(),
        retrain_of=order.retrain_of,
        sweep=order.sweep,
    )
    audit.record(
        actor=by,
        action="training.submit",
        target=run,
        model=str(model.pk),
        version=str(order.version.pk) if order.version else "",
        after=str(order.after.pk) if order.after else "",
        privacy=recipe.privacy,
        epsilon=plan.epsilon if recipe.is_private else "",
        delta=plan.delta,
        metrics_epsilon=plan.metrics_epsilon,
        retrain_of=str(order.retrain_of.pk) if order.retrain_of else "",
        sweep=str(order.sweep.pk) if order.sweep else "",
    )
    drafts = TrainingDraft.objects.filter(owner=by, after=order.after)
    if order.after is not None:
        drafts.delete()
    elif order.version is not None:
        drafts.filter(version=order.version).delete()
    return run


def _in_order(order: Order) -> Order:
    """The order on its run's release, or behind the job that is to make it.

    It locks that job, before any ledger. Raises Conflict where no release will come.
    """
    if order.after is None:
        return order
    release = awaited.release_of(run=order.after)
    if release is None:
        return replace(order, depends_on=order.after.job)
    fit_to(recipe=order.recipe, version=release)
    return replace(order, version=release)


def require_reason(*, recipe: RecipeSpec, reason: str) -> None:
    """Without privacy a sentence says why. Raises DataError."""
    if not recipe.is_private and len(reason) < SHORTEST_REASON:
        raise DataError(
            "Say in a sentence why this model is trained without privacy.",
            code="no_reason",
        )


def new_model(order: Order) -> Model:
    """The model that the order's run makes the first version of."""
    if not order.name:
        raise DataError("Give the model a name.", code="no_name")
    return Model.objects.create(
        name=order.name,
        dataset=order.dataset,
        target=order.recipe.target,
        task=order.recipe.task,
    )


def _require_same_question(model: Model, order: Order) -> None:
    asked = (order.dataset.pk, order.recipe.target, order.recipe.task)
    if asked != (model.dataset_id, model.target, model.task):
        raise Conflict(
            "A new version of a model predicts the same target of the same dataset.",
            code="another_question",
        )


def _require_same_privacy(model: Model, order: Order) -> None:
    """Who may use a model may use all its versions: none changes kind unnoticed.

    A retrain is of a kind that the model has: it stays possible where both are mixed.
    """
    others = model.runs.exclude(privacy=order.recipe.privacy)
    if order.retrain_of is None and others.exists():
        raise Conflict(
            "A model is trained either with privacy or without. Train this one as a "
            "model of its own.",
            code="another_privacy",
        )


def _recipe_row(order: Order, *, by: Any) -> Recipe:
    if order.retrain_of is not None:
        return order.retrain_of.recipe
    return Recipe.objects.create(spec=order.recipe.to_dict(), created_by=by)
