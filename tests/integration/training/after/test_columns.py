"""What is known of a release's columns before it is there, and to whom."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from privacyhub.anonymization import awaited
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.training.models import TrainingRun

from .conftest import CLASSES, QUASI

RUN = Callable[[], None]


def test_reach_of_an_order_is_that_of_its_run(
    anonymize: Any,
    register_version: Any,
    api_for: Any,
    client_for: Any,
    steward: Any,
    other_steward: Any,
    analyst: Any,
    auditor: Any,
) -> None:
    run = anonymize()
    body = {"after": str(run.pk), **CLASSES}
    routes = [reverse("api:trainings"), reverse("api:training_price")]
    wizard = reverse("web:train_after", args=[run.pk])
    for user, status in ((other_steward, 404), (analyst, 404), (auditor, 403)):
        for route in routes:
            assert api_for(user).post(route, body).status_code == status
        assert client_for(user).get(wizard).status_code == status
    api = api_for(steward)
    missing = api.post(routes[0], body | {"after": str(uuid.uuid4())})
    assert missing.status_code == 404
    both = body | {"version": str(register_version.pk)}
    for wrong in (both, dict(CLASSES)):
        for route in routes:
            assert api.post(route, wrong).status_code == 400
    sweep = api.post(reverse("api:sweeps"), body | {"epsilons": ["0.5", "1"]})
    assert sweep.status_code == 400
    assert "version" in sweep.json()["errors"]
    assert not TrainingRun.objects.exists()


def test_columns_are_known_before_as_they_come(
    register_version: Any, policy: Any, anonymize: Any, run_jobs: RUN
) -> None:
    datasets.set_columns(
        version=register_version,
        changes={
            "sex": {"categories": ["female", "male"]},
            "creatinine": {"lower": 0.0, "upper": 20.0},
            "hba1c": {"lower": 3.0, "upper": 15.0},
            "sodium": {"lower": 100.0, "upper": 180.0},
            "diagnosis": {"categories": ["stroke", "asthma"]},
        },
        by=register_version.created_by,
    )
    treatments: dict[str, Any] = {
        "name": {"name": "pseudonym"},
        "email": {"name": "mask", "side": "right", "characters": 3},
        "diagnosis": {"name": "mask", "side": "right", "characters": 1},
        "hemoglobin": {"name": "drop"},
        "creatinine": {"name": "add_noise", "share": 0.2},
        "hba1c": {"name": "round_to", "step": 0.5},
        "sodium": {"name": "code_extremes", "bottom": 130.5, "top": 150},
        "length_of_stay": {"name": "microaggregate", "k": 5, "aggregate": "interval"},
        "prior_admissions": {"name": "microaggregate", "k": 5, "aggregate": "mean"},
        "systolic_bp": {"name": "zip_text"},
    }
    run = anonymize(policy=policy | {"treatments": treatments})
    before = awaited.columns_of(run)
    run_jobs()
    run.refresh_from_db()
    assert run.release is not None, run.job.trace or run.job.message
    kinds = {"integer": "number"}  # a treated number may turn out to be whole
    same = ("name", "role", "is_target", "is_unit_key", "lower", "upper", "categories")

    def told(column: Any) -> Any:
        kind = kinds.get(column.kind, column.kind)
        return [kind, *(getattr(column, field) for field in same)]

    assert [told(c) for c in before] == [told(c) for c in run.release.columns.all()]
    own = {column.name for column in before if column.version_id is not None}
    assert own.isdisjoint({*treatments, *QUASI})
    after = {column.name: column for column in run.release.columns.all()}
    assert (after["sodium"].lower, after["sodium"].upper) == (100.0, 180.0)
    for name in ("sex", "creatinine", "hba1c", "diagnosis"):  # no longer true of them
        declared = (after[name].lower, after[name].upper, after[name].categories)
        assert declared == (None, None, None), name


def test_classes_of_a_recoded_target_are_declared(
    anonymize: Any, train_after: Any
) -> None:
    run = anonymize()
    with pytest.raises(Conflict) as refused:
        train_after(run, target="sex", classes=[])
    assert refused.value.code == "classes"
    with pytest.raises(Conflict, match="no column “email”"):
        train_after(run, features=["email"])
    made = train_after(run, target="sex", classes=["female", "male"])
    assert json.loads(json.dumps(made.recipe.spec))["classes_declared"] is True


def test_units_of_a_key_are_refused_at_once(
    register_version: Any, anonymize: Any, train_after: Any, run_jobs: RUN
) -> None:
    run = anonymize()
    account = datasets.the_ledger(register_version)
    account.unit, account.unit_key = "key", "record_number"
    account.save(update_fields=["unit", "unit_key"])
    with pytest.raises(Conflict) as refused:
        train_after(run)
    assert refused.value.code == "unit_key"
