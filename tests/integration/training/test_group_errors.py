"""A model's error by declared group: what is paid is released, the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from jobs.models import Job
from privacyhub.assessment import group_evaluation
from privacyhub.assessment.models import GroupAssessment
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.governance.grants import give
from privacyhub.governance.models import EntryKind, Part

GROUPS = ["female", "male"]


@pytest.fixture
def grouped(model_version: Any) -> Any:
    """A model whose version declares the categories of `sex`."""
    column = model_version.run.version.columns.get(name="sex")
    column.categories = GROUPS
    column.save(update_fields=["categories"])
    return model_version


def test_paid_figures_are_released_and_charged(
    grouped: Any,
    steward: Any,
    analyst: Any,
    run_jobs: Callable[[], None],
    client_for: Callable[[Any], Any],
) -> None:
    page = reverse("web:group_errors", args=[grouped.pk])
    answer = client_for(steward).post(page, {"column": "sex", "epsilon": "0.5"})
    job = Job.objects.get(kind="assess_groups")
    assert answer.url == reverse("web:job", args=[job.pk])
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    made = GroupAssessment.objects.get()
    assert [one["group"] for one in made.exact] == [*GROUPS, "other or missing"]
    account = datasets.the_ledger(grouped.run.version)
    entries = account.entries.filter(run_id=job.pk)
    assert set(entries.values_list("kind", flat=True)) >= {
        EntryKind.CHARGE,
        EntryKind.STEWARD_READ,
    }
    assert entries.get(kind=EntryKind.CHARGE).part == Part.HELDOUT
    held_out = sum(one["rows"] for one in made.exact)
    told = grouped.assessments.get().exact["rows"]
    assert held_out == told
    seen = client_for(steward).get(page).content.decode()
    assert '"Figures">Exact' in seen
    give(target=grouped.model, user=analyst, right="view", by=steward)
    shared = client_for(analyst).get(page).content.decode()
    assert '"Figures">Released' in shared
    assert "Exact" not in shared


def test_unpaid_figures_stay_with_stewards(
    grouped: Any,
    steward: Any,
    analyst: Any,
    run_jobs: Callable[[], None],
    api_for: Callable[[Any], Any],
) -> None:
    address = reverse("api:group_assessments")
    body = {"model_version": str(grouped.pk), "column": "sex"}
    assert api_for(steward).post(address, body).status_code == 202
    run_jobs()
    made = GroupAssessment.objects.get()
    assert made.released == []
    account = datasets.the_ledger(grouped.run.version)
    entries = account.entries.filter(run_id=made.job_id)
    assert list(entries.values_list("kind", flat=True)) == [EntryKind.STEWARD_READ]
    give(target=grouped.model, user=analyst, right="view", by=steward)
    assert api_for(steward).get(address).json()["results"][0]["exact"]
    assert api_for(analyst).get(address).json()["results"] == []


def test_undeclared_groups_are_refused_before_anything_is_paid(
    model_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    for column, message in (("occupation", "Declare"), ("email", "names people")):
        with pytest.raises(Conflict, match=message):
            group_evaluation.submit(
                model_version=model_version, by=steward, column=column, epsilon="0.5"
            )
    assert not Job.objects.filter(kind="assess_groups").exists()
    body = {"model_version": str(model_version.pk), "column": "gone"}
    answer = api_for(steward).post(reverse("api:group_assessments"), body)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_column")
