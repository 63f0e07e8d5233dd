"""The wizard, step by step, and its price without a read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from privacyhub.training.models import TrainingDraft, TrainingRun


@pytest.fixture
def address(register_version: Any) -> Callable[[int], str]:
    base = reverse("web:train", args=[register_version.pk])
    return lambda step: f"{base}?step={step}"


FEATURES = ["sex", "occupation", "creatinine", "prior_admissions", "readmitted"]
TARGET = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
PRIVACY = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}


def test_wizard_leads_to_a_queued_training(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    first = client.get(address(1)).content.decode()
    assert "readmitted" in first
    assert 'value="email"' not in first
    answer = client.post(address(1), {"features": FEATURES})
    assert answer.url == address(2)
    second = client.get(address(2)).content.decode()
    assert "no\nyes" in second
    assert client.post(address(2), TARGET).url == address(3)
    assert client.get(address(3)).status_code == 200
    assert client.post(address(3), PRIVACY).url == address(4)
    review = client.get(address(4)).content.decode()
    assert "Noise multiplier" in review
    answer = client.post(address(4))
    run = TrainingRun.objects.get()
    assert answer.url == reverse("web:job", args=[run.job_id])
    assert run.model.name == "Readmission"
    names = [column["name"] for column in run.recipe.spec["columns"]]
    assert names == ["sex", "occupation", "creatinine", "prior_admissions"]
    assert not TrainingDraft.objects.exists()


def test_draft_survives_a_closed_tab(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client_for(steward).post(address(1), {"features": FEATURES[2:]})
    page = client_for(steward).get(address(1)).content.decode()
    assert page.count(" checked") == 3
    # A later step that was never reached leads to the first open one.
    assert "What to predict" in client_for(steward).get(address(4)).content.decode()


def test_price_fragment_tells_odds_and_refusals(
    steward: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
    register_version: Any,
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    url = reverse("web:train_price", args=[register_version.pk])
    told = client.post(url, PRIVACY).content.decode()
    assert "73.1 of 100" in told
    assert "Noise multiplier" in told
    assert (
        "would be passed"
        in client.post(url, PRIVACY | {"epsilon": "30"}).content.decode()
    )
    assert (
        "number above 0"
        in client.post(url, PRIVACY | {"epsilon": "0"}).content.decode()
    )
    assert not Job.objects.filter(kind="train").exists()


def test_review_over_the_cap_charges_nothing(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    client.post(address(3), PRIVACY | {"epsilon": "30"})
    answer = client.post(address(4))
    assert answer.status_code == 409
    assert "cap" in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_wizard_is_for_those_who_manage_the_data(
    analyst: Any,
    other_steward: Any,
    auditor: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
) -> None:
    assert client_for(analyst).get(address(1)).status_code == 404
    assert client_for(other_steward).get(address(1)).status_code == 404
    assert client_for(auditor).get(address(1)).status_code == 403


def test_wizard_of_an_erased_version_leads_back(
    register_version: Any, steward: Any, client_for: Any
) -> None:
    register_version.erased_at = timezone.now()
    register_version.save(update_fields=["erased_at"])
    url = reverse("web:train", args=[register_version.pk])
    answer = client_for(steward).get(url, follow=True)
    assert answer.redirect_chain
    assert "was erased" in answer.content.decode()
