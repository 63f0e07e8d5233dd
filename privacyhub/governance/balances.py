"""What a ledger has spent, holds and has left; what a price would take of it.

Printed epsilons (PLD, one run) and the share of the cap (Rényi, union bound over the
orders) are two numbers; pages show both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from jobs.states import Refusal
from privacyhub.engines.dp.events import Event
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import add_vectors, fits, rdp_vector
from privacyhub.governance.models import RELATION, Ledger, Part, RecipientCap
from privacyhub.governance.sums import (
    ADDITIVE_SHARE,
    BOTH,
    SIDES,
    Holder,
    LedgerError,
    committed,
    holders,
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

    `delta_units` is an additive delta in units of 1e-15. `unit`: whose privacy the
    event counts (`Unit`); empty where that was not said. Raises LedgerError for an
    amount that is none.
    """

    purpose: str
    event: Event
    part: Part
    epsilon: str
    delta: str
    delta_units: int = 0
    unit: str = ""
    relation: str = RELATION

    def __post_init__(self) -> None:
        if self.delta_units < 0:
            raise LedgerError("An additive delta is at least 0.")
        for name, text in (("epsilon", self.epsilon), ("delta", self.delta)):
            try:
                value = Decimal(text)
            except InvalidOperation as error:
                raise LedgerError(f"The {name} of a price is a number.") from error
            if not value.is_finite() or value < 0:
                raise LedgerError(f"The {name} of a price is at least 0 and finite.")


@dataclass(frozen=True)
class Balance:
    """A ledger in epsilons of its cap (at the delta cap); `left` is rounded down."""

    cap: Decimal
    spent: Decimal
    reserved: Decimal
    left: Decimal


def balance(ledger: Ledger, *, of: RecipientCap | None = None) -> Balance:
    """Spent, reserved and left, of the side of the coin that has used more.

    `of`: of one recipient's cap, rather than the ledger's own.
    """
    if not ledger.is_declared:
        zero = Decimal(0)
        return Balance(cap=zero, spent=zero, reserved=zero, left=zero)
    holder = of or ledger
    cap = Decimal(holder.epsilon_cap)
    used = max(in_epsilons(ledger, spent(holder, side)) for side in BOTH)
    held = max(in_epsilons(ledger, committed(holder, side)) for side in BOTH)
    return Balance(
        cap=cap, spent=used, reserved=held - used, left=max(Decimal(0), cap - held)
    )


def cost_in_cap(
    ledger: Ledger, prices: Sequence[Price], *, of: RecipientCap | None = None
) -> Decimal:
    """How much of the cap the prices would take on top of what is committed.

    `of`: of one recipient's cap, rather than the ledger's own.
    """
    holder = of or ledger
    before = max(in_epsilons(ledger, committed(holder, side)) for side in BOTH)
    after = before
    for side in BOTH:
        total = add_vectors(committed(holder, side), _on_side(prices, side))
        after = max(after, in_epsilons(ledger, total))
    return after - before


@dataclass(frozen=True, kw_only=True)
class Tightest:
    """Of several caps the one that prices leave least of, and what they use of it.

    own: the recipient's cap that it is; None for the ledger's own.
    """

    ledger: Ledger
    own: RecipientCap | None
    balance: Balance
    uses: Decimal

    @property
    def cap_of(self) -> str:
        """The recipient whose cap it is; empty for the ledger's own."""
        return self.own.recipient if self.own else ""


def tightest(
    ledgers: Iterable[Ledger], prices: Sequence[Price], *, recipient: str = ""
) -> Tightest:
    """Among the ledgers' caps and those of this recipient beneath them."""
    found = []
    for ledger in ledgers:
        for holder in holders(ledger, recipient):
            own = holder if isinstance(holder, RecipientCap) else None
            found.append(
                Tightest(
                    ledger=ledger,
                    own=own,
                    balance=balance(ledger, of=own),
                    uses=cost_in_cap(ledger, prices, of=own),
                )
            )
    return min(found, key=lambda one: one.balance.left - one.uses)


def would_fit(ledger: Ledger, prices: Sequence[Price], *, recipient: str = "") -> bool:
    """Whether `reserve` would accept the prices now. Reads the ledger, no data."""
    if any(Decimal(price.delta) > Decimal(ledger.delta_cap or 0) for price in prices):
        return False
    return runs_that_fit(ledger, prices, recipient=recipient) != 0


def runs_that_fit(
    ledger: Ledger, prices: Sequence[Price], *, recipient: str = ""
) -> int | None:
    """How many runs of these prices `reserve` would accept, one after another.

    None where they cost nothing. Exact: a number of runs multiplies each amount, and
    fits where every side of every cap has an order that still holds it.
    """
    fitting = []
    additive = sum(price.delta_units for price in prices)
    if additive:
        fitting.append(max(0, _additive_left(ledger)) // additive)
    for holder in holders(ledger, recipient):
        cap = load(holder.cap_vector)
        for side in BOTH:
            one = _on_side(prices, side)
            if not any(one):
                continue
            before = committed(holder, side)
            most = max(
                (c - b) // o if o else (0 if b > c else _ANY)
                for c, b, o in zip(cap, before, one, strict=True)
            )
            fitting.append(max(0, most))
    return min(fitting) if fitting else None


_ANY = 10**18  # more runs than anyone starts


def _on_side(prices: Sequence[Price], side: str) -> tuple[int, ...]:
    total: tuple[int, ...] = (0,) * len(ORDERS)
    for price in prices:
        if side in SIDES[price.part]:
            total = add_vectors(total, rdp_vector(price.event))
    return total


def _additive_left(ledger: Ledger) -> int:
    """Of the part of the delta cap for additive ones, in units of 1e-15."""
    share = Decimal(ledger.delta_cap or 0) * ADDITIVE_SHARE * UNITS_PER_ONE
    return int(share) - int(ledger.spent_delta) - int(ledger.reserved_delta)


def is_overdrawn(ledger: Ledger, *, part: str) -> bool:
    """Whether a cap no longer holds what is committed: a gap was charged again."""
    cap = load(ledger.cap_vector)
    sides = (committed(ledger, side) for side in SIDES[part])
    return _additive_left(ledger) < 0 or not all(fits(side, cap) for side in sides)


def would_overspend(holder: Holder, vector: Sequence[int], *, part: str) -> bool:
    """Whether this amount on top of what is spent, held or not, would pass the cap."""
    cap = load(holder.cap_vector)
    sides = (add_vectors(spent(holder, side), vector) for side in SIDES[part])
    return not all(fits(side, cap) for side in sides)


def require_room(
    row: Ledger, price: Price, vector: Sequence[int], *, among: Sequence[Holder]
) -> None:
    """Refuse what one of the caps `among` (the ledger's, the recipient's) forbids."""
    for holder in among:
        cap = load(holder.cap_vector)
        for side in SIDES[price.part]:
            if not fits(add_vectors(committed(holder, side), vector), cap):
                raise _refusal(row, price, holder)
    if price.delta_units > _additive_left(row):
        raise BudgetRefused(
            f"The part of the delta cap of “{row.name}” that finding categories may "
            "use is spent. Declare the categories instead.",
            ledger=row,
            purpose=price.purpose,
        )


def _refusal(row: Ledger, price: Price, holder: Holder) -> BudgetRefused:
    own = holder if isinstance(holder, RecipientCap) else None
    room = balance(row, of=own)
    whose = f"The cap for {own.recipient} on" if own else "The cap of"
    return BudgetRefused(
        f"{whose} “{row.name}” would be passed: {price.purpose} at epsilon "
        f"{price.epsilon} does not fit into what is left. Of the cap of "
        f"{room.cap}, {room.spent} is spent, {room.reserved} is reserved and "
        f"{room.left} is left.",
        ledger=row,
        purpose=price.purpose,
    )
