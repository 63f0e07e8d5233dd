"""What a ledger has spent, holds and has left; what a price would take of it.

Printed epsilons (PLD, one run) and the share of the cap (Rényi, union bound over the
orders) are two numbers; pages show both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from jobs.states import Refusal
from privacyhub.engines.dp.events import Event
from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.dp.rdp import add_vectors, fits, rdp_vector
from privacyhub.governance.models import Ledger, Part
from privacyhub.governance.sums import (
    ADDITIVE_SHARE,
    BOTH,
    SIDES,
    committed,
    in_epsilons,
    load,
    spent,
)


class BudgetRefused(Refusal):
    """The cap would be passed. Nothing was read and nothing was charged."""

    code = "over_cap"

    def __init__(self, message: str, *, ledger: Ledger, purpose: str) -> None:
        super().__init__(message)
        self.message = message
        self.ledger = ledger
        self.purpose = purpose


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


def balance(ledger: Ledger) -> Balance:
    """Spent, reserved and left, of the side of the coin that has used more."""
    if not ledger.is_declared:
        zero = Decimal(0)
        return Balance(cap=zero, spent=zero, reserved=zero, left=zero)
    cap = Decimal(ledger.epsilon_cap)
    used = max(in_epsilons(ledger, spent(ledger, side)) for side in BOTH)
    held = max(in_epsilons(ledger, committed(ledger, side)) for side in BOTH)
    return Balance(
        cap=cap, spent=used, reserved=held - used, left=max(Decimal(0), cap - held)
    )


def cost_in_cap(ledger: Ledger, prices: Sequence[Price]) -> Decimal:
    """How much of the cap the prices would take on top of what is committed."""
    before = max(in_epsilons(ledger, committed(ledger, side)) for side in BOTH)
    after = before
    for side in BOTH:
        total = committed(ledger, side)
        for price in prices:
            if side in SIDES[price.part]:
                total = add_vectors(total, rdp_vector(price.event))
        after = max(after, in_epsilons(ledger, total))
    return after - before


def would_fit(ledger: Ledger, prices: Sequence[Price]) -> bool:
    """Whether `reserve` would accept the prices now. Reads the ledger, no data."""
    cap = load(ledger.cap_vector)
    delta = Decimal(ledger.delta_cap or 0)
    additive = int(ledger.spent_delta) + int(ledger.reserved_delta)
    additive += sum(price.delta_units for price in prices)
    if additive > delta * ADDITIVE_SHARE * UNITS_PER_ONE:
        return False
    if any(Decimal(price.delta) > delta for price in prices):
        return False
    for side in BOTH:
        total = committed(ledger, side)
        for price in prices:
            if side in SIDES[price.part]:
                total = add_vectors(total, rdp_vector(price.event))
        if not fits(total, cap):
            return False
    return True


def require_room(row: Ledger, price: Price, vector: Sequence[int]) -> None:
    cap = load(row.cap_vector)
    for side in SIDES[price.part]:
        if not fits(add_vectors(committed(row, side), vector), cap):
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
