"""Does the record hold? The trail's chain, the ledgers' lines, and the exported heads.

The chain shows a line that was changed or taken out of the middle. The signed heads
show what the chain cannot: that its end was cut off, or all of it written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from privacyhub.engines.dp.orders import ORDERS
from privacyhub.governance import audit, heads
from privacyhub.governance.entries import START, chained
from privacyhub.governance.models import AuditHead, Ledger
from privacyhub.governance.sums import BOTH, SIDES, load

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


def verify() -> Verification:
    """Recompute everything. Reads the whole trail and every line of every ledger."""
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    bad = audit.first_bad_row()
    problems = []
    if bad is not None:
        problems.append(f"The audit trail does not hold from line {bad} on.")
    found, checked, missed = _check_trail_heads(head)
    problems += found
    if bad is None and missed is not None:
        bad = missed
    rows = list(Ledger.objects.order_by("created_at"))
    for row in rows:
        problems += _check_ledger(row)
    found, of_ledgers = _check_ledger_heads()
    problems += found
    return Verification(
        lines=head.sequence,
        head=head.hash,
        first_bad_row=bad,
        ledgers=len(rows),
        heads_checked=checked + of_ledgers,
        problems=tuple(problems[:MOST_PROBLEMS]),
    )


def _check_trail_heads(head: AuditHead) -> tuple[list[str], int, int | None]:
    """(problems, heads checked, the first line of the trail that a head misses)."""
    problems, missed, said = [], None, []
    checked = 0
    for signed in heads.exported_trail():
        checked += 1
        if heads.is_genuine(signed) and not _is_foreign(signed, head):
            said.append(signed["statement"])
        else:
            problems.append(f"Exported head {checked} is not one that this hub signed.")
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
    if not checked and head.exported_sequence:
        problems.append(
            f"The exported heads are gone from their folder; the last was of line "
            f"{head.exported_sequence}."
        )
    return problems, checked, missed


def _is_foreign(signed: Any, head: AuditHead) -> bool:
    told = signed["statement"]
    return told.get("kind") != "audit" or told.get("hub") != str(head.hub)


def _check_ledger(row: Ledger) -> list[str]:
    """The chain of its lines, and its sums against what its lines add up to."""
    previous, sums, delta = START, {side: [0] * len(ORDERS) for side in BOTH}, 0
    expected = 1
    for entry in row.entries.order_by("number").iterator(chunk_size=1000):
        if entry.number != expected or entry.hash != chained(previous, entry):
            return [f"The ledger “{row.name}” does not hold from line {expected} on."]
        expected, previous = expected + 1, entry.hash
        delta += int(entry.delta)
        if entry.vector:
            moved = load(entry.vector)
            for side in SIDES[entry.part]:
                sums[side] = [a + b for a, b in zip(sums[side], moved, strict=True)]
    spent = {side: list(load(getattr(row, f"spent_{side}"))) for side in BOTH}
    if spent != sums or int(row.spent_delta) != delta:
        return [f"What the ledger “{row.name}” has spent is not what its lines say."]
    return []


def _check_ledger_heads() -> tuple[list[str], int]:
    problems = [
        f"The file {name} holds no head that this hub signed."
        for name in heads.unreadable()
    ]
    said = list(heads.last_of_ledgers())
    held = heads.reached(said)
    problems += [
        f"Line {told['sequence']} of ledger {told['ledger']}, whose head was exported "
        f"on {told['at']}, is gone."
        for told in said
        if told["hash"] not in held and not heads.is_acknowledged(told)
    ]
    return problems, len(said)
