"""What a report says of the ledgers: totals, recipients, what is not covered, heads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from privacyhub.assessment.report_fields import (
    Table,
    assumed,
    decimal_down,
    decimal_up,
    declared,
    exact,
    measured,
    section,
    significant,
)
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import add_vectors
from privacyhub.governance import ledger, statement
from privacyhub.governance.models import (
    AuditHead,
    EntryKind,
    Ledger,
    Reservation,
    Unit,
)
from privacyhub.governance.sums import BOTH, SIDES, in_epsilons, load

# Of the fixed orders, enough to draw the Rényi curve by.
_SHOWN_ORDERS = (1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_MOST_RELEASES = 20

Accounts = Sequence[Ledger]


def unit_in_words(account: Ledger) -> str:
    if account.unit == Unit.KEY:
        return f"all records of one “{account.unit_key}”"
    return "one record"


def tightest(accounts: Accounts) -> Ledger | None:
    """The declared ledger with the least left."""
    known = [account for account in accounts if account.is_declared]
    return min(known, key=lambda account: ledger.balance(account).left, default=None)


def is_covered(accounts: Accounts) -> bool:
    """Whether every release of the family was paid for in epsilon."""
    return all(account.uncovered_release_at is None for account in accounts)


def totals(accounts: Accounts) -> dict[str, str | None]:
    """The figures of the ledger with the least left, as decimal strings."""
    account = tightest(accounts)
    if account is None:
        return {"cap": None, "spent": None, "reserved": None, "left": None}
    room = ledger.balance(account)
    return {
        "cap": exact(room.cap),
        "spent": decimal_up(room.spent),
        "reserved": decimal_up(room.reserved),
        "left": decimal_down(room.left),
    }


def run_in_cap(accounts: Accounts, *, run_ids: Sequence[UUID]) -> str | None:
    """What these runs have charged, alone, in epsilons of the cap."""
    found = [
        _epsilon(account, charges)
        for account in accounts
        if account.is_declared
        and (charges := _charges(account.entries).filter(run_id__in=run_ids))
    ]
    return decimal_up(max(found)) if found else None


def _charges(entries: Any) -> Any:
    return entries.filter(kind=EntryKind.CHARGE)


def _reaching(entries: Any, recipient: str) -> Any:
    """Charges for the recipient, and those of what was shared with them."""
    same = {"run_id": OuterRef("run_id"), "purpose": OuterRef("purpose")}
    shared = entries.filter(kind=EntryKind.SHARED, recipient=recipient, **same)
    return _charges(entries).filter(Q(recipient=recipient) | Exists(shared))


def _epsilon(account: Ledger, entries: Any) -> Decimal:
    """The entries' epsilon at the delta cap, of the side of the coin that paid more."""
    sums = dict.fromkeys(BOTH, (0,) * len(ORDERS))
    for entry in entries:
        for side in SIDES[entry.part]:
            sums[side] = add_vectors(sums[side], load(entry.vector))
    paid = [in_epsilons(account, vector) for vector in sums.values() if any(vector)]
    return max(paid, default=Decimal(0))


def per_recipient(accounts: Accounts, *, by: Any) -> Table:
    """What reached each recipient, as far as `by` may read the ledger's lines.

    What is shared counts for each who gets it; the ledger pays once.
    """
    rows = []
    for account in accounts:
        if not account.is_declared:
            continue
        lines = statement.entries(ledger=account, user=by)
        family = statement.name(ledger=account, user=by)
        told = lines.filter(kind__in=[EntryKind.CHARGE, EntryKind.SHARED])
        for name in sorted(set(told.values_list("recipient", flat=True))):
            spent = _epsilon(account, _reaching(lines, name))
            rows.append([family, name or "not named", decimal_up(spent) or ""])
        if statement.others(ledger=account, user=by):
            rows.append([family, "owners of the same rows", "in the totals only"])
    return Table(["Ledger", "Recipient", "Epsilon of the cap"], rows)


def rdp_curve(*, run_ids: Sequence[UUID]) -> Table:
    """What each reservation of the runs was charged, at some Rényi orders."""
    held = list(Reservation.objects.filter(run_id__in=run_ids).order_by("created_at"))
    places = [i for i, order in enumerate(ORDERS) if float(order) in _SHOWN_ORDERS]
    rows = []
    for place in places:
        cells = [
            significant(Decimal(reservation.charged[place]) / UNITS_PER_ONE) or ""
            for reservation in held
        ]
        rows.append([exact(float(ORDERS[place])) or "", *cells])
    names = [f"{reservation.purpose}: Rényi epsilon" for reservation in held]
    return Table(["Order", *names], rows if held else [])


def uncovered_releases(accounts: Accounts, *, by: Any) -> list[str]:
    """The family's releases without differential privacy, oldest first."""
    told = []
    for account in accounts:
        lines = statement.entries(ledger=account, user=by)
        told += [
            f"{entry.at:%Y-%m-%d %H:%M} UTC, {entry.purpose}, to "
            f"{entry.recipient or 'nobody named'}: {entry.note}"
            for entry in lines.filter(kind=EntryKind.UNCOVERED).order_by("id")
        ]
    told = list(dict.fromkeys(told))
    more = len(told) - _MOST_RELEASES
    return told[:_MOST_RELEASES] + (
        [f"and {more} more: see the ledger"] if more > 0 else []
    )


def ledger_heads(accounts: Accounts) -> list[dict[str, str]]:
    """The last line of each ledger, and the SHA-256 over all its lines in order."""
    return [_head(account) for account in accounts]


def _head(account: Ledger) -> dict[str, str]:
    found, last, lines = hashlib.sha256(), 0, 0
    for entry in account.entries.order_by("id").iterator(chunk_size=1000):
        line = [
            entry.pk,
            entry.at.isoformat(timespec="microseconds"),
            *(entry.kind, entry.part, entry.actor, entry.recipient),
            str(entry.run_id or ""),
            *(entry.purpose, entry.vector, entry.delta, entry.epsilon, entry.note),
        ]
        found.update(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        last, lines = entry.pk, lines + 1
    return {
        "ledger": str(account.pk),
        "last_line": str(last),
        "lines": str(lines),
        "sha256": found.hexdigest(),
    }


def audit_head() -> dict[str, str]:
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    return {"sequence": str(head.sequence), "hash": head.hash}


def accounting_section(
    accounts: Accounts,
    *,
    by: Any,
    run_ids: Sequence[UUID],
    accountant: dict[str, Any],
    samplers: Sequence[dict[str, Any]],
    this_run: Sequence[str],
) -> dict[str, Any]:
    """Composition, accountant, sampler, and the totals: this run, lifetime, left."""
    told = totals(accounts)
    in_cap = run_in_cap(accounts, run_ids=run_ids)
    covered = is_covered(accounts)
    return section(
        "accounting",
        "Accounting",
        assumed(
            "post_processing",
            "Post-processing",
            "Whatever is computed from a released figure or model, without another "
            "read of the rows, costs nothing more.",
        ),
        assumed(
            "composition",
            "Composition",
            "Charges on the same units add up. Training units and held-out units are "
            "disjoint by one coin a unit, stored for the family, so their charges "
            "compose in parallel and the larger side counts.",
        ),
        accountant,
        *samplers,
        measured("this_run", "This run", this_run),
        measured("this_run_in_cap", "This run alone, in the ledger's filter", in_cap),
        measured("lifetime", "Spent in the family's lifetime", told["spent"]),
        measured("reserved", "Reserved by runs not ended yet", told["reserved"]),
        measured("remaining", "Left under the cap", told["left"]),
        declared("cap", "Cap of the family", told["cap"]),
        measured(
            "per_recipient", "Spent per recipient", per_recipient(accounts, by=by)
        ),
        measured(
            "covers_every_release",
            "Whether the total covers every release",
            "Yes: every release of the family that the hub knows was charged."
            if covered
            else "No: the family had releases without differential privacy. The total "
            "says nothing about them.",
        ),
        measured(
            "uncovered_releases",
            "Releases not covered",
            uncovered_releases(accounts, by=by) or ("none" if covered else None),
        ),
    )
