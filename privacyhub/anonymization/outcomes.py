"""What is kept of a search: figures as JSON, for pages, the API and reports.

    {"schema": 1, "columns": [...], "heights": {...}, "levels": {...}, "score": 0.3,
     "suppressed": 12, "limit": 12, "rows": 600, "optimal": true, "gap": 0.0,
     "checked": 60, "lattice_size": 480, "key": [0.3], "optimum": {...},
     "column_loss": {...},
     "column_loss_in": "metric", "risk": {"before": {...}, "after": {...}},
     "aggregated": [{"column": "age", "function": "mean", "spread_lost": 0.1}],
     "space": {...}, "nodes_total": 60, "explanation": {...}, "what_if": [...],
     "population": "listed", "subset" or null, "joint": {...} or null, "held": false}

`key` is what scores are compared by: more than the score where costs are ranked.
`space` is explained in `solution_space`, `what_if` in `questions`. `column_loss_in` is
"loss" where the metric has no cost of a column. `population`: null where the risk
takes the table itself for it. `spread_lost` is a part of the
column's variance, null where it holds no numbers.

Counts of private rows: steward-only, like the search itself. No cell values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from privacyhub.anonymization import questions, solution_space
from privacyhub.anonymization.sizes import binned
from privacyhub.engines import anonymize as an

SCHEMA = 1
PICKED = "this solution was picked by hand"


def describe(
    *, best: an.Result, chosen: an.Result, answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """The figures of a search (`best`) and of the node that was taken (`chosen`)."""
    told = {
        "schema": SCHEMA,
        "columns": list(chosen.columns),
        "heights": dict(
            zip(chosen.columns, chosen.checker.problem.heights, strict=True)
        ),
        "levels": dict(chosen.levels),
        "score": chosen.score,
        "key": list(chosen.key),
        "rows": chosen.checker.problem.total,
        "suppressed": chosen.suppressed,
        "limit": chosen.checker.limit,
        "optimal": chosen.optimal,
        "gap": chosen.gap,
        "checked": best.checked,
        "lattice_size": best.lattice_size,
        "optimum": {
            "levels": dict(best.levels),
            "score": best.score,
            "key": list(best.key),
            "suppressed": best.suppressed,
            "proved": best.optimal,
        },
        "models": [model.describe() for model in chosen.request.models],
        "metric": chosen.request.metric.describe(),
        "aggregated": _aggregated(chosen, chosen.spread_lost),
        "column_loss": chosen.column_loss,
        "column_loss_in": "metric" if chosen.has_column_cost else "loss",
        "population": _population(chosen),
        "risk": {
            "before": _risk(chosen.risk.before),
            "after": _risk(chosen.risk.after),
        },
        "space": solution_space.kept(best),
        "nodes_total": len(best.nodes),
        "explanation": asdict(an.explain(chosen)),
        "what_if": answers,
    }
    clean: dict[str, Any] = _finite(told)
    return clean


def of_search(outcome: dict[str, Any], *, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What the search of an earlier run says of another node, which is applied now."""
    optimum = earlier["optimum"]
    told = {key: earlier[key] for key in ("checked", "lattice_size", "optimum")}
    if _is_of_another_kind(outcome, earlier):
        told["optimum"] = optimum | {"score": None}
    told |= solution_space.of_earlier(earlier)
    answers = earlier["what_if"]
    if outcome["levels"] != optimum["levels"]:
        answers = questions.because(answers, reason=PICKED)
    optimal = bool(optimum["proved"]) and _is_no_worse(outcome, optimum)
    gap = 0.0 if optimal else _gap(outcome, earlier)
    return {**told, "optimal": optimal, "gap": gap, "what_if": answers}


def _is_of_another_kind(outcome: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    """Whether an earlier run's figure of ranked costs is the mean that it once was."""
    return len(outcome["key"]) > 1 and "key" not in earlier


def _is_no_worse(outcome: Mapping[str, Any], optimum: Mapping[str, Any]) -> bool:
    """Whether a node is as good as the optimum of an earlier run.

    Runs of before kept no key: of ranked costs their figure is another one, and only
    the optimum's own node is known to be as good.
    """
    key, best = outcome["key"], optimum.get("key")
    if best is not None:
        return an.no_worse(_figures(key), than=_figures(best))
    if len(key) > 1:
        return bool(outcome["levels"] == optimum["levels"])
    return bool(outcome["score"] <= optimum["score"] * (1 + 1e-12))


def _figures(key: list[float | None]) -> list[float]:
    return [math.inf if figure is None else figure for figure in key]


def _gap(outcome: Mapping[str, Any], earlier: Mapping[str, Any]) -> float | None:
    """How far a node is from the best; None where a figure is not the other's."""
    if earlier["gap"] is None or _is_of_another_kind(outcome, earlier):
        return None
    lower = earlier["score"] * (1 - earlier["gap"])
    return an.relative_gap(score=outcome["score"], lower=lower)


def of_rounds(local: an.LocalResult, *, columns: list[str]) -> dict[str, Any]:
    """What local recoding made of it; in place of the first round's figures.

    `levels` are the most general of all rounds. There is no one solution space.
    """
    levels = {
        name: max((one[name] for one in local.rounds), default=height)
        for name, height in zip(
            local.first.columns, local.first.checker.problem.heights, strict=True
        )
    }
    losses = local.column_loss
    told = {
        "rounds": [
            {"levels": dict(levels), "rows": rows, "proved": proved}
            for levels, rows, proved in zip(
                local.rounds, local.rows, local.proved, strict=True
            )
        ],
        "levels": levels,
        "score": local.score,
        "key": None,
        "optimal": local.optimal,
        "gap": 0.0 if local.optimal else None,
        "checked": local.checked,
        "optimum": {
            "levels": levels,
            "score": local.score,
            "suppressed": local.suppressed,
            "proved": local.optimal,
        },
        "suppressed": local.suppressed,
        "limit": local.limit,
        "column_loss": losses,
        "aggregated": _aggregated(local.first, local.spread_lost),
        "risk": {
            "before": _risk(local.first.risk.before),
            "after": _risk(an.risk.measure(local.frame, columns)),
        },
        "space": None,
        "nodes_total": 0,
        "explanation": {
            "columns": [],
            "most_costly": max(losses, key=lambda name: losses[name]),
        },
    }
    clean: dict[str, Any] = _finite(told)
    return clean


def _population(result: an.Result) -> str | None:
    """What the risk takes for the population; None for the table itself."""
    models = result.request.models
    if any(model.larger_population() is not None for model in models):
        return "listed"
    return None if result.checker.problem.subset is None else "subset"


def _aggregated(
    result: an.Result, spread_lost: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    return [
        {"column": name, "function": function, "spread_lost": spread_lost[name]}
        for name, function in result.request.aggregates.items()
    ]


def _risk(risk: an.risk.Risk) -> dict[str, Any]:
    told = asdict(risk)
    told["sizes"] = binned(told.pop("histogram"))
    return told


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
