from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from privacyhub.engines.assess.histogram import (
    metrics_noise_multiplier,
    noisy_score_histogram,
    released_metrics,
    score_edges,
)
from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.dp.count_noise import laplace_counts

ROWS = 6500


def scored(rows: int = ROWS, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.24).astype(float)
    logits = generator.normal(-2.2, 1.6, rows) + 2.9 * labels
    return 1 / (1 + np.exp(-logits)), labels


def test_edges_are_fixed_and_hold_one_half() -> None:
    edges = score_edges()
    assert edges[0] == 0
    assert edges[-1] == 1
    assert 0.5 in edges
    assert (np.diff(edges) > 0).all()


def test_histogram_costs_the_epsilon_that_was_asked() -> None:
    noise = metrics_noise_multiplier(epsilon=0.2)
    histogram = noisy_score_histogram(*scored(100), noise_multiplier=noise)
    assert epsilon(histogram.event, delta=1e-6) == pytest.approx(0.2, abs=2e-3)


def test_noise_follows_the_laplace_law_of_its_scale() -> None:
    noise = laplace_counts(np.full(20_000, 3), scale=7.0) - 3
    assert stats.kstest(noise, stats.laplace(scale=7.0).cdf).pvalue > 1e-6


def test_one_row_changes_one_cell_by_one() -> None:
    # With hardly any noise against the counts, cells follow the exact histogram.
    scores, labels = scored(200_000)
    histogram = noisy_score_histogram(scores, labels, noise_multiplier=2.0)
    exact = np.stack(
        [np.histogram(scores[labels == k], bins=histogram.edges)[0] for k in (0, 1)]
    )
    assert np.abs(histogram.counts - exact).max() < 2.0 * 30


@pytest.mark.parametrize("budget", [0.2, 0.5])
def test_released_auc_is_close_to_the_exact_one(budget: float) -> None:
    noise = metrics_noise_multiplier(epsilon=budget)
    errors, covered = [], 0
    for seed in range(25):
        scores, labels = scored(seed=seed)
        exact = roc_auc_score(labels, scores)
        released = released_metrics(
            noisy_score_histogram(scores, labels, noise_multiplier=noise),
            replicates=100,
        )["metrics"]["auc"]
        errors.append(released["value"] - exact)
        covered += released["low"] <= exact <= released["high"]
    assert np.sqrt(np.mean(np.square(errors))) < (0.012 if budget < 0.3 else 0.006)
    assert covered >= 20


def test_released_accuracy_and_confusion_are_close() -> None:
    scores, labels = scored()
    result = released_metrics(
        noisy_score_histogram(
            scores,
            labels,
            noise_multiplier=metrics_noise_multiplier(epsilon=0.5),
        )
    )
    exact = ((scores >= 0.5) == labels).mean()
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(exact, abs=0.03)
    cells = np.array(result["confusion"]["counts"]) / ROWS
    assert cells.sum() == pytest.approx(1, abs=0.05)
    assert (cells >= 0).all()
    for curve in ("fpr", "tpr"):
        values = result["roc"][curve]
        assert values == sorted(values)
        assert values[-1] == pytest.approx(1)
    json.dumps(result, allow_nan=False)


def test_curves_have_bands_that_hold_the_exact_ones() -> None:
    scores, labels = scored()
    held = points = 0
    for _ in range(10):
        histogram = noisy_score_histogram(scores, labels, noise_multiplier=5.0)
        roc = released_metrics(histogram, replicates=100)["roc"]
        thresholds = histogram.edges[::-1]
        exact = [(scores[labels == 1] >= edge).mean() for edge in thresholds]
        for low, value, high, truth in zip(
            roc["low"], roc["tpr"], roc["high"], exact, strict=True
        ):
            assert 0 <= low <= value <= high <= 1
            held += low <= truth <= high
            points += 1
        middle = len(thresholds) // 2
        assert roc["high"][middle] - roc["low"][middle] > 0.01
    assert held >= 0.85 * points


def test_interval_widens_with_the_rows_that_a_unit_may_bring() -> None:
    scores, labels = scored(20_000)
    widths = []
    for rows in (1, 9):
        # The noise of a cell is the same: it is scaled by the rows of a unit.
        histogram = noisy_score_histogram(
            scores, labels, noise_multiplier=0.9 / rows, max_rows_per_unit=rows
        )
        auc = released_metrics(histogram)["metrics"]["auc"]
        widths.append(auc["high"] - auc["low"])
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.3)


def test_noise_grows_with_the_rows_of_a_unit() -> None:
    one = noisy_score_histogram(*scored(100), noise_multiplier=3.0)
    four = noisy_score_histogram(
        *scored(100), noise_multiplier=3.0, max_rows_per_unit=4
    )
    assert four.deviation == 4 * one.deviation == pytest.approx(12 * 2**0.5)
    assert one.event == four.event


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_tables_without_rows_or_with_one_class_give_a_result(label: float) -> None:
    for rows in (0, 2000):
        histogram = noisy_score_histogram(
            np.full(rows, 0.3), np.full(rows, label), noise_multiplier=20.0
        )
        json.dumps(released_metrics(histogram, replicates=30), allow_nan=False)


def test_rows_that_are_not_finite_are_not_counted() -> None:
    histogram = noisy_score_histogram(
        np.array([np.nan, 0.2]), np.array([1.0, np.nan]), noise_multiplier=2.0
    )
    assert abs(histogram.counts.sum()) < 2.0 * 1.5 * 8 * 8
