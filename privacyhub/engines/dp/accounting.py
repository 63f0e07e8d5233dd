"""From a target epsilon to a noise multiplier, and the figures that a page shows.

Figures come from the privacy loss distribution (PLD) of a run whose plan was fixed in
advance; they are upper bounds. The ledger's cap is enforced by `rdp`, not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypedDict

from privacyhub.engines.dp import accountants
from privacyhub.engines.dp.events import (
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
)

MAX_NOISE_MULTIPLIER = 10_000.0
LEAST_NOISE = 0.3
_MOST_GROUP_EPSILON = 500.0
_STEP = 1.02  # between the epsilons that are tried for one unit of a group


class EpsilonAfter(TypedDict):
    """One row of an epsilon table."""

    step: int
    epsilon: float


def _is_empty(event: Event) -> bool:
    if isinstance(event, PoissonGaussianEvent):
        return event.steps == 0
    if isinstance(event, GaussianEvent | LaplaceEvent):
        return event.count == 0
    if isinstance(event, SelectionEvent):
        return _is_empty(event.event)
    return all(_is_empty(part) for part in event.events)


def epsilon(event: Event, *, delta: float) -> float:
    """The epsilon of an event at `delta` under add/remove of one unit; never too low.

    By PLD, or by RDP where private selection is part of the event.
    """
    if not 0 < delta < 1:
        raise ValueError("delta must lie between 0 and 1.")
    if _is_empty(event):
        return 0.0
    if accountants.uses_selection(event):
        return accountants.rdp_epsilon(event, delta=delta)
    return accountants.pld_epsilon(event, delta=delta)


def noise_multiplier_for(
    *,
    target_epsilon: float,
    delta: float,
    sampling_probability: float,
    steps: int,
    also: Sequence[Event] = (),
) -> float:
    """The least noise (to 0.1%) with which a run stays within `target_epsilon`.

    `also` are the events that the same units pay for besides, such as DP statistics.
    Raises ValueError where these alone pass the target.
    """
    if not math.isfinite(target_epsilon) or target_epsilon <= 0:
        raise ValueError("The target epsilon must be a positive finite number.")

    def total(noise: float) -> float:
        run = PoissonGaussianEvent(
            sampling_probability=sampling_probability,
            noise_multiplier=noise,
            steps=steps,
        )
        return epsilon(compose([run, *also]), delta=delta)

    if also and epsilon(compose(list(also)), delta=delta) >= target_epsilon:
        raise ValueError(
            "The statistics alone use up the target epsilon: give them less or "
            "raise the target."
        )
    return _least_noise(total, target=target_epsilon)


def _least_noise(total: Callable[[float], float], *, target: float) -> float:
    """The least noise from `LEAST_NOISE` on, to 0.1%, where `total` keeps the target.

    Epsilon falls about as a power of the noise: a secant on the logarithms, kept
    inside a bracket, needs half the evaluations that bisection does.
    """
    low: float | None = None
    high: float | None = None
    spent_low = spent_high = math.nan
    noise = 1.0
    while low is None or high is None or high / low > 1.0011:
        spent = total(noise)
        if spent <= target:
            high, spent_high = noise, spent
            if noise == LEAST_NOISE:
                break
        else:
            low, spent_low = noise, spent
        if high is None:
            noise *= min(max(spent / target, 1.02), 16) * 1.05
            if noise > MAX_NOISE_MULTIPLIER:
                raise ValueError(
                    "No noise multiplier reaches this epsilon: raise the epsilon, or "
                    "lower the number of steps."
                )
        elif low is None:
            noise = max(LEAST_NOISE, noise * max(spent / target, 1 / 16) / 1.05)
        else:
            noise = _between(low, high, spent_low, spent_high, target=target)
    assert high is not None  # noqa: S101 - the loop ends with one
    return high


def _between(
    low: float, high: float, spent_low: float, spent_high: float, *, target: float
) -> float:
    """The next noise to try, inside the bracket and a hair on the safe side."""
    if not math.isfinite(spent_low) or spent_high <= 0:
        return math.sqrt(low * high)
    share = math.log(spent_low / target) / math.log(spent_low / spent_high)
    guess = low * (high / low) ** share * 1.0004
    # Where a side of the bracket is about the root itself, test its other side.
    return min(max(guess, low * 1.001), high / 1.001)


def epsilon_table(
    *,
    sampling_probability: float,
    noise_multiplier: float,
    steps: int,
    delta: float,
    also: Sequence[Event] = (),
    points: int = 50,
) -> list[EpsilonAfter]:
    """Epsilon after each of about `points` evenly spread numbers of steps.

    The first row is step 0 (what `also` costs), the last is `steps`.
    """
    block = max(1, math.ceil(steps / points))
    start = epsilon(compose(list(also)), delta=delta) if also else 0.0
    rows: list[EpsilonAfter] = [{"step": 0, "epsilon": start}]
    one_block = accountants.privacy_loss_distribution(
        PoissonGaussianEvent(
            sampling_probability=sampling_probability,
            noise_multiplier=noise_multiplier,
            steps=block,
        )
    )
    so_far = (
        accountants.privacy_loss_distribution(compose(list(also))) if also else None
    )
    for done in range(block, steps, block):
        so_far = one_block if so_far is None else so_far.compose(one_block)
        rows.append(
            {"step": done, "epsilon": float(so_far.get_epsilon_for_delta(delta))}
        )
    run = PoissonGaussianEvent(
        sampling_probability=sampling_probability,
        noise_multiplier=noise_multiplier,
        steps=steps,
    )
    last = epsilon(compose([run, *also]), delta=delta)
    # Composing block by block rounds up more often than composing at once.
    for row in rows:
        row["epsilon"] = min(row["epsilon"], last)
    rows.append({"step": steps, "epsilon": last})
    return rows


def group_epsilon(
    event: Event, *, delta: float, size: int, additive_delta: float = 0.0
) -> float:
    """The epsilon at the same `delta` for `size` units that change together.

    If one unit has (e, d), then k units have (k e, d (1 + exp e + ... + exp((k-1) e))).
    The best e of the event's whole privacy curve is taken. additive_delta: the part of
    delta that the event does not hold; it is in d, so it grows with the group like the
    rest. Infinite where no e serves.
    """
    if size < 1:
        raise ValueError("A group has at least one unit.")
    if _is_empty(event):
        return 0.0 if size * additive_delta <= delta else math.inf

    if accountants.uses_selection(event):
        return _group_epsilon_fixed_delta(
            event, delta=delta, size=size, additive_delta=additive_delta
        )
    curve = accountants.privacy_loss_distribution(event)

    def is_enough(single: float) -> bool:
        """Whether the group keeps `delta` where one unit's epsilon is `single`."""
        one = float(curve.get_delta_for_epsilon(single)) + additive_delta
        return one * _growth(single, size=size) <= delta

    low = 0.0
    high = max(1e-3, float(curve.get_epsilon_for_delta(delta)))
    while not _is_beyond(high, size=size):
        if is_enough(high):
            break
        if additive_delta * _growth(high, size=size) > delta:
            return math.inf  # it only grows from here on
        low, high = high, high * _STEP
    else:
        return math.inf
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return size * high


def _group_epsilon_fixed_delta(
    event: Event, *, delta: float, size: int, additive_delta: float
) -> float:
    """Group epsilon through one RDP conversion at a smaller delta."""
    single_delta = delta - additive_delta
    for _ in range(60):
        if single_delta <= 0:
            return math.inf
        single = epsilon(event, delta=single_delta)
        if _is_beyond(single, size=size):
            return math.inf
        growth = _growth(single, size=size)
        if (single_delta + additive_delta) * growth <= delta:
            return size * single
        single_delta = delta / growth / 1.01 - additive_delta
    return math.inf


def _is_beyond(single: float, *, size: int) -> bool:
    """Whether a group's epsilon would say nothing any more, or overflow."""
    return not size * single <= _MOST_GROUP_EPSILON


def _growth(single: float, *, size: int) -> float:
    """By how much a group's delta is more than one unit's of epsilon `single`."""
    return math.fsum(math.exp(i * single) for i in range(size))


def default_delta(units: int) -> float:
    """1/(10 N) of the declared number of units."""
    if units < 1:
        raise ValueError("The declared number of units must be at least 1.")
    return float(Fraction(1, 10 * units))


def require_delta_below_one_over(*, delta: float, units: int) -> None:
    """Refuse a delta of 1/N or more, at which publishing one unit would be private."""
    if not 0 < delta < 1 / units:
        raise ValueError(
            f"delta must be positive and below 1/N = {1 / units:.3g} of the "
            f"{units} declared units."
        )


def odds(epsilon_value: float) -> float:
    """How often an attacker with a 50% prior is right at most, delta aside.

    >>> round(odds(1.0), 3)
    0.731
    """
    return 1 / (1 + math.exp(-epsilon_value))
