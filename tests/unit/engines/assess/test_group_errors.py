"""Errors by group: exact figures by counting, released ones close to them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from privacyhub.engines.assess.group_errors import (
    OTHER,
    exact_group_errors,
    released_group_errors,
)

NAMES = ("a", "b")
ROWS_OF = ("predicted", "truth", "groups")


@pytest.fixture
def binary():
    generator = np.random.default_rng(1)
    groups = generator.integers(0, 3, 6000)
    truth = generator.integers(0, 2, 6000).astype(float)
    wrong = generator.random(6000) < np.array([0.1, 0.3, 0.2])[groups]
    return {
        "predicted": np.where(wrong, 1 - truth, truth),
        "truth": truth,
        "groups": groups,
        "names": NAMES,
        "task": "binary",
    }


def test_exact_errors_are_counted(binary):
    told = exact_group_errors(**binary)
    assert [one["group"] for one in told] == [*NAMES, OTHER]
    for place, one in enumerate(told):
        inside = binary["groups"] == place
        predicted, truth = binary["predicted"][inside], binary["truth"][inside]
        figures = one["metrics"]
        assert one["rows"] == inside.sum()
        assert figures["error"]["value"] == pytest.approx((predicted != truth).mean())
        positive = predicted[truth == 0].mean()
        assert figures["false_positive_rate"]["value"] == pytest.approx(positive)
        share = figures["error"]["value"]
        half = 1.96 * np.sqrt(share * (1 - share) / inside.sum())
        width = figures["error"]["high"] - figures["error"]["low"]
        assert width == pytest.approx(2 * half, rel=0.3)


def test_released_errors_are_near_and_their_intervals_wider(binary):
    exact = exact_group_errors(**binary)
    told = released_group_errors(**binary, noise_multiplier=20, max_rows_per_unit=1)
    for one, truth in zip(told, exact, strict=True):
        figure, known = one["metrics"]["error"], truth["metrics"]["error"]
        assert figure["value"] == pytest.approx(known["value"], abs=0.06)
        assert figure["value"] != known["value"]
        assert figure["high"] - figure["low"] > known["high"] - known["low"]
        assert one["rows"] != truth["rows"] or one["rows"] == 0


def test_regression_and_many_classes_have_figures():
    generator = np.random.default_rng(2)
    groups = generator.integers(0, 2, 4000)
    truth = generator.uniform(0, 50, 4000)
    predicted = truth + generator.normal(0, 1 + 3 * groups)
    asked = {
        "predicted": predicted,
        "truth": truth,
        "groups": groups,
        "names": NAMES,
        "task": "regression",
    }
    exact = exact_group_errors(**asked)
    assert exact[0]["metrics"]["rmse"]["value"] == pytest.approx(1, rel=0.1)
    assert exact[1]["metrics"]["rmse"]["value"] == pytest.approx(4, rel=0.1)
    told = released_group_errors(**asked, noise_multiplier=2, width=50)
    assert told[1]["metrics"]["mae"]["value"] == pytest.approx(
        exact[1]["metrics"]["mae"]["value"], rel=0.3
    )
    codes = asked | {
        "predicted": np.floor(predicted / 20),
        "truth": np.floor(truth / 20),
        "task": "multiclass",
    }
    assert 0 < exact_group_errors(**codes)[0]["metrics"]["error"]["value"] < 0.2


def test_empty_group_has_no_figure(binary):
    asked = binary | {"groups": np.zeros(6000, dtype=np.int64)}
    told = exact_group_errors(**asked)
    assert told[1]["rows"] == 0
    assert told[1]["metrics"]["error"]["value"] is None
    noisy = released_group_errors(**asked, noise_multiplier=1)
    assert noisy[0]["metrics"]["error"]["value"] is not None


def test_group_lost_in_the_noise_has_no_released_figure(binary):
    groups = np.zeros(6000, dtype=np.int64)
    groups[:3] = 1
    told = released_group_errors(**binary | {"groups": groups}, noise_multiplier=100)
    assert told[0]["metrics"]["error"]["value"] is not None
    assert told[1]["rows"] < 3 * 100 * 8**0.5
    assert told[1]["metrics"]["error"]["value"] is None


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_interval_is_over_units_and_not_over_their_rows(binary, task):
    asked = {name: value[:600] for name, value in binary.items() if name in ROWS_OF}
    asked |= {"names": NAMES, "task": task}
    copied = asked | {name: np.repeat(asked[name], 4) for name in ROWS_OF}
    once = exact_group_errors(**asked)
    units = np.repeat(np.arange(600), 4)
    together = exact_group_errors(**copied, units=units)
    apart = exact_group_errors(**copied)
    for one, same, narrow in zip(once, together, apart, strict=True):
        assert same["rows"] == 4 * one["rows"]
        for name, figure in one["metrics"].items():
            assert same["metrics"][name] == pytest.approx(figure, rel=1e-9)
            width = figure["high"] - figure["low"]
            found = narrow["metrics"][name]
            assert found["high"] - found["low"] < 0.7 * width


def test_regression_of_many_rows_takes_memory_for_one_resample():
    generator = np.random.default_rng(4)
    rows = 50_000
    truth = generator.uniform(0, 50, rows)
    tracemalloc.start()
    exact_group_errors(
        predicted=truth + 1,
        truth=truth,
        groups=generator.integers(0, 2, rows),
        names=NAMES,
        task="regression",
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 8 * rows


def test_noisy_counts_below_zero_take_part_in_a_share(monkeypatch):
    """Clipping each at zero would raise the error of a rare mistake."""
    noisy = np.array([980.0, 40.0, -20.0, 0.0] + 8 * [0.0])
    monkeypatch.setattr(
        "privacyhub.engines.assess.group_errors.laplace_counts",
        lambda exact, *, scale: noisy,
    )
    told = released_group_errors(
        predicted=np.zeros(1),
        truth=np.zeros(1),
        groups=np.zeros(1, dtype=np.int64),
        names=NAMES,
        task="binary",
        noise_multiplier=1,
    )
    assert told[0]["metrics"]["error"]["value"] == pytest.approx(20 / 1000)
