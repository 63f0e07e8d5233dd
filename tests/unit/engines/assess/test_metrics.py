from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from privacyhub.engines.assess.metrics import (
    binary_metrics,
    multiclass_metrics,
    regression_metrics,
)


def scored(rows: int = 1500, seed: int = 0, decimals: int = 2):
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.3).astype(float)
    scores = 1 / (1 + np.exp(-(generator.normal(size=rows) + 1.5 * labels - 1)))
    return np.round(scores, decimals), labels


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_binary_metrics_equal_scikit_learns(decimals: int) -> None:
    scores, labels = scored(decimals=decimals)
    values = binary_metrics(scores, labels)["metrics"]
    predicted = scores >= 0.5
    expected = {
        "accuracy": reference.accuracy_score(labels, predicted),
        "precision": reference.precision_score(labels, predicted),
        "recall": reference.recall_score(labels, predicted),
        "f1": reference.f1_score(labels, predicted),
        "auc": reference.roc_auc_score(labels, scores),
        "average_precision": reference.average_precision_score(labels, scores),
        "brier": reference.brier_score_loss(labels, scores),
    }
    for name, value in expected.items():
        assert values[name]["value"] == pytest.approx(value, rel=1e-9), name
        assert values[name]["low"] <= value <= values[name]["high"]


def test_confusion_and_curves_are_those_of_the_rows() -> None:
    scores, labels = scored()
    result = binary_metrics(scores, labels)
    np.testing.assert_array_equal(
        result["confusion"]["counts"], reference.confusion_matrix(labels, scores >= 0.5)
    )
    area = np.trapz(result["roc"]["tpr"], result["roc"]["fpr"])
    assert area == pytest.approx(result["metrics"]["auc"]["value"], abs=2e-3)
    assert sum(row["rows"] for row in result["calibration"]) == len(labels)


def test_interval_of_auc_covers_the_truth_about_as_often_as_it_says() -> None:
    # AUC of two unit normals 1.5 apart.
    truth = 0.5 * math.erfc(-1.5 / 2)
    covered = 0
    for seed in range(60):
        scores, labels = scored(400, seed, decimals=12)
        auc = binary_metrics(scores, labels, replicates=100)["metrics"]["auc"]
        covered += auc["low"] <= truth <= auc["high"]
    assert covered >= 48


def test_one_class_gives_no_auc_and_no_error() -> None:
    result = binary_metrics(np.array([0.1, 0.9]), np.array([0.0, 0.0]))
    assert result["metrics"]["auc"]["value"] is None
    assert result["metrics"]["accuracy"]["value"] == 0.5
    json.dumps(result, allow_nan=False)


def test_rows_without_a_label_or_score_are_left_out() -> None:
    scores, labels = scored(200)
    more_scores = np.concatenate([scores, [0.5, np.nan]])
    more_labels = np.concatenate([labels, [np.nan, 1.0]])
    assert (
        binary_metrics(more_scores, more_labels)["metrics"]
        == binary_metrics(scores, labels)["metrics"]
    )


def test_no_rows_give_no_figures() -> None:
    result = binary_metrics(np.zeros(0), np.zeros(0))
    assert all(m["value"] is None for m in result["metrics"].values())


def test_multiclass_metrics_equal_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    codes = generator.integers(3, size=900)
    logits = generator.normal(size=(900, 3))
    logits[np.arange(900), codes] += 1
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = scores.argmax(axis=1)
    result = multiclass_metrics(scores, codes, classes=("a", "b", "c"))
    values = {name: m["value"] for name, m in result["metrics"].items()}
    assert values["accuracy"] == pytest.approx((predicted == codes).mean())
    assert values["macro_f1"] == pytest.approx(
        reference.f1_score(codes, predicted, average="macro")
    )
    assert values["macro_recall"] == pytest.approx(
        reference.recall_score(codes, predicted, average="macro")
    )
    assert values["macro_auc"] == pytest.approx(
        reference.roc_auc_score(codes, scores, multi_class="ovr")
    )
    macro = result["metrics"]["macro_auc"]
    assert macro["low"] < macro["value"] < macro["high"]
    np.testing.assert_array_equal(
        result["confusion"]["counts"], reference.confusion_matrix(codes, predicted)
    )
    json.dumps(result, allow_nan=False)


def test_regression_metrics_equal_scikit_learns() -> None:
    generator = np.random.default_rng(2)
    truth = generator.normal(size=500)
    predicted = truth + generator.normal(scale=0.5, size=500)
    values = regression_metrics(predicted, truth)["metrics"]
    assert values["r2"]["value"] == pytest.approx(reference.r2_score(truth, predicted))
    assert values["mae"]["value"] == pytest.approx(
        reference.mean_absolute_error(truth, predicted)
    )
    assert values["rmse"]["value"] == pytest.approx(
        reference.root_mean_squared_error(truth, predicted)
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_interval_is_over_units_and_not_over_their_rows(task: str) -> None:
    generator = np.random.default_rng(3)
    rows, copies = 300, 5

    def told(repeated: int, units: bool) -> dict[str, dict[str, float]]:
        own = np.repeat(np.arange(rows), repeated) if units else None
        if task == "binary":
            scores, labels = (np.repeat(one, repeated) for one in scored(rows))
            return binary_metrics(scores, labels, units=own)["metrics"]
        codes = np.repeat(classes, repeated)
        if task == "regression":
            guesses = np.repeat(numbers, repeated)
            return regression_metrics(guesses, codes, units=own)["metrics"]
        shares = np.repeat(probabilities, repeated, axis=0)
        names = ("a", "b", "c")
        return multiclass_metrics(shares, codes, classes=names, units=own)["metrics"]

    classes = generator.integers(3, size=rows).astype(float)
    numbers = classes + generator.normal(size=rows)
    probabilities = generator.dirichlet(np.ones(3), size=rows)
    once, again = told(1, units=True), told(copies, units=True)
    narrow = told(copies, units=False)
    for name, figure in once.items():
        assert again[name] == pytest.approx(figure, rel=1e-9), name
        width = figure["high"] - figure["low"]
        assert narrow[name]["high"] - narrow[name]["low"] < 0.6 * width, name


def test_rows_without_a_key_are_units_of_their_own() -> None:
    scores, labels = scored(400)
    apart = binary_metrics(scores, labels, units=np.full(400, -1))["metrics"]
    assert apart == binary_metrics(scores, labels)["metrics"]
    together = binary_metrics(scores, labels, units=np.zeros(400, dtype=np.int64))
    auc = together["metrics"]["auc"]
    assert auc["low"] == auc["high"] == auc["value"]
