from __future__ import annotations

import json
import math
from typing import Any

import pytest

from privacyhub.engines.dp.accountants import privacy_loss_distribution
from privacyhub.engines.dp.accounting import (
    epsilon,
    group_epsilon,
    noise_multiplier_for,
)
from privacyhub.engines.dp.defaults import default_spec
from privacyhub.engines.dp.events import (
    ComposedEvent,
    GaussianEvent,
    PoissonGaussianEvent,
    compose,
)
from privacyhub.engines.dp.guarantee import guarantee_of
from privacyhub.engines.prepare.statistics import delta_of_names

SPEC = default_spec(task="binary", units=20_000)
TRAINING = PoissonGaussianEvent(
    sampling_probability=SPEC.sampling_probability,
    noise_multiplier=5.0,
    steps=SPEC.steps,
)
STATISTICS = GaussianEvent(noise_multiplier=45.0, count=10)


def test_guarantee_states_everything_that_was_paid() -> None:
    guarantee = guarantee_of(
        spec=SPEC,
        training=TRAINING,
        delta=4e-6,
        also=[STATISTICS],
        additive_delta=4e-7,
        column_sources={"age": "dp", "city": "not covered"},
    )
    whole = ComposedEvent(events=(TRAINING, STATISTICS))
    assert guarantee.epsilon == pytest.approx(epsilon(whole, delta=3.6e-6))
    assert guarantee.filter_epsilon > guarantee.epsilon
    assert guarantee.group_epsilons["2"] > 2 * guarantee.epsilon
    assert guarantee.not_covered == ["Bounds and domain of column city."]
    assert json.loads(json.dumps(guarantee.to_dict()))["steps"] == SPEC.steps


def test_groups_pay_for_the_additive_delta_too() -> None:
    def groups(additive_delta: float) -> dict[str, float | None]:
        return guarantee_of(
            spec=SPEC, training=TRAINING, delta=4e-6, additive_delta=additive_delta
        ).group_epsilons

    assert groups(0)["5"] > groups(0)["2"]
    assert groups(4e-9)["5"] > groups(0)["5"]
    told = groups(4e-7)
    curve = privacy_loss_distribution(TRAINING)
    assert told["2"] is not None
    single = told["2"] / 2
    one = curve.get_delta_for_epsilon(single) + 4e-7
    assert one * (1 + math.exp(single)) <= 4e-6
    assert told["5"] is None  # 4e-7 (1 + exp e + ... + exp 4e) is above 4e-6


def test_groups_of_readings_pay_for_names_by_their_thresholds() -> None:
    reading = GaussianEvent(noise_multiplier=40.0, count=12)

    def groups(additive_delta: float, *also: GaussianEvent) -> Any:
        return guarantee_of(
            spec=SPEC,
            training=TRAINING,
            delta=4e-6,
            additive_delta=additive_delta,
            also=also,
        ).group_epsilons

    without, told = groups(0, reading), groups(8e-8, reading)
    for size in (2, 5):
        names = delta_of_names(
            additive_delta=8e-8, readings=[reading], max_rows_per_unit=1, size=size
        )
        assert 8e-8 * size < names < 4e-6
        expected = group_epsilon(
            compose([TRAINING, reading]), delta=4e-6 - names, size=size
        )
        assert without[str(size)] < told[str(size)] == expected


def test_epsilon_of_hundreds_has_a_guarantee_without_groups() -> None:
    training = PoissonGaussianEvent(
        sampling_probability=1.0, noise_multiplier=0.0625, steps=1
    )
    guarantee = guarantee_of(spec=SPEC, training=training, delta=4e-6)
    assert 190 < guarantee.epsilon < 210
    assert guarantee.group_epsilons == {"2": None, "5": None}


def test_solved_noise_gives_the_target_in_the_guarantee() -> None:
    noise = noise_multiplier_for(
        target_epsilon=1.0,
        delta=4e-6,
        sampling_probability=SPEC.sampling_probability,
        steps=SPEC.steps,
    )
    training = PoissonGaussianEvent(
        sampling_probability=SPEC.sampling_probability,
        noise_multiplier=noise,
        steps=SPEC.steps,
    )
    guarantee = guarantee_of(spec=SPEC, training=training, delta=4e-6)
    assert 0.98 < guarantee.epsilon <= 1.0


def test_delta_of_one_over_n_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1/N"):
        guarantee_of(spec=SPEC, training=TRAINING, delta=1 / 20_000)
    with pytest.raises(ValueError, match="takes the whole delta"):
        guarantee_of(spec=SPEC, training=TRAINING, delta=1e-6, additive_delta=1e-6)


@pytest.mark.parametrize("units", [1, 50, 2_000, 26_000, 5_000_000])
def test_default_setting_exists_for_any_number_of_units(units: int) -> None:
    spec = default_spec(task="binary", units=units)
    assert spec.expected_batch <= units
    assert 100 <= spec.steps <= 2_000
