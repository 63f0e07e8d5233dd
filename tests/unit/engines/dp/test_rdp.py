from __future__ import annotations

import math

import pytest

from privacyhub.engines.dp import accountants
from privacyhub.engines.dp.events import (
    ComposedEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    event_from_dict,
)
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import (
    add_vectors,
    cap_vector,
    epsilon_from_rdp,
    fits,
    rdp_vector,
)

TRAINING = PoissonGaussianEvent(
    sampling_probability=0.02, noise_multiplier=1.1, steps=500
)


def test_orders_are_24_and_increase() -> None:
    assert len(ORDERS) == 24
    assert list(ORDERS) == sorted(set(ORDERS))


def test_gaussian_vector_is_the_closed_form_rounded_up() -> None:
    vector = rdp_vector(GaussianEvent(noise_multiplier=3.0, count=7))
    for order, units in zip(ORDERS, vector, strict=True):
        exact = 7 * order / (2 * 3.0**2)
        assert exact <= units / UNITS_PER_ONE <= exact * (1 + 1e-9)


def test_vector_of_steps_is_a_multiple_of_one_step() -> None:
    one = rdp_vector(
        PoissonGaussianEvent(sampling_probability=0.02, noise_multiplier=1.1, steps=1)
    )
    assert rdp_vector(TRAINING) == tuple(500 * units for units in one)


@pytest.mark.parametrize(
    "event",
    [
        TRAINING,
        LaplaceEvent(noise_multiplier=4.0, count=2),
        ComposedEvent(events=(TRAINING, GaussianEvent(noise_multiplier=40, count=14))),
    ],
)
def test_vector_equals_dp_accounting_and_is_never_lower(event) -> None:
    reference = accountants.rdp(event, ORDERS)
    for units, exact in zip(rdp_vector(event), reference, strict=True):
        assert exact <= units / UNITS_PER_ONE <= exact * (1 + 1e-9) + 1e-12


def test_cap_converts_back_to_its_epsilon_at_every_order() -> None:
    cap = cap_vector(3.0, 1e-5)
    usable = [units for units in cap if units > 0]
    assert len(usable) > 15
    for order, units in zip(ORDERS, cap, strict=True):
        if units > 0:
            epsilon = (
                units / UNITS_PER_ONE
                + math.log1p(-1 / order)
                - math.log(1e-5 / 24 * order) / (order - 1)
            )
            assert epsilon == pytest.approx(3.0, rel=1e-10)
            assert epsilon <= 3.0


def test_cap_admits_its_own_sum_and_nothing_above() -> None:
    cap = cap_vector(2.0, 1e-6)
    total = tuple(max(0, units) for units in cap)
    assert fits(total, cap)
    above = tuple(units + 1 for units in total)
    assert not fits(above, cap)
    assert epsilon_from_rdp(total, delta=1e-6) == pytest.approx(2.0, rel=1e-9)


def test_tiny_cap_never_admits_a_charge() -> None:
    cap = cap_vector(0.001, 1e-8)
    assert all(units < 0 for units in cap)
    assert not fits((0,) * 24, cap)


def test_filter_epsilon_is_above_the_printed_one() -> None:
    filtered = epsilon_from_rdp(rdp_vector(TRAINING), delta=1e-5)
    printed = accountants.pld_epsilon(TRAINING, delta=1e-5)
    assert printed < filtered < 1.6 * printed


def test_nothing_spent_is_epsilon_zero() -> None:
    assert epsilon_from_rdp((0,) * 24, delta=1e-5) == 0


def test_many_tiny_charges_never_drift_below_the_sum() -> None:
    tiny = rdp_vector(GaussianEvent(noise_multiplier=9_999.0))
    total = (0,) * 24
    for _ in range(1000):
        total = add_vectors(total, tiny)
    for order, units in zip(ORDERS, total, strict=True):
        assert units / UNITS_PER_ONE >= 1000 * order / (2 * 9_999.0**2)


def test_selection_costs_more_than_one_trial() -> None:
    tuned = SelectionEvent(event=TRAINING, mean_trials=5)
    assert epsilon_from_rdp(rdp_vector(tuned), delta=1e-5) > epsilon_from_rdp(
        rdp_vector(TRAINING), delta=1e-5
    )


@pytest.mark.parametrize(
    "event",
    [
        TRAINING,
        GaussianEvent(noise_multiplier=2.5, count=3),
        LaplaceEvent(noise_multiplier=1.0),
        SelectionEvent(event=TRAINING, mean_trials=4, shape=1),
        ComposedEvent(events=(TRAINING, GaussianEvent(noise_multiplier=40))),
    ],
)
def test_event_survives_json(event) -> None:
    assert event_from_dict(event.to_dict()) == event


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_event_without_proper_noise_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise_multiplier"):
        GaussianEvent(noise_multiplier=noise)
    with pytest.raises(ValueError, match="noise_multiplier"):
        PoissonGaussianEvent(sampling_probability=0.1, noise_multiplier=noise, steps=1)


def test_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        event_from_dict({"kind": "magic"})
