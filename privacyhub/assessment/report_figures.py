"""The figures of a model's report: machine-readable, and as charts.

The epsilon of a model is that of whoever paid more. Training units pay for DP
statistics and training, held-out units for the released metrics; one coin a unit puts
each person on one side, so the total is the larger of the two. Where a unit
may be on the other side elsewhere, both are charged to all units and add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from privacyhub.assessment.metric_names import NAMES, OF_GROUPS
from privacyhub.assessment.models import Assessment, GroupAssessment
from privacyhub.assessment.report_fields import exact, odds_of_100, share
from privacyhub.governance.models import Part
from privacyhub.training.models import ModelVersion, Privacy

# What a machine-readable report always names, null where the task has no such figure.
_ALWAYS = (
    "auc",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "average_precision",
    "log_loss",
    "mae",
    "rmse",
    "r2",
)
_MOST_POINTS = 65
_ODDS_AT = ("0.1", "0.25", "0.5", "1", "1.5", "2", "3", "4", "6", "8")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The epsilons of a model version as decimal strings; None where none is known.

    why_all: why the two sides add up; older runs do not say it.
    """

    training: str | None
    metrics: str | None
    total: str | None
    delta: str | None
    parallel: bool
    why_all: str


def is_private(model_version: ModelVersion) -> bool:
    return model_version.run.privacy == Privacy.DP


def loss_of(model_version: ModelVersion) -> Loss:
    """What the model and its released metrics cost whom."""
    run = model_version.run
    guarantee = model_version.guarantee
    private = is_private(model_version)
    training = exact(guarantee.get("epsilon")) if private else None
    paid = [
        Decimal(assessment.epsilon)
        for assessment in readings(model_version)
        if assessment.epsilon
    ]
    metrics = exact(sum(paid, Decimal(0))) if paid else None
    parallel = run.plan.get("part_train", Part.TRAIN) != Part.ALL
    sides = [Decimal(side) for side in (training, metrics) if side is not None]
    total = None
    if training is not None:
        total = exact(max(sides) if parallel else sum(sides, Decimal(0)))
    return Loss(
        training=training,
        metrics=metrics,
        total=total,
        delta=exact(guarantee.get("delta")) if private else None,
        parallel=parallel,
        why_all=run.plan.get("why_all", ""),
    )


def readings(model_version: ModelVersion) -> list[Assessment | GroupAssessment]:
    """Every time the held-out units were read: for metrics and for errors by group."""
    return [*model_version.assessments.all(), *model_version.group_assessments.all()]


def latest_released(model_version: ModelVersion) -> Assessment | None:
    """The newest assessment with metrics that may leave stewards."""
    found = (one for one in model_version.assessments.all() if one.released)
    return next(found, None)


def released_of(assessment: Assessment | None) -> dict[str, Any]:
    return dict(assessment.released) if assessment else {}


def metric_rows(released: Mapping[str, Any]) -> list[list[str]]:
    """Each released metric with its interval: name, value, low, high."""
    rows = []
    for name, told in (released.get("metrics") or {}).items():
        value = share(told.get("value"))
        if value is not None:
            low, high = share(told.get("low")), share(told.get("high"))
            rows.append([NAMES.get(name, name), value, low or "", high or ""])
    return rows


def group_rows(model_version: ModelVersion) -> list[list[str]]:
    """Each released figure: column, group, noisy rows, name, value, low, high."""
    return [
        [
            found.column,
            group["group"],
            exact(group["rows"]) or "",
            OF_GROUPS.get(name, name),
            *(share(told.get(part)) or "" for part in ("value", "low", "high")),
        ]
        for found in model_version.group_assessments.all()
        for group in found.released
        for name, told in group["metrics"].items()
    ]


def machine_readable(
    *, loss: Loss, released: Mapping[str, Any], totals: Mapping[str, str | None]
) -> dict[str, Any]:
    """`content["figures"]`: decimal strings, null where there is nothing to tell."""
    told: dict[str, Any] = {
        "epsilon_training": loss.training,
        "epsilon_metrics": loss.metrics,
        "epsilon": loss.total,
        "delta": loss.delta,
        "odds_of_100": odds_of_100(loss.total),
    }
    metrics = released.get("metrics") or {}
    for name in dict.fromkeys([*_ALWAYS, *metrics]):
        figure = metrics.get(name) or {}
        told[f"{name}_released"] = share(figure.get("value"))
        if figure:
            told[f"{name}_released_low"] = share(figure.get("low"))
            told[f"{name}_released_high"] = share(figure.get("high"))
    return told | {f"ledger_{name}": value for name, value in totals.items()}


def charts(*, loss: Loss, released: Mapping[str, Any]) -> dict[str, Any]:
    """Figures for pages and the PDF. Released values only."""
    told: dict[str, Any] = {"odds": _odds_chart(loss)}
    roc = released.get("roc") or {}
    if roc.get("fpr") and roc.get("tpr"):
        told["roc"] = {
            "kind": "line",
            "x": {"title": "False positive rate", "range": [0, 1], "percent": True},
            "y": {"title": "True positive rate", "range": [0, 1], "percent": True},
            "series": [
                {
                    "name": "Released, with noise",
                    "x": _points(roc["fpr"]),
                    "y": _points(roc["tpr"]),
                }
            ],
            "diagonal": True,
        }
    return told


def _points(values: Sequence[float]) -> list[str]:
    """At most `_MOST_POINTS` of them, evenly, both ends included."""
    count = min(len(values), _MOST_POINTS)
    places = [round(i * (len(values) - 1) / max(1, count - 1)) for i in range(count)]
    return [share(values[place]) or "0" for place in places]


def _odds_chart(loss: Loss) -> dict[str, Any]:
    at = sorted(set(_ODDS_AT) | ({loss.total} if loss.total else set()), key=Decimal)
    figure: dict[str, Any] = {
        "kind": "line",
        "x": {"title": "Epsilon", "range": [0, 8]},
        "y": {"title": "Right at most, of 100", "range": [50, 100]},
        "series": [
            {
                "name": "An attacker who starts from a coin flip",
                "x": ["0", *at],
                "y": ["50", *(_bare(odds_of_100(epsilon)) for epsilon in at)],
            }
        ],
    }
    if loss.total and Decimal(loss.total) <= 8:
        figure["marks"] = [
            {
                "x": loss.total,
                "y": _bare(odds_of_100(loss.total)),
                "label": "This model",
            }
        ]
    return figure


def _bare(odds: str | None) -> str:
    return (odds or "50").removeprefix("more than ")
