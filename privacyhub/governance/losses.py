"""What a restore has lost, charged again: a ledger's signed head says how much it was.

A head tells sums and never lowers one: where the ledger says more by now, that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_datetime

from privacyhub.governance import heads, replay
from privacyhub.governance.entries import append
from privacyhub.governance.models import (
    EntryKind,
    Ledger,
    LedgerGap,
    Part,
    RecipientCap,
)
from privacyhub.governance.notes import cap_note, recipient_note
from privacyhub.governance.sums import BOTH, Holder, add, cap_of, load, store

REOPENED = (
    "The ledger of these rows was lost in a restore; what it had spent is charged again"
)
_PART = {"train": Part.TRAIN, "heldout": Part.HELDOUT}


def known_of(fingerprint: str) -> list[dict[str, Any]]:
    """Heads of ledgers over these very rows: exported ones, and those of closed gaps.

    For a ledger that is opened now: one fingerprint has one ledger, so what they tell
    of is not in the database. The lost ledger's coin is lost too, so each side is told
    to have spent what either had.
    """
    closed = LedgerGap.objects.exclude(second_at=None).values_list("heads", flat=True)
    said = [*(head for gap in closed for head in gap), *heads.last_of_ledgers()]
    return [
        _of_another_coin(head)
        | {
            "recipients": {
                name: _of_another_coin(told)
                for name, told in head["recipients"].items()
            }
        }
        for head in said
        if head["kind"] == "ledger" and head.get("fingerprint") == fingerprint
    ]


def _of_another_coin(told: dict[str, Any]) -> dict[str, Any]:
    sides = (load(told[f"spent_{side}"]) for side in BOTH)
    either = store([max(both) for both in zip(*sides, strict=True)])
    return told | {f"spent_{side}": either for side in BOTH}


def charge_again(ledger: Ledger, head: dict[str, Any], *, by: Any, note: str) -> None:
    """Raise the ledger's sums, caps and flag to what the head says.

    Its row must be locked. `note`: for the lines.
    """
    _declare_again(ledger, head, by=by)
    lost_delta = max(0, int(head["spent_delta"]) - int(ledger.spent_delta))
    for side in BOTH:
        moved = _raise_to(ledger, side, head[f"spent_{side}"])
        ledger.spent_delta = str(int(ledger.spent_delta) + lost_delta)
        ledger.save()
        append(
            ledger,
            EntryKind.GAP,
            by=by,
            part=_PART[side],
            vector=store(moved),
            delta=str(lost_delta),
            note=note,
        )
        lost_delta = 0  # one for both sides
    for recipient, told in sorted(head.get("recipients", {}).items()):
        _restore_recipient(ledger, recipient, told, by=by, note=note)
    _flag_again(ledger, head, by=by, note=note)


def _raise_to(holder: Holder, side: str, said: Sequence[str]) -> list[int]:
    """Raise a spent sum where the head says more; by how much, at each order."""
    before = load(getattr(holder, f"spent_{side}"))
    moved = [max(0, a - b) for a, b in zip(load(said), before, strict=True)]
    add(holder, f"spent_{side}", moved)
    return moved


def _declare_again(ledger: Ledger, head: dict[str, Any], *, by: Any) -> None:
    """Sums count in the unit that was declared then, so that is declared again."""
    told = head.get("declared")
    if not told or ledger.fixed_at is not None:
        return
    if ledger.is_declared and not told["fixed_at"]:
        return
    for field in heads.DECLARED:
        setattr(ledger, field, told[field])
    ledger.fixed_at = parse_datetime(told["fixed_at"]) if told["fixed_at"] else None
    epsilon, delta = Decimal(ledger.epsilon_cap), Decimal(ledger.delta_cap)
    ledger.cap_vector = cap_of(epsilon=epsilon, delta=delta)
    ledger.save()
    append(ledger, EntryKind.CAP, by=by, note=cap_note(epsilon, delta))


def _restore_recipient(
    ledger: Ledger, recipient: str, told: dict[str, Any], *, by: Any, note: str
) -> None:
    """The lower of the two caps; a raise that was lost is asked for again."""
    cap = RecipientCap.objects.filter(ledger=ledger, recipient=recipient).first()
    known = cap is not None
    if cap is None:
        cap = RecipientCap(ledger=ledger, recipient=recipient)
        replay.refill(cap)
    caps = [told["cap"], ledger.epsilon_cap, *([cap.epsilon_cap] if known else [])]
    wanted = min(Decimal(one) for one in caps)
    if not known or wanted != Decimal(cap.epsilon_cap):
        cap.epsilon_cap = str(wanted)
        cap.cap_vector = cap_of(epsilon=wanted, delta=Decimal(ledger.delta_cap))
        append(
            ledger,
            EntryKind.CAP,
            by=by,
            recipient=recipient,
            note=recipient_note(wanted, recipient),
        )
    for side in BOTH:
        append(
            ledger,
            EntryKind.GAP,
            by=by,
            part=_PART[side],
            recipient=recipient,
            vector=store(_raise_to(cap, side, told[f"spent_{side}"])),
            note=note,
        )
    cap.save()


def _flag_again(ledger: Ledger, head: dict[str, Any], *, by: Any, note: str) -> None:
    if not head.get("uncovered_at") or ledger.uncovered_release_at is not None:
        return
    ledger.uncovered_release_at = parse_datetime(head["uncovered_at"])
    ledger.save()
    append(
        ledger,
        EntryKind.UNCOVERED,
        by=by,
        purpose="restored",
        recipient="of a lost line",
        note=note,
    )
