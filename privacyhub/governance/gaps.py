"""Lines that a restored backup has lost: found by the signed heads, owned up to by two.

A hub whose database does not reach a head that it once exported has forgotten charges.
Until two people, one of them an auditor, say that they know, no ledger reserves or
charges. What the lost lines had spent is told by the heads, and is charged again then.

Where heads were exported and are gone from their folder, as after a move to a new disk
without it, the gap is of unknown size, and the same two people must say so.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.governance import audit, heads, losses
from privacyhub.governance.entries import append, locked
from privacyhub.governance.models import (
    AuditEvent,
    EntryKind,
    Ledger,
    LedgerEntry,
    LedgerGap,
)
from privacyhub.governance.sums import LedgerError

SHORTEST_REASON = 10


@dataclass(frozen=True)
class Gap:
    """The heads that the database does not reach, each with `kept`: the last line of
    its chain that is older than the head."""

    heads: tuple[dict[str, Any], ...]

    @property
    def heads_are_gone(self) -> bool:
        """Whether heads are missing themselves: what is lost cannot be told then."""
        return any(head["kind"] == heads.GONE for head in self.heads)

    @property
    def lines(self) -> int:
        """Lines of ledgers that are lost."""
        return self._lost("ledger")

    @property
    def audit_lines(self) -> int:
        return self._lost("audit")

    def _lost(self, kind: str) -> int:
        found = [head for head in self.heads if head["kind"] == kind]
        return sum(head["sequence"] - head["kept"] for head in found)


def find(rows: Iterable[Ledger] | None = None) -> Gap | None:
    """The gap between the exported heads and the database; None where it has none.

    `rows`: look at the trail and these ledgers alone.
    """
    head = heads.hub()
    place = heads.folder(head)
    trail = heads.last_of_trail(place)
    if rows is None:
        exported = Ledger.objects.exclude(head_exported_at=None)
        said = [trail, *heads.last_of_ledgers(place)]
        return _gap(said, gone=heads.gone(exported, head))
    known = list(rows)
    said = [trail, *(heads.last_of_ledger(row.pk, place) for row in known)]
    return _gap(said, gone=heads.gone(known, head))


def require_none(rows: Iterable[Ledger], *, trail: bool = True) -> None:
    """Refuse while a head of these ledgers, or of the trail, is not reached or gone.

    trail: whether its last head must be reached; that it has one is asked in any case.
    """
    head = heads.hub()
    place = heads.folder(head)
    known = list(rows)
    said = [heads.last_of_ledger(row.pk, place) for row in known]
    if trail:
        said.append(heads.last_of_trail(place))
    gap = _gap(said, gone=heads.gone(known, head))
    if gap is None:
        return
    raise LedgerError(
        f"{_in_words(gap)}. Nothing is reserved or charged until two people have "
        "acknowledged the gap."
    )


def _in_words(gap: Gap) -> str:
    if gap.heads_are_gone:
        return (
            f"The exported heads are gone from their folder on {socket.gethostname()}, "
            "so that nobody can tell whether lines were lost: copy the folder of heads "
            "back; the hub's hosts share one"
        )
    restored = "its exported head: an older backup was restored"
    if gap.lines:
        plural = "" if gap.lines == 1 else "s"
        return f"The ledger is {gap.lines:,} line{plural} behind {restored}"
    return f"The audit trail is {gap.audit_lines:,} lines behind {restored}"


def _gap(
    said: Iterable[dict[str, Any] | None], *, gone: Iterable[dict[str, Any]]
) -> Gap | None:
    known = [statement for statement in said if statement is not None]
    held = heads.reached(known)
    missed = [
        {**statement, "kept": _kept(statement)}
        for statement in known
        if statement["hash"] not in held and not heads.is_acknowledged(statement)
    ]
    missed += gone
    return Gap(tuple(missed)) if missed else None


def _kept(statement: dict[str, Any]) -> int:
    """The last line before the head's that was written before it was signed."""
    older = Q(at__lte=parse_datetime(statement["at"]))
    if statement["kind"] == "audit":
        rows = AuditEvent.objects.filter(older, sequence__lt=statement["sequence"])
        return rows.aggregate(last=Max("sequence"))["last"] or 0
    lines = LedgerEntry.objects.filter(
        older, ledger=statement["ledger"], number__lt=statement["sequence"]
    )
    return lines.aggregate(last=Max("number"))["last"] or 0


def open_gap() -> LedgerGap | None:
    """The gap that one person has acknowledged and a second has not."""
    return LedgerGap.objects.filter(second_at=None).first()


def may_acknowledge(user: Any) -> bool:
    """Stewards, auditors and administrators; of the two one must be an auditor."""
    return user.may(Permission.MANAGE_DATA) or user.may(Permission.READ_AUDIT)


@transaction.atomic
def acknowledge(*, by: Any, reason: str) -> LedgerGap:
    """Say that one knows of the gap. The second person's word closes it."""
    if not may_acknowledge(by):
        raise NotAllowed
    if len(reason.strip()) < SHORTEST_REASON:
        raise LedgerError("Say in a sentence what happened.")
    rows = locked(Ledger.objects.all())
    gap = find()
    if gap is None:
        raise LedgerError("There is no gap: every exported head is reached.")
    first = LedgerGap.objects.select_for_update().filter(second_at=None).first()
    if first is None or not _is_the_same(first, gap):
        return _open(gap, by=by, reason=reason.strip(), instead_of=first)
    if first.first_by_id == by.pk:
        raise NotAllowed("A second person must acknowledge the gap.")
    if not any(one.may(Permission.APPROVE_CAPS) for one in (by, first.first_by)):
        raise NotAllowed("One of the two must be an auditor.")
    return _close(first, rows, by=by, reason=reason.strip())


def _is_the_same(first: LedgerGap, gap: Gap) -> bool:
    def named(found: Iterable[dict[str, Any]]) -> set[str]:
        return {head["hash"] for head in found}

    return named(first.heads) == named(gap.heads)


def _open(gap: Gap, *, by: Any, reason: str, instead_of: LedgerGap | None) -> LedgerGap:
    """The first word. It counts for these heads alone: others need it anew."""
    if instead_of is not None:
        instead_of.delete()
    row = LedgerGap.objects.create(
        heads=list(gap.heads),
        lines=gap.lines,
        audit_lines=gap.audit_lines,
        reason=reason,
        first_by=by,
        first_at=timezone.now(),
    )
    audit.record(
        actor=by,
        action="ledger.acknowledge_gap",
        target=row,
        lines=row.lines,
        audit_lines=row.audit_lines,
        reason=reason,
    )
    return row


def _close(row: LedgerGap, rows: list[Ledger], *, by: Any, reason: str) -> LedgerGap:
    row.second_by, row.second_at = by, timezone.now()
    row.save()
    said = {head["ledger"]: head for head in row.heads if head["kind"] == "ledger"}
    found = [ledger for ledger in rows if str(ledger.pk) in said]
    for ledger in found:
        _charge_lost(ledger, said[str(ledger.pk)], row, by=by)
    gone = {head["ledger"] for head in row.heads if head["kind"] == heads.GONE}
    for ledger in rows:
        if str(ledger.pk) in gone:
            _note_unknown(ledger, row, by=by)
    audit.record(
        actor=by,
        action="ledger.close_gap",
        target=row,
        lines=row.lines,
        audit_lines=row.audit_lines,
        acknowledged_first_by=row.first_by.username,
        reason=reason,
        ledgers=[str(ledger.pk) for ledger in found],
        heads_gone=bool(gone),
        ledgers_gone=sorted(said.keys() - {str(ledger.pk) for ledger in found}),
    )
    transaction.on_commit(heads.export_all, robust=True)
    return row


def _note_unknown(ledger: Ledger, row: LedgerGap, *, by: Any) -> None:
    """The ledger goes on from what it holds, and says that it may tell too little."""
    note = (
        "The exported head was gone: what lines after these had spent is not known. "
        f"Acknowledged by {row.first_by.username} and {by.username}"
    )[:300]
    append(ledger, EntryKind.GAP, by=by, note=note)


def _charge_lost(
    ledger: Ledger, head: dict[str, Any], row: LedgerGap, *, by: Any
) -> None:
    """Spend again what the head says was spent, and tell how much that was."""
    note = (
        f"{head['sequence'] - head['kept']} lines were lost in a restore; what they "
        f"had spent is charged again. Acknowledged by {row.first_by.username} and "
        f"{by.username}"
    )[:300]
    losses.charge_again(ledger, head, by=by, note=note)
