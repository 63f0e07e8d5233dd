"""What the kinds of assessment share: read, score, pay, draw, and draw only once.

The charge and the sealed checkpoint of what was drawn for it are made in one
transaction: a job that was charged can be published by any later attempt, and one that
was not reads again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.execution import Attempt
from jobs.states import JobFailed
from privacyhub.assessment import evaluation, saved
from privacyhub.assessment.evaluation import Scored
from privacyhub.assessment.saved import Found
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.events import LaplaceEvent, event_from_dict
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.governance import ledger
from privacyhub.training import artefacts
from privacyhub.training.models import ModelVersion
from privacyhub.training.plans import METRICS
from privacyhub.training.rows import Side, read_side
from privacyhub.training.services import has_run_before, recipe_of

STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that is assessed, and the version whose held-out rows tell of it."""

    model_version: ModelVersion
    version: Version


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The held-out rows, read and scored. `most_rows`: of one unit among them."""

    model: TrainedModel
    side: Side
    scored: Scored
    most_rows: int


def subject_of(attempt: Attempt) -> Subject:
    """By the spec's `run`. Raises JobFailed where its version is gone."""
    model_version = ModelVersion.objects.select_related(
        "run__recipe", "run__version__key", "key"
    ).get(run=attempt.spec["run"])
    version = model_version.run.version
    if version is None:
        raise _nothing_to_assess()
    return Subject(model_version=model_version, version=version)


def event_of(attempt: Attempt) -> LaplaceEvent:
    """The histogram that was reserved. Raises JobFailed for anything else."""
    event = event_from_dict(attempt.spec["event"])
    if not isinstance(event, LaplaceEvent):
        raise _nothing_to_assess()
    return event


def found_before(attempt: Attempt, subject: Subject) -> Found | None:
    """What an earlier attempt was charged for; None before any charge.

    Raises JobFailed where that is lost: nothing is drawn twice for one charge.
    """
    if not has_run_before(attempt.job):
        return None
    found = saved.latest(job=attempt.job, version=subject.version)
    if found is None:
        raise JobFailed(
            "What it found was lost after the held-out rows were charged. Run it "
            "again: that is priced anew.",
            code="worker_lost",
        )
    return found


def read(
    attempt: Attempt, subject: Subject, *, purpose: str, columns: Sequence[str] = ()
) -> HeldOut:
    """Read the held-out rows, on the record, and score them.

    columns: besides the model's own.
    """
    attempt.report("opening the model", 0, STEPS)
    model = artefacts.load(subject.model_version)
    recipe = recipe_of(subject.model_version.run)
    attempt.report("reading the held-out rows", 1, STEPS)
    with attempt.held():
        ledger.note_steward_read(
            ledgers=subject.version.ledgers.all(),
            by=attempt.job.owner,
            purpose=purpose,
            run_id=attempt.job.pk,
        )
    own = [recipe.target, *(column.name for column in recipe.columns)]
    side = read_side(
        subject.version,
        columns=list(dict.fromkeys([*own, *columns])),
        holdout=recipe.holdout,
        held_out=True,
    )
    features = Side(frame=side.frame.select(own), units=side.units)
    scored = evaluation.score(model=model, side=features)
    attempt.report("computing", 2, STEPS)
    return HeldOut(
        model=model,
        side=side,
        scored=scored,
        most_rows=the_ledger(subject.version).most_rows_per_unit,
    )


def paid(
    attempt: Attempt, subject: Subject, *, note: str, draw: Callable[[], Found]
) -> Found:
    """Charge, draw and save: all of it or nothing. Raises JobFailed unreserved."""
    try:
        with attempt.held():
            ledger.charge(
                run_id=attempt.job.pk,
                purpose=METRICS,
                event=event_of(attempt),
                note=note,
            )
            found = draw()
            saved.save(
                job=attempt.job, version=subject.version, position=2, found=found
            )
    except ledger.LedgerError as error:
        raise JobFailed(
            "Nothing is reserved for this assessment. Ask for one on the model's page.",
            code="not_reserved",
        ) from error
    return found


def _nothing_to_assess() -> JobFailed:
    return JobFailed("There is nothing to assess.", code="no_version")
