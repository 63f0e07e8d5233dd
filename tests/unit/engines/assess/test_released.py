"""Released metrics of several classes and of numbers, against the exact ones."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from privacyhub.engines.assess.histogram import (
    metrics_noise_multiplier,
    score_edges,
)
from privacyhub.engines.assess.metrics import multiclass_metrics, regression_metrics
from privacyhub.engines.assess.noisy_counts import NoisyCounts, interval, with_intervals
from privacyhub.engines.assess.released import (
    bins_of,
    released_multiclass,
    released_regression,
)

ROWS = 6500
TRIALS = 25
COVERED = 20  # of them, at 95%


def scored(classes: int, seed: int, rows: int = ROWS) -> tuple[Any, Any, list[str]]:
    """Probabilities and true classes, which differ in how often they occur."""
    generator = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    truth = generator.choice(classes, size=rows, p=shares)
    logits = generator.normal(size=(rows, classes))
    logits[np.arange(rows), truth] += 1.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores, truth.astype(float), [f"class {k}" for k in range(classes)]


@pytest.mark.parametrize("classes", [3, 12])
def test_released_figures_of_classes_are_close_to_the_exact_ones(classes: int) -> None:
    noise = metrics_noise_multiplier(epsilon=0.5)
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "right_auc")
    errors: dict[str, list[float]] = {name: [] for name in names}
    covered = dict.fromkeys(names, 0)
    for seed in range(TRIALS):
        scores, truth, labels = scored(classes, seed)
        exact = {
            name: figure["value"]
            for name, figure in multiclass_metrics(
                scores, truth, classes=labels, replicates=0
            )["metrics"].items()
        }
        right = scores.argmax(axis=1) == truth
        exact["right_auc"] = roc_auc_score(right, scores.max(axis=1))
        told = released_multiclass(
            scores, truth, classes=labels, noise_multiplier=noise, replicates=100
        )["metrics"]
        for name in names:
            errors[name].append(told[name]["value"] - exact[name])
            covered[name] += told[name]["low"] <= exact[name] <= told[name]["high"]
    assert abs(np.mean(errors["accuracy"])) < 0.004
    assert np.sqrt(np.mean(np.square(errors["accuracy"]))) < 0.012
    assert covered["accuracy"] >= COVERED
    if classes == 3:  # with many classes the bins of the top score are few
        assert np.sqrt(np.mean(np.square(errors["right_auc"]))) < 0.015
        assert all(times >= COVERED for times in covered.values()), covered


def test_released_classes_have_confusion_calibration_and_curves() -> None:
    scores, truth, labels = scored(3, 0)
    told = released_multiclass(scores, truth, classes=labels, noise_multiplier=2.0)
    exact = multiclass_metrics(scores, truth, classes=labels, replicates=0)
    counts = np.array(told["confusion"]["counts"])
    np.testing.assert_allclose(counts, exact["confusion"]["counts"], atol=60)
    roc = told["right"]["roc"]
    assert roc["fpr"] == sorted(roc["fpr"])
    assert (roc["tpr"][0], roc["tpr"][-1]) == (0, pytest.approx(1))
    area = np.trapz(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(told["metrics"]["right_auc"]["value"], abs=0.02)
    for curve, height in (("roc", "tpr"), ("pr", "precision")):
        band = told["right"][curve]
        for low, value, high in zip(
            band["low"], band[height], band["high"], strict=True
        ):
            assert 0 <= low <= value <= high <= 1
    json.dumps(told, allow_nan=False)


def test_calibration_of_the_top_score_covers_the_exact_shares() -> None:
    scores, truth, labels = scored(3, 0)
    right, top = scores.argmax(axis=1) == truth, scores.max(axis=1)
    edges = score_edges(bins_of(3))
    covered = bins = 0
    for _ in range(10):
        told = released_multiclass(
            scores, truth, classes=labels, noise_multiplier=2.0, replicates=30
        )
        for row in told["right"]["calibration"]:
            place = int(np.searchsorted(edges, row["predicted"])) - 1
            inside = (top >= edges[place]) & (top < edges[place + 1])
            covered += row["low"] <= right[inside].mean() <= row["high"]
            bins += 1
    assert bins > 80
    assert covered >= 0.85 * bins


def test_one_row_is_in_one_cell() -> None:
    """Two tables that differ in a row differ by one in a single count."""
    scores, truth, labels = scored(4, 0, rows=50)
    cells = []
    for rows in (50, 49):
        seen: list[Any] = []

        def kept(exact: Any, *, scale: float, seen: list[Any] = seen) -> Any:
            seen.append(exact.copy())
            return exact.astype(float)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("privacyhub.engines.assess.released.laplace_counts", kept)
            released_multiclass(
                scores[:rows], truth[:rows], classes=labels, noise_multiplier=1.0
            )
        assert len(seen) == 1
        cells.append(seen[0])
    assert len(cells[0]) == 16 * bins_of(4)
    assert np.abs(cells[0] - cells[1]).sum() == 1


@pytest.mark.parametrize("classes", [2, 3, 5, 12, 40, 500])
def test_bins_are_even_and_no_more_than_noise_allows(classes: int) -> None:
    bins = bins_of(classes)
    assert bins % 2 == 0
    assert bins == 2 or classes**2 * bins <= 400


def test_released_errors_of_numbers_are_close_to_the_exact_ones() -> None:
    noise = metrics_noise_multiplier(epsilon=0.5)
    covered, errors = 0, []
    for seed in range(TRIALS):
        generator = np.random.default_rng(seed)
        truth = generator.uniform(0, 100, ROWS)
        predicted = truth + generator.normal(0, 12, ROWS)
        exact = regression_metrics(predicted, truth, replicates=0)["metrics"]
        told = released_regression(
            predicted, truth, lower=0, upper=100, noise_multiplier=noise, replicates=100
        )["metrics"]["rmse"]
        errors.append(told["value"] / exact["rmse"]["value"] - 1)
        covered += told["low"] <= exact["rmse"]["value"] * 1.02
    assert abs(np.mean(errors)) < 0.06
    assert covered >= COVERED


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_without_rows_give_a_result(rows: int) -> None:
    scores, truth, labels = scored(3, 0, rows=rows)
    json.dumps(
        released_multiclass(scores, truth, classes=labels, noise_multiplier=9.0),
        allow_nan=False,
    )
    numbers = np.zeros(rows)
    json.dumps(
        released_regression(numbers, numbers, lower=0, upper=1, noise_multiplier=9.0),
        allow_nan=False,
    )


def test_interval_lies_around_the_noisy_figure_and_not_the_cleaned_one() -> None:
    noisy = NoisyCounts(counts=np.array([[1000.0, -100.0]]), scale=1.0)
    assert noisy.cleaned[0, 0] == 900
    told = with_intervals(noisy, lambda counts: [counts[0, 0] / 2000], names=["share"])
    share = told["share"]
    assert share["value"] == 0.5
    assert 0.48 > share["low"] > 0.46
    assert 0.52 < share["high"] < 0.54


def test_a_figure_that_is_nothing_but_noise_is_not_told_as_sure() -> None:
    """Its interval lies below zero; clipped it would be [0, 0]."""
    low = np.full(300, -0.5) + np.linspace(-0.1, 0.1, 300)
    unknown = {"value": None, "low": None, "high": None}
    assert interval(-0.5, low, most=1.0) == unknown
    assert interval(1.5, low + 2, most=1.0) == unknown
    assert interval(-0.05, low + 0.5, most=1.0)["value"] == 0.0
