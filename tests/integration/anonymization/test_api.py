"""The REST resources: who may, what is answered, what the schema says."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from privacyhub.anonymization.models import AnonymizationRun, Hierarchy
from privacyhub.governance.models import AuditEvent

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/anonymizations/"
HIERARCHIES = "/api/v1/hierarchies/"


def test_script_anonymizes_and_reads_the_result(
    register_version: Any, policy: Any, steward: Any, api_for: Any, run_jobs: Any
) -> None:
    api = api_for(steward)
    body = {"version": str(register_version.pk), "policy": policy, "recipient": "Lab"}
    answer = api.post(RUNS, body)
    assert answer.status_code == 202, answer.content
    assert answer["Location"] == answer.data["url"]
    run_jobs()
    job = api.get(answer["Location"]).data
    assert job["state"] == "succeeded"
    told = api.get(f"{RUNS}{answer.data['run']}/").data
    assert str(told["release"]) == job["result"]["version"]
    assert told["result"]["optimal"]
    assert told["explanation"]
    assert told["joint_risk"] == []
    listed = api.get(RUNS, {"version": str(register_version.pk)}).data["results"]
    assert [str(run["id"]) for run in listed] == [answer.data["run"]]
    assert api.get(RUNS, {"state": "failed"}).data["results"] == []


def test_joint_risk_releases_nothing_and_apply_does(
    released: Any, policy: Any, steward: Any, api_for: Any, run_jobs: Any
) -> None:
    api = api_for(steward)
    policy = policy | {"models": [{"name": "k_anonymity", "k": 10}]}
    body = {"version": str(released.version_id), "policy": policy}
    asked = api.post(f"{RUNS}joint-risk/", body)
    assert asked.status_code == 202
    run_jobs()
    told = api.get(f"{RUNS}{asked.data['run']}/").data
    assert told["held"]
    assert told["release"] is None
    assert told["result"]["joint"]["smallest"] >= 1
    assert "joint k" in told["joint_risk"][0]
    applied = api.post(f"{RUNS}{asked.data['run']}/apply/", {"confirm_joint": True})
    assert applied.status_code == 202
    run_jobs()
    assert api.get(f"{RUNS}{applied.data['run']}/").data["release"] is not None


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"models": [{"name": "k_anonymity", "k": 601}]}, 400, "k_too_large"),
        ({"suppression_limit": 2}, 400, "out_of_range"),
        ({"quasi_identifiers": {"zip": {}}}, 409, "quasi_identifier_left_out"),
    ],
)
def test_bad_policy_is_a_problem(
    register_version: Any,
    policy: Any,
    steward: Any,
    api_for: Any,
    change: Any,
    status: int,
    code: str,
) -> None:
    body = {"version": str(register_version.pk), "policy": policy | change}
    answer = api_for(steward).post(RUNS, body)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert not AnonymizationRun.objects.exists()


def test_same_key_queues_one_run(
    register_version: Any, policy: Any, steward: Any, api_for: Any
) -> None:
    api = api_for(steward)
    body = {"version": str(register_version.pk), "policy": policy}
    first = api.post(RUNS, body, headers={"Idempotency-Key": "one"})
    again = api.post(RUNS, body, headers={"Idempotency-Key": "one"})
    assert first.data == again.data
    assert AnonymizationRun.objects.count() == 1


def test_foreign_runs_are_not_there(
    released: Any, policy: Any, other_steward: Any, analyst: Any, api_for: Any
) -> None:
    body = {"version": str(released.version_id), "policy": policy}
    for user in (other_steward, analyst):
        api = api_for(user)
        assert api.get(RUNS).data["results"] == []
        assert api.get(f"{RUNS}{released.pk}/").status_code == 404
        assert api.post(f"{RUNS}{released.pk}/apply/", {}).status_code == 404
        assert api.post(RUNS, body).status_code == 404
        assert api.post(f"{RUNS}joint-risk/", body).status_code == 404


def test_auditor_sees_and_cannot_act(
    released: Any, policy: Any, auditor: Any, api_for: Any
) -> None:
    api = api_for(auditor)
    assert api.get(f"{RUNS}{released.pk}/").status_code == 200
    body = {"version": str(released.version_id), "policy": policy}
    assert api.post(RUNS, body).status_code == 403
    assert api.post(f"{RUNS}{released.pk}/apply/", {}).status_code == 403
    assert AuditEvent.objects.filter(action="version.refuse_anonymize").exists()


def test_analyst_with_the_release_sees_no_run(
    released: Any, steward: Any, analyst: Any, policy: Any, api_for: Any
) -> None:
    from privacyhub.datasets import services

    services.share(target=released.release, user=analyst, right="view", by=steward)
    api = api_for(analyst)
    assert api.get(f"{RUNS}{released.pk}/").status_code == 404
    body = {"version": str(released.release_id), "policy": policy}
    assert api.post(RUNS, body).status_code == 403


def test_hierarchies_go_in_and_out(
    steward: Any, other_steward: Any, analyst: Any, api_for: Any
) -> None:
    api = api_for(steward)
    text = "a;x;*\nb;x;*\nc;y;*\n"

    def send(client: Any, content: str) -> Any:
        file = SimpleUploadedFile("h.csv", content.encode(), content_type="text/csv")
        return client.post(
            HIERARCHIES, {"name": "Letters", "file": file}, format="multipart"
        )

    made = send(api, text)
    assert made.status_code == 201, made.content
    assert (made.data["levels"], made.data["values_count"]) == (2, 3)
    where = f"{HIERARCHIES}{made.data['id']}/"
    assert api.get(where).content.decode() == text
    assert send(api, "a;x\na;y\n").status_code == 400
    assert send(api_for(analyst), text).status_code == 403
    assert api_for(other_steward).get(where).status_code == 404
    assert api_for(other_steward).delete(where).status_code == 404
    assert [h["name"] for h in api.get(HIERARCHIES).data["results"]] == ["Letters"]
    assert api.delete(where).status_code == 204
    assert not Hierarchy.objects.exists()


def test_unknown_run_is_404(steward: Any, api_for: Any) -> None:
    assert api_for(steward).get(f"{RUNS}{uuid.uuid4()}/").status_code == 404


def test_schema_names_every_operation(steward: Any, client_for: Any) -> None:
    schema = client_for(steward).get("/api/schema/?format=json").json()
    paths = schema["paths"]
    for path, methods in {
        RUNS: {"get", "post"},
        f"{RUNS}{{id}}/": {"get"},
        f"{RUNS}{{id}}/apply/": {"post"},
        f"{RUNS}joint-risk/": {"post"},
        HIERARCHIES: {"get", "post"},
        f"{HIERARCHIES}{{id}}/": {"get", "delete"},
    }.items():
        found = paths.get(path) or paths[path.replace("{id}", "{pk}")]
        assert methods <= set(found)
