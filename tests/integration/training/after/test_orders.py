"""A training that is ordered on a release before the release is there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from jobs import services as jobs
from jobs.models import Job
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Role
from privacyhub.engines.dp.guarantee import TRAINED_ON_ANONYMIZED
from privacyhub.governance.models import AuditEvent, Reservation
from privacyhub.training import services as training
from privacyhub.training.models import TrainingDraft, TrainingRun
from privacyhub.training.sources import Source

from .checks import require_ended_for_free
from .conftest import CLASSES

RUN = Callable[[], None]


def test_chain_of_three_is_ordered_before_its_first_job_runs(
    register_version: Any,
    policy: Any,
    steward: Any,
    api_for: Any,
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    api = api_for(steward)
    first = api.post(
        reverse("api:anonymizations"),
        {"version": str(register_version.pk), "policy": policy},
    ).json()
    asked = {"after": first["run"], **CLASSES}
    price = api.post(reverse("api:training_price"), asked).json()
    assert price["fits"] is True
    answer = api.post(reverse("api:trainings"), asked)
    assert answer.status_code == 202, answer.content
    told = answer.json()
    where = reverse("api:training", args=[told["training"]])
    waiting = api.get(where).json()
    assert (waiting["version"], waiting["after"]) == (None, first["run"])
    chain = [first["job"], told["job"], told["assess_job"]]
    ordered = [api.get(reverse("api:job", args=[pk])).json() for pk in chain]
    assert [job["state"] for job in ordered] == ["queued"] * 3
    assert [job["depends_on"] for job in ordered] == [None, *chain[:2]]
    held = Reservation.objects.filter(run_id__in=chain)
    assert {one.state for one in held} == {"reserved"}
    run_jobs()
    ended = [Job.objects.get(pk=pk) for pk in chain]
    assert [job.state for job in ended] == ["succeeded"] * 3, [j.trace for j in ended]
    assert ended[0].finished_at < ended[1].started_at  # type: ignore[operator]
    assert ended[1].finished_at < ended[2].started_at  # type: ignore[operator]
    release = api.get(reverse("api:anonymization", args=[first["run"]])).json()[
        "release"
    ]
    trained = api.get(where).json()
    assert trained["version"] == release
    assert trained["model_version"] == ended[1].result["model_version"]
    run = TrainingRun.objects.get(pk=told["training"])
    assert TRAINED_ON_ANONYMIZED in run.model_version.guarantee["not_covered"]
    assert run.model_version.assessments.count() == 1
    inputs = {column["name"]: column for column in run.model_version.summary["inputs"]}
    assert inputs["birth_date"]["kind"] == "category"  # a date, until it was recoded
    assert {one.state for one in held.all()} == {"settled"}
    given = AuditEvent.objects.get(action="training.get_release")
    assert given.detail["version"] == release
    listed = api.get(reverse("api:trainings"), {"after": first["run"]}).json()
    assert [one["id"] for one in listed["results"]] == [told["training"]]


def test_pages_lead_from_a_run_at_work_to_the_model(
    anonymize: Any,
    steward: Any,
    client_for: Any,
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    run = anonymize()
    client = client_for(steward)
    wizard = reverse("web:train_after", args=[run.pk])
    for name, pk in (("web:anonymization", run.pk), ("web:job", run.job_id)):
        assert wizard in client.get(reverse(name, args=[pk])).content.decode()
    first = unescape(client.get(wizard).content.decode())
    assert "still being made" in first
    assert "changed by the anonymization" in first
    assert 'value="zip"' in first
    assert 'value="email"' not in first
    features = ["sex", "zip", "creatinine"]
    assert client.post(wizard, {"features": features}).url == f"{wizard}?step=2"
    second = client.get(f"{wizard}?step=2").content.decode()
    assert reverse("web:train_after_target", args=[run.pk]) in second
    target = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
    assert client.post(f"{wizard}?step=2", target).url == f"{wizard}?step=3"
    privacy = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}
    sweep = client.post(f"{wizard}?step=3", privacy | {"epsilon": "0.5 1"})
    assert "version that is there" in sweep.content.decode()
    for part in ("price", "curve"):
        url = reverse(f"web:train_after_{part}", args=[run.pk])
        assert url in client.get(f"{wizard}?step=3").content.decode()
        assert client.post(url, privacy).status_code == 200
    assert client.post(f"{wizard}?step=3", privacy).url == f"{wizard}?step=4"
    review = client.get(f"{wizard}?step=4").content.decode()
    assert "not the people behind the upload" in review
    sent = {"submission": str(uuid.uuid4())}
    answer = client.post(f"{wizard}?step=4", sent)
    made = TrainingRun.objects.get()
    assert answer.url == reverse("web:job", args=[made.job_id])
    assert client.post(f"{wizard}?step=4", sent).url == answer.url
    assert not TrainingDraft.objects.exists()
    page = client.get(answer.url).content.decode()
    where = reverse("web:anonymization", args=[run.pk])
    assert where in page
    assert "trains on the release of that run" in page
    assert "Readmission" in client.get(where).content.decode()
    model = client.get(reverse("web:model", args=[made.model_id])).content.decode()
    assert "waits for the release" in model
    run_jobs()
    made.refresh_from_db()
    run.refresh_from_db()
    assert made.version == run.release
    assert made.job.state == made.assess_job.state == "succeeded", made.job.trace
    assert wizard not in client.get(where).content.decode()
    assert str(run.release) in client.get(wizard).content.decode()


def test_wizard_keeps_its_answers_when_the_release_comes_meanwhile(
    anonymize: Any, steward: Any, client_for: Any, run_jobs: RUN, quick_engine: Any
) -> None:
    run = anonymize()
    client = client_for(steward)
    wizard = reverse("web:train_after", args=[run.pk])
    client.post(wizard, {"features": ["sex", "creatinine"]})
    run_jobs()
    target = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
    assert client.post(f"{wizard}?step=2", target).url == f"{wizard}?step=3"
    privacy = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}
    client.post(f"{wizard}?step=3", privacy)
    client.post(f"{wizard}?step=4")
    made = TrainingRun.objects.get()
    run.refresh_from_db()
    assert (made.version, made.job.depends_on) == (run.release, None)


def test_drafts_of_a_version_and_of_its_release_are_apart(
    register_version: Any, anonymize: Any, train_after: Any, steward: Any
) -> None:
    run = anonymize()
    sources = [Source(version=register_version, after=after) for after in (None, run)]
    kept = [{"features": ["sex"]}, {"features": ["zip"]}]
    for source, answers in zip(sources, kept, strict=True):
        training.keep_draft(source=source, by=steward, answers=answers)
    told = [training.draft_of(source=source, by=steward) for source in sources]
    assert told == kept
    train_after(run)
    told = [training.draft_of(source=source, by=steward) for source in sources]
    assert told == [kept[0], {}]


def test_cancelled_anonymization_ends_the_training_for_free(
    anonymize: Any, train_after: Any, steward: Any, run_jobs: RUN, client_for: Any
) -> None:
    run = anonymize()
    made = train_after(run)
    jobs.request_cancel(job=run.job, by=steward)
    require_ended_for_free(made, code="dependency")
    with pytest.raises(Conflict) as refused:
        training.again(job=made.job, by=steward)
    assert refused.value.code == "no_release"
    run_jobs()
    assert not hasattr(made, "model_version")
    page = client_for(steward).get(reverse("web:model", args=[made.model_id]))
    assert "waits for" not in page.content.decode()


def test_failed_anonymization_ends_the_training_for_free(
    anonymize: Any, train_after: Any, register_version: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    made = train_after(run)
    # A quasi-identifier that the policy does not name: the run may not go on.
    register_version.columns.filter(name="sodium").update(role=Role.QUASI_IDENTIFIER)
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "failed"
    require_ended_for_free(made, code="dependency")


def test_held_release_ends_the_training_for_free(
    anonymize: Any, train_after: Any, run_jobs: RUN
) -> None:
    first, second = anonymize(), anonymize()
    made = train_after(second)  # until the first releases, nothing holds the second
    run_jobs()
    first.refresh_from_db()
    second.refresh_from_db()
    assert first.release is not None
    assert second.release is None
    require_ended_for_free(made, code="no_version")
    assert "holds its release back" in made.job.message


def test_column_that_does_not_come_ends_the_training_for_free(
    anonymize: Any, train_after: Any, register_version: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    made = train_after(run, features=["creatinine", "sex"])
    register_version.columns.filter(name="creatinine").update(role=Role.IDENTIFIER)
    run_jobs()
    run.refresh_from_db()
    assert run.release is not None
    require_ended_for_free(made, code="column_vanished")
