"""The figures of an anonymization run, from the JSON that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.anonymization import narration

Outcome = Mapping[str, Any]


def column_loss(outcome: Outcome) -> dict[str, Any] | None:
    """Detail lost by column, the costliest first; None where the metric has none."""
    losses = outcome["column_loss"]
    if not losses:
        return None
    bits = narration.in_bits(outcome)
    ranked = sorted(losses.items(), key=lambda item: item[1])
    return {
        "kind": "bar",
        "horizontal": True,
        "categories": [name for name, _ in ranked],
        "series": [{"name": "Lost", "values": [loss for _, loss in ranked]}],
        "x": (
            {"title": "Bits lost"}
            if bits
            else {"title": "Detail lost", "percent": True, "range": [0, 1]}
        ),
        "y": {"title": "Column"},
    }


def class_sizes(outcome: Outcome) -> dict[str, Any]:
    """Rows by the size of their group, before and after."""
    before, after = outcome["risk"]["before"], outcome["risk"]["after"]
    return {
        "kind": "histogram",
        "bins": [one["size"] for one in before["sizes"]],
        "series": [
            {"name": "Before", "counts": [one["rows"] for one in before["sizes"]]},
            {"name": "After", "counts": [one["rows"] for one in after["sizes"]]},
        ],
        "x": {"title": "Rows that look the same"},
        "y": {"title": "Rows"},
    }


def utility(outcome: Outcome) -> dict[str, Any] | None:
    """What is left of each column, the least first; None for runs of long ago."""
    told = outcome.get("utility")
    if not told or not told["columns"]:
        return None
    ranked = sorted(told["columns"], key=lambda one: -one["kept"])
    return {
        "kind": "bar",
        "horizontal": True,
        "categories": [one["column"] for one in ranked],
        "series": [{"name": "Left", "values": [one["kept"] for one in ranked]}],
        "x": {"title": "Information left", "percent": True, "range": [0, 1]},
        "y": {"title": "Column"},
    }


def report_sizes(report: Any) -> dict[str, Any]:
    """Rows by the size of their group; for a release, before and after."""
    series = [{"name": "Now", "counts": [one["rows"] for one in report.sizes]}]
    if report.sizes_before is not None:
        before = [one["rows"] for one in report.sizes_before]
        series = [{"name": "Before", "counts": before}, series[0] | {"name": "After"}]
    return {
        "kind": "histogram",
        "bins": [one["size"] for one in report.sizes],
        "series": series,
        "x": {"title": "Rows that look the same"},
        "y": {"title": "Rows"},
    }


def column_shares(shares: Mapping[str, float]) -> dict[str, Any] | None:
    """How often each column takes part in a minimal unique set."""
    ranked = sorted(shares.items(), key=lambda item: item[1])
    if not any(share for _, share in ranked):
        return None
    return {
        "kind": "bar",
        "horizontal": True,
        "categories": [name for name, _ in ranked],
        "series": [{"name": "Takes part", "values": [share for _, share in ranked]}],
        "x": {"title": "Of all minimal unique sets", "percent": True, "range": [0, 1]},
        "y": {"title": "Column"},
    }
