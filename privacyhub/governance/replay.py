"""The sums that reservations add up to: what they spent, and what the open ones hold.

Plain sums, as the ledger's own are: at an order without a finite loss each reservation
adds its share and takes the same away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from privacyhub.engines.dp.orders import ORDERS
from privacyhub.governance.models import RecipientCap, Reservation
from privacyhub.governance.sums import BOTH, SIDES, load, store


def _nothing() -> dict[str, list[int]]:
    return {side: [0] * len(ORDERS) for side in BOTH}


@dataclass
class Totals:
    """By side of the coin, one integer an order; `delta` in units of 1e-15."""

    spent: dict[str, list[int]] = field(default_factory=_nothing)
    reserved: dict[str, list[int]] = field(default_factory=_nothing)
    reserved_delta: int = 0

    def add(self, reservation: Reservation) -> None:
        charged = load(reservation.charged)
        held = load(reservation.vector)
        for side in SIDES[reservation.part]:
            _add(self.spent[side], charged)
            if reservation.is_open:
                left = [a - b for a, b in zip(held, charged, strict=True)]
                _add(self.reserved[side], left)
        if reservation.is_open:
            self.reserved_delta += int(reservation.delta)
            self.reserved_delta -= int(reservation.charged_delta)


def _add(total: list[int], vector: Iterable[int]) -> None:
    total[:] = [a + b for a, b in zip(total, vector, strict=True)]


def refill(cap: RecipientCap) -> None:
    """Set a recipient's sums to those of what reaches them, without saving."""
    totals = Totals()
    for reservation in Reservation.objects.filter(ledger=cap.ledger).iterator():
        if cap.recipient in reservation.reaches:
            totals.add(reservation)
    for side in BOTH:
        setattr(cap, f"spent_{side}", store(totals.spent[side]))
        setattr(cap, f"reserved_{side}", store(totals.reserved[side]))
