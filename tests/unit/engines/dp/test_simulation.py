"""Simulated curves: more noise costs utility, and the engine's own run agrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from privacyhub.engines.dp import simulation
from privacyhub.engines.dp.defaults import default_spec
from privacyhub.engines.dp.simulation import TooLongError, simulate
from privacyhub.engines.prepare.encoding import ColumnSpec

COLUMNS = (
    ColumnSpec(name="age", kind="number", lower=0, upper=90),
    ColumnSpec(name="kind", kind="category", categories=("a", "b", "c")),
    ColumnSpec(name="member", kind="boolean"),
    ColumnSpec(name="since", kind="date", lower=0, upper=9000),
)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_utility_rises_as_the_noise_falls(task):
    spec = default_spec(task=task, units=2000, classes=3 if task == "multiclass" else 2)
    made = simulate(spec=spec, columns=COLUMNS, noise_multipliers=[40, 4, 0.5])
    assert [p.noise_multiplier for p in made.points] == [40, 4, 0.5, 0]
    values = [p.value for p in made.points]
    assert values[0] < values[1] < values[2] <= values[3] + 0.01
    assert values[3] < made.best + 0.02
    assert made.measure == ("R²" if task == "regression" else "AUC")
    assert (made.columns, made.rows, made.steps) == (4, 2000, spec.steps)
    assert all(p.low <= p.value <= p.high for p in made.points)


def test_more_units_bear_more_noise():
    reached = [
        simulate(
            spec=default_spec(task="binary", units=units),
            columns=COLUMNS,
            noise_multipliers=[10],
        )
        .points[0]
        .value
        for units in (300, 30_000)
    ]
    assert reached[1] > reached[0] + 0.05


def test_adaptive_clip_norm_makes_good_a_first_one_that_is_far_too_small():
    fixed = replace(default_spec(task="binary", units=2000), clip_norm=1e-4, epochs=40)
    reached = [
        [
            p.value
            for p in simulate(spec=s, columns=COLUMNS, noise_multipliers=[1]).points
        ]
        for s in (fixed, replace(fixed, clip_quantile=0.5))
    ]
    for one, other in zip(*reached, strict=True):
        assert other > one + 0.02


def test_same_seed_gives_the_same_curve():
    spec = default_spec(task="binary", units=500)
    first, second = (
        simulate(spec=spec, columns=COLUMNS, noise_multipliers=[2.0], seed=3)
        for _ in range(2)
    )
    assert first == second


def test_nothing_to_simulate_is_refused():
    with pytest.raises(ValueError, match="no noise multiplier"):
        simulate(
            spec=default_spec(task="binary", units=500),
            columns=COLUMNS,
            noise_multipliers=[],
        )


def test_the_engine_agrees_on_the_same_rows():
    from privacyhub.engines.dp.inference import predict_encoded
    from privacyhub.engines.dp.training import train
    from privacyhub.engines.prepare.encoding import bare_table

    units, noise = 3000, 6.0
    spec = default_spec(task="binary", units=units)
    made = simulate(spec=spec, columns=COLUMNS, noise_multipliers=[noise])
    generator = np.random.default_rng(0)
    rows = units + simulation.TEST_ROWS
    features = simulation._features(COLUMNS, rows=rows, generator=generator)
    truth, _ = simulation._labels(features, is_number=False, generator=generator)
    inputs = features[:, :-1]  # the engine has a bias of its own
    model = train(
        bare_table(inputs[:units], truth[:units]),
        spec=spec,
        noise_multiplier=noise,
        on_block=lambda start, steps: None,
    )
    scores = predict_encoded(model, bare_table(inputs[units:]))
    reached = simulation._auc(
        np.asarray(scores, dtype=np.float32)[:, None], truth[units:]
    )
    assert abs(float(reached[0]) - made.points[0].value) < 0.03


def test_run_of_too_many_steps_is_not_simulated(monkeypatch):
    def trained(*_, **__):
        raise AssertionError("it was simulated")

    monkeypatch.setattr(simulation, "_train", trained)
    spec = replace(
        default_spec(task="binary", units=2000), expected_batch=1, epochs=500
    )
    with pytest.raises(TooLongError, match="1,000,000 steps"):
        simulate(spec=spec, columns=COLUMNS, noise_multipliers=[1])
