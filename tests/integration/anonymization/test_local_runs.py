"""Runs of local recoding, long searches, and what they say of themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from django.urls import reverse

from jobs.tasks import anonymize_search
from privacyhub.anonymization import narration, outcomes, services
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import intake, tables
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.datasets.services import set_columns
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import search as engine_search

pytestmark = pytest.mark.django_db


@pytest.fixture
def local(register_version: Any, policy: Any, steward: Any, run_jobs: Any) -> Any:
    policy = policy | {"method": "local_recoding", "suppression_limit": 0.01}
    run = services.submit(version=register_version, policy=policy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    return run


def test_a_local_run_tells_the_figures_of_the_whole_table(
    local: Any, steward: Any, client_for: Any
) -> None:
    told = local.result
    assert len(told["rounds"]) > 1
    assert told["optimal"]
    assert (told["space"], told["nodes_total"]) == (None, 0)
    for name in told["columns"]:
        assert told["levels"][name] == max(r["levels"][name] for r in told["rounds"])
    frame = tables.load(local.version)
    first = told["rounds"][0]["levels"]
    found = an.transform(
        frame,
        levels=first,
        quasi_identifiers={
            name: an.Hierarchy.automatic(frame[name], name=name) for name in first
        },
        models=[an.KAnonymity(4), an.DistinctLDiversity("diagnosis", 2)],
        suppression_limit=1.0,
    )
    assert told["score"] < found.score  # fewer rows are hidden in the end
    assert told["optimum"]["score"] == told["score"]
    page = client_for(steward).get(reverse("web:anonymization", args=[local.pk]))
    text = page.content.decode()
    assert "every round would be searched anew" in text
    assert "costs the most" in text
    assert narration.score_text(told, told["score"]) in text


def test_a_round_that_was_not_proved_is_told(local: Any) -> None:
    told = local.result
    assert "time was up" not in " ".join(narration.explain(told))
    told["rounds"][0]["proved"] = False
    lines = " ".join(narration.explain(told | {"optimal": False, "gap": None}))
    assert "the best that was found until its time was up" in lines
    assert "more time could find a solution" in lines


def test_cells_suppressed_before_are_no_values_of_cell_suppression(
    register_version: Any, policy: Any
) -> None:
    plan = SimpleNamespace(
        policy={"quasi_identifiers": {"zip": {"hierarchy": "automatic"}}},
        method="cell_suppression",
    )
    frame = pl.DataFrame({"zip": ["1", "*", "2"]})
    named = anonymize_search._hierarchies(plan, frame, {})  # type: ignore[arg-type]
    assert named["zip"].values == ("1", "2")


@pytest.fixture
def wide(steward: Any, upload_file: Any, run_jobs: Any) -> Version:
    """25 columns of numbers with five levels and more: 6 ** 25 transformations."""
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 1000, (20, 25))[rng.integers(0, 20, 300)]
    frame = pl.DataFrame({f"c{j:02}": rows[:, j] for j in range(25)})
    upload = intake.receive(
        file=upload_file(frame.write_csv().encode(), "wide.csv"), by=steward
    )
    job = intake.submit(upload=upload, by=steward, name="Wide")
    run_jobs()
    job.refresh_from_db()
    version = Version.objects.get(pk=job.result["version"])
    roles = {name: {"role": Role.QUASI_IDENTIFIER} for name in frame.columns}
    set_columns(version=version, changes=roles, by=steward)
    return version


def test_a_lattice_past_what_a_job_counts_is_searched(
    wide: Version, steward: Any, run_jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    class Attempt:
        def report(self, stage: str, done: int, total: int) -> None:
            seen.append((done, total))

    report = anonymize_search._progress(Attempt(), "searching")  # type: ignore[arg-type]
    for done, total in ((2**64, 2**65), (3, 7), (0, 0)):
        report(done, total)
    assert seen == [(500_000, 1_000_000), (3, 7), (0, 0)]

    policy = {
        "quasi_identifiers": {
            name: {} for name in wide.columns.values_list("name", flat=True)
        },
        "models": [{"name": "k_anonymity", "k": 4}],
        "suppression_limit": 0.1,
        "time_limit": 1,
    }
    run = services.submit(version=wide, policy=policy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.result["lattice_size"] > 2**63
    stopped = run.result | {"optimal": False, "gap": 0.1234}
    lines = " ".join(narration.explain(stopped))
    assert "before the time was up" in lines
    assert "a better one could lose at most 12.3% less." in lines
    assert run.job.total <= 1_000_000


def test_the_policy_sets_the_time_of_the_search(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float | None] = []
    init = engine_search.Limits.__init__

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        given.append(kwargs.get("time_limit"))
        init(self, *args, **kwargs)

    monkeypatch.setattr(engine_search.Limits, "__init__", noted)
    run = services.submit(
        version=register_version, policy=policy | {"time_limit": 77}, by=steward
    )
    run_jobs()
    assert given[0] == 77.0
    run.refresh_from_db()
    assert run.policy["time_limit"] == 77
    for wrong in (0.5, 10**6, "soon", True):
        with pytest.raises(DataError, match="time limit"):
            services.submit(
                version=register_version,
                policy=policy | {"time_limit": wrong},
                by=steward,
            )
    del policy["models"][1]
    plain = services.submit(version=register_version, policy=policy, by=steward)
    assert plain.policy["time_limit"] == 600


def test_rounds_share_the_time_of_the_policy(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float | None] = []
    recode = an.recode_locally

    def noted(*args: Any, **kwargs: Any) -> an.LocalResult:
        given.append(kwargs["time_limit"])
        return recode(*args, **kwargs)

    monkeypatch.setattr(an, "recode_locally", noted)
    asked = policy | {"method": "local_recoding", "time_limit": 55}
    services.submit(version=register_version, policy=asked, by=steward)
    run_jobs()
    assert given == [55.0]


def test_the_form_keeps_the_time_of_the_search(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymize", args=[register_version.pk])
    shown = 'name="time_limit" type="number" min="1" max="21600" step="any" required'
    assert f'{shown} value="600"' in client.get(where).content.decode()
    fields = {
        "model-0-name": "k_anonymity",
        "model-0-k": "4",
        "suppression": "5",
        "metric": "loss",
        "time_limit": "45",
    }
    assert client.post(where, fields).status_code == 302
    run = AnonymizationRun.objects.get()
    assert run.policy["time_limit"] == 45
    again = client.get(where, {"from": str(run.pk)}).content.decode()
    assert f'{shown} value="45"' in again
    wrong = client.post(where, fields | {"time_limit": "21601"})
    assert wrong.status_code == 400
    assert f'{shown} value="21601"' in wrong.content.decode()


def test_the_outcome_of_rounds_that_show_nothing_can_be_written() -> None:
    frame = pl.DataFrame({"x": ["a", "b", "c"], "s": ["u", "u", "v"]})
    local = an.suppress_cells(
        frame,
        columns=["x"],
        models=[an.RecursiveCLDiversity("s", 0.1, 2)],
        suppression_limit=1.0,
    )
    told = outcomes.of_rounds(local, columns=["x"])
    assert (told["rounds"], told["suppressed"], told["levels"]) == ([], 3, {"x": 1})
