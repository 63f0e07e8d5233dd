"""Utility against epsilon: of a sweep's runs, and simulated before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from privacyhub.assessment.metric_names import NAMES
from privacyhub.assessment.sweep_results import SweepResult
from privacyhub.training.curves import Curve
from privacyhub.web.model_figures import Figure

EXACT = "Exact, not covered by the guarantee"


def sweep(results: Sequence[SweepResult], *, measure: str) -> Figure | None:
    """Released figures with their intervals; exact ones where the user may see them."""
    private = [one for one in results if one.epsilon]
    series = [
        _series("Released", [(o, o.released) for o in private]),
        _series(EXACT, [(o, o.exact) for o in private]),
    ]
    drawn = [one for one in series if one is not None]
    if not drawn:
        return None
    bare = next((o for o in results if not o.epsilon), None)
    lines = []
    if bare and bare.released:
        lines.append({"y": bare.released["value"], "label": "Without privacy"})
    figure: Figure = {
        "kind": "line",
        "x": {"title": "Epsilon of the training", "log": True},
        "y": {"title": NAMES[measure]},
        "series": drawn,
        "hlines": lines,
    }
    if measure != "rmse":
        # Not fitted to the points: a hair's breadth would look like a lead.
        told = [low for one in drawn for low in one["lower"]]
        told += [line["y"] for line in lines]
        figure["y"]["range"] = [min(0.5, *told), 1]
    return figure


def _series(
    name: str, pairs: Sequence[tuple[SweepResult, Any]]
) -> dict[str, Any] | None:
    known = [(one, figure) for one, figure in pairs if figure]
    if not known:
        return None
    bounds = {"lower": "low", "upper": "high"}
    return {
        "name": name,
        "x": [float(one.epsilon) for one, _ in known],
        "y": [figure["value"] for _, figure in known],
        "markers": True,
        "dash": name == EXACT,
    } | {
        side: [_known(figure.get(key), figure["value"]) for _, figure in known]
        for side, key in bounds.items()
    }


def _known(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def simulated(curve: Curve) -> Figure:
    """A recipe's curve on simulated rows. No figure of it is of the private table."""
    points = curve.points
    chosen = next(point for point in points if point.chosen)
    reached = [point.simulated for point in points]
    reference = curve.without_noise.value
    return {
        "kind": "line",
        "x": {"title": "Epsilon", "log": True},
        "y": {
            "title": f"{curve.simulation.measure} on simulated rows",
            "range": [min(0.4, *(p.low for p in reached)), 1],
        },
        "series": [
            {
                "name": "Simulated",
                "x": [round(point.epsilon, 4) for point in points],
                "y": [round(one.value, 4) for one in reached],
                "lower": [round(one.low, 4) for one in reached],
                "upper": [round(one.high, 4) for one in reached],
                "markers": True,
            }
        ],
        "hlines": [{"y": round(reference, 4), "label": "Without noise"}],
        "vlines": [{"x": round(chosen.epsilon, 4), "label": "This run"}],
    }
