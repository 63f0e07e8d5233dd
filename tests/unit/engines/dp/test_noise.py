"""The noise is standard normal, in its middle, in its tails and pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.noise import NoiseSource, entropy_noise, normal_noise

SIGNIFICANCE = 1e-6
DRAWS = 4_000_000


def _filled(shape: tuple[int, ...], source: NoiseSource | None = None) -> Any:
    values = np.full(shape, np.nan, dtype=np.float32)
    (source or entropy_noise())(values)
    return values


@pytest.fixture(scope="module")
def drawn() -> Any:
    return _filled((4, DRAWS // 4)).ravel().astype(float)


def test_the_values_follow_the_normal_law(drawn: Any) -> None:
    assert stats.kstest(drawn, "norm").pvalue > SIGNIFICANCE
    edges = stats.norm.ppf(np.linspace(0, 1, 1001))
    counted = np.histogram(drawn, edges)[0]
    assert stats.chisquare(counted).pvalue > SIGNIFICANCE


def test_the_scale_is_one(drawn: Any) -> None:
    total = (drawn**2).sum()
    low, high = stats.chi2.ppf([SIGNIFICANCE / 2, 1 - SIGNIFICANCE / 2], DRAWS)
    assert low < total < high


@pytest.mark.parametrize("beyond", [3.0, 4.0, 4.5])
@pytest.mark.parametrize("side", [1, -1])
def test_the_tails_are_as_heavy_as_they_should_be(
    drawn: Any, beyond: float, side: int
) -> None:
    found = int((side * drawn > beyond).sum())
    told = stats.binomtest(found, DRAWS, stats.norm.sf(beyond))
    assert told.pvalue > SIGNIFICANCE


def test_values_of_a_pair_know_nothing_of_each_other() -> None:
    first, second = _filled((2, 16_000)).astype(float)
    for power in (1, 2):
        told = stats.pearsonr(first**power, second**power)
        assert told.pvalue > SIGNIFICANCE
    turn = np.arctan2(second, first)
    uniform = stats.uniform(-np.pi, 2 * np.pi).cdf
    assert stats.kstest(turn, uniform).pvalue > SIGNIFICANCE


def test_each_word_gives_the_pair_of_the_formula() -> None:
    generator = np.random.default_rng(7)
    words = generator.integers(0, 2**64, size=1000, dtype=np.uint64)
    words[:4] = [0, 2**23 - 1, 2**64 - 1, 2**64 - 2**23]
    found = _filled((2, 1000), normal_noise(lambda count: words[:count].copy()))
    turn = ((words % 2**23).astype(float) + 0.5) * 2 * np.pi / 2**23
    share = ((words >> np.uint64(23)).astype(float) + 0.5) / 2**41
    radius = np.sqrt(-2 * np.log(share))
    # An angle near pi in float32 is off by up to 1.2e-7, and so a value by that part
    # of the radius.
    np.testing.assert_allclose(found[0] / radius, np.cos(turn), atol=5e-7, rtol=1e-6)
    np.testing.assert_allclose(found[1] / radius, np.sin(turn), atol=5e-7, rtol=1e-6)
    assert found.max() == pytest.approx(np.sqrt(84 * np.log(2)), rel=1e-6)
    assert np.isfinite(found).all()


def test_no_word_gives_no_noise() -> None:
    """The shortest radius and the angles at which a sine or cosine vanishes."""
    quarters = [k * 2**21 for k in range(4)]
    angles = [*quarters, *(quarter - 1 for quarter in quarters[1:]), 2**23 - 1]
    shares = [0, 2**40, 2**41 - 1]
    words = np.array([(s << 23) + a for s in shares for a in angles], dtype=np.uint64)
    found = _filled((2, len(words)), normal_noise(lambda count: words[:count].copy()))
    assert (found != 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 32_769), (7, 9_999)])
def test_any_shape_is_filled(shape: tuple[int, int]) -> None:
    values = _filled(shape)
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 0.9 * values.size  # a pair in 10^8 is equal


def test_two_sources_differ() -> None:
    one, other = (_filled((1, 1000)) for _ in range(2))
    assert (one == other).sum() < 5  # by chance, a pair in 10^8 is equal
