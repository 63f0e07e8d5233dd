from __future__ import annotations

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from privacyhub.engines.dp.accounting import (
    default_delta,
    epsilon,
    epsilon_table,
    group_epsilon,
    noise_multiplier_for,
    odds,
    require_delta_below_one_over,
)
from privacyhub.engines.dp.events import (
    ComposedEvent,
    GaussianEvent,
    PoissonGaussianEvent,
    SelectionEvent,
)

TRAINING = PoissonGaussianEvent(
    sampling_probability=0.05, noise_multiplier=3.0, steps=300
)
STATISTICS = GaussianEvent(noise_multiplier=40.0, count=14)


def fine_epsilon(event: object, delta: float) -> float:
    accountant = PLDAccountant(value_discretization_interval=1e-4)
    accountant.compose(event)
    return accountant.get_epsilon(delta)


def test_epsilon_is_dp_accountings_and_never_below_a_finer_one() -> None:
    gaussian = dp_accounting.GaussianDpEvent
    reference = dp_accounting.ComposedDpEvent(
        [
            dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(0.05, gaussian(3.0)), 300
            ),
            dp_accounting.SelfComposedDpEvent(gaussian(40.0), 14),
        ]
    )
    exact = fine_epsilon(reference, 1e-6)
    ours = epsilon(ComposedEvent(events=(TRAINING, STATISTICS)), delta=1e-6)
    assert exact <= ours <= exact * 1.005


def test_gaussian_epsilon_matches_the_analytic_curve() -> None:
    # Balle and Wang, theorem 8, at sigma 2.
    value = epsilon(GaussianEvent(noise_multiplier=2.0), delta=1e-5)

    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    delta = normal(0.25 - 2 * value) - math.exp(value) * normal(-0.25 - 2 * value)
    assert delta == pytest.approx(1e-5, rel=0.02)
    assert delta <= 1e-5


def test_no_step_costs_nothing() -> None:
    event = PoissonGaussianEvent(
        sampling_probability=0.1, noise_multiplier=1.0, steps=0
    )
    assert epsilon(event, delta=1e-6) == 0
    assert group_epsilon(event, delta=1e-6, size=2) == 0


@pytest.mark.parametrize("target", [0.1, 1.0, 8.0])
def test_noise_reaches_its_target_and_little_less(target: float) -> None:
    noise = noise_multiplier_for(
        target_epsilon=target, delta=1e-6, sampling_probability=0.05, steps=300
    )
    reached = epsilon(
        PoissonGaussianEvent(
            sampling_probability=0.05, noise_multiplier=noise, steps=300
        ),
        delta=1e-6,
    )
    assert 0.98 * target <= reached <= target


def test_noise_makes_room_for_the_statistics() -> None:
    alone = noise_multiplier_for(
        target_epsilon=1, delta=1e-6, sampling_probability=0.05, steps=300
    )
    shared = noise_multiplier_for(
        target_epsilon=1,
        delta=1e-6,
        sampling_probability=0.05,
        steps=300,
        also=[STATISTICS],
    )
    assert alone < shared < 1.3 * alone


def test_statistics_above_the_target_are_refused() -> None:
    with pytest.raises(ValueError, match="statistics alone"):
        noise_multiplier_for(
            target_epsilon=0.1,
            delta=1e-6,
            sampling_probability=0.05,
            steps=300,
            also=[GaussianEvent(noise_multiplier=2.0)],
        )


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_target_that_is_no_amount_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target epsilon"):
        noise_multiplier_for(
            target_epsilon=target, delta=1e-6, sampling_probability=0.1, steps=10
        )


def test_table_rises_from_the_statistics_to_the_whole() -> None:
    rows = epsilon_table(
        sampling_probability=0.05,
        noise_multiplier=3.0,
        steps=300,
        delta=1e-6,
        also=[STATISTICS],
    )
    values = [row["epsilon"] for row in rows]
    assert rows[0]["step"] == 0
    assert values[0] == pytest.approx(epsilon(STATISTICS, delta=1e-6))
    assert rows[-1]["step"] == 300
    assert values == sorted(values)
    half = ComposedEvent(
        events=(
            PoissonGaussianEvent(
                sampling_probability=0.05, noise_multiplier=3.0, steps=150
            ),
            STATISTICS,
        )
    )
    at_half = next(row["epsilon"] for row in rows if row["step"] == 150)
    assert at_half == pytest.approx(epsilon(half, delta=1e-6), rel=0.02)


def test_group_of_gaussian_is_never_below_its_exact_epsilon() -> None:
    # k units shift a Gaussian's mean by k at most: exactly a noise of sigma / k.
    event = GaussianEvent(noise_multiplier=10.0)
    for size in (2, 5):
        exact = epsilon(GaussianEvent(noise_multiplier=10.0 / size), delta=1e-6)
        bound = group_epsilon(event, delta=1e-6, size=size)
        assert exact <= bound <= 1.6 * exact


def test_group_of_one_is_epsilon() -> None:
    assert group_epsilon(TRAINING, delta=1e-6, size=1) == pytest.approx(
        epsilon(TRAINING, delta=1e-6), rel=1e-3
    )


def test_group_with_selection_is_above_twice_one() -> None:
    tuned = SelectionEvent(event=TRAINING, mean_trials=3)
    assert group_epsilon(tuned, delta=1e-6, size=2) > 2 * epsilon(tuned, delta=1e-6)


@pytest.mark.parametrize("size", [2, 5])
def test_group_delta_grows_with_its_additive_part(size: int) -> None:
    event, delta, additive = GaussianEvent(noise_multiplier=10.0), 1e-6, 1e-9
    bound = group_epsilon(event, delta=delta, size=size, additive_delta=additive)
    accountant = PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp_accounting.GaussianDpEvent(10.0))

    def delta_of_group(single: float) -> float:
        growth = sum(math.exp(i * single) for i in range(size))
        return (float(accountant.get_delta(single)) + additive) * growth

    assert delta_of_group(bound / size) <= delta
    assert delta_of_group(bound / size / 1.001) > delta
    assert bound > group_epsilon(event, delta=delta, size=size)


def test_group_whose_additive_part_alone_passes_delta_has_no_bound() -> None:
    event = GaussianEvent(noise_multiplier=10.0)  # e is 0.46 at least
    tuned = SelectionEvent(event=event, mean_trials=3)
    for paid in (event, tuned):
        for additive in (4e-7, 1e-6):
            bound = group_epsilon(paid, delta=1e-6, size=3, additive_delta=additive)
            assert bound == math.inf
    assert group_epsilon(tuned, delta=1e-6, size=2, additive_delta=1e-9) > (
        group_epsilon(tuned, delta=1e-6, size=2)
    )
    nothing = ComposedEvent(events=())
    assert group_epsilon(nothing, delta=1e-6, size=2, additive_delta=5e-7) == 0
    assert group_epsilon(nothing, delta=1e-6, size=3, additive_delta=5e-7) == math.inf


def test_delta_default_and_limit() -> None:
    assert default_delta(20_000) == pytest.approx(5e-6)
    require_delta_below_one_over(delta=4e-5, units=20_000)
    with pytest.raises(ValueError, match="below 1/N"):
        require_delta_below_one_over(delta=5e-5, units=20_000)


def test_odds_of_the_pages() -> None:
    shown = [round(100 * odds(e), 1) for e in (0.1, 0.5, 1, 2, 3, 6)]
    assert shown == [52.5, 62.2, 73.1, 88.1, 95.3, 99.8]
