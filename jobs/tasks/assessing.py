"""What the kinds of assessment share: pay, read, score, draw, and keep one draw.

The charge is durable before a row is read, so that nothing the rows do to this process
gives it back. A draw is made and sealed into a checkpoint in one transaction: what was
kept can be published by any later attempt, and is never drawn again. An attempt that
was lost between the two has kept and shown nothing; the next one reads and draws for
the same charge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs import checkpoints
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
from privacyhub.training.services import recipe_of

STEPS = 3
PAID, DRAWN = 1, 2
"""Positions of an assessment's checkpoints."""


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
    """By the spec's `run`. Raises JobFailed or Conflict where its version is gone."""
    model_version = ModelVersion.objects.select_related(
        "run__recipe", "run__version__key", "key"
    ).get(run=attempt.spec["run"])
    version = evaluation.source_of(model_version)
    return Subject(model_version=model_version, version=version)


def event_of(attempt: Attempt) -> LaplaceEvent:
    """The histogram that was reserved. Raises JobFailed for anything else."""
    event = event_from_dict(attempt.spec["event"])
    if not isinstance(event, LaplaceEvent):
        raise _nothing_to_assess()
    return event


def found_before(attempt: Attempt, subject: Subject) -> Found | None:
    """What an earlier attempt has drawn and kept; None where none has.

    Raises JobFailed where that is lost: nothing is kept twice for one charge.
    """
    if attempt.job.saved_to < DRAWN:
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
    attempt: Attempt,
    subject: Subject,
    *,
    purpose: str,
    event: LaplaceEvent | None,
    note: str,
    columns: Sequence[str] = (),
) -> HeldOut:
    """Pay for the event, then read the held-out rows, on the record, and score them.

    event: what will be drawn from them; None where all of it stays with stewards.
    note: what it is, for the charge. columns: besides the model's own. Raises JobFailed
    unreserved.
    """
    attempt.report("opening the model", 0, STEPS)
    model = artefacts.load(subject.model_version)
    recipe = recipe_of(subject.model_version.run)
    begun = ledger.has_begun(run_id=attempt.job.pk, purpose=METRICS)
    if event is not None and not begun:
        _pay(attempt, event, note=note)
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


def _pay(attempt: Attempt, event: LaplaceEvent, *, note: str) -> None:
    """Charge; a disk that takes no checkpoint is found out before."""
    try:
        with attempt.held():
            ledger.charge(
                run_id=attempt.job.pk, purpose=METRICS, event=event, note=note
            )
            checkpoints.save(job=attempt.job, position=PAID, content=b"")
    except ledger.LedgerError as error:
        raise JobFailed(
            f"{error.message} Ask for an assessment on the model's page.",
            code="not_reserved",
        ) from error


def kept(attempt: Attempt, subject: Subject, *, draw: Callable[[], Found]) -> Found:
    """Draw and save: both or nothing. A worker that was thought dead draws nothing."""
    with attempt.held():
        found = draw()
        saved.save(
            job=attempt.job, version=subject.version, position=DRAWN, found=found
        )
    return found


def _nothing_to_assess() -> JobFailed:
    return JobFailed("There is nothing to assess.", code="no_version")
