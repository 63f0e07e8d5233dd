"""Is a ledger what its lines say? Sums, caps, recipients and reservations, recomputed.

Lines cannot be changed unseen: each one's hash covers the one before, and the last is
exported. The rows beside them can, by whoever owns the database, so each of their
numbers is derived from the lines, and what is held from the reservations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from privacyhub.engines.dp.events import event_from_dict
from privacyhub.engines.dp.orders import ORDERS
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance.entries import START, is_chained
from privacyhub.governance.models import (
    EntryKind,
    Ledger,
    LedgerEntry,
    RecipientCap,
    Reservation,
    ReservationState,
)
from privacyhub.governance.notes import caps_of, recipient_note
from privacyhub.governance.replay import Totals
from privacyhub.governance.sums import BOTH, SIDES, Holder, cap_of, load

_UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
_MARGIN = 1e-9  # relative: logarithms differ in their last digits between machines
_STATES = {
    EntryKind.RESERVE: ReservationState.RESERVED,
    EntryKind.CHARGE: ReservationState.ACTIVE,
    EntryKind.SETTLE: ReservationState.SETTLED,
    EntryKind.RELEASE: ReservationState.RELEASED,
}
_OF_ONE = (EntryKind.GAP, EntryKind.SHARED)
_SAME = ("part", "unit", "relation", "recipient", "event", "epsilon", "at_delta")


def _zeros() -> list[int]:
    return [0] * len(ORDERS)


@dataclass
class _Held:
    """A reservation as its lines tell it."""

    opened: LedgerEntry
    state: str
    charged: list[int] = field(default_factory=_zeros)
    charged_delta: int = 0
    audience: set[str] = field(default_factory=set)


@dataclass
class _Lines:
    """What a ledger's lines add up to. Vectors by side; recipients by name.

    terms: (unit, relation) of each amount.
    """

    spent: dict[str, list[int]] = field(
        default_factory=lambda: {side: _zeros() for side in BOTH}
    )
    delta: int = 0
    of: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    cap_notes: dict[str, list[str]] = field(default_factory=dict)
    held: dict[tuple[UUID | None, str], _Held] = field(default_factory=dict)
    terms: set[tuple[str, str]] = field(default_factory=set)
    uncovered: bool = False

    def take(self, entry: LedgerEntry) -> None:
        self.delta += int(entry.delta)
        moved = load(entry.vector)
        if moved:
            self._add(entry, moved)
        if entry.event is not None or any(moved):
            self.terms.add((entry.unit, entry.relation))
        if entry.kind == EntryKind.CAP:
            self.cap_notes.setdefault(entry.recipient, []).append(entry.note)
        self.uncovered |= entry.kind == EntryKind.UNCOVERED
        if entry.kind == EntryKind.SHARED:
            self.held[entry.run_id, entry.purpose].audience.add(entry.recipient)
        if entry.kind in _STATES:
            self._follow(entry)

    def _add(self, entry: LedgerEntry, moved: Sequence[int]) -> None:
        totals = []
        # Such a line that names a recipient is about their share alone.
        if not (entry.kind in _OF_ONE and entry.recipient):
            totals.append(self.spent)
        for name in self._reached_by(entry):
            nothing = {side: _zeros() for side in BOTH}
            totals.append(self.of.setdefault(name, nothing))
        for total in totals:
            for side in SIDES[entry.part]:
                _add(total[side], moved)

    def _reached_by(self, entry: LedgerEntry) -> set[str]:
        names = {entry.recipient} - {""}
        if entry.kind == EntryKind.CHARGE:
            names |= self.held[entry.run_id, entry.purpose].audience
        return names

    def _follow(self, entry: LedgerEntry) -> None:
        key = (entry.run_id, entry.purpose)
        if entry.kind == EntryKind.RESERVE:
            self.held[key] = _Held(entry, ReservationState.RESERVED)
            return
        held = self.held[key]
        held.state = _STATES[EntryKind(entry.kind)]
        if entry.kind == EntryKind.CHARGE:
            _add(held.charged, load(entry.vector))
            held.charged_delta += int(entry.delta)


def _add(total: list[int], moved: Sequence[int]) -> None:
    total[:] = [a + b for a, b in zip(total, moved, strict=True)]


def problems_of(row: Ledger) -> list[str]:
    """What of the ledger does not hold, each as a sentence."""
    lines, expected, previous = _Lines(), 1, START
    try:
        for entry in row.entries.order_by("number").iterator(chunk_size=1000):
            if entry.number != expected or not is_chained(previous, entry):
                return [_broken(row, expected)]
            lines.take(entry)
            expected, previous = expected + 1, entry.hash
    except _UNREADABLE:
        return [_broken(row, expected)]
    try:
        return list(_differences(row, lines))
    except _UNREADABLE:
        return [f"The row of the ledger “{row.name}” cannot be read."]


def _broken(row: Ledger, number: int) -> str:
    return f"The ledger “{row.name}” does not hold from line {number} on."


def _differences(row: Ledger, lines: _Lines) -> Iterator[str]:
    if not _has_spent(row, lines.spent) or int(row.spent_delta) != lines.delta:
        yield f"What the ledger “{row.name}” has spent is not what its lines say."
    if bool(row.uncovered_release_at) != lines.uncovered:
        yield f"Whether “{row.name}” was released uncovered is not what its lines say."
    if lines.terms - {(row.unit, row.relation)}:
        yield f"Lines of “{row.name}” are of another unit or relation than it counts."
    if not _has_caps(row, lines.cap_notes.get("", [])):
        yield f"The cap of the ledger “{row.name}” is not the one that its lines set."
    totals, of = Totals(), dict[str, Totals]()
    for reservation in row.reservations.order_by("created_at").iterator():
        held = lines.held.pop((reservation.run_id, reservation.purpose), None)
        if held is None or not _is_as_told(reservation, row, held):
            yield (
                f"The reservation for {reservation.purpose} of run "
                f"{reservation.run_id} on “{row.name}” is not what its lines say."
            )
            continue
        totals.add(reservation)
        for name in reservation.reaches:
            of.setdefault(name, Totals()).add(reservation)
    if lines.held:
        yield f"“{row.name}” lacks reservations that its lines name."
    reserved = totals.reserved_delta == int(row.reserved_delta)
    if not reserved or not _holds(row, totals):
        yield f"What “{row.name}” holds is not what its open reservations add up to."
    yield from _of_recipients(row, lines, of)


def _of_recipients(row: Ledger, lines: _Lines, of: dict[str, Totals]) -> Iterator[str]:
    notes = {name: told for name, told in lines.cap_notes.items() if name}
    for cap in RecipientCap.objects.filter(ledger=row):
        name = cap.recipient
        said = notes.pop(name, [""])[-1]
        spent = lines.of.get(name, {side: _zeros() for side in BOTH})
        intact = (
            said == recipient_note(cap.epsilon_cap, name)
            and _is_cap(row, cap)
            and _has_spent(cap, spent)
            and _holds(cap, of.get(name, Totals()))
        )
        if not intact:
            yield f"The cap for {name} on “{row.name}” is not what its lines say."
    for name in notes:
        yield f"The cap for {name} on “{row.name}” is gone."


def _has_caps(row: Ledger, notes: list[str]) -> bool:
    if (row.epsilon_cap, row.delta_cap) != caps_of(notes):
        return False
    return not row.epsilon_cap or _is_cap(row, row)


def _is_cap(row: Ledger, holder: Holder) -> bool:
    epsilon, delta = Decimal(holder.epsilon_cap), Decimal(row.delta_cap)
    return _alike(holder.cap_vector, cap_of(epsilon=epsilon, delta=delta))


def _has_spent(holder: Holder, said: dict[str, list[int]]) -> bool:
    return all(list(load(getattr(holder, f"spent_{s}"))) == said[s] for s in BOTH)


def _holds(holder: Holder, totals: Totals) -> bool:
    return all(
        list(load(getattr(holder, f"reserved_{s}"))) == totals.reserved[s] for s in BOTH
    )


def _is_as_told(reservation: Reservation, row: Ledger, held: _Held) -> bool:
    from_line: dict[str, Any] = {name: getattr(held.opened, name) for name in _SAME}
    return (
        from_line == {name: getattr(reservation, name) for name in _SAME}
        and reservation.state == held.state
        and reservation.audience == sorted(held.audience)
        and (reservation.unit, reservation.relation) == (row.unit, row.relation)
        and _alike(reservation.vector, rdp_vector(event_from_dict(reservation.event)))
        and list(load(reservation.charged)) == held.charged
        and int(reservation.charged_delta) == held.charged_delta
    )


def _alike(stored: Sequence[Any], computed: Sequence[Any]) -> bool:
    return len(stored) == len(computed) and all(
        abs(int(a) - int(b)) <= _MARGIN * abs(int(b))
        for a, b in zip(stored, computed, strict=True)
    )
