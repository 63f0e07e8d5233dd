"""Every node that was checked: kept in columns, read as objects, drawn as points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from privacyhub.anonymization import narration, outcomes, solution_space
from privacyhub.engines import anonymize as an
from privacyhub.web import anonymization_space as space
from tests.unit.engines.anonymize import brute_force as bf


def searched(seed: int = 1) -> tuple[an.Result, dict[str, Any]]:
    frame, hierarchies = bf.random_table(
        np.random.default_rng(seed), rows=120, heights=(3, 2, 2)
    )
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(4)],
        suppression_limit=0.1,
    )
    told = outcomes.describe(best=result, chosen=result, answers=[])
    return result, told | {"score_unit": ""}


def test_every_checked_node_is_there_with_its_risk() -> None:
    result, told = searched()
    kept = solution_space.nodes(told)
    assert len(kept) == result.checked == told["nodes_total"]
    assert len({node["anonymous"] for node in kept}) == 2
    for node, found in zip(kept, result.nodes, strict=True):
        assert tuple(node["levels"]) == found.levels
        assert node["score"] == found.score
        assert node["suppressed"] == found.suppressed
        check = result.checker.check(found.levels)
        sizes = check.classes.size[~check.suppressed]
        assert node["smallest"] == (sizes.min() if len(sizes) else 0)
        average = len(sizes) / sizes.sum() if len(sizes) else 0.0
        assert node["average_risk"] == pytest.approx(average)
    best = solution_space.node_at(told, list(result.levels.values()))
    assert best is not None
    assert best["score"] == result.score
    assert solution_space.node_at(told, [99, 0, 0]) is None


def test_too_many_nodes_keep_the_best_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(solution_space, "MOST_NODES", 8)
    result, told = searched()
    kept = solution_space.nodes(told)
    assert len(kept) == 8 < told["nodes_total"]
    assert solution_space.node_at(told, list(result.levels.values())) is not None
    assert f"8 of {told['nodes_total']:,} are kept." in space.summary(told, kept)


def test_runs_of_before_can_be_read_and_are_not_drawn() -> None:
    _, told = searched()
    nodes = solution_space.nodes(told)
    known = ("levels", "anonymous", "suppressed", "score", "bound")
    del told["space"]
    told["nodes"] = [{key: node[key] for key in known} for node in nodes]
    read = solution_space.nodes(told)
    assert [node["score"] for node in read] == [node["score"] for node in nodes]
    assert space.figure(told, read, risk=space.RISKS["average"], pick=True) is None


@pytest.mark.parametrize("risk", list(space.RISKS))
def test_privacy_is_drawn_against_utility(risk: str) -> None:
    _, told = searched()
    nodes = solution_space.nodes(told)
    figure = space.figure(told, nodes, risk=space.RISKS[risk], pick=True)
    assert figure is not None
    assert len(figure["points"]) == len(nodes)
    for point, node in zip(figure["points"], nodes, strict=True):
        assert point["y"] == (node["bound"] if node["score"] is None else node["score"])
        highest = 1 / node["smallest"] if node["smallest"] else 0.0
        assert point["x"] == (node["average_risk"] if risk == "average" else highest)
        assert ("url" in point) == (node["score"] is not None)
    (best,) = [one for one in figure["points"] if one["highlight"]]
    assert best["y"] == told["optimum"]["score"]
    unpicked = space.figure(told, nodes, risk=space.RISKS[risk], pick=False)
    assert unpicked is not None
    assert not any("url" in point for point in unpicked["points"])


def test_many_points_are_drawn_as_few_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(space, "MOST_POINTS", 5)
    monkeypatch.setattr(space, "CELLS", 2)
    _, told = searched()
    nodes = solution_space.nodes(told)
    figure = space.figure(told, nodes, risk=space.RISKS["average"], pick=True)
    assert figure is not None
    points = figure["points"]
    assert len(points) < len(nodes)
    assert len(points) <= 8
    assert sum(one["highlight"] for one in points) == 1
    assert any("more close by" in one["note"] for one in points)
    assert "drawn as one" in space.summary(told, nodes)


def test_a_node_was_fixed_beforehand_only_where_the_policy_fixes_it() -> None:
    _, told = searched()
    one = told | {"checked": 1}
    lines = " ".join(narration.explain(one))
    assert "fixed beforehand" not in lines
    assert "1 was computed" in lines
    assert "fixed beforehand" in " ".join(narration.explain(one | {"fixed": True}))


def test_a_point_says_what_it_stands_for() -> None:
    _, told = searched()
    nodes = solution_space.nodes(told)
    figure = space.figure(told, nodes, risk=space.RISKS["highest"], pick=True)
    assert figure is not None
    assert figure["x"] == {
        "title": "Highest risk of re-identification",
        "percent": True,
    }
    assert figure["y"] == {"title": "Loss", "percent": True}
    for place, (point, node) in enumerate(zip(figure["points"], nodes, strict=True)):
        holds = node["score"] is not None
        levels = zip(told["columns"], node["levels"], strict=True)
        assert point["label"] == ", ".join(f"{name} {level}" for name, level in levels)
        assert point["group"] == (
            "Meets the models" if holds else "Suppresses too many rows"
        )
        assert point.get("url") == (f"?node={place}#another" if holds else None)
        assert f"{node['suppressed']} row" in point["note"]
        size = f"smallest group {node['smallest']}"
        assert (size in point["note"]) == bool(node["smallest"])
        assert ("its loss is at least this" in point["note"]) != holds
        assert ("The best that was found" in point["note"]) == point["highlight"]
    bits = told | {"score_unit": "bits"}
    figure = space.figure(bits, nodes, risk=space.RISKS["highest"], pick=True)
    assert figure is not None
    assert figure["y"] == {"title": "Loss, bits"}


def test_the_point_that_stands_for_others_loses_least_of_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, told = searched()
    nodes = solution_space.nodes(told)
    monkeypatch.setattr(space, "MOST_POINTS", 1)
    monkeypatch.setattr(space, "CELLS", 1)
    figure = space.figure(told, nodes, risk=space.RISKS["average"], pick=True)
    assert figure is not None
    drawn = {one["group"]: one for one in figure["points"]}
    holding = [node["score"] for node in nodes if node["score"] is not None]
    others = [node["bound"] for node in nodes if node["score"] is None]
    assert drawn["Meets the models"]["y"] == min(holding)
    assert drawn["Suppresses too many rows"]["y"] == min(others)
    assert len(figure["points"]) == 2
    assert f"and {len(holding) - 1} more close by" in drawn["Meets the models"]["note"]


@pytest.mark.parametrize(
    "metric",
    [
        an.Discernibility(),
        an.AverageClassSize(),
        an.KLDivergence(),
        an.ClassificationAccuracy("s"),
    ],
)
def test_a_node_of_which_no_loss_is_known_lies_along_the_upper_edge(
    metric: an.Metric,
) -> None:
    frame, hierarchies = bf.random_table(
        np.random.default_rng(4), rows=60, heights=(3, 2, 2)
    )
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(4)],
        suppression_limit=0.1,
        metric=metric,
    )
    told = outcomes.describe(best=result, chosen=result, answers=[])
    told |= {"score_unit": ""}
    nodes = solution_space.nodes(told)
    figure = space.figure(told, nodes, risk=space.RISKS["average"], pick=True)
    assert figure is not None
    assert len(figure["points"]) == len(nodes) == told["checked"]
    assert sum(point["highlight"] for point in figure["points"]) == 1
    unknown = [
        point
        for point, node in zip(figure["points"], nodes, strict=True)
        if node["score"] is None and node["bound"] is None
    ]
    assert unknown
    top = max(point["y"] for point in figure["points"])
    for point in unknown:
        assert point["y"] == top
        assert point["group"] == "Suppresses too many rows"
        assert "its loss is not known" in point["note"]
    assert "along the upper edge" in space.summary(told, nodes)
    _, bounded = searched()
    assert "edge" not in space.summary(bounded, solution_space.nodes(bounded))


def node(number: int, *, score: float | None) -> an.Node:
    return an.Node(
        levels=(number,),
        anonymous=score is not None,
        suppressed=0,
        score=score,
        bound=0.0,
        smallest=1,
        average_risk=1.0,
    )


def test_of_too_many_nodes_the_best_are_kept_and_others_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(solution_space, "MOST_NODES", 8)
    holding = [node(place, score=1 - place / 100) for place in range(20)]
    failing = [node(100 + place, score=None) for place in range(20)]
    kept = [
        one.levels[0] for one in solution_space._some([*holding, *failing], best=(19,))
    ]
    assert kept == [19, 18, 17, 16, 15, 7, 100, 110]


def test_of_too_many_nodes_that_score_the_same_the_optimum_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(solution_space, "MOST_NODES", 4)
    tied = [node(place, score=0.5) for place in range(20)]
    kept = [one.levels for one in solution_space._some(tied, best=(13,))]
    assert (13,) in kept


def test_a_bound_that_is_not_finite_is_none() -> None:
    open_ended = replace(node(0, score=None), bound=-np.inf)
    assert solution_space._figure(open_ended) is None
    assert solution_space._figure(node(0, score=0.5)) == 0.5


@pytest.mark.django_db
def test_the_page_offers_the_best_other_solutions(
    released: Any, steward: Any, client_for: Any
) -> None:
    where = reverse("web:anonymization", args=[released.pk])
    client = client_for(steward)
    page = client.get(where)
    told = released.result
    nodes = solution_space.nodes(told)
    taken = list(told["levels"].values())
    offered = [nodes[one["index"]] for one in page.context["alternatives"]]
    assert offered
    assert all(one["anonymous"] and one["levels"] != taken for one in offered)
    scores = [one["score"] for one in offered]
    others = [
        one["score"] for one in nodes if one["anonymous"] and one["levels"] != taken
    ]
    assert scores == sorted(others)[: len(scores)]
    assert 'aria-current="true">Average risk' in page.content.decode()
    place = page.context["alternatives"][-1]["index"]
    picked = client.get(where, {"node": place, "risk": "highest"})
    assert 'aria-current="true">Highest risk' in picked.content.decode()
    chosen = [column["picked"] for column in picked.context["columns"]]
    assert chosen == nodes[place]["levels"]
    assert [column["level"] for column in picked.context["columns"]] == taken


@pytest.mark.django_db
def test_run_page_and_rest_show_every_node(
    released: Any, steward: Any, client_for: Any, api_for: Any
) -> None:
    api = api_for(steward)
    told = api.get(f"/api/v1/anonymizations/{released.pk}/").data["result"]
    assert "space" not in told
    assert len(told["nodes"]) == told["checked"] == told["nodes_total"]
    best = [n for n in told["nodes"] if n["levels"] == list(told["levels"].values())]
    assert best[0]["score"] == told["score"]
    assert best[0]["smallest"] == told["risk"]["after"]["smallest_class"]
    where = reverse("web:anonymization", args=[released.pk])
    page = client_for(steward).get(where, {"risk": "highest"}).content.decode()
    assert "Highest risk of re-identification" in page
    place = told["nodes"].index(best[0])
    picked = client_for(steward).get(where, {"node": place}).content.decode()
    assert "Picked from the plot" in picked
