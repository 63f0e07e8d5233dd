"""Unit, number of units and caps of a ledger: declared once, raised by two people."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.engines.dp.orders import ORDERS
from privacyhub.governance import audit, keys
from privacyhub.governance.entries import append, locked
from privacyhub.governance.models import CapRequest, EntryKind, Ledger, Unit
from privacyhub.governance.sums import LedgerError, cap_of, store

MOST_EPSILON = 1_000  # above it a cap bounds nothing


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
    zero = store((0,) * len(ORDERS))
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
    row.cap_vector = cap_of(epsilon=epsilon, delta=delta)
    row.save()
    append(row, EntryKind.CAP, by=by, note=f"cap {epsilon} at delta {delta}")
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
def request_raise(
    *, ledger: Ledger, epsilon_cap: Any, reason: str, by: Any
) -> CapRequest:
    """Ask for a higher cap. A second person decides."""
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    wanted = positive_decimal(epsilon_cap, name="The new cap")
    if wanted > MOST_EPSILON:
        raise LedgerError(f"A cap on epsilon is at most {MOST_EPSILON:,}.")
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
    (ledger,) = locked([row.ledger])
    if approve:
        if Decimal(row.epsilon_cap) <= Decimal(ledger.epsilon_cap):
            raise LedgerError("The cap is at least that high by now.")
        ledger.epsilon_cap = row.epsilon_cap
        ledger.cap_vector = cap_of(
            epsilon=Decimal(row.epsilon_cap), delta=Decimal(ledger.delta_cap)
        )
        ledger.save()
        note = f"cap raised to {row.epsilon_cap}"
        append(ledger, EntryKind.CAP, by=by, note=note)
    audit.record(
        actor=by,
        action="ledger.raise" if approve else "ledger.decline_raise",
        target=ledger,
        epsilon_cap=row.epsilon_cap,
        requested_by=row.requested_by.username,
    )
