"""Feedback: given by whom a model was shared with, decided by the data's stewards.

Accepting queues a retrain whose budget is reserved in the same transaction. With
corrected labels a job first writes a child version that holds them; the retrain waits
for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from jobs.states import State
from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.deployments.models import Prediction
from privacyhub.feedback.models import Decision, Feedback, Problem
from privacyhub.governance import audit, entries, keys, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.training import services as training
from privacyhub.training.models import Model, ModelVersion
from privacyhub.training.plans import Quote

MOST_CORRECTIONS = 500
LONGEST_GROUP = 200
LONGEST_TEXT = 5000
_ENDED_BADLY = frozenset({State.FAILED, State.CANCELLED})


@transaction.atomic
def submit(
    *,
    model_version: ModelVersion,
    author: Any,
    rating: Any,
    problem: str,
    group: str = "",
    text: str = "",
    corrections: Sequence[Mapping[str, Any]] = (),
) -> Feedback:
    """Keep a form. Corrections: {"prediction": id, "label": class or number} each.

    Raises NotAllowed without the right to use the model, DataError naming the
    correction (`row`, from 1) that is wrong, Conflict for an erased model.
    """
    require_user(model_version=model_version, by=author)
    if model_version.erased_at is not None:
        raise Conflict("This model was erased.", code="erased")
    _check_form(rating=rating, problem=problem, group=group, text=text)
    checked = _checked(corrections, model_version=model_version, author=author)
    pk = uuid4()
    sealed = None
    if checked:
        sealed = keys.seal_json(checked, key=model_version.key, context=str(pk))
    feedback = Feedback.objects.create(
        id=pk,
        model_version=model_version,
        author=author,
        rating=rating,
        problem=problem,
        group=group.strip(),
        text=text.strip(),
        corrections_count=len(checked),
        sealed_corrections=sealed,
    )
    audit.record(
        actor=author,
        action="feedback.submit",
        target=feedback,
        model_version=str(model_version.pk),
        rating=rating,
        problem=problem,
        corrections=len(checked),
    )
    return feedback


def require_user(*, model_version: ModelVersion, by: Any) -> None:
    """Feedback is for those who may use the model, and for its stewards."""
    usable = ModelVersion.objects.usable_by(by).filter(pk=model_version.pk)
    if not by.may(Permission.GIVE_FEEDBACK) or not usable.exists():
        raise NotAllowed("Feedback needs the right to use this model.")


def _check_form(*, rating: Any, problem: str, group: str, text: str) -> None:
    if isinstance(rating, bool) or not isinstance(rating, int) or not 1 <= rating <= 5:
        raise DataError("The rating is a whole number from 1 to 5.", code="rating")
    if problem not in Problem.values:
        raise DataError(
            f"The kind of problem is one of {', '.join(Problem.values)}.",
            code="problem",
        )
    if len(group) > LONGEST_GROUP:
        raise DataError(f"The group has at most {LONGEST_GROUP} characters.")
    if len(text) > LONGEST_TEXT:
        raise DataError(f"The text has at most {LONGEST_TEXT} characters.")


def _checked(
    corrections: Sequence[Mapping[str, Any]],
    *,
    model_version: ModelVersion,
    author: Any,
) -> list[dict[str, Any]]:
    """The corrections with the labels as the target's text or as numbers."""
    if len(corrections) > MOST_CORRECTIONS:
        raise DataError(
            f"One feedback corrects at most {MOST_CORRECTIONS} predictions.",
            code="too_many_corrections",
        )
    named = [_prediction_id(one, row) for row, one in enumerate(corrections, start=1)]
    known = set(
        Prediction.objects.visible_to(author)
        .filter(model_version=model_version, pk__in=named)
        .values_list("pk", flat=True)
    )
    classes = [str(one) for one in model_version.summary.get("classes", [])]
    checked, seen = [], set()
    for row, (pk, one) in enumerate(zip(named, corrections, strict=True), start=1):
        if pk not in known:
            raise DataError(
                f"Correction {row}: this model version has no such prediction.",
                code="no_prediction",
                row=row,
            )
        if pk in seen:
            raise DataError(
                f"Correction {row}: this prediction is corrected twice.",
                code="corrected_twice",
                row=row,
            )
        seen.add(pk)
        label = _label(one.get("label"), classes=classes, row=row)
        checked.append({"prediction": str(pk), "label": label})
    return checked


def _prediction_id(correction: Mapping[str, Any], row: int) -> UUID:
    try:
        return UUID(str(correction["prediction"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"Correction {row}: name the prediction by its id.",
            code="no_prediction",
            row=row,
        ) from error


def _label(label: Any, *, classes: Sequence[str], row: int) -> str | float:
    if classes:
        text = str(label).lower() if isinstance(label, bool) else str(label)
        if label is None or text not in classes:
            raise DataError(
                f"Correction {row}: the label is none of the model's classes.",
                code="unknown_label",
                row=row,
            )
        return text
    try:
        number = float(label)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(label, bool) or not math.isfinite(number):
        raise DataError(
            f"Correction {row}: the label must be a number.",
            code="unknown_label",
            row=row,
        )
    return number


def may_decide(*, feedback: Feedback, by: Any) -> bool:
    """Whether the user manages the data of the model."""
    model = feedback.model_version.model_id
    return Model.objects.managed_by(by).filter(pk=model).exists()


def require_decider(*, feedback: Feedback, by: Any) -> None:
    if not may_decide(feedback=feedback, by=by):
        raise NotAllowed("Only a steward of the data decides on feedback.")


def price(*, feedback: Feedback, by: Any) -> Quote:
    """What accepting would cost. Reads declarations and the ledger alone."""
    require_decider(feedback=feedback, by=by)
    return training.price_of_retrain(
        run=feedback.model_version.run, recipient=by.username
    )


def may_retry(feedback: Feedback) -> bool:
    """Whether it was accepted, but its retrain did not come to a model."""
    return (
        feedback.state == Decision.ACCEPTED
        and feedback.run is not None
        and feedback.run.job.state in _ENDED_BADLY
    )


def accept(*, feedback: Feedback, by: Any) -> Feedback:
    """Queue the retrain, its budget reserved. Again, where the last one failed.

    Raises BudgetRefused when the cap would be passed: that is put on record, nothing
    is queued, and the feedback stays open.
    """
    try:
        return _accept(feedback=feedback, by=by)
    except BudgetRefused as refused:
        # `retrain` recorded it too, but that was undone with the transaction.
        ledger.record_refusal(refused=refused, by=by)
        raise


@transaction.atomic
def _accept(*, feedback: Feedback, by: Any) -> Feedback:
    row = Feedback.objects.select_for_update().get(pk=feedback.pk)
    require_decider(feedback=row, by=by)
    if row.state != Decision.OPEN and not may_retry(row):
        raise Conflict("This feedback was decided already.", code="decided")
    run = row.model_version.run
    parent = row.version or run.version
    if parent is None:
        raise Conflict("The model's version is not known.", code="no_version")
    require_open(parent)
    # Before the audit trail's head, which the correction's job takes.
    entries.locked(parent.ledgers.all())
    if row.corrections_count and row.version is None:
        if row.model_version.erased_at is not None:
            raise Conflict("The corrections were erased.", code="erased")
        job = _submit_correction(row, parent=parent, by=by)
        row.run = training.retrain(run=run, by=by, depends_on=job)
    else:
        row.run = training.retrain(run=run, by=by, version=parent)
    row.state = Decision.ACCEPTED
    row.decided_by, row.decided_at = by, timezone.now()
    row.save()
    audit.record(
        actor=by,
        action="feedback.accept",
        target=row,
        run=str(row.run.pk),
        model_version=str(row.model_version_id),
        corrections=row.corrections_count,
    )
    return row


def _submit_correction(feedback: Feedback, *, parent: Version, by: Any) -> Job:
    return jobs.submit(
        kind="correct",
        title=f"Add corrections to {parent.dataset.name}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(parent.dataset_id),
            "version": str(parent.pk),
            "feedback": str(feedback.pk),
        },
    )


def again(*, job: Job, by: Any) -> Job:
    """Start once more for a correction that failed: its feedback is accepted again."""
    feedback = Feedback.objects.get(pk=job.spec["feedback"])
    run = accept(feedback=feedback, by=by).run
    assert run is not None  # noqa: S101 - an accepted feedback has one
    return run.job.depends_on or run.job


@transaction.atomic
def decline(*, feedback: Feedback, by: Any, reason: str) -> Feedback:
    """Close the feedback without a retrain; its author reads the reason."""
    row = Feedback.objects.select_for_update().get(pk=feedback.pk)
    require_decider(feedback=row, by=by)
    if row.state != Decision.OPEN:
        raise Conflict("This feedback was decided already.", code="decided")
    if not reason.strip():
        raise DataError("Give a reason: the author reads it.", code="no_reason")
    row.state, row.reason = Decision.DECLINED, reason.strip()
    row.decided_by, row.decided_at = by, timezone.now()
    row.save()
    audit.record(actor=by, action="feedback.decline", target=row)
    return row


def corrections_of(feedback: Feedback) -> list[dict[str, Any]]:
    """The corrections as they were given. Raises KeyDestroyed after an erasure."""
    if feedback.sealed_corrections is None:
        return []
    told: list[dict[str, Any]] = keys.unseal_json(
        bytes(feedback.sealed_corrections),
        key=feedback.model_version.key,
        context=str(feedback.pk),
    )
    return told


def corrections_for(*, feedback: Feedback, by: Any) -> list[dict[str, Any]]:
    """The corrections, for their author and, on record, for those who decide."""
    if feedback.author_id != by.pk:
        require_decider(feedback=feedback, by=by)
        audit.record(actor=by, action="feedback.read_corrections", target=feedback)
    return corrections_of(feedback)
