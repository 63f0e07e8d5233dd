"""The ledger's prices: Rényi losses as integers, and the filter's conversion.

A charge is a vector with one integer an order of `ORDERS`, in units of 1e-15, rounded
up. A cap is such a vector, rounded down. A sum of charges is within the cap when it is
at most the cap's entry at one order at least (privacy filter of Feldman and Zrnic,
arXiv 2008.11193, with a union bound over the fixed orders).

Conversion at order a from rdp to (epsilon, delta) is proposition 12 of Canonne, Kamath
and Steinke (arXiv 2004.00010):
epsilon = rdp + ln(1 - 1/a) - ln(delta a) / (a - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from privacyhub.engines.dp import accountants
from privacyhub.engines.dp.events import (
    ComposedEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
)
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE

# Covers the rounding of the floating-point formulas; far below what a page shows.
_RELATIVE_MARGIN = Fraction(1, 10**12)

# Stands for "no finite loss at this order". No cap comes near it.
UNBOUNDED = 10**40


def _units_up(value: float) -> int:
    if math.isnan(value) or value < 0:
        raise ValueError("A Rényi loss is a number of at least 0.")
    if math.isinf(value):
        return UNBOUNDED
    return min(
        math.ceil(Fraction(value) * (1 + _RELATIVE_MARGIN) * UNITS_PER_ONE), UNBOUNDED
    )


@lru_cache(maxsize=512)
def _single_vector(event: Event) -> tuple[int, ...]:
    return tuple(_units_up(value) for value in accountants.rdp(event, ORDERS))


def _scaled(vector: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple(min(value * count, UNBOUNDED) for value in vector)


def add_vectors(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The price of both. Vectors have one entry an order of `ORDERS`."""
    return tuple(min(a + b, UNBOUNDED) for a, b in zip(first, second, strict=True))


def rdp_vector(event: Event) -> tuple[int, ...]:
    """The price of an event at each of `ORDERS`, in units of 1e-15, rounded up.

    The price of k steps is exactly k times the price of one, so charges block by block
    add up to the reservation.
    """
    if isinstance(event, PoissonGaussianEvent):
        step = PoissonGaussianEvent(
            sampling_probability=event.sampling_probability,
            noise_multiplier=event.noise_multiplier,
            steps=1,
        )
        return _scaled(_single_vector(step), event.steps)
    if isinstance(event, GaussianEvent):
        return _scaled(
            _single_vector(GaussianEvent(noise_multiplier=event.noise_multiplier)),
            event.count,
        )
    if isinstance(event, LaplaceEvent):
        return _scaled(
            _single_vector(LaplaceEvent(noise_multiplier=event.noise_multiplier)),
            event.count,
        )
    if isinstance(event, ComposedEvent):
        total: tuple[int, ...] = (0,) * len(ORDERS)
        for part in event.events:
            total = add_vectors(total, rdp_vector(part))
        return total
    return _single_vector(event)


def _conversion(order: float, delta_at_order: float) -> float:
    """What the conversion adds to the Rényi loss at an order; may be negative."""
    return math.log1p(-1 / order) - math.log(delta_at_order * order) / (order - 1)


def _require_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError("delta must lie between 0 and 1.")


def epsilon_from_rdp(vector: Sequence[int], *, delta: float) -> float:
    """The epsilon that a filter with this sum has certified at `delta`.

    It is larger than the printed (PLD) epsilon of the same run: the union bound over
    the orders takes delta / 24 at each. Rounded up; infinite where no order is finite.
    """
    _require_delta(delta)
    best = math.inf
    for order, units in zip(ORDERS, vector, strict=True):
        if units >= UNBOUNDED:
            continue
        loss = units / UNITS_PER_ONE
        best = min(best, loss + _conversion(order, delta / len(ORDERS)))
    if math.isinf(best):
        return best
    if not any(vector):
        return 0.0
    return max(0.0, best * (1 + 1e-12))


def cap_vector(epsilon_cap: float, delta_cap: float) -> tuple[int, ...]:
    """The most that may be spent at each order under (epsilon_cap, delta_cap).

    Rounded down. A negative entry never admits a charge: at that order the conversion
    alone is dearer than the cap.
    """
    if not math.isfinite(epsilon_cap) or epsilon_cap <= 0:
        raise ValueError("The cap must be a positive finite epsilon.")
    _require_delta(delta_cap)
    caps = []
    for order in ORDERS:
        room = epsilon_cap - _conversion(order, delta_cap / len(ORDERS))
        margin = abs(Fraction(room)) * _RELATIVE_MARGIN
        caps.append(math.floor((Fraction(room) - margin) * UNITS_PER_ONE))
    return tuple(caps)


def fits(total: Sequence[int], cap: Sequence[int]) -> bool:
    """Whether a sum of charges is within a cap: at one order at least."""
    return any(t <= c for t, c in zip(total, cap, strict=True))
