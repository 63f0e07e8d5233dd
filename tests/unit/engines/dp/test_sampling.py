from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.sampling import (
    PoissonSampler,
    bound_rows_per_unit,
    rows_as_units,
    rows_of_units,
)

SIGNIFICANCE = 1e-6


def test_batch_sizes_follow_the_binomial_law() -> None:
    sampler = PoissonSampler(units=1000, sampling_probability=0.03)
    sizes = sampler.draw(4000).sizes
    cuts = np.arange(18, 43)
    below = stats.binom.cdf(cuts, 1000, 0.03)
    expected = np.diff(np.concatenate([[0], below, [1]])) * 4000
    observed = np.bincount(np.searchsorted(cuts, sizes), minlength=len(cuts) + 1)
    assert stats.chisquare(observed, expected).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("probability", [0.002, 0.3, 0.9])
def test_gaps_follow_the_geometric_law(probability: float) -> None:
    sampler = PoissonSampler(units=10, sampling_probability=probability)
    law = stats.geom(probability)
    edges = np.unique(law.ppf(np.linspace(0.02, 0.98, 25)))
    gaps = sampler._gaps(200_000)
    counts = np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1)
    expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * len(gaps)
    assert stats.chisquare(counts, expected).pvalue > SIGNIFICANCE


def test_the_least_and_the_largest_gap_of_a_word() -> None:
    """2^64 - 1 stands for 1, the word 0 for 2^-53: ln(2^-53) / ln(1 - 1e-9)."""
    words = np.array([2**64 - 1, 0] + [2**63] * 30, dtype=np.uint64)
    sampler = PoissonSampler(
        units=10, sampling_probability=1e-9, words=lambda count: words[:count].copy()
    )
    least, largest = sampler._gaps(2)
    assert least == 1
    assert largest == pytest.approx(53 * np.log(2) / 1e-9, rel=1e-8)
    assert sampler.draw(1).members.tolist() == [0]


def joined_of(sampler: PoissonSampler, steps: int) -> np.ndarray:
    batches = sampler.draw(steps)
    joined = np.zeros((steps, sampler.units), dtype=int)
    np.add.at(joined, (np.repeat(np.arange(steps), batches.sizes), batches.members), 1)
    return joined


def test_each_unit_joins_equally_often_and_independently() -> None:
    joined = joined_of(PoissonSampler(units=50, sampling_probability=0.2), 5000)
    counts = joined.sum(axis=0)
    spread = ((counts - 1000) ** 2 / (5000 * 0.2 * 0.8)).sum()
    assert stats.chi2.sf(spread, 50) > SIGNIFICANCE
    together = np.corrcoef(joined[:, :10], rowvar=False)[np.triu_indices(10, 1)]
    assert np.abs(together).max() < 6 / np.sqrt(5000)
    later = np.corrcoef(joined[:-1, 0], joined[1:, 0])[0, 1]
    assert abs(later) < 6 / np.sqrt(5000)


def test_no_unit_joins_a_step_twice() -> None:
    joined = joined_of(PoissonSampler(units=40, sampling_probability=0.5), 200)
    assert joined.max() == 1


@pytest.mark.parametrize("width", [1, 8, 24, 64, 500])
def test_padding_truncates_nothing_whatever_the_width(width: int) -> None:
    batches = PoissonSampler(units=200, sampling_probability=0.12).draw(30)
    units, passes = batches.padded(width)
    assert units.shape == (passes.sum(), width)
    ends = np.cumsum(passes)
    starts = np.cumsum(batches.sizes)
    for step, (end, size) in enumerate(zip(ends, batches.sizes, strict=True)):
        held = units[end - passes[step] : end]
        expected = batches.members[starts[step] - size : starts[step]]
        assert held[held >= 0].tolist() == expected.tolist()


def test_an_empty_batch_takes_a_pass_of_padding() -> None:
    batches = PoissonSampler(units=3, sampling_probability=1e-9).draw(5)
    units, passes = batches.padded(8)
    assert passes.tolist() == [1] * 5
    assert units.tolist() == [[-1] * 8] * 5


def test_usual_batch_fits_the_width() -> None:
    sampler = PoissonSampler(units=32_768, sampling_probability=1 / 128)
    width = sampler.width(multiple=16)
    assert width % 16 == 0
    assert (sampler.draw(2000).sizes <= width).mean() > 0.95
    assert width < 1.2 * 256


def test_probability_one_takes_everyone() -> None:
    batches = PoissonSampler(units=7, sampling_probability=1.0).draw(3)
    assert batches.sizes.tolist() == [7, 7, 7]


def test_two_samplers_differ() -> None:
    first = joined_of(PoissonSampler(units=1000, sampling_probability=0.1), 5)
    second = joined_of(PoissonSampler(units=1000, sampling_probability=0.1), 5)
    assert (first != second).any()


def test_event_is_the_samplers_own_probability() -> None:
    event = PoissonSampler(units=100, sampling_probability=0.25).event(
        steps=9, noise_multiplier=1.5
    )
    assert (event.sampling_probability, event.steps) == (0.25, 9)


@pytest.mark.parametrize("probability", [0.0, 1.2, -0.1])
def test_impossible_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="sampling probability"):
        PoissonSampler(units=10, sampling_probability=probability)


def test_rows_of_a_unit_stay_together_and_are_bounded() -> None:
    keys = np.array([5, 5, 5, 9, -1, 9, -1, 5])
    units = bound_rows_per_unit(keys, max_rows=2)
    groups = [set(row[row >= 0].tolist()) for row in units.rows]
    assert len(groups) == 4  # two keys and two rows without one
    assert {3, 5} in groups
    assert {4} in groups
    assert {6} in groups
    chosen = next(g for g in groups if g <= {0, 1, 2, 7})
    assert len(chosen) == 2


def test_choice_of_bounded_rows_is_uniform() -> None:
    keys = np.zeros(5, dtype=np.int64)
    counts = np.zeros(5)
    for _ in range(2000):
        counts[bound_rows_per_unit(keys, max_rows=1).rows[0, 0]] += 1
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_rows_as_units_is_one_row_each() -> None:
    assert rows_as_units(3).rows.tolist() == [[0], [1], [2]]


def test_rows_that_are_kept_are_those_of_the_bounded_units() -> None:
    keys = np.array([7, 7, 2, 7, 2, -1, -1, 7])
    drawn = np.arange(len(keys), dtype=np.uint64)[::-1].copy()

    def words(count: int) -> np.ndarray:
        return drawn[:count]

    for most in (1, 2, 3, 9):
        padded = bound_rows_per_unit(keys, max_rows=most, words=words).rows
        kept = rows_of_units(keys, max_rows=most, words=words)
        np.testing.assert_array_equal(kept, np.sort(padded[padded >= 0]))


def test_keeping_rows_takes_no_room_for_rows_that_are_not_there() -> None:
    keys = np.arange(10_000)
    tracemalloc.start()
    try:
        assert len(rows_of_units(keys, max_rows=10**9)) == len(keys)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
