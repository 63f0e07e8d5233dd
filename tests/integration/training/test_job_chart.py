"""The live chart of a training is epsilon over steps: never its loss."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from jobs.models import Job
from privacyhub.training import attempts
from privacyhub.training import services as training

CHART = re.compile(r'<script id="epsilon-spent" type="application/json">(.+?)</script>')


def figure_in(page: str) -> dict[str, Any] | None:
    found = CHART.search(page)
    return json.loads(found[1]) if found else None


@pytest.fixture
def watched(
    quick_engine: Any, steward: Any, client_for: Callable[[Any], Any]
) -> list[tuple[int, str]]:
    """After each block: the steps charged by then, and what the page shows."""
    client = client_for(steward)
    seen: list[tuple[int, str]] = []

    def look(done: int) -> None:
        job = Job.objects.get(state="running")
        url = reverse("web:job_live", args=[job.pk])
        seen.append((attempts.charged(job).steps, client.get(url).content.decode()))

    quick_engine.after_block = look
    return seen


def test_chart_ends_at_what_is_charged(
    watched: list[tuple[int, str]],
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
) -> None:
    run = submit()
    run_jobs()
    plan = training.plan_of(run)
    table = plan.epsilon_table
    trained = [one for one in watched if figure_in(one[1])]
    assert len(trained) == 20
    for charged, page in trained:
        figure = figure_in(page)
        assert figure is not None
        (line,) = figure["series"]
        rows = [row for row in table if row["step"] <= charged]
        assert line["x"] == [row["step"] for row in rows]
        assert line["y"] == [round(row["epsilon"], 4) for row in rows]
        assert line["name"] == "Epsilon"
        assert figure["x"]["range"] == [0, plan.spec.steps]
        assert "loss" not in json.dumps(figure).lower()
    first = figure_in(trained[0][1])
    assert first is not None
    assert first["series"][0]["x"] == [0, plan.spec.block]


def test_search_shows_no_chart(
    watched: list[tuple[int, str]],
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from privacyhub.engines.dp.tuning import SearchState

    monkeypatch.setattr(
        "jobs.tasks.train_search.engine.begin_search", lambda **_: SearchState(drawn=1)
    )
    submit(tuning={"space": {"learning_rate": [0.01, 0.3]}})
    run_jobs()
    assert watched
    assert not any(figure_in(page) for _, page in watched)


def test_run_without_privacy_shows_no_chart(
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    run = submit(privacy="none", reason="To see what privacy costs.")
    run_jobs()
    page = client_for(steward).get(reverse("web:job", args=[run.job_id]))
    assert figure_in(page.content.decode()) is None
