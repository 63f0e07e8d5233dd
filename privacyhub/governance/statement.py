"""What a person may read of a ledger: lines of their own data, totals of the rest.

Two owners share a ledger when their uploads hold the same rows. Neither learns more
of the other than how much of the common budget is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Max, Q, QuerySet

from jobs.models import Job
from privacyhub.governance.balances import balance
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Grant,
    Ledger,
    LedgerEntry,
    RecipientCap,
    Reservation,
    Right,
)

MOST_POINTS = 300


@dataclass(frozen=True)
class Others:
    """What owners of the same rows did: how many lines, and the last of them."""

    lines: int
    last: Any


def entries(*, ledger: Ledger, user: Any) -> QuerySet[LedgerEntry]:
    """The lines that the user may read; an auditor reads all, as caps are for all."""
    rows = ledger.entries.all()
    if user.is_auditor or not has_other_owners(ledger, user):
        return rows
    datasets = _managed(ledger, user)
    texts = [str(pk) for pk in datasets]
    runs = Job.objects.filter(
        Q(owner=user) | Q(spec__dataset__in=texts) | Q(result__dataset__in=texts)
    ).values("pk")
    own = Q(run_id__in=runs) | Q(run_id=None, actor=user.username)
    of_all = Q(kind__in=[EntryKind.CAP, EntryKind.GAP], recipient="")
    return rows.filter(own | of_all)


def others(*, ledger: Ledger, user: Any) -> Others | None:
    """What stays hidden from the user; None where nothing does."""
    hidden = ledger.entries.exclude(
        pk__in=entries(ledger=ledger, user=user).values("pk")
    )
    told = hidden.aggregate(last=Max("at"))
    return Others(hidden.count(), told["last"]) if told["last"] else None


def name(*, ledger: Ledger, user: Any) -> str:
    """The ledger by the name of the user's own dataset; an auditor reads the root's."""
    if user.is_auditor or not has_other_owners(ledger, user):
        return ledger.name
    versions: Any = ledger.versions  # type: ignore[attr-defined]
    own = versions.filter(dataset__in=_managed(ledger, user))
    return own.order_by("created_at").values_list("dataset__name", flat=True)[0]


def cap_requests(*, ledger: Ledger, user: Any) -> QuerySet[CapRequest]:
    """The wishes for a higher cap that the user may read, with their reasons."""
    requests = ledger.cap_requests.select_related("requested_by", "decided_by")
    if user.is_auditor or not has_other_owners(ledger, user):
        return requests
    return requests.filter(requested_by=user)


def recipient_caps(*, ledger: Ledger, user: Any) -> QuerySet[RecipientCap]:
    """Caps of recipients; where the ledger is shared, only the user's own."""
    caps = ledger.recipient_caps.all()
    if user.is_auditor or not has_other_owners(ledger, user):
        return caps
    return caps.filter(recipient=user.username)


def may_ask_for(*, ledger: Ledger, user: Any, recipient: str) -> bool:
    """Whether an answer may tell the cap of this recipient, or that there is none."""
    if recipient == user.username or user.is_auditor:
        return True
    return not has_other_owners(ledger, user)


def spending(*, ledger: Ledger, user: Any) -> list[tuple[datetime, str, str]]:
    """(when, used of the cap, purpose) after each charge that the user may read.

    At most `MOST_POINTS`, taken evenly; the last one is always there.
    """
    charges = entries(ledger=ledger, user=user).filter(kind=EntryKind.CHARGE)
    rows = list(charges.order_by("id").values_list("at", "used", "purpose"))
    step = -(-len(rows) // MOST_POINTS)
    return rows if step <= 1 else [*rows[:-1:step], rows[-1]]


def _managed(ledger: Ledger, user: Any) -> list[UUID]:
    granted = Grant.objects.held_by(user).filter(right=Right.MANAGE)
    versions: Any = ledger.versions  # type: ignore[attr-defined]
    return list(
        versions.filter(
            Q(dataset__owner=user) | Q(dataset__in=granted.values("dataset"))
        )
        .values_list("dataset", flat=True)
        .distinct()
    )


def has_other_owners(ledger: Ledger, user: Any) -> bool:
    """Whether rows of an owner for whom the user does not speak lie on the ledger."""
    versions: Any = ledger.versions  # type: ignore[attr-defined]
    return versions.exclude(dataset__in=_managed(ledger, user)).exists()


def reservations(*, run_id: UUID) -> Sequence[Reservation]:
    """What a run holds or held, one of each purpose (ledgers of one run are alike)."""
    found = {
        reservation.purpose: reservation
        for reservation in Reservation.objects.filter(run_id=run_id).order_by("-id")
    }
    return sorted(found.values(), key=lambda held: held.created_at)


def is_low(ledger: Ledger) -> bool:
    """Under a quarter of the cap is left."""
    told = balance(ledger)
    return bool(told.cap) and told.left < told.cap / Decimal(4)
