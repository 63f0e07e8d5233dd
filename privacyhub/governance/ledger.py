"""The privacy ledger: reserve before a private read, charge before a step runs.

The cap is enforced by a Rényi filter (see `engines.dp.rdp`): the running sum plus
everything that is reserved must stay under the cap's vector at one order at least.
Training units and held-out units are disjoint by a coin that is stored with the
ledger, so each side has its own sum and a charge for one side leaves the other alone.

Printed epsilons (PLD, one run) and the share of the cap (Rényi, union bound over the
orders) are two numbers; pages show both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.engines.dp.events import Event, event_from_dict
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import (
    add_vectors,
    cap_vector,
    epsilon_from_rdp,
    fits,
    rdp_vector,
)
from privacyhub.governance import audit, keys
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Ledger,
    LedgerEntry,
    Part,
    Reservation,
    ReservationState,
    Unit,
)

# Of the delta cap, this share is kept for additive deltas (category discovery).
ADDITIVE_SHARE = Decimal("0.1")
_SIDES: dict[str, tuple[str, ...]] = {
    Part.ALL: ("train", "heldout"),
    Part.TRAIN: ("train",),
    Part.HELDOUT: ("heldout",),
}


class BudgetRefused(Exception):
    """The cap would be passed. Nothing was read and nothing was charged."""

    def __init__(self, message: str, *, ledger: Ledger, purpose: str) -> None:
        super().__init__(message)
        self.message = message
        self.ledger = ledger
        self.purpose = purpose


class LedgerError(Exception):
    """A request that the ledger's rules do not allow; `message` says which."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Price:
    """What a run asks of the ledger before it reads: an event and its printed cost.

    `delta_units` is an additive delta in units of 1e-15.
    """

    purpose: str
    event: Event
    part: Part
    epsilon: str
    delta: str
    delta_units: int = 0


@dataclass(frozen=True)
class Balance:
    """A ledger in epsilons of its cap (at the delta cap); `left` is rounded down."""

    cap: Decimal
    spent: Decimal
    reserved: Decimal
    left: Decimal


def positive_decimal(text: Any, *, name: str) -> Decimal:
    """A positive finite decimal, or LedgerError naming the field."""
    try:
        value = Decimal(str(text))
    except InvalidOperation as error:
        raise LedgerError(f"{name} must be a number.") from error
    if not value.is_finite() or value <= 0:
        raise LedgerError(f"{name} must be a number above 0.")
    return value


def open_ledger(*, name: str, fingerprint: str) -> Ledger:
    """The account of a new root upload. Unit, N and caps are declared later."""
    split_key, _ = keys.create(purpose="split")
    zero = _store((0,) * len(ORDERS))
    return Ledger.objects.create(
        name=name,
        fingerprint=fingerprint,
        orders=[float(order) for order in ORDERS],
        split_key=split_key,
        spent_train=zero,
        spent_heldout=zero,
        reserved_train=zero,
        reserved_heldout=zero,
    )


@transaction.atomic
def declare(
    *,
    ledger: Ledger,
    by: Any,
    declared_units: int,
    epsilon_cap: Any,
    delta_cap: Any,
    unit: str = Unit.RECORD,
    unit_key: str = "",
    most_rows_per_unit: int = 1,
) -> Ledger:
    """Fix unit, N and caps. After the first reservation only a raise changes them."""
    row = Ledger.objects.select_for_update().get(pk=ledger.pk)
    if row.fixed_at is not None:
        raise LedgerError(
            "Unit, number of units and caps were fixed by the first reservation. "
            "A higher cap needs a request that a second person approves."
        )
    epsilon = positive_decimal(epsilon_cap, name="The cap on epsilon")
    delta = positive_decimal(delta_cap, name="The cap on delta")
    if declared_units < 1:
        raise LedgerError("The declared number of units must be at least 1.")
    if delta * declared_units >= 1:
        raise LedgerError(
            "The cap on delta must be below 1/N: at 1/N a mechanism may publish one "
            "person's record whole."
        )
    if most_rows_per_unit < 1:
        raise LedgerError("The most rows per unit must be at least 1.")
    if (unit == Unit.KEY) != bool(unit_key):
        raise LedgerError("A unit key is named when, and only when, it is the unit.")
    row.unit, row.unit_key = unit, unit_key
    row.most_rows_per_unit = most_rows_per_unit
    row.declared_units = declared_units
    row.epsilon_cap, row.delta_cap = str(epsilon), str(delta)
    row.cap_vector = _cap(epsilon, delta)
    row.save()
    _append(row, EntryKind.CAP, by=by, note=f"cap {epsilon} at delta {delta}")
    audit.record(
        actor=by,
        action="ledger.declare",
        target=row,
        unit=unit,
        declared_units=declared_units,
        epsilon_cap=str(epsilon),
        delta_cap=str(delta),
    )
    return row


@transaction.atomic
def reserve(
    *,
    ledgers: Iterable[Ledger],
    run_id: UUID,
    prices: Sequence[Price],
    recipient: str,
    by: Any,
) -> None:
    """Hold the prices on every ledger, or raise BudgetRefused and hold nothing.

    Idempotent on (ledger, run, purpose); the same key with another event is an error.
    """
    for row in _locked(ledgers):
        if not row.is_declared:
            raise LedgerError(
                "Declare the unit of privacy, the number of units and the caps of "
                f"“{row.name}” first."
            )
        for price in prices:
            _reserve_one(row, price, run_id=run_id, recipient=recipient, by=by)


def _reserve_one(
    row: Ledger, price: Price, *, run_id: UUID, recipient: str, by: Any
) -> None:
    vector = rdp_vector(price.event)
    if not any(vector):
        raise LedgerError("A reservation must be of a positive amount.")
    known = Reservation.objects.filter(
        ledger=row, run_id=run_id, purpose=price.purpose
    ).first()
    if known is not None:
        if known.event != price.event.to_dict() or known.delta != str(
            price.delta_units
        ):
            raise LedgerError("This run has already reserved another amount.")
        return
    if Decimal(price.delta) > Decimal(row.delta_cap):
        raise BudgetRefused(
            f"Delta {price.delta} is above the ledger's cap of {row.delta_cap}.",
            ledger=row,
            purpose=price.purpose,
        )
    _require_room(row, price, vector)
    for side in _SIDES[price.part]:
        _add(row, f"reserved_{side}", vector)
    row.reserved_delta = str(int(row.reserved_delta) + price.delta_units)
    row.fixed_at = row.fixed_at or timezone.now()
    row.save()
    Reservation.objects.create(
        ledger=row,
        run_id=run_id,
        purpose=price.purpose,
        part=price.part,
        event=price.event.to_dict(),
        unit=row.unit,
        relation=row.relation,
        vector=_store(vector),
        delta=str(price.delta_units),
        charged=_store((0,) * len(vector)),
        epsilon=price.epsilon,
        at_delta=price.delta,
        recipient=recipient,
        by=by,
    )
    _append(
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


def _require_room(row: Ledger, price: Price, vector: Sequence[int]) -> None:
    cap = _load(row.cap_vector)
    for side in _SIDES[price.part]:
        if not fits(add_vectors(_committed(row, side), vector), cap):
            room = balance(row)
            raise BudgetRefused(
                f"The cap of “{row.name}” would be passed: {price.purpose} at epsilon "
                f"{price.epsilon} does not fit into what is left. Of the cap of "
                f"{room.cap}, {room.spent} is spent, {room.reserved} is reserved and "
                f"{room.left} is left.",
                ledger=row,
                purpose=price.purpose,
            )
    additive = Decimal(row.delta_cap) * ADDITIVE_SHARE * UNITS_PER_ONE
    held = int(row.spent_delta) + int(row.reserved_delta) + price.delta_units
    if held > additive:
        raise BudgetRefused(
            f"The part of the delta cap of “{row.name}” that finding categories may "
            "use is spent. Declare the categories instead.",
            ledger=row,
            purpose=price.purpose,
        )


@transaction.atomic
def charge(
    *, run_id: UUID, purpose: str, event: Event, delta_units: int = 0, note: str = ""
) -> None:
    """Spend a part of a reservation for good, before what it pays for runs.

    Raises LedgerError when the reservation does not cover it.
    """
    reservations = _locked_reservations(run_id, purpose)
    if not reservations:
        raise LedgerError("There is no reservation to charge.")
    vector = rdp_vector(event)
    for reservation in reservations:
        row = reservation.ledger
        charged = add_vectors(_load(reservation.charged), vector)
        delta = int(reservation.charged_delta) + delta_units
        held = _load(reservation.vector)
        if reservation.state not in {
            ReservationState.RESERVED,
            ReservationState.ACTIVE,
        }:
            raise LedgerError("The reservation is closed.")
        if any(c > h for c, h in zip(charged, held, strict=True)) or delta > int(
            reservation.delta
        ):
            raise LedgerError("The reservation does not cover this charge.")
        reservation.state = ReservationState.ACTIVE
        reservation.charged = _store(charged)
        reservation.charged_delta = str(delta)
        reservation.save()
        for side in _SIDES[reservation.part]:
            _add(row, f"spent_{side}", vector)
            _add(row, f"reserved_{side}", [-value for value in vector])
        row.spent_delta = str(int(row.spent_delta) + delta_units)
        row.reserved_delta = str(int(row.reserved_delta) - delta_units)
        row.save()
        _append(
            row,
            EntryKind.CHARGE,
            by=reservation.by,
            part=reservation.part,
            run_id=run_id,
            purpose=purpose,
            recipient=reservation.recipient,
            event=event.to_dict(),
            vector=_store(vector),
            delta=str(delta_units),
            at_delta=reservation.at_delta,
            note=note,
        )


@transaction.atomic
def settle(*, run_id: UUID) -> None:
    """Close the run's reservations: what never started goes back, the rest is spent."""
    for reservation in _locked_reservations(run_id):
        if reservation.state in {ReservationState.SETTLED, ReservationState.RELEASED}:
            continue
        row = reservation.ledger
        unused = [
            held - used
            for held, used in zip(
                _load(reservation.vector), _load(reservation.charged), strict=True
            )
        ]
        for side in _SIDES[reservation.part]:
            _add(row, f"reserved_{side}", [-value for value in unused])
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
        _append(
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


def _settlement_note(*, started: bool, whole: bool) -> str:
    if not started:
        return "never started: all of it was returned"
    return "ran whole" if whole else "ended early: steps not started were returned"


def record_refusal(*, refused: BudgetRefused, by: Any) -> None:
    """Put a refusal on the record, after its transaction was rolled back."""
    with transaction.atomic():
        row = Ledger.objects.select_for_update().get(pk=refused.ledger.pk)
        _append(row, EntryKind.REFUSED, by=by, purpose=refused.purpose)
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
    for row in _locked(ledgers):
        row.uncovered_release_at = row.uncovered_release_at or timezone.now()
        row.save()
        _append(
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
    for row in _locked(ledgers):
        _append(
            row,
            EntryKind.STEWARD_READ,
            by=by,
            run_id=run_id,
            purpose=purpose,
            recipient="stewards only",
        )


def balance(ledger: Ledger) -> Balance:
    """Spent, reserved and left, of the side of the coin that has used more."""
    if not ledger.is_declared:
        zero = Decimal(0)
        return Balance(cap=zero, spent=zero, reserved=zero, left=zero)
    cap = Decimal(ledger.epsilon_cap)
    spent = max(
        _epsilon(ledger, _load(getattr(ledger, f"spent_{s}"))) for s in _sides()
    )
    held = max(_epsilon(ledger, _committed(ledger, s)) for s in _sides())
    return Balance(
        cap=cap, spent=spent, reserved=held - spent, left=max(Decimal(0), cap - held)
    )


def cost_in_cap(ledger: Ledger, prices: Sequence[Price]) -> Decimal:
    """How much of the cap the prices would take on top of what is committed."""
    before = max(_epsilon(ledger, _committed(ledger, s)) for s in _sides())
    after = before
    for side in _sides():
        total = _committed(ledger, side)
        for price in prices:
            if side in _SIDES[price.part]:
                total = add_vectors(total, rdp_vector(price.event))
        after = max(after, _epsilon(ledger, total))
    return after - before


def would_fit(ledger: Ledger, prices: Sequence[Price]) -> bool:
    """Whether `reserve` would accept the prices now. Reads the ledger, no data."""
    cap = _load(ledger.cap_vector)
    delta = Decimal(ledger.delta_cap or 0)
    additive = int(ledger.spent_delta) + int(ledger.reserved_delta)
    additive += sum(price.delta_units for price in prices)
    if additive > delta * ADDITIVE_SHARE * UNITS_PER_ONE:
        return False
    if any(Decimal(price.delta) > delta for price in prices):
        return False
    for side in _sides():
        total = _committed(ledger, side)
        for price in prices:
            if side in _SIDES[price.part]:
                total = add_vectors(total, rdp_vector(price.event))
        if not fits(total, cap):
            return False
    return True


@transaction.atomic
def request_raise(
    *, ledger: Ledger, epsilon_cap: Any, reason: str, by: Any
) -> CapRequest:
    """Ask for a higher cap. A second person decides."""
    wanted = positive_decimal(epsilon_cap, name="The new cap")
    if not ledger.is_declared or wanted <= Decimal(ledger.epsilon_cap):
        raise LedgerError("The new cap must be above the present one.")
    if not reason.strip():
        raise LedgerError("Give a reason for the raise.")
    request = CapRequest.objects.create(
        ledger=ledger, epsilon_cap=str(wanted), reason=reason, requested_by=by
    )
    audit.record(
        actor=by, action="ledger.request_raise", target=ledger, epsilon_cap=str(wanted)
    )
    return request


@transaction.atomic
def decide_raise(*, request: CapRequest, approve: bool, by: Any) -> None:
    """Approve or decline a raise; nobody decides their own request."""
    if not by.may(Permission.APPROVE_CAPS):
        raise NotAllowed
    row = CapRequest.objects.select_for_update().get(pk=request.pk)
    if row.requested_by_id == by.pk:
        raise NotAllowed("Nobody decides their own request.")
    if row.approved is not None:
        raise LedgerError("This request was decided already.")
    row.approved, row.decided_by, row.decided_at = approve, by, timezone.now()
    row.save()
    (ledger,) = _locked([row.ledger])
    if approve:
        if Decimal(row.epsilon_cap) <= Decimal(ledger.epsilon_cap):
            raise LedgerError("The cap is at least that high by now.")
        ledger.epsilon_cap = row.epsilon_cap
        ledger.cap_vector = _cap(Decimal(row.epsilon_cap), Decimal(ledger.delta_cap))
        ledger.save()
        note = f"cap raised to {row.epsilon_cap}"
        _append(ledger, EntryKind.CAP, by=by, note=note)
    audit.record(
        actor=by,
        action="ledger.raise" if approve else "ledger.decline_raise",
        target=ledger,
        epsilon_cap=row.epsilon_cap,
        requested_by=row.requested_by.username,
    )


def event_of(reservation: Reservation) -> Event:
    return event_from_dict(reservation.event)


def _sides() -> tuple[str, ...]:
    return _SIDES[Part.ALL]


def _cap(epsilon: Decimal, delta: Decimal) -> list[str]:
    return _store(cap_vector(float(epsilon), float(delta * (1 - ADDITIVE_SHARE))))


def _epsilon(ledger: Ledger, vector: Sequence[int]) -> Decimal:
    """A sum in epsilons of the cap, rounded up at the fourth digit."""
    delta = Decimal(ledger.delta_cap) * (1 - ADDITIVE_SHARE)
    value = epsilon_from_rdp(vector, delta=float(delta))
    return -(-Decimal(value)).quantize(Decimal("0.0001"), rounding=ROUND_FLOOR)


def _committed(ledger: Ledger, side: str) -> tuple[int, ...]:
    return add_vectors(
        _load(getattr(ledger, f"spent_{side}")),
        _load(getattr(ledger, f"reserved_{side}")),
    )


def _locked(ledgers: Iterable[Ledger]) -> list[Ledger]:
    """Row locks in id order, so that two runs never wait for each other."""
    ids = [ledger.pk for ledger in ledgers]
    return list(Ledger.objects.select_for_update().filter(pk__in=ids).order_by("pk"))


def _locked_reservations(run_id: UUID, purpose: str | None = None) -> list[Reservation]:
    held = Reservation.objects.filter(run_id=run_id)
    if purpose is not None:
        held = held.filter(purpose=purpose)
    ledgers = {row.pk: row for row in _locked([r.ledger for r in held])}
    rows = list(held.select_for_update().order_by("ledger_id", "purpose"))
    for row in rows:
        row.ledger = ledgers[row.ledger_id]
    return rows


def _add(row: Ledger, field: str, vector: Sequence[int]) -> None:
    before = _load(getattr(row, field))
    after = [a + b for a, b in zip(before, vector, strict=True)]
    if min(after) < 0:
        raise LedgerError("A sum of the ledger would fall below zero.")
    setattr(row, field, _store(after))


def _append(row: Ledger, kind: EntryKind, *, by: Any, **values: Any) -> None:
    used = str(balance(row).spent) if row.is_declared else ""
    LedgerEntry.objects.create(
        ledger=row, kind=kind, actor=by.username, used=used, **values
    )


def _store(vector: Sequence[int]) -> list[str]:
    return [str(value) for value in vector]


def _load(stored: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(value) for value in stored)
