from __future__ import annotations

import pytest

from privacyhub.web.templatetags.figure_tables import MOST_ROWS, table_of
from privacyhub.web.templatetags.pipeline_layout import layout


def test_table_of_line_thins_long_curves_and_keeps_both_ends() -> None:
    x = list(range(500))
    figure = {"kind": "line", "series": [{"name": "a", "x": x, "y": x}]}
    table = table_of(figure)
    assert table.total == 500
    assert len(table.rows) == MOST_ROWS
    assert table.rows[0] == [0, 0]
    assert table.rows[-1] == [499, 499]


def test_table_of_heatmap_has_a_row_for_each_row() -> None:
    figure = {
        "kind": "heatmap",
        "rows": ["No", "Yes"],
        "columns": ["No", "Yes"],
        "values": [[5, 1], [2, 7]],
        "x": {"title": "predicted"},
        "y": {"title": "True"},
    }
    table = table_of(figure)
    assert table.columns == ["True / predicted", "No", "Yes"]
    assert table.rows == [["No", 5, 1], ["Yes", 2, 7]]


def test_table_of_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="pie"):
        table_of({"kind": "pie"})


def test_layout_opens_a_lane_for_a_version_that_a_run_made() -> None:
    nodes = [
        {"id": "v1", "kind": "version"},
        {"id": "r1", "kind": "run"},
        {"id": "v2", "kind": "version"},
        {"id": "r2", "kind": "run"},
    ]
    drawn = layout(
        nodes=nodes, edges=[("v1", "r1"), ("r1", "v2"), ("v2", "r2"), ("v2", "gone")]
    )
    places = {node.data["id"]: node for node in drawn.nodes}
    assert places["v1"].x == places["v2"].x
    assert places["v2"].y > places["v1"].y
    assert places["r2"].y == places["v2"].y
    assert [edge.back for edge in drawn.edges] == [False, True, False]


def test_layout_of_nothing_is_empty() -> None:
    assert layout(nodes=[], edges=[]).nodes == []
