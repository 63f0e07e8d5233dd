"""The ledger's arithmetic: vectors of integers, one an order, kept as text.

Amounts are in units of 1e-15; a vector has one entry an order of `ORDERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from jobs.states import Refusal
from privacyhub.engines.dp.rdp import add_vectors, cap_vector, epsilon_from_rdp
from privacyhub.governance.models import Ledger, Part, RecipientCap

# Of the delta cap, this share is kept for additive deltas (category discovery).
ADDITIVE_SHARE = Decimal("0.1")
SIDES: dict[str, tuple[str, ...]] = {
    Part.ALL: ("train", "heldout"),
    Part.TRAIN: ("train",),
    Part.HELDOUT: ("heldout",),
}
BOTH = SIDES[Part.ALL]
Holder = Ledger | RecipientCap
"""What has a cap and running sums: a ledger, or one recipient's share of it."""
_SHOWN = Decimal("0.0001")


class LedgerError(Refusal):
    """A request that the ledger's rules do not allow; `message` says which."""

    code = "ledger"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def store(vector: Sequence[int]) -> list[str]:
    return [str(value) for value in vector]


def load(stored: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(value) for value in stored)


def cap_of(*, epsilon: Decimal, delta: Decimal) -> list[str]:
    """The cap as a vector, less the part of delta that is kept for additive ones."""
    return store(cap_vector(float(epsilon), float(delta * (1 - ADDITIVE_SHARE))))


def in_epsilons(ledger: Ledger, vector: Sequence[int]) -> Decimal:
    """A sum in epsilons of the cap, rounded up at the fourth digit."""
    delta = Decimal(ledger.delta_cap) * (1 - ADDITIVE_SHARE)
    value = epsilon_from_rdp(vector, delta=float(delta))
    return Decimal(value).quantize(_SHOWN, rounding=ROUND_CEILING)


def spent(holder: Holder, side: str) -> tuple[int, ...]:
    return load(getattr(holder, f"spent_{side}"))


def committed(holder: Holder, side: str) -> tuple[int, ...]:
    """What is spent and what is held, together."""
    return add_vectors(spent(holder, side), load(getattr(holder, f"reserved_{side}")))


def holders(ledger: Ledger, *recipients: str) -> list[Holder]:
    """Whose sums a charge for these moves: all must stay within their caps."""
    named = [name for name in recipients if name]
    own = RecipientCap.objects.filter(ledger=ledger, recipient__in=named)
    return [ledger, *(own if named else ())]


def add(row: Holder, field: str, vector: Sequence[int]) -> None:
    """Add to a stored sum, without saving. Raises LedgerError below zero."""
    before = load(getattr(row, field))
    after = [a + b for a, b in zip(before, vector, strict=True)]
    if min(after) < 0:
        raise LedgerError("A sum of the ledger would fall below zero.")
    setattr(row, field, store(after))
