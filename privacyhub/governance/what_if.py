"""What could still run? The answer from the ledger's sums alone; no row is read.

A run's price falls as its noise grows, so the least noise whose Rényi price still fits
is found by bisection, and then told as the epsilon that such a run prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal

from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import Event, PoissonGaussianEvent, compose
from privacyhub.governance.balances import Price, cost_in_cap, runs_that_fit
from privacyhub.governance.models import Ledger, Part
from privacyhub.governance.sums import LedgerError

LEAST_NOISE, MOST_NOISE = 0.3, accounting.MAX_NOISE_MULTIPLIER
MOST_STEPS = 1_000_000
_STEP = 1.004  # of the search, as a ratio of noise multipliers
_THREE_DIGITS = Context(prec=3, rounding=ROUND_DOWN)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A run but for its noise.

    sampling_probability: expected batch divided by units. delta: of the printed
    epsilon. also: what the same units pay for besides. beside: other prices of a run,
    such as its metrics.
    """

    sampling_probability: float
    steps: int
    delta: str
    part: Part = Part.ALL
    also: tuple[Event, ...] = ()
    beside: tuple[Price, ...] = ()

    def event(self, noise: float) -> Event:
        run = PoissonGaussianEvent(
            sampling_probability=self.sampling_probability,
            noise_multiplier=noise,
            steps=self.steps,
        )
        return compose([*self.also, run])

    def prices(self, noise: float, *, epsilon: str = "0") -> list[Price]:
        run = Price(
            purpose="what if",
            event=self.event(noise),
            part=self.part,
            epsilon=epsilon,
            delta=self.delta,
        )
        return [run, *self.beside]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A run that fits: its printed epsilon (never too high), noise, share and number.

    uses: what one run takes of the cap now, in epsilons of the cap. runs: how many of
    them fit, one after another.
    """

    epsilon: Decimal
    noise_multiplier: float
    uses: Decimal
    runs: int


def shape_of(*, units: int, batch: int, epochs: float, delta: str) -> Shape:
    """A run by its numbers: `units` to learn from, `batch` of them a step on average.

    Raises LedgerError, which names the number that cannot be.
    """
    if units < 1:
        raise LedgerError("The number of units must be at least 1.")
    if not 1 <= batch <= units:
        raise LedgerError("A batch has from 1 unit to all of them.")
    if not math.isfinite(epochs) or epochs <= 0:
        raise LedgerError("The number of epochs must be above 0.")
    steps = max(1, round(epochs * units / batch))
    if steps > MOST_STEPS:
        raise LedgerError(f"A run has at most {MOST_STEPS:,} steps.")
    if not Decimal(0) < Decimal(delta) < Decimal(1) / units:
        raise LedgerError("Delta must be above 0 and below 1 over the units.")
    return Shape(sampling_probability=batch / units, steps=steps, delta=delta)


def largest(
    *, ledger: Ledger, shape: Shape, runs: int = 1, recipient: str = ""
) -> Answer | None:
    """The run of the largest epsilon that fits `runs` times; None where none does."""
    _require(ledger, shape)
    noise = _least_noise(ledger, shape, runs=runs, recipient=recipient)
    if noise is None:
        return None
    printed = accounting.epsilon(shape.event(noise), delta=float(shape.delta))
    if not math.isfinite(printed) or printed <= 0:
        return None
    return _answer(ledger, shape, noise, printed, recipient=recipient)


def of_epsilon(
    *, ledger: Ledger, shape: Shape, epsilon: Decimal, recipient: str = ""
) -> Answer:
    """How many runs of this printed epsilon fit. Raises LedgerError where none can."""
    _require(ledger, shape)
    try:
        noise = accounting.noise_multiplier_for(
            target_epsilon=float(epsilon),
            delta=float(shape.delta),
            sampling_probability=shape.sampling_probability,
            steps=shape.steps,
            also=shape.also,
        )
    except ValueError as error:
        raise LedgerError(str(error)) from error
    return _answer(ledger, shape, noise, float(epsilon), recipient=recipient)


def _answer(
    ledger: Ledger, shape: Shape, noise: float, printed: float, *, recipient: str
) -> Answer:
    prices = shape.prices(noise)
    return Answer(
        epsilon=_THREE_DIGITS.create_decimal(Decimal(printed)),
        noise_multiplier=noise,
        uses=cost_in_cap(ledger, prices),
        runs=runs_that_fit(ledger, prices, recipient=recipient) or 0,
    )


def _require(ledger: Ledger, shape: Shape) -> None:
    if not ledger.is_declared:
        raise LedgerError(f"Declare the caps of “{ledger.name}” first.")
    if Decimal(shape.delta) > Decimal(ledger.delta_cap):
        raise LedgerError(
            f"Delta {shape.delta} is above the ledger's cap of {ledger.delta_cap}."
        )


def _least_noise(
    ledger: Ledger, shape: Shape, *, runs: int, recipient: str
) -> float | None:
    def fits(noise: float) -> bool:
        found = runs_that_fit(ledger, shape.prices(noise), recipient=recipient)
        return found is None or found >= runs

    low, high = LEAST_NOISE, 1.0
    while not fits(high):
        low, high = high, high * 4
        if high > MOST_NOISE:
            return None
    if low == LEAST_NOISE and fits(low):
        return low
    while high / low > _STEP:
        middle = math.sqrt(low * high)
        if fits(middle):
            high = middle
        else:
            low = middle
    return high
