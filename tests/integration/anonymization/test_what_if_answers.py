"""What k = 3 or 1% more suppression would give: answered, or said why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jobs.tasks import anonymize_search
from privacyhub.anonymization import (
    narration,
    outcomes,
    questions,
    services,
    solution_space,
)
from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf


def searched(
    *models: an.Model, limit: float = 0.1, metric: an.Metric | None = None
) -> an.Result:
    frame, hierarchies = bf.random_table(
        np.random.default_rng(4), rows=80, heights=(2, 2, 1)
    )
    return an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=models or [an.KAnonymity(6)],
        suppression_limit=limit,
        metric=metric,
    )


def told(result: an.Result, answers: list[dict[str, Any]], **more: Any) -> str:
    outcome = outcomes.describe(best=result, chosen=result, answers=answers)
    return " ".join(narration.explain(outcome | more))


def answered(result: an.Result) -> list[dict[str, Any]]:
    return questions.answered(result, cancelled=lambda: False, time_limit=60)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (searched(an.KAnonymity(3)), "What k = 3 would give was not computed: k is 3"),
        (searched(an.KAnonymity(2)), "k is 2 already"),
        (searched(an.DistinctLDiversity("s", 2)), "no k-anonymity is asked for"),
        (searched(limit=1.0), "all rows may be suppressed already"),
    ],
)
def test_a_question_that_is_moot_says_so(result: an.Result, says: str) -> None:
    assert says in told(result, answered(result))


def test_both_questions_are_answered_or_share_a_reason() -> None:
    result = searched()
    lines = told(result, answered(result))
    assert "With k = 3, the" in lines
    assert "With a suppression limit of 11.0%, the" in lines
    lines = told(result, questions.unanswered(result, reason="it rains"))
    assert (
        "What k = 3 and a suppression limit of 11.0% would give was not computed: it "
        "rains." in lines
    )


def test_an_answer_that_is_not_proved_is_a_bound() -> None:
    result = searched()
    answers = answered(result)
    answers[0] |= {"optimal": False, "score": result.score / 2}
    assert "With k = 3, the loss would be at most" in told(result, answers)


def test_a_question_that_ran_out_of_time_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late(*_: Any, **__: Any) -> None:
        raise an.AnonymizeTimeout("late")

    monkeypatch.setattr(an, "what_if", late)
    result = searched()
    lines = told(result, answered(result))
    assert "no solution was found within 60 seconds" in lines


def test_a_question_without_a_solution_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise an.AnonymizeError("no")

    monkeypatch.setattr(an, "what_if", none)
    result = searched()
    assert "not computed: there is no solution" in told(result, answered(result))


def test_a_question_changes_one_thing_and_keeps_to_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    def noted(result: an.Result, **changes: Any) -> an.Result:
        asked.append(changes)
        return result

    def stop() -> bool:
        return False

    monkeypatch.setattr(an, "what_if", noted)
    diverse = an.DistinctLDiversity("s", 2)
    result = searched(an.KAnonymity(6), diverse, limit=0.995)
    questions.answered(result, cancelled=stop, time_limit=7)
    limits = {"cancelled": stop, "time_limit": 7}
    assert asked == [
        {"models": [an.KAnonymity(3), diverse]} | limits,
        {"suppression_limit": 1.0} | limits,
    ]


def test_the_same_solution_is_called_the_same() -> None:
    result = searched()
    same = {
        "change": {"k": 3},
        "levels": dict(result.levels),
        "score": result.score,
        "suppressed": result.suppressed,
        "optimal": True,
    }
    assert "With k = 3, the solution would be the same." in told(result, [same])
    assert "would be the same" not in told(result, [same | {"optimal": False}])
    worse = same | {"score": result.score + 0.1}
    assert "would be the same" not in told(result, [worse])


@pytest.mark.parametrize(
    "metric",
    [
        an.Discernibility(),
        an.AverageClassSize(),
        an.KLDivergence(),
        an.ClassificationAccuracy("s"),
    ],
)
def test_a_metric_without_costs_of_columns_tells_them_as_loss(
    metric: an.Metric,
) -> None:
    result = searched(metric=metric)
    loss = an.transform(
        result.request.frame,
        levels=result.levels,
        quasi_identifiers=result.request.quasi_identifiers,
        models=result.request.models,
        suppression_limit=0.1,
    )
    assert result.column_loss == loss.column_loss
    lines = told(result, [], score_unit="bits")
    assert "measured as loss" in lines
    assert "of its detail" in lines
    assert "measured as loss" not in told(loss, [])


@pytest.mark.django_db
def test_a_slow_search_says_why_nothing_was_asked(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(anonymize_search, "CHEAP_SECONDS", 0.0)
    run = services.submit(version=register_version, policy=policy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert all("the search took" in one["reason"] for one in run.result["what_if"])


@pytest.mark.django_db
def test_rows_that_are_drawn_anew_are_not_asked_about(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    drawn = [
        {"name": "epsilon_delta_dp", "delta": 0.01},
        {"name": "k_anonymity", "k": 9},
    ]
    run = services.submit(
        version=register_version, policy=policy | {"models": drawn}, by=steward
    )
    run_jobs()
    run.refresh_from_db()
    reasons = [one["reason"] for one in run.result["what_if"]]
    assert "epsilon be spent once more" in reasons[0]
    assert reasons[1] == "all rows may be suppressed already"


@pytest.mark.django_db
def test_an_applied_optimum_keeps_the_answers_and_another_node_does_not(
    released: Any, steward: Any, run_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("the search has answered")

    monkeypatch.setattr(an, "what_if", asked)

    def applied(levels: dict[str, int]) -> dict[str, Any]:
        run = services.apply(
            run=released, levels=levels, by=steward, confirm_joint=True
        )
        run_jobs()
        run.refresh_from_db()
        assert run.job.state == "succeeded", run.job.trace or run.job.message
        return dict(run.result)

    optimum = released.result["levels"]
    same = applied(optimum)
    assert same["what_if"] == released.result["what_if"]
    assert "score" in same["what_if"][0]
    assert same["space"] == released.result["space"]
    another = next(
        dict(zip(optimum, node["levels"], strict=True))
        for node in solution_space.nodes(released.result)
        if node["anonymous"] and node["levels"] != list(optimum.values())
    )
    reasons = {one["reason"] for one in applied(another)["what_if"]}
    assert reasons == {outcomes.PICKED}
