"""Training runs: priced, reserved and queued; the models that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max, QuerySet

from jobs.models import Job
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.engines.dp.model import TrainedModel, known_losses
from privacyhub.governance import audit, entries, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import Grant, Ledger
from privacyhub.training import deliveries, orders, plans
from privacyhub.training.artefacts import StoredModel
from privacyhub.training.models import (
    Model,
    ModelVersion,
    Privacy,
    TrainingDraft,
    TrainingRun,
)
from privacyhub.training.orders import NAME_LIMIT, Order
from privacyhub.training.plans import Plan, Quote
from privacyhub.training.recipes import RecipeSpec, fit_to
from privacyhub.training.sources import Source


def price(
    *,
    version: Version,
    recipe: RecipeSpec,
    recipient: str = "",
    model: Model | None = None,
) -> Quote:
    """What a run would cost and leave. Reads declarations and the ledger alone.

    recipient: for whom it would be, whose own caps bind it too. model: an existing one
    that would get a new version, so that the caps of all who have it bind the run.
    """
    accounts = list(version.ledgers.all())
    plan = plans.plan_for(recipe=recipe, accounts=accounts)
    return plans.quote(
        plan=plan,
        accounts=accounts,
        recipient=recipient,
        audience=deliveries.audience_of(model),
    )


def submit(
    *,
    version: Version,
    recipe: RecipeSpec,
    by: Any,
    name: str,
    reason: str = "",
    model: Model | None = None,
    run_id: UUID | None = None,
    after: AnonymizationRun | None = None,
) -> TrainingRun:
    """Reserve the budget of a run and of its metrics, and queue both.

    after: the run that makes a release of `version`, to train on that. While it is at
    work the training waits for it; ends it without a release, so does the training,
    and what was reserved is free again.
    model: an existing model that gets a new version. reason: why without privacy.
    run_id: a run of this id is made once, however often it is asked for.
    Raises DataError, Conflict, LedgerError, or BudgetRefused with the refusal on
    record; then nothing is charged and nothing is half-made.
    """
    datasets.require_manager(dataset=version.dataset, by=by)
    fit_to(recipe=recipe, version=version, after=after)
    accounts = list(version.ledgers.all())
    order = Order(
        recipe=recipe,
        plan=plans.plan_for(recipe=recipe, accounts=accounts),
        dataset=version.dataset,
        accounts=accounts,
        version=None if after else version,
        after=after,
        name=name.strip()[:NAME_LIMIT],
        reason=reason.strip(),
        model=model,
        run_id=run_id,
    )
    return orders.place(order, by=by)


def retrain(
    *,
    run: TrainingRun,
    by: Any,
    version: Version | None = None,
    depends_on: Job | None = None,
) -> TrainingRun:
    """The same recipe on a new version; `price_of_retrain` told the cost before.

    version: None while the job `depends_on`, which makes it and sets `run.version`,
    is still to run. The price rests on the declared N and so is the same.
    """
    dataset = run.model.dataset
    datasets.require_manager(dataset=dataset, by=by)
    recipe = RecipeSpec.from_dict(run.recipe.spec)
    if version is None and depends_on is None:
        raise DataError("Name the version to train on.", code="no_version")
    if version is not None:
        fit_to(recipe=recipe, version=version)
    accounts = _accounts(run, version)
    order = Order(
        recipe=recipe,
        plan=plans.plan_for(recipe=recipe, accounts=accounts),
        dataset=dataset,
        accounts=accounts,
        version=version,
        name=run.model.name,
        reason=run.reason,
        model=run.model,
        retrain_of=run,
        depends_on=depends_on,
    )
    return orders.place(order, by=by)


def price_of_retrain(
    *, run: TrainingRun, version: Version | None = None, recipient: str = ""
) -> Quote:
    """What the run's recipe would cost once more, for this recipient."""
    accounts = _accounts(run, version)
    plan = plans.plan_for(
        recipe=RecipeSpec.from_dict(run.recipe.spec), accounts=accounts
    )
    return plans.quote(
        plan=plan,
        accounts=accounts,
        recipient=recipient,
        audience=deliveries.audience_of(run.model),
    )


def _accounts(run: TrainingRun, version: Version | None) -> list[Ledger]:
    source = version or run.version
    if source is None:
        raise Conflict("This run never had a version.", code="no_version")
    return list(source.ledgers.all())


@transaction.atomic
def give_release(*, after: AnonymizationRun, release: Version) -> None:
    """Trainings that wait for a run learn of its release; call it where it publishes.

    Those that were cancelled meanwhile too: run again, they train on it.
    """
    waiting = TrainingRun.objects.select_for_update().filter(after=after, version=None)
    for run in waiting.order_by("created_at"):
        run.version = release
        run.save(update_fields=["version"])
        audit.record(
            actor=run.owner,
            action="training.get_release",
            target=run,
            version=str(release.pk),
            after=str(after.pk),
        )


def plan_of(run: TrainingRun) -> Plan:
    return Plan.from_dict(run.plan)


def recipe_of(run: TrainingRun) -> RecipeSpec:
    return RecipeSpec.from_dict(run.recipe.spec)


@transaction.atomic
def publish(
    *, run: TrainingRun, model: TrainedModel, stored: StoredModel, losses: list[float]
) -> ModelVersion:
    """The version that a run made; call it where the job publishes."""
    row = Model.objects.select_for_update().get(pk=run.model_id)
    last = row.versions.aggregate(last=Max("number"))["last"] or 0
    version = ModelVersion.objects.create(
        model=row,
        number=last + 1,
        run=run,
        file=stored.file,
        size=stored.size,
        sha256=stored.sha256,
        artefact_sha256=stored.artefact_sha256,
        key=stored.key,
        guarantee=model.guarantee or {},
        summary=summary_of(model, run=run),
        loss_curve=known_losses(losses) if run.privacy == Privacy.NONE else [],
    )
    if run.privacy == Privacy.NONE:
        _note_shared(version, recipients=deliveries.grantees(row), by=run.owner)
    audit.record(
        actor=run.owner,
        action="model_version.publish",
        target=version,
        model=str(row.pk),
        run=str(run.pk),
        sha256=version.artefact_sha256,
    )
    return version


def summary_of(model: TrainedModel, *, run: TrainingRun) -> dict[str, Any]:
    """What anyone with the model may know: its network, its inputs, its answers."""
    encoder = model.encoder
    columns = [column.to_dict() for column in encoder.columns] if encoder else []
    target = encoder.target if encoder else None
    return {
        "architecture": model.architecture.to_dict(),
        "parameters": model.architecture.parameters,
        "inputs": columns,
        "target": run.model.target,
        "task": run.model.task,
        "classes": list(target.classes) if target else [],
        "steps": model.steps_run,
        "settings": model.spec.to_dict(),
    }


def share(
    *,
    model: Model,
    user: Any,
    right: str,
    by: Any,
    expires_at: datetime | None = None,
) -> Grant:
    """Give a right on a model. What its runs were charged counts for the user.

    Raises RecipientCapRefused, which is put on record, where the user's own cap does
    not hold it; then nothing is given. Without privacy this is an uncovered release, of
    the versions that are published later too: `publish` notes those.
    """
    try:
        return _share(model=model, user=user, right=right, by=by, expires_at=expires_at)
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise


@transaction.atomic
def _share(
    *, model: Model, user: Any, right: str, by: Any, expires_at: datetime | None
) -> Grant:
    datasets.require_manager(dataset=model.dataset, by=by)
    # A run that publishes holds these too: it sees the grant, or is seen here.
    entries.locked(Ledger.objects.filter(versions__dataset=model.dataset_id))
    deliveries.deliver(model=model, user=user, by=by)
    bare = model.versions.filter(run__privacy=Privacy.NONE)
    for version in bare.order_by("number"):
        _note_shared(version, recipients=[user.username], by=by)
    return datasets.share(
        target=model, user=user, right=right, by=by, expires_at=expires_at
    )


def _note_shared(version: ModelVersion, *, recipients: Iterable[str], by: Any) -> None:
    """A version without privacy reaches these: an uncovered release to each."""
    for recipient in recipients:
        ledger.note_uncovered_release(
            ledgers=_accounts(version.run, None),
            by=by,
            recipient=recipient,
            purpose="share model",
            note=f"{version} was trained without privacy and shared",
            run_id=version.run.job_id,
        )


def may_see_exact(*, model_id: UUID, user: Any) -> bool:
    """Exact figures are for those who manage the model's data, and for auditors."""
    managed = Model.objects.managed_by(user).filter(pk=model_id)
    return user.is_auditor or managed.exists()


def grants_of(model: Model) -> QuerySet[Grant]:
    """Live grants to users on the model."""
    live = Grant.objects.live().filter(model=model, user__isnull=False)
    return live.select_related("user", "given_by")


def again(*, job: Job, by: Any) -> Job:
    """For a training that failed or was cancelled: the same, priced anew."""
    run = TrainingRun.objects.select_related("recipe", "model__dataset").get(job=job)
    after = run.after if run.version is None else None
    version = after.version if after else run.version
    if version is None:
        raise Conflict("The version to train on was not made.", code="no_version")
    fresh = submit(
        version=version,
        after=after,
        recipe=recipe_of(run),
        by=by,
        name=run.model.name,
        reason=run.reason,
        model=run.model,
    )
    return fresh.job


def keep_draft(*, source: Source, by: Any, answers: Mapping[str, Any]) -> None:
    """Add a wizard page's answers to the draft of this user and source."""
    draft, _ = TrainingDraft.objects.get_or_create(
        owner=by, version=source.version, after=source.after
    )
    draft.answers = {**draft.answers, **answers}
    draft.save()


def draft_of(*, source: Source, by: Any) -> dict[str, Any]:
    drafts = TrainingDraft.objects.filter(owner=by, version=source.version)
    draft = drafts.filter(after=source.after).first()
    return dict(draft.answers) if draft else {}
