"""What is kept of a search: figures as JSON, for pages, the API and reports.

    {"schema": 1, "columns": [...], "heights": {...}, "levels": {...}, "score": 0.3,
     "suppressed": 12, "limit": 12, "rows": 600, "optimal": true, "gap": 0.0,
     "checked": 60, "lattice_size": 480, "optimum": {...}, "column_loss": {...},
     "risk": {"before": {...}, "after": {...}}, "nodes": [...], "nodes_total": 60,
     "explanation": {...}, "what_if": [...], "joint": {...} or null, "held": false}

Counts of private rows: steward-only, like the search itself. No cell values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from privacyhub.anonymization.sizes import binned
from privacyhub.engines import anonymize as an

SCHEMA = 1
MOST_NODES = 400
LESSER_K = 3
MORE_SUPPRESSION = 0.01


def describe(
    *, best: an.Result, chosen: an.Result, questions: list[dict[str, Any]]
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
            "suppressed": best.suppressed,
            "proved": best.optimal,
        },
        "models": [model.describe() for model in chosen.request.models],
        "metric": chosen.request.metric.describe(),
        "column_loss": chosen.column_loss,
        "risk": {
            "before": _risk(chosen.risk.before),
            "after": _risk(chosen.risk.after),
        },
        "nodes": [_node(node) for node in _some(best)],
        "nodes_total": len(best.nodes),
        "explanation": asdict(an.explain(chosen)),
        "what_if": questions,
    }
    clean: dict[str, Any] = _finite(told)
    return clean


def of_search(outcome: dict[str, Any], *, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What the search of an earlier run says of another node, which is applied now."""
    score, optimum = outcome["score"], earlier["optimum"]
    lower = earlier["score"] * (1 - earlier["gap"])
    optimal = bool(optimum["proved"]) and score <= optimum["score"] * (1 + 1e-12)
    told = {
        key: earlier[key]
        for key in ("checked", "lattice_size", "optimum", "nodes", "nodes_total")
    }
    gap = max(0.0, (score - lower) / score) if score > 0 else 0.0
    return {**told, "optimal": optimal, "gap": 0.0 if optimal else gap}


def of_rounds(
    local: an.LocalResult, *, columns: list[str], limit: float
) -> dict[str, Any]:
    """What local recoding made of it; in place of the first round's figures."""
    after = an.risk.measure(local.frame, columns)
    before = local.first.risk.before
    told = {
        "rounds": [
            {"levels": dict(levels), "rows": rows}
            for levels, rows in zip(local.rounds, local.rows, strict=True)
        ],
        "suppressed": local.suppressed,
        "limit": int(limit * len(local.suppressed_rows) + 1e-9),
        "column_loss": None,
        "risk": {"before": _risk(before), "after": _risk(after)},
        "what_if": [],
    }
    clean: dict[str, Any] = _finite(told)
    return clean


def what_ifs(
    result: an.Result, *, cancelled: Callable[[], bool], time_limit: float
) -> list[dict[str, Any]]:
    """The same search with a lesser k, and with 1% more suppression."""
    asked: list[tuple[dict[str, float], dict[str, Any]]] = []
    models = _with_lesser_k(result)
    if models is not None:
        asked.append(({"k": LESSER_K}, {"models": models}))
    more = result.request.suppression_limit + MORE_SUPPRESSION
    if more <= 1:
        asked.append(({"suppression_limit": more}, {"suppression_limit": more}))
    answers = []
    for change, request in asked:
        try:
            found = an.what_if(
                result, cancelled=cancelled, time_limit=time_limit, **request
            )
        except an.AnonymizeError:
            continue  # it says nothing about the solution that was found
        answers.append(
            {
                "change": change,
                "levels": dict(found.levels),
                "score": found.score,
                "suppressed": found.suppressed,
                "optimal": found.optimal,
            }
        )
    return answers


def _with_lesser_k(result: an.Result) -> list[an.Model] | None:
    """The request's models with k = 3; None where k is not above that."""
    models = result.request.models
    if not any(isinstance(m, an.KAnonymity) and m.k > LESSER_K for m in models):
        return None
    return [
        an.KAnonymity(min(m.k, LESSER_K)) if isinstance(m, an.KAnonymity) else m
        for m in models
    ]


def _risk(risk: an.risk.Risk) -> dict[str, Any]:
    told = asdict(risk)
    told["sizes"] = binned(told.pop("histogram"))
    return told


def _some(result: an.Result) -> list[an.Node]:
    """At most `MOST_NODES` nodes: the best that hold, and others taken evenly."""
    holding = sorted(
        (node for node in result.nodes if node.score is not None),
        key=lambda node: (node.score, node.suppressed),
    )
    others = [node for node in result.nodes if node.score is None]
    kept = holding[: MOST_NODES // 2] + _evenly(
        holding[MOST_NODES // 2 :], MOST_NODES // 4
    )
    return kept + _evenly(others, MOST_NODES - len(kept))


def _evenly(nodes: list[an.Node], count: int) -> list[an.Node]:
    if len(nodes) <= count:
        return nodes
    return [nodes[place * len(nodes) // count] for place in range(count)]


def _node(node: an.Node) -> dict[str, Any]:
    return {
        "levels": list(node.levels),
        "anonymous": bool(node.anonymous),
        "suppressed": int(node.suppressed),
        "score": node.score,
        "bound": node.bound,
    }


def _finite(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: they become null."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
