"""The privacy ledger: reserve before a private read, charge before a step runs.

The cap is enforced by a Rényi filter (see `engines.dp.rdp`): the running sum plus
everything that is reserved must stay under the cap's vector at one order at least.
Training units and held-out units are disjoint by a coin that is stored with the
ledger, so each side has its own sum and a charge for one side leaves the other alone.

This module is what other apps call; `sums`, `balances`, `entries` and `caps` hold the
parts by subject.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from jobs import failpoints
from privacyhub.engines.dp.events import Event, event_from_dict
from privacyhub.engines.dp.orders import ORDERS
from privacyhub.engines.dp.rdp import add_vectors, rdp_vector
from privacyhub.governance import audiences, audit, gaps
from privacyhub.governance.audiences import RecipientCapRefused, deliver
from privacyhub.governance.balances import (
    Balance,
    BudgetRefused,
    Price,
    balance,
    cost_in_cap,
    is_overdrawn,
    require_room,
    runs_that_fit,
    tightest,
    would_fit,
    would_overspend,
)
from privacyhub.governance.caps import (
    decide_raise,
    declare,
    may_declare,
    open_ledger,
    positive_decimal,
    request_raise,
    set_recipient_cap,
)
from privacyhub.governance.entries import (
    append,
    locked,
    locked_reservations,
    note_steward_look,
    note_steward_read,
    note_uncovered_release,
    record_refusal,
)
from privacyhub.governance.models import (
    EntryKind,
    Ledger,
    RecipientCap,
    Reservation,
    ReservationState,
)
from privacyhub.governance.sums import (
    SIDES,
    LedgerError,
    add,
    holders,
    load,
    store,
)

__all__ = [
    "Balance",
    "BudgetRefused",
    "LedgerError",
    "Price",
    "RecipientCapRefused",
    "balance",
    "charge",
    "cost_in_cap",
    "decide_raise",
    "declare",
    "deliver",
    "event_of",
    "has_begun",
    "may_declare",
    "note_steward_look",
    "note_steward_read",
    "note_uncovered_release",
    "open_ledger",
    "positive_decimal",
    "record_refusal",
    "request_raise",
    "reserve",
    "runs_that_fit",
    "set_recipient_cap",
    "settle",
    "tightest",
    "would_fit",
]


@transaction.atomic
def reserve(
    *,
    ledgers: Iterable[Ledger],
    run_id: UUID,
    prices: Sequence[Price],
    recipient: str,
    by: Any,
    audience: Collection[str] = (),
) -> None:
    """Hold the prices on every ledger, or raise BudgetRefused and hold nothing.

    Idempotent on (ledger, run, purpose); the same key with another event is an error.
    audience: who gets the results too; their own caps must hold the prices as well.
    """
    rows = locked(ledgers)
    gaps.require_none(rows)
    for row in rows:
        if not row.is_declared:
            raise LedgerError(
                "Declare the unit of privacy, the number of units and the caps of "
                f"“{row.name}” first."
            )
        for price in prices:
            held = _reserve_one(row, price, run_id=run_id, recipient=recipient, by=by)
            if held is not None:
                _reserve_for(row, held, price, audience=audience, by=by)
    failpoints.reach("reserve.in_transaction")
    transaction.on_commit(lambda: failpoints.reach("reserve.committed"))


def _reserve_one(
    row: Ledger, price: Price, *, run_id: UUID, recipient: str, by: Any
) -> Reservation | None:
    """The reservation; None where it was made before."""
    vector = rdp_vector(price.event)
    if not any(vector):
        raise LedgerError("A reservation must be of a positive amount.")
    _require_terms(row, unit=price.unit or row.unit, relation=price.relation)
    known = Reservation.objects.filter(
        ledger=row, run_id=run_id, purpose=price.purpose
    ).first()
    if known is not None:
        if known.event != price.event.to_dict() or known.delta != str(
            price.delta_units
        ):
            raise LedgerError("This run has already reserved another amount.")
        return None
    if Decimal(price.delta) > Decimal(row.delta_cap):
        raise BudgetRefused(
            f"Delta {price.delta} is above the ledger's cap of {row.delta_cap}.",
            ledger=row,
            purpose=price.purpose,
        )
    among = holders(row, recipient)
    require_room(row, price, vector, among=among)
    for holder in among:
        for side in SIDES[price.part]:
            add(holder, f"reserved_{side}", vector)
        if holder is not row:
            holder.save()
    row.reserved_delta = str(int(row.reserved_delta) + price.delta_units)
    row.fixed_at = row.fixed_at or timezone.now()
    row.save()
    made = Reservation.objects.create(
        ledger=row,
        run_id=run_id,
        purpose=price.purpose,
        part=price.part,
        event=price.event.to_dict(),
        unit=row.unit,
        relation=row.relation,
        vector=store(vector),
        delta=str(price.delta_units),
        charged=store((0,) * len(vector)),
        epsilon=price.epsilon,
        at_delta=price.delta,
        recipient=recipient,
        by=by,
    )
    append(
        row,
        EntryKind.RESERVE,
        by=by,
        part=price.part,
        run_id=run_id,
        purpose=price.purpose,
        recipient=recipient,
        event=price.event.to_dict(),
        epsilon=price.epsilon,
        at_delta=price.delta,
    )
    audit.record(
        actor=by,
        action="ledger.reserve",
        target=row,
        run=run_id,
        purpose=price.purpose,
        epsilon=price.epsilon,
        delta=price.delta,
    )
    return made


def _reserve_for(
    row: Ledger,
    held: Reservation,
    price: Price,
    *,
    audience: Collection[str],
    by: Any,
) -> None:
    """Hold the price under the caps of others whom the results reach."""
    names = sorted(set(audience) - {held.recipient, ""})
    wanted = dict.fromkeys(SIDES[price.part], load(held.vector))
    for cap in RecipientCap.objects.filter(ledger=row, recipient__in=names):
        audiences.require_room(
            cap,
            wanted,
            ledger=row,
            what=f"{price.purpose} at epsilon {price.epsilon}, which reaches them too,",
            purpose=price.purpose,
            by=by,
        )
        for side, vector in wanted.items():
            add(cap, f"reserved_{side}", vector)
        cap.save()
    for name in names:
        audiences.join(row, held, recipient=name, by=by)


def _require_terms(row: Ledger, *, unit: str, relation: str) -> None:
    """Sums add up in one unit, under one relation and at one list of orders only."""
    if (unit, relation) != (row.unit, row.relation):
        raise LedgerError(
            f"“{row.name}” counts {row.get_unit_display()} under {row.relation}; this "
            "amount is of another unit or relation."
        )
    if tuple(row.orders) != ORDERS:
        raise LedgerError(
            f"“{row.name}” was opened with another list of orders. It takes no more "
            "amounts."
        )


@transaction.atomic
def charge(
    *, run_id: UUID, purpose: str, event: Event, delta_units: int = 0, note: str = ""
) -> None:
    """Spend a part of a reservation for good, before what it pays for runs.

    Raises LedgerError when the reservation does not cover it, for an amount that is
    not positive, where what is committed no longer fits the ledger's cap, and where the
    recipient's own, lowered since, does not hold what would be spent.
    """
    vector = rdp_vector(event)
    if delta_units < 0 or not any(vector):
        raise LedgerError("A charge must be of a positive amount.")
    reservations = locked_reservations([run_id], purpose)
    if not reservations:
        raise LedgerError("There is no reservation to charge.")
    gaps.require_none([held.ledger for held in reservations], trail=False)
    failpoints.reach("charge.in_transaction")
    transaction.on_commit(lambda: failpoints.reach("charge.committed"))
    for reservation in reservations:
        row = reservation.ledger
        _require_terms(row, unit=reservation.unit, relation=reservation.relation)
        before = load(reservation.charged)
        charged = add_vectors(before, vector)
        delta = int(reservation.charged_delta) + delta_units
        held = load(reservation.vector)
        if reservation.state not in {
            ReservationState.RESERVED,
            ReservationState.ACTIVE,
        }:
            raise LedgerError("The reservation is closed.")
        if any(c > h for c, h in zip(charged, held, strict=True)) or delta > int(
            reservation.delta
        ):
            raise LedgerError("The reservation does not cover this charge.")
        if is_overdrawn(row, part=reservation.part):
            raise LedgerError(
                f"The cap of “{row.name}” no longer holds what is spent and reserved: "
                "lines that a restore had lost were charged again."
            )
        # At an order without a finite loss both are UNBOUNDED, and nothing moves.
        moved = [after - held for after, held in zip(charged, before, strict=True)]
        among = holders(row, *reservation.reaches)
        for holder in among:
            if would_overspend(holder, moved, part=reservation.part):
                whose = getattr(holder, "recipient", reservation.recipient)
                raise LedgerError(
                    f"The cap for {whose} on “{row.name}” no longer holds this "
                    "charge: it was lowered, or set, after the reservation."
                )
        reservation.state = ReservationState.ACTIVE
        reservation.charged = store(charged)
        reservation.charged_delta = str(delta)
        reservation.save()
        for holder in among:
            for side in SIDES[reservation.part]:
                add(holder, f"spent_{side}", moved)
                add(holder, f"reserved_{side}", [-value for value in moved])
            if holder is not row:
                holder.save()
        row.spent_delta = str(int(row.spent_delta) + delta_units)
        row.reserved_delta = str(int(row.reserved_delta) - delta_units)
        row.save()
        append(
            row,
            EntryKind.CHARGE,
            by=reservation.by,
            part=reservation.part,
            run_id=run_id,
            purpose=purpose,
            recipient=reservation.recipient,
            event=event.to_dict(),
            vector=store(moved),
            delta=str(delta_units),
            at_delta=reservation.at_delta,
            note=note,
        )


def has_begun(*, run_id: UUID, purpose: str) -> bool:
    """Whether the run has begun to spend what it holds for this."""
    held = Reservation.objects.filter(run_id=run_id, purpose=purpose)
    return held.filter(state=ReservationState.ACTIVE).exists()


@transaction.atomic(savepoint=False)
def settle(*, run_id: UUID) -> None:
    """Close the run's reservations: what never started goes back, the rest is spent."""
    held_by_run = locked_reservations([run_id])
    if held_by_run:
        failpoints.reach("settle.starting")
    for reservation in held_by_run:
        if reservation.state in {ReservationState.SETTLED, ReservationState.RELEASED}:
            continue
        row = reservation.ledger
        unused = [
            held - used
            for held, used in zip(
                load(reservation.vector), load(reservation.charged), strict=True
            )
        ]
        for holder in holders(row, *reservation.reaches):
            for side in SIDES[reservation.part]:
                add(holder, f"reserved_{side}", [-value for value in unused])
            if holder is not row:
                holder.save()
        row.reserved_delta = str(
            int(row.reserved_delta)
            - int(reservation.delta)
            + int(reservation.charged_delta)
        )
        row.save()
        started = reservation.state == ReservationState.ACTIVE
        reservation.state = (
            ReservationState.SETTLED if started else ReservationState.RELEASED
        )
        reservation.save()
        whole = not any(unused)
        append(
            row,
            EntryKind.SETTLE if started else EntryKind.RELEASE,
            by=reservation.by,
            part=reservation.part,
            run_id=run_id,
            purpose=reservation.purpose,
            recipient=reservation.recipient,
            epsilon=reservation.epsilon if whole else "",
            at_delta=reservation.at_delta,
            note=_settlement_note(started=started, whole=whole),
        )
    if held_by_run:
        failpoints.reach("settle.in_transaction")


def _settlement_note(*, started: bool, whole: bool) -> str:
    if not started:
        return "never started: all of it was returned"
    return "ran whole" if whole else "ended early: steps not started were returned"


def event_of(reservation: Reservation) -> Event:
    return event_from_dict(reservation.event)
