"""The audit trail, data keys, grants and the privacy ledger."""

from __future__ import annotations

from privacyhub.governance.models.caps import CapRequest, RecipientCap
from privacyhub.governance.models.data_keys import DataKey
from privacyhub.governance.models.gaps import LedgerGap
from privacyhub.governance.models.grants import Grant, GrantQuerySet, Right
from privacyhub.governance.models.ledgers import (
    RELATION,
    EntryKind,
    Ledger,
    LedgerEntry,
    LedgerQuerySet,
    Part,
    Reservation,
    ReservationState,
    Unit,
)
from privacyhub.governance.models.trail import AuditEvent, AuditHead

__all__ = [
    "RELATION",
    "AuditEvent",
    "AuditHead",
    "CapRequest",
    "DataKey",
    "EntryKind",
    "Grant",
    "GrantQuerySet",
    "Ledger",
    "LedgerEntry",
    "LedgerGap",
    "LedgerQuerySet",
    "Part",
    "RecipientCap",
    "Reservation",
    "ReservationState",
    "Right",
    "Unit",
]
