"""Figures of models for the charts: dicts that `static/hub/charts.js` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.urls import reverse

from privacyhub.assessment.metric_names import NAMES
from privacyhub.assessment.models import Assessment
from privacyhub.training.models import ModelVersion

Figure = dict[str, Any]
Metrics = Mapping[str, Any]

# What a task's models are compared by; a regression's error has its target's unit.
UTILITY = {"binary": "auc", "multiclass": "accuracy"}


def metric_rows(released: Metrics, exact: Metrics | None) -> list[dict[str, Any]]:
    """A row a metric, with its released and, for stewards, its exact figure."""
    told = released.get("metrics", {})
    known = (exact or {}).get("metrics", {})
    names = [name for name in NAMES if name in told or name in known]
    return [
        {"name": NAMES[name], "released": told.get(name), "exact": known.get(name)}
        for name in names
    ]


def roc(metrics: Metrics) -> Figure | None:
    curve = metrics.get("roc") or {}
    figure = _curve(
        curve.get("fpr"),
        curve.get("tpr"),
        x="False positive rate",
        y="True positive rate",
        diagonal=True,
    )
    return _banded(figure, curve)


def precision_recall(metrics: Metrics) -> Figure | None:
    curve = metrics.get("pr") or {}
    figure = _curve(
        curve.get("recall"), curve.get("precision"), x="Recall", y="Precision"
    )
    return _banded(figure, curve)


def _banded(figure: Figure | None, curve: Mapping[str, Any]) -> Figure | None:
    """The curve with its 95% interval, where it has one."""
    if figure and curve.get("low"):
        figure["series"][0] |= {"lower": curve["low"], "upper": curve["high"]}
    return figure


def calibration(metrics: Metrics) -> Figure | None:
    """Observed share against predicted probability."""
    rows = metrics.get("calibration") or []
    figure = _curve(
        [row["predicted"] for row in rows],
        [row["observed"] for row in rows],
        x="Predicted probability",
        y="Observed share",
        diagonal=True,
    )
    if figure and all("low" in row for row in rows):
        figure["series"][0] |= {
            "lower": [row["low"] for row in rows],
            "upper": [row["high"] for row in rows],
        }
    if figure:
        figure["series"][0]["markers"] = True
    return figure


def confusion(metrics: Metrics) -> Figure | None:
    table = metrics.get("confusion")
    if not table:
        return None
    return {
        "kind": "heatmap",
        "rows": table["labels"],
        "columns": table["labels"],
        "values": table["counts"],
        "texts": [[f"{cell:,}" for cell in row] for row in table["counts"]],
        "x": {"title": "Predicted"},
        "y": {"title": "True"},
    }


def charts(metrics: Metrics, *, prefix: str, note: str) -> list[dict[str, Any]]:
    """The charts that these metrics have, each with an id and a summary."""
    right = metrics.get("right") or {}  # of several classes: was the answer right
    drawn = (
        ("roc", "ROC curve", roc(metrics)),
        ("pr", "Precision and recall", precision_recall(metrics)),
        ("confusion", "Confusion matrix", confusion(metrics)),
        ("calibration", "Calibration", calibration(metrics)),
        ("right-roc", "ROC curve of right answers", roc(right)),
        ("right-pr", "Precision and recall of right answers", precision_recall(right)),
        ("right-calibration", "Calibration of the top class", calibration(right)),
    )
    return [
        {"id": f"{prefix}-{key}", "title": title, "figure": figure, "summary": note}
        for key, title, figure in drawn
        if figure is not None
    ]


def epsilon_over_steps(
    plan: Mapping[str, Any], *, charged: int | None = None
) -> Figure | None:
    """What the training units pay by each block of steps.

    charged: the steps of a run that were charged so far, where the line ends; its axes
    are those of the whole run.
    """
    table = plan.get("epsilon_table") or []
    rows = [row for row in table if charged is None or row["step"] <= charged]
    if not rows:
        return None
    whole = table[-1]
    return {
        "kind": "line",
        "x": {"title": "Steps charged", "range": [0, whole["step"]]},
        "y": {
            "title": "Epsilon spent",
            "range": [0, math.ceil(10 * whole["epsilon"]) / 10],
        },
        "series": [
            {
                "name": "Epsilon",
                "x": [row["step"] for row in rows],
                "y": [round(row["epsilon"], 4) for row in rows],
            }
        ],
    }


def loss(model_version: ModelVersion) -> Figure | None:
    """The training loss, where it is a number; only of runs without privacy."""
    values = model_version.loss_curve
    known = [(k + 1, loss) for k, loss in enumerate(values) if loss is not None]
    if not known:
        return None
    return {
        "kind": "line",
        "x": {"title": "Share of the run", "percent": True},
        "y": {"title": "Mean loss"},
        "series": [
            {
                "name": "Loss",
                "x": [place / len(values) for place, _ in known],
                "y": [loss for _, loss in known],
            }
        ],
    }


def utility(assessment: Assessment | None, task: str) -> dict[str, Any] | None:
    """The released figure that models of a task are compared by."""
    name = UTILITY.get(task)
    if assessment is None or name is None:
        return None
    found = assessment.released.get("metrics", {}).get(name)
    return found if found and found["value"] is not None else None


def leaderboard(entries: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Released utility against epsilon; models without privacy are level lines."""
    points, lines = [], []
    for entry in entries:
        figure, version = entry["utility"], entry["version"]
        if figure is None:
            continue
        if not entry["epsilon"]:
            lines.append({"y": figure["value"], "label": f"{version}, no privacy"})
            continue
        points.append(
            {
                "x": float(entry["epsilon"]),
                "y": figure["value"],
                "label": str(version),
                "group": "AUC" if version.model.task == "binary" else "Accuracy",
                "url": reverse("web:model_version", args=[version.pk]),
                "highlight": entry.get("compared", False),
            }
        )
    if not points:
        return None
    return {
        "kind": "scatter",
        "x": {"title": "Epsilon of the training", "log": True},
        "y": {
            "title": "Released AUC, or accuracy of several classes",
            # Not fitted to the points: a hair's breadth would look like a lead.
            "range": [min(0.5, *(point["y"] for point in points)), 1],
        },
        "points": points,
        "hlines": lines,
        "labels": len(points) <= 12,
    }


def _curve(
    x_values: Sequence[float] | None,
    y_values: Sequence[float] | None,
    *,
    x: str,
    y: str,
    diagonal: bool = False,
) -> Figure | None:
    if not x_values or not y_values:
        return None
    figure: Figure = {
        "kind": "line",
        "x": {"title": x, "range": [0, 1]},
        "y": {"title": y, "range": [0, 1]},
        "series": [{"name": y, "x": list(x_values), "y": list(y_values)}],
    }
    if diagonal:
        figure["diagonal"] = True
    return figure
