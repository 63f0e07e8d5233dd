from __future__ import annotations

import json

import pytest

from privacyhub.engines.dp.accounting import epsilon, noise_multiplier_for
from privacyhub.engines.dp.defaults import default_spec
from privacyhub.engines.dp.events import (
    ComposedEvent,
    GaussianEvent,
    PoissonGaussianEvent,
)
from privacyhub.engines.dp.guarantee import guarantee_of

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
    assert guarantee.group_epsilons["5"] > guarantee.group_epsilons["2"]
    assert guarantee.group_epsilons["2"] > 2 * guarantee.epsilon
    assert guarantee.not_covered == ["Bounds and domain of column city."]
    assert json.loads(json.dumps(guarantee.to_dict()))["steps"] == SPEC.steps


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
