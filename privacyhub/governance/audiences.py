"""Whom a reservation's results reach: what it pays counts under each one's own cap.

The ledger pays once, however many get what was paid for. A line of kind `shared` says
who gets it too: the run's charges so far, which the line repeats, and all later ones
count for that recipient. Nothing is taken back: who lost a right has seen it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from privacyhub.engines.dp.rdp import add_vectors, fits
from privacyhub.governance import gaps, statement
from privacyhub.governance.balances import BudgetRefused, balance
from privacyhub.governance.entries import append, locked_reservations
from privacyhub.governance.models import EntryKind, Ledger, RecipientCap, Reservation
from privacyhub.governance.replay import Totals
from privacyhub.governance.sums import BOTH, add, committed, load

SHARE = "share model"


class RecipientCapRefused(BudgetRefused):
    """The cap of somebody who would get the results too would be passed."""

    code = "recipient_cap"


@transaction.atomic
def deliver(*, run_ids: Collection[UUID], recipient: str, by: Any) -> None:
    """Count what these runs were charged, and still hold, for this recipient too.

    Once for each run and purpose, however often. Raises RecipientCapRefused, and counts
    nothing, where the recipient's cap on one of the ledgers does not hold it.
    """
    held = [row for row in locked_reservations(run_ids) if _is_new(row, recipient)]
    by_ledger: dict[Ledger, list[Reservation]] = {}
    for row in held:
        by_ledger.setdefault(row.ledger, []).append(row)
    if by_ledger:
        gaps.require_none(by_ledger)
    for ledger, rows in by_ledger.items():
        _count(ledger, rows, recipient=recipient, by=by)
        for row in rows:
            join(ledger, row, recipient=recipient, by=by)


def _is_new(row: Reservation, recipient: str) -> bool:
    """Whether it costs anybody anything, and does not reach the recipient yet."""
    costs = row.is_open or any(load(row.charged))
    return costs and recipient not in row.reaches


def _count(
    ledger: Ledger, rows: Sequence[Reservation], *, recipient: str, by: Any
) -> None:
    cap = RecipientCap.objects.filter(ledger=ledger, recipient=recipient).first()
    if cap is None:
        return  # one that is set later counts it
    totals = Totals()
    for row in rows:
        totals.add(row)
    both = {
        side: add_vectors(totals.spent[side], totals.reserved[side]) for side in BOTH
    }
    require_room(
        cap,
        both,
        ledger=ledger,
        what="what the shared results cost",
        purpose=SHARE,
        by=by,
    )
    for side in BOTH:
        add(cap, f"spent_{side}", totals.spent[side])
        add(cap, f"reserved_{side}", totals.reserved[side])
    cap.save()


def join(ledger: Ledger, row: Reservation, *, recipient: str, by: Any) -> None:
    """Put on record that the reservation reaches the recipient too."""
    row.audience = sorted({*row.audience, recipient})
    row.save(update_fields=["audience"])
    append(
        ledger,
        EntryKind.SHARED,
        by=by,
        part=row.part,
        run_id=row.run_id,
        purpose=row.purpose,
        recipient=recipient,
        vector=row.charged,
        epsilon=row.epsilon,
        at_delta=row.at_delta,
        note="counts for the recipient; the ledger pays once",
    )


def require_room(
    cap: RecipientCap,
    wanted: Mapping[str, Sequence[int]],
    *,
    ledger: Ledger,
    what: str,
    purpose: str,
    by: Any,
) -> None:
    """Refuse what the cap does not hold. `wanted`: by side of the coin."""
    limit = load(cap.cap_vector)
    if all(
        fits(add_vectors(committed(cap, side), vector), limit)
        for side, vector in wanted.items()
        if any(vector)
    ):
        return
    raise RecipientCapRefused(
        f"The cap for {cap.recipient} on “{ledger.name}” would be passed: {what} does "
        "not fit into what is left."
        f"{_in_numbers(cap, ledger, by=by)}",
        ledger=ledger,
        purpose=purpose,
    )


def _in_numbers(cap: RecipientCap, ledger: Ledger, *, by: Any) -> str:
    """What is left of the cap; empty for who may not read it."""
    if not statement.may_ask_for(ledger=ledger, user=by, recipient=cap.recipient):
        return ""
    room = balance(ledger, of=cap)
    return (
        f" Of the cap of {room.cap}, {room.spent} is spent, {room.reserved} is "
        f"reserved and {room.left} is left."
    )
