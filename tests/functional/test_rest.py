"""A script does the main job over REST; every answer keeps the OpenAPI document."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import requests

from privacyhub.api.client import Client, Refused
from privacyhub.api.main_job import MainJob, Table
from privacyhub.engines.tables import patient_register
from tests.functional.conftest import RunningHub
from tests.functional.openapi import Contract

ROWS = 4_000


@pytest.fixture(scope="module")
def contract(hub: RunningHub) -> Contract:
    answer = requests.get(
        f"{hub.address}/api/schema/", params={"format": "json"}, timeout=30
    )
    answer.raise_for_status()
    return Contract(answer.json())


@pytest.fixture(scope="module")
def client_as(hub: RunningHub, contract: Contract) -> Callable[[str], Client]:
    def make(role: str) -> Client:
        return Client(hub.address, token=hub.tokens[role], watch=contract.check)

    return make


@pytest.fixture(scope="module")
def walked(client_as: Callable[[str], Client]) -> MainJob:
    """The main job, done once for the module."""
    buffer = io.BytesIO()
    patient_register(rows=ROWS, seed=7).write_csv(buffer)
    job = MainJob(
        steward=client_as("steward"),
        analyst=client_as("analyst"),
        analyst_name="analyst",
        table=Table(
            name="Register by script",
            file_name="register.csv",
            content=buffer.getvalue(),
            target="readmitted",
            purpose="a test",
        ),
        epsilon="3",
        say=print,
    )
    job.run()
    return job


def test_main_job_holds_over_rest(walked: MainJob) -> None:
    figures = walked.figures.values
    assert figures["k"] == 5
    assert 0 < figures["epsilon_training"] <= 3
    assert figures["epsilon"] >= max(
        figures["epsilon_training"], figures["epsilon_metrics"]
    )
    assert figures["auc_exact"] > 0.65
    assert abs(figures["auc_exact"] - figures["auc_released"]) < 0.1


def test_openapi_promises_were_kept_by_many_operations(
    walked: MainJob, contract: Contract
) -> None:
    assert len(contract.seen) >= 15, sorted(contract.seen)


def test_auditor_reads_what_the_steward_did(
    walked: MainJob, client_as: Callable[[str], Client]
) -> None:
    auditor = client_as("auditor")
    report = auditor.get(f"reports/{walked.report_id}/")
    assert report["content"]["figures"]["epsilon"]
    assert auditor.get("audit/")["count"] > 20
    assert auditor.get("audit/verify/")["first_bad_row"] is None
    with pytest.raises(Refused) as refused:
        auditor.post("datasets/", files={"file": ("t.csv", b"a,b\n1,2\n")})
    assert refused.value.status == 403


def test_analyst_sees_no_exact_metric_and_no_data(
    walked: MainJob, client_as: Callable[[str], Client]
) -> None:
    analyst = client_as("analyst")
    assert analyst.get("datasets/")["count"] == 0
    assessments = analyst.get("assessments/")["results"]
    assert assessments
    assert all(not assessment.get("exact") for assessment in assessments)


def test_same_idempotency_key_gives_one_job(
    client_as: Callable[[str], Client],
) -> None:
    steward = client_as("steward")
    options = {
        "files": {"file": ("small.csv", b"age,sex\n30,f\n41,m\n52,f\n")},
        "data": {"name": "Small"},
        "headers": {"Idempotency-Key": "once"},
    }
    first = steward.call("POST", "datasets/", **options).json()
    second = steward.call("POST", "datasets/", **options).json()
    assert first["job"] == second["job"]
    options["data"] = {"name": "Another"}
    with pytest.raises(Refused) as refused:
        steward.call("POST", "datasets/", **options)
    assert refused.value.status == 409
