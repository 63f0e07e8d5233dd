"""The attempts at a run, and what they were charged together.

A worker that is lost leaves its charges behind. The next attempt goes on from the
newest checkpoint and pays for what it replays out of the same reservation, so a run
that was interrupted may end with fewer steps. What is printed covers every charge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.models import Job
from privacyhub.engines.dp.events import (
    Event,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
    event_from_dict,
)
from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.dp.rdp import UNBOUNDED, rdp_vector
from privacyhub.governance.models import EntryKind, LedgerEntry, Reservation
from privacyhub.governance.sums import load
from privacyhub.training.models import TrainingRun
from privacyhub.training.plans import TRAINING


@dataclass(frozen=True, kw_only=True)
class Charged:
    """Everything that a run was charged for, over all of its attempts.

    selection: the search over settings, which is charged whole.
    also: the events besides, such as each reading of DP statistics.
    additive_delta: what finding the names of categories took of delta.
    """

    steps: int
    selection: SelectionEvent | None
    also: tuple[Event, ...]
    additive_delta: float


def charged(job: Job) -> Charged:
    """From the lines of the ledger (of one, where several pay the same)."""
    lines = LedgerEntry.objects.filter(
        run_id=job.pk, purpose=TRAINING, kind=EntryKind.CHARGE
    )
    steps, delta = 0, 0
    selection: SelectionEvent | None = None
    also: list[Event] = []
    ledgers = {line.ledger_id for line in lines}
    for line in lines.filter(ledger_id__in=sorted(ledgers)[:1]).order_by("id"):
        event = event_from_dict(line.event or {})
        delta += int(line.delta)
        if isinstance(event, PoissonGaussianEvent):
            steps += event.steps
        elif isinstance(event, SelectionEvent):
            selection = event
        else:
            also.append(event)
    return Charged(
        steps=steps,
        selection=selection,
        also=tuple(also),
        additive_delta=delta / UNITS_PER_ONE,
    )


def affordable_steps(*, job: Job, step: PoissonGaussianEvent) -> int:
    """How many more of these steps every reservation of the run covers.

    step: an event of one step.
    """
    price = rdp_vector(step)
    room = []
    for held in Reservation.objects.filter(run_id=job.pk, purpose=TRAINING):
        pairs = zip(held.vector, held.charged, price, strict=True)
        room += [
            (int(reserved) - int(used)) // cost
            for reserved, used, cost in pairs
            if cost > 0 and int(reserved) < UNBOUNDED
        ]
    return max(0, min(room, default=0))


def affords(*, job: Job, events: Sequence[Event]) -> bool:
    """Whether every reservation of the run still covers these events together."""
    price = rdp_vector(compose(list(events)))
    return all(
        used + cost <= reserved
        for held in Reservation.objects.filter(run_id=job.pk, purpose=TRAINING)
        for reserved, used, cost in zip(
            load(held.vector), load(held.charged), price, strict=True
        )
        if reserved < UNBOUNDED
    )


def is_held(*, job: Job, event: Event) -> bool:
    """Whether what every ledger reserved for the run is the price of this event."""
    told = Reservation.objects.filter(run_id=job.pk, purpose=TRAINING)
    return all(event_from_dict(held.event) == event for held in told)


@transaction.atomic
def begin(*, run: TrainingRun, job: Job, step: int, charged: int) -> None:
    """Note that an attempt goes on after `step` steps; `charged` were paid before.

    An attempt begins once: a second call with the same fencing token changes nothing.
    """
    row = TrainingRun.objects.select_for_update().get(pk=run.pk)
    if not any(told["attempt"] == job.attempt for told in row.attempts):
        began = {
            "attempt": job.attempt,
            "from_step": step,
            "charged_before": charged,
            "at": timezone.now().isoformat(),
        }
        row.attempts = [*row.attempts, began]
        row.save(update_fields=["attempts"])
    run.attempts = row.attempts


def told(
    attempts: Sequence[Mapping[str, Any]], *, charged: int
) -> list[dict[str, Any]]:
    """A row an attempt: number, when it began, from which step, what it was charged.

    charged: by all attempts together.
    """
    ends = [row["charged_before"] for row in attempts[1:]] + [charged]
    return [
        {
            "number": number,
            "at": row["at"],
            "from_step": row["from_step"],
            "charged": max(0, end - row["charged_before"]),
        }
        for number, (row, end) in enumerate(zip(attempts, ends, strict=True), start=1)
    ]
