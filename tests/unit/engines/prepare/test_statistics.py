from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.dp.count_noise import noisy_counts
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.engines.prepare import statistics
from privacyhub.engines.prepare.statistics import (
    delta_of_names,
    dp_column_statistics,
    name_threshold,
    statistics_noise_multiplier,
)
from tests.unit.engines.dp.noises import seeded_gaussian

ROWS = 20_000


def frame() -> pl.DataFrame:
    generator = np.random.default_rng(5)
    start = date(2015, 1, 1)
    return pl.DataFrame(
        {
            "age": generator.uniform(18, 90, ROWS),
            "gain": np.where(
                generator.random(ROWS) < 0.8, 0, generator.uniform(1e3, 2e4, ROWS)
            ),
            "seen": [
                start + timedelta(days=int(n))
                for n in generator.integers(0, 2000, ROWS)
            ],
            "city": generator.choice(["A", "B", "C"], ROWS, p=[0.6, 0.3, 0.1]).tolist(),
            "smoker": generator.choice([True, False], ROWS).tolist(),
        }
    )


KINDS = {
    "age": "number",
    "gain": "number",
    "seen": "date",
    "city": "category",
    "smoker": "boolean",
}


@pytest.fixture(autouse=True)
def _seeded_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise alone fills an empty bin once in 31,600 draws; there are a thousand."""
    monkeypatch.setattr(statistics, "noisy_counts", seeded_gaussian(1))


def found(table: pl.DataFrame, **options):
    options = {"noise_multiplier": 40.0, "delta_share": 1e-7} | options
    return dp_column_statistics(table, KINDS, **options)


def test_domain_keeps_the_names_of_the_largest_counts(monkeypatch) -> None:
    monkeypatch.setattr(statistics, "MOST_NAMES", 2)
    city = found(frame()).columns[3]
    assert city.categories == ("A", "B")


def test_bounds_and_domain_are_found() -> None:
    result = found(frame())
    age, gain, seen, city, smoker = result.columns
    assert 10 < age.lower <= 18.5
    assert 85 <= age.upper < 110
    assert gain.lower <= 0
    assert 19_000 <= gain.upper < 25_000
    assert date(1970, 1, 1) + timedelta(days=seen.lower) == date(2015, 1, 1)
    assert city.categories == ("A", "B", "C")
    assert smoker.kind == "boolean"
    assert all(column.source == "dp" for column in result.columns)


def test_knots_follow_the_rows() -> None:
    age = found(frame()).columns[0]
    inner = np.array(age.knots[1:-1])
    assert len(inner) >= 8
    assert abs(np.median(inner) - 54) < 8


def test_price_does_not_depend_on_values() -> None:
    expected = found(frame())
    poison = frame().with_columns(
        age=pl.lit(math.nan),
        gain=pl.lit(1e300),
        seen=pl.lit(None, dtype=pl.Date),
        city=pl.lit(None, dtype=pl.String),
    )
    result = found(poison)
    assert result.event == expected.event
    assert result.event.count == 4  # a boolean's domain needs no reading
    assert result.additive_delta == expected.additive_delta == 1e-7
    assert [c.name for c in result.columns] == [c.name for c in expected.columns]


def test_rare_name_stays_hidden() -> None:
    rare = frame().with_columns(
        city=pl.Series(["Rare"] * 20 + frame()["city"].to_list()[20:])
    )
    for _ in range(20):
        assert "Rare" not in found(rare).columns[3].categories


def test_threshold_keeps_its_delta() -> None:
    # The chance that a name of one unit alone is told, for m rows of that unit.
    for rows in (1, 4):
        limit = name_threshold(deviation=20.0, delta=1e-6, max_rows_per_unit=rows)
        chance = rows * stats.norm.sf((limit - rows) / 20.0)
        assert chance <= 1e-6
        assert chance > 1e-7


def test_noise_has_the_claimed_deviation() -> None:
    noisy = noisy_counts(np.zeros(20_000, dtype=np.int64), deviation=7.0)
    statistic = ((noisy / 7.0) ** 2).sum()
    tail = stats.chi2(20_000)
    assert min(tail.cdf(statistic), tail.sf(statistic)) > 1e-6


def test_noise_grows_with_the_rows_of_a_unit() -> None:
    one = found(frame(), noise_multiplier=4.0)
    many = found(frame(), noise_multiplier=4.0, max_rows_per_unit=500)
    assert one.event == many.event
    assert len(many.columns[3].categories) < len(one.columns[3].categories)


def test_share_of_the_budget_is_the_declared_one() -> None:
    noise = statistics_noise_multiplier(
        target_epsilon=1.0, delta=1e-6, columns=14, share=0.1
    )
    event = found(frame(), noise_multiplier=noise).event
    assert event is not None
    assert epsilon(event, delta=1e-6) < 0.35


def test_column_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="Missing columns: city"):
        found(frame().drop("city"))


@pytest.mark.parametrize("share", [0.0, 1.0, math.nan])
def test_delta_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="delta share"):
        found(frame(), delta_share=share)


def test_category_column_called_rows_is_read_like_any_other() -> None:
    found = dp_column_statistics(
        pl.DataFrame({"rows": ["a", "b"] * 500}),
        {"rows": "category"},
        noise_multiplier=2.0,
        delta_share=1e-6,
    )
    assert found.columns[0].categories == ("a", "b")


@pytest.mark.parametrize("most_rows", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_delta_of_names_holds_what_a_group_can_bring(size: int, most_rows: int) -> None:
    """By the discrete Gaussian's own tail behind the threshold that is used."""
    noise, delta, named = 42.6, 2e-8, 3
    deviation = noise * most_rows
    threshold = name_threshold(
        deviation=deviation, delta=delta / named, max_rows_per_unit=most_rows
    )
    counts = np.arange(-int(40 * deviation), int(40 * deviation) + 1)
    law = np.exp(-((counts / deviation) ** 2) / 2)
    passes = law[counts > threshold - size * most_rows].sum() / law.sum()
    exact = named * size * most_rows * passes

    def told(columns: int) -> float:
        return delta_of_names(
            additive_delta=delta,
            readings=[GaussianEvent(noise_multiplier=noise, count=columns)],
            max_rows_per_unit=most_rows,
            size=size,
        )

    assert exact <= told(named) <= 1.5 * exact
    assert told(named) <= told(2 * named)  # of others that are read too
    if size == 1:
        assert told(named) == pytest.approx(delta)


def test_delta_of_names_keeps_its_tail() -> None:
    readings = [GaussianEvent(noise_multiplier=10.0, count=50)]
    told = delta_of_names(
        additive_delta=2e-14, readings=readings, max_rows_per_unit=1000, size=5
    )
    each = stats.norm.sf(stats.norm.isf(2e-14 / 50 / 1000) - 0.4)
    assert told == pytest.approx(50 * 5 * 1000 * each, rel=1e-6)


def test_no_names_take_no_delta() -> None:
    assert (
        delta_of_names(additive_delta=0, readings=[], max_rows_per_unit=1, size=5) == 0
    )
