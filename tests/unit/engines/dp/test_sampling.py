from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.sampling import (
    PoissonSampler,
    bound_rows_per_unit,
    entropy_seeded_generator,
    rows_as_units,
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


def test_each_unit_joins_equally_often_and_independently() -> None:
    sampler = PoissonSampler(units=50, sampling_probability=0.2)
    drawn = sampler.draw(5000).units
    joined = np.zeros((5000, 50), dtype=bool)
    step, slot = np.nonzero(drawn >= 0)
    joined[step, drawn[step, slot]] = True
    counts = joined.sum(axis=0)
    spread = ((counts - 1000) ** 2 / (5000 * 0.2 * 0.8)).sum()
    assert stats.chi2.sf(spread, 50) > SIGNIFICANCE
    together = np.corrcoef(joined[:, :10], rowvar=False)[np.triu_indices(10, 1)]
    assert np.abs(together).max() < 6 / np.sqrt(5000)
    later = np.corrcoef(joined[:-1, 0], joined[1:, 0])[0, 1]
    assert abs(later) < 6 / np.sqrt(5000)


def test_no_unit_joins_a_step_twice() -> None:
    drawn = PoissonSampler(units=40, sampling_probability=0.5).draw(200).units
    for row in drawn:
        present = row[row >= 0]
        assert len(present) == len(set(present.tolist()))
        assert present.max(initial=0) < 40


def test_bucket_grows_and_truncates_nothing() -> None:
    sampler = PoissonSampler(units=500, sampling_probability=0.5)
    sampler.bucket = 32
    batches = sampler.draw(50)
    assert sampler.bucket >= batches.sizes.max() > 200
    assert batches.units.shape == (50, sampler.bucket)


def test_probability_one_takes_everyone() -> None:
    batches = PoissonSampler(units=7, sampling_probability=1.0).draw(3)
    assert batches.sizes.tolist() == [7, 7, 7]


def test_two_samplers_differ() -> None:
    first = PoissonSampler(units=1000, sampling_probability=0.1).draw(5).units
    second = PoissonSampler(units=1000, sampling_probability=0.1).draw(5).units
    assert first.shape != second.shape or (first != second).any()


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
    units = bound_rows_per_unit(keys, max_rows=2, generator=entropy_seeded_generator())
    groups = [set(row[row >= 0].tolist()) for row in units.rows]
    assert len(groups) == 4  # two keys and two rows without one
    assert {3, 5} in groups
    assert {4} in groups
    assert {6} in groups
    chosen = next(g for g in groups if g <= {0, 1, 2, 7})
    assert len(chosen) == 2


def test_choice_of_bounded_rows_is_uniform() -> None:
    generator = entropy_seeded_generator()
    counts = np.zeros(5)
    for _ in range(2000):
        counts[
            bound_rows_per_unit(
                np.zeros(5, dtype=np.int64), max_rows=1, generator=generator
            ).rows[0, 0]
        ] += 1
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


def test_rows_as_units_is_one_row_each() -> None:
    assert rows_as_units(3).rows.tolist() == [[0], [1], [2]]
