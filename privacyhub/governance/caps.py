"""Unit, number of units and caps of a ledger: declared once, raised by two people."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.models import User
from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.engines.dp.orders import ORDERS
from privacyhub.governance import audit, keys, losses, replay, statement
from privacyhub.governance.entries import append, locked
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Ledger,
    RecipientCap,
    Unit,
)
from privacyhub.governance.notes import cap_note, raised_note, recipient_note
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


@transaction.atomic
def open_ledger(*, name: str, fingerprint: str) -> Ledger:
    """The account of a new root upload. Unit, N and caps are declared later.

    Rows whose ledger a restore has lost do not start at zero: what its head says was
    spent is spent, and its unit and caps are declared.
    """
    split_key, _ = keys.create(purpose="split")
    zero = store((0,) * len(ORDERS))
    row = Ledger.objects.create(
        name=name,
        fingerprint=fingerprint,
        orders=[float(order) for order in ORDERS],
        split_key=split_key,
        spent_train=zero,
        spent_heldout=zero,
        reserved_train=zero,
        reserved_heldout=zero,
    )
    for head in losses.known_of(fingerprint):
        losses.charge_again(row, head, by="system", note=losses.REOPENED)
    return row


def may_declare(ledger: Ledger, user: Any) -> bool:
    """Whether the user may still set unit, N and caps alone."""
    if ledger.fixed_at is not None:
        return False
    return not (ledger.is_declared and statement.has_other_owners(ledger, user))


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
    """Fix unit, N and caps. After the first reservation only a raise changes them.

    On a ledger that owners share, so does the first declaration.
    """
    row = Ledger.objects.select_for_update().get(pk=ledger.pk)
    if row.fixed_at is not None:
        raise LedgerError(
            "Unit, number of units and caps were fixed by the first reservation. "
            "A higher cap needs a request that a second person approves."
        )
    if not may_declare(row, by):
        raise LedgerError(
            "Another owner shares this ledger, and its budget is declared. A higher "
            "cap needs a request that a second person approves."
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
    append(row, EntryKind.CAP, by=by, note=cap_note(epsilon, delta))
    for cap in row.recipient_caps.all():
        _write_cap(row, cap, min(Decimal(cap.epsilon_cap), epsilon), by=by)
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
def set_recipient_cap(
    *, ledger: Ledger, recipient: str, epsilon_cap: Any, by: Any
) -> RecipientCap:
    """A first or a lower cap for one recipient, beneath the ledger's own.

    A higher one needs a second person, as does any cap on a ledger that other owners
    share: `request_raise`.
    """
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    wanted = positive_decimal(epsilon_cap, name="The cap")
    (row,) = locked([ledger])
    known = RecipientCap.objects.filter(ledger=row, recipient=recipient).first()
    if known is not None and wanted > Decimal(known.epsilon_cap):
        raise LedgerError(
            f"{recipient} has a cap of {known.epsilon_cap}. Ask for a higher one: a "
            "second person decides."
        )
    if statement.has_other_owners(row, by):
        raise LedgerError(
            "Another owner shares this ledger. Ask for the cap: a second person "
            "decides."
        )
    return _set_recipient_cap(row, recipient, wanted, by=by)


def _set_recipient_cap(
    row: Ledger, recipient: str, wanted: Decimal, *, by: Any
) -> RecipientCap:
    _require_beneath(row, wanted)
    _require_recipient(recipient)
    cap = RecipientCap.objects.filter(ledger=row, recipient=recipient).first()
    if cap is None:
        cap = RecipientCap(ledger=row, recipient=recipient)
        replay.refill(cap)
    _write_cap(row, cap, wanted, by=by)
    audit.record(
        actor=by,
        action="ledger.set_recipient_cap",
        target=row,
        recipient=recipient,
        epsilon_cap=str(wanted),
    )
    return cap


def _write_cap(row: Ledger, cap: RecipientCap, wanted: Decimal, *, by: Any) -> None:
    cap.epsilon_cap = str(wanted)
    cap.cap_vector = cap_of(epsilon=wanted, delta=Decimal(row.delta_cap))
    cap.save()
    note = recipient_note(wanted, cap.recipient)
    append(row, EntryKind.CAP, by=by, recipient=cap.recipient, note=note)


def _require_beneath(row: Ledger, wanted: Decimal) -> None:
    if not row.is_declared:
        raise LedgerError("Declare the ledger's own cap first.")
    if wanted > Decimal(row.epsilon_cap):
        raise LedgerError(
            f"A recipient's cap lies beneath the ledger's own of {row.epsilon_cap}."
        )


def _require_recipient(name: str) -> None:
    if not User.objects.filter(username=name).exists():
        raise LedgerError(f"There is no user called “{name}”.")


@transaction.atomic
def request_raise(
    *, ledger: Ledger, epsilon_cap: Any, reason: str, by: Any, recipient: str = ""
) -> CapRequest:
    """Ask for a higher cap, of the ledger or of one recipient. A second one decides."""
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    wanted = positive_decimal(epsilon_cap, name="The new cap")
    if wanted > MOST_EPSILON:
        raise LedgerError(f"A cap on epsilon is at most {MOST_EPSILON:,}.")
    if recipient:
        _require_beneath(ledger, wanted)
        _require_recipient(recipient)
    _require_higher(ledger, recipient, wanted)
    if not reason.strip():
        raise LedgerError("Give a reason for the raise.")
    request = CapRequest.objects.create(
        ledger=ledger,
        recipient=recipient,
        epsilon_cap=str(wanted),
        reason=reason,
        requested_by=by,
    )
    audit.record(
        actor=by,
        action="ledger.request_raise",
        target=ledger,
        epsilon_cap=str(wanted),
        recipient=recipient,
    )
    return request


def _require_higher(ledger: Ledger, recipient: str, wanted: Decimal) -> None:
    if not recipient:
        if not ledger.is_declared or wanted <= Decimal(ledger.epsilon_cap):
            raise LedgerError("The new cap must be above the present one.")
        return
    known = RecipientCap.objects.filter(ledger=ledger, recipient=recipient).first()
    if known is not None and wanted <= Decimal(known.epsilon_cap):
        raise LedgerError("The new cap must be above the present one.")


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
        _raise(ledger, row, by=by)
    audit.record(
        actor=by,
        action="ledger.raise" if approve else "ledger.decline_raise",
        target=ledger,
        epsilon_cap=row.epsilon_cap,
        recipient=row.recipient,
        requested_by=row.requested_by.username,
    )


def _raise(ledger: Ledger, row: CapRequest, *, by: Any) -> None:
    wanted = Decimal(row.epsilon_cap)
    try:
        _require_higher(ledger, row.recipient, wanted)
    except LedgerError as error:
        raise LedgerError("The cap is at least that high by now.") from error
    if row.recipient:
        _set_recipient_cap(ledger, row.recipient, wanted, by=by)
        return
    ledger.epsilon_cap = row.epsilon_cap
    ledger.cap_vector = cap_of(epsilon=wanted, delta=Decimal(ledger.delta_cap))
    ledger.save()
    append(ledger, EntryKind.CAP, by=by, note=raised_note(row.epsilon_cap))
