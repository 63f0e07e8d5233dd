from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

from tests.benchmarks.dp_training import speed_cases  # noqa: E402


def test_ratio_is_the_engine_to_each_contender_by_rounds() -> None:
    rounds = [
        {"opacus-ghost": 10.0, "jax-privacy": 5.0, "engine": 80.0},
        {"opacus-ghost": 20.0, "jax-privacy": 5.0, "engine": 100.0},
        {"opacus-ghost": 10.0, "jax-privacy": 5.0, "engine": 90.0},
    ]
    ghost, jax = speed_cases(rounds, batch=256)
    assert ghost == {
        "case": "opacus-ghost-256",
        "value": 90,
        "unit": "examples/s",
        "ratio": 8.0,
        "to": "opacus-ghost",
        "target": "at least 6 x",
        "met": True,
    }
    assert (jax["ratio"], jax["target"], jax["met"]) == (18.0, "", None)


def test_missed_target_is_told() -> None:
    (ghost,) = speed_cases([{"opacus-ghost": 10.0, "engine": 50.0}], batch=1024)
    assert ghost["met"] is False
