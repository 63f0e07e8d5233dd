"""Lines of the ledger: appended under a row lock, never changed.

Ledgers are locked in the order of their ids, and before the audit trail's head, so
that two transactions never wait for each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from privacyhub.governance import audit, heads
from privacyhub.governance.balances import BudgetRefused, balance
from privacyhub.governance.models import EntryKind, Ledger, LedgerEntry, Reservation

START = "0" * 64  # before the first line
NOTED_AGAIN = timedelta(hours=1)
_SEALED = (
    *("number", "kind", "part", "actor", "recipient", "purpose", "event"),
    *("vector", "delta", "epsilon", "at_delta", "used", "note"),
)
_TERMS = ("unit", "relation")


def locked(ledgers: Iterable[Ledger]) -> list[Ledger]:
    """Row locks in id order, so that two runs never wait for each other."""
    return _locked_by_id([ledger.pk for ledger in ledgers])


def _locked_by_id(ids: Iterable[UUID]) -> list[Ledger]:
    return list(Ledger.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def locked_reservations(
    run_ids: Collection[UUID], purpose: str | None = None
) -> list[Reservation]:
    held = Reservation.objects.filter(run_id__in=run_ids)
    if purpose is not None:
        held = held.filter(purpose=purpose)
    ids = list(held.values_list("ledger_id", flat=True))
    if not ids:
        return []
    ledgers = {row.pk: row for row in _locked_by_id(ids)}
    order = ("ledger_id", "purpose", "run_id")
    rows = list(held.select_for_update().order_by(*order))
    for row in rows:
        row.ledger = ledgers[row.ledger_id]
    return rows


def append(row: Ledger, kind: EntryKind, *, by: Any, **values: Any) -> None:
    """One line more, sealed to the one before. The ledger's row must be locked."""
    last = row.entries.order_by("-number").values_list("number", "hash").first()
    number, previous = last or (0, START)
    entry = LedgerEntry(
        ledger=row,
        number=number + 1,
        at=timezone.now(),
        kind=kind,
        unit=row.unit,
        relation=row.relation,
        actor=getattr(by, "username", by),
        used=str(balance(row).spent) if row.is_declared else "",
        **values,
    )
    entry.hash = chained(previous, entry)
    entry.save(force_insert=True)
    # No partial: where it fails, Django tells the function's name, and that has none.
    transaction.on_commit(lambda: heads.export_ledger_head(row.pk), robust=True)


def chained(previous: str, entry: LedgerEntry, *, terms: bool = True) -> str:
    """The hash of a line over what it says and the hash of the line before.

    terms: unit and relation among it.
    """
    line = {
        "ledger": str(entry.ledger_id),
        "at": entry.at.isoformat(timespec="microseconds"),
        "run_id": str(entry.run_id or ""),
        **{name: getattr(entry, name) for name in _SEALED},
        **{name: getattr(entry, name) for name in _TERMS if terms},
    }
    canonical = json.dumps(line, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()


def is_chained(previous: str, entry: LedgerEntry) -> bool:
    """Whether a line's hash is that of what it says.

    Lines that were written before they had a unit and a relation were sealed without
    them, and exported heads name their hashes: those stay.
    """
    either = (chained(previous, entry, terms=terms) for terms in (True, False))
    return entry.hash in either


def record_refusal(*, refused: BudgetRefused, by: Any) -> None:
    """Put a refusal on the record, after its transaction was rolled back."""
    with transaction.atomic():
        row = Ledger.objects.select_for_update().get(pk=refused.ledger.pk)
        append(row, EntryKind.REFUSED, by=by, purpose=refused.purpose)
        audit.record(
            actor=by, action="ledger.refuse", target=row, purpose=refused.purpose
        )


@transaction.atomic
def note_uncovered_release(
    *,
    ledgers: Iterable[Ledger],
    by: Any,
    recipient: str,
    purpose: str,
    note: str,
    run_id: UUID | None = None,
) -> None:
    """Log a release without formal privacy: from now on totals say so."""
    for row in locked(ledgers):
        row.uncovered_release_at = row.uncovered_release_at or timezone.now()
        row.save()
        append(
            row,
            EntryKind.UNCOVERED,
            by=by,
            run_id=run_id,
            purpose=purpose,
            recipient=recipient,
            note=note,
        )


@transaction.atomic
def note_steward_read(
    *, ledgers: Iterable[Ledger], by: Any, purpose: str, run_id: UUID | None = None
) -> None:
    """Log a read whose result stays with stewards."""
    for row in locked(ledgers):
        append(
            row,
            EntryKind.STEWARD_READ,
            by=by,
            run_id=run_id,
            purpose=purpose,
            recipient="stewards only",
        )


def note_steward_look(*, ledgers: Iterable[Ledger], by: Any, purpose: str) -> None:
    """Log what pages read again and again: once an hour for each person and ledger."""
    since = timezone.now() - NOTED_AGAIN
    fresh = [
        row
        for row in ledgers
        if not row.entries.filter(
            kind=EntryKind.STEWARD_READ,
            actor=by.username,
            purpose=purpose,
            at__gt=since,
        ).exists()
    ]
    if fresh:
        note_steward_read(ledgers=fresh, by=by, purpose=purpose)
