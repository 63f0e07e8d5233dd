"""Does the record hold? The trail's chain, the ledgers' lines, and the exported heads.

The chain shows a line that was changed or taken out of the middle. The signed heads
show what the chain cannot: that its end was cut off, or all of it written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from privacyhub.governance import audit, heads, ledger_checks
from privacyhub.governance.models import AuditEvent, AuditHead, Ledger, LedgerEntry
from privacyhub.governance.snapshots import snapshot

MOST_PROBLEMS = 20
_AT_ONCE = 500  # exported heads a query looks for


@dataclass(frozen=True)
class Verification:
    """What was checked, and every problem as a sentence (at most 20).

    first_bad_row: of the audit trail: a line that does not fit the chain, or the first
    that an exported head knows and the trail has no more.
    """

    lines: int
    head: str
    first_bad_row: int | None
    ledgers: int
    heads_checked: int
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class _Exported:
    """The folder of heads, read before the database.

    A head is written after the commit that it tells of, so whatever it names is in a
    view of the database that is taken later.
    """

    trail: tuple[Any, ...]
    ledgers: tuple[dict[str, Any], ...]
    unreadable: tuple[str, ...]


def verify() -> Verification:
    """Recompute everything. Reads the whole trail and every line of every ledger.

    A hub in use goes on meanwhile: one view of the database is checked.
    """
    exported = _exported()
    with snapshot():
        return _verified(exported)


def _exported() -> _Exported:
    known = AuditHead.objects.filter(pk=1).first()
    if known is None:
        return _Exported((), (), ())
    place = heads.folder(known)
    return _Exported(
        trail=tuple(heads.exported_trail(place)),
        ledgers=tuple(heads.last_of_ledgers(place)),
        unreadable=tuple(heads.unreadable(place)),
    )


def _verified(exported: _Exported) -> Verification:
    known = AuditHead.objects.filter(pk=1).first()
    head = known or AuditHead()
    bad = audit.first_bad_row()
    problems = _check_hub(known)
    if bad is not None:
        problems.append(f"The audit trail does not hold from line {bad} on.")
    if known is not None:
        found, missed = _check_trail_heads(known, exported.trail)
        problems += found
        bad = missed if bad is None else bad
    rows = list(Ledger.objects.order_by("created_at"))
    for row in rows:
        problems += ledger_checks.problems_of(row)
    problems += _check_ledger_heads(exported)
    if known is not None:
        problems += _check_gone(rows, known)
    return Verification(
        lines=head.sequence,
        head=head.hash,
        first_bad_row=bad,
        ledgers=len(rows),
        heads_checked=len(exported.trail) + len(exported.ledgers),
        problems=tuple(problems[:MOST_PROBLEMS]),
    )


def _check_hub(head: AuditHead | None) -> list[str]:
    """The row that names this database's folder of heads: without it none is found."""
    problems = []
    if head is None and (AuditEvent.objects.exists() or LedgerEntry.objects.exists()):
        problems.append("The row of the audit trail's head is gone.")
    problems += [
        f"The heads in {name} were signed with this hub's key and are of another "
        "database."
        for name in heads.of_other_hubs((head or AuditHead()).hub)
    ]
    return problems


def _check_trail_heads(
    head: AuditHead, exported: Sequence[Any]
) -> tuple[list[str], int | None]:
    """(problems, the first line of the trail that a head misses)."""
    problems, missed, said = [], None, []
    for number, signed in enumerate(exported, start=1):
        if heads.is_genuine(signed) and not _is_foreign(signed, head):
            said.append(signed["statement"])
        else:
            problems.append(f"Exported head {number} is not one that this hub signed.")
    held: set[str] = set()
    for start in range(0, len(said), _AT_ONCE):
        held |= heads.reached(said[start : start + _AT_ONCE])
    for told in said:
        if told["hash"] in held or heads.is_acknowledged(told):
            continue
        number = told["sequence"]
        if missed is None:
            missed = min(number, head.sequence + 1)
        if number > head.sequence:
            text = (
                f"The audit trail ends at line {head.sequence}: line {number}, whose "
                f"head was exported on {told['at']}, is gone."
            )
        else:
            text = (
                f"Line {number} of the audit trail is not the one whose head was "
                f"exported on {told['at']}."
            )
        problems.append(text)
    if not exported and head.exported_sequence and _are_gone(head):
        problems.append(
            f"The exported heads are gone from their folder; the last was of line "
            f"{head.exported_sequence}."
        )
    return problems, missed


def _are_gone(head: AuditHead) -> bool:
    """Whether no head is there now either: the first one may just have come."""
    return heads.last_of_trail(heads.folder(head)) is None


def _is_foreign(signed: Any, head: AuditHead) -> bool:
    told = signed["statement"]
    return told.get("kind") != "audit" or told.get("hub") != str(head.hub)


def _check_gone(rows: Sequence[Ledger], head: AuditHead) -> list[str]:
    """Ledgers whose exported head is in the folder no more."""
    names = {str(row.pk): row.name for row in rows}
    return [
        f"The exported heads of the ledger “{names[told['ledger']]}” are gone from "
        "their folder."
        for told in heads.gone(rows, head)
        if told["ledger"]
    ]


def _check_ledger_heads(exported: _Exported) -> list[str]:
    held = heads.reached(exported.ledgers)
    return [
        *(
            f"The file {name} holds no head that this hub signed."
            for name in exported.unreadable
        ),
        *(
            f"Line {told['sequence']} of ledger {told['ledger']}, whose head was "
            f"exported on {told['at']}, is gone."
            for told in exported.ledgers
            if told["hash"] not in held and not heads.is_acknowledged(told)
        ),
    ]
