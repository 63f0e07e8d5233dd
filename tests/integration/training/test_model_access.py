"""Who sees what of a model: pages and REST alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from privacyhub.governance.models import AuditEvent
from privacyhub.training import services

EXACT = "Steward only"


@pytest.fixture
def shared(model_version: Any, steward: Any, analyst: Any) -> Any:
    """The model version, which the analyst may use."""
    services.share(model=model_version.model, user=analyst, right="use", by=steward)
    return model_version


def pages(version: Any) -> list[str]:
    return [
        reverse("web:model", args=[version.model_id]),
        reverse("web:model_version", args=[version.pk]),
        reverse("web:model_file", args=[version.pk]),
        reverse("web:predict", args=[version.pk]),
        reverse("web:model_retrain", args=[version.pk]),
    ]


def resources(version: Any) -> list[str]:
    assessment = version.assessments.get()
    return [
        reverse("api:model", args=[version.model_id]),
        reverse("api:model_share", args=[version.model_id]),
        reverse("api:model_version", args=[version.pk]),
        reverse("api:model_file", args=[version.pk]),
        reverse("api:assessment", args=[assessment.pk]),
        reverse("api:training", args=[version.run_id]),
    ]


def test_foreign_objects_are_not_found(
    model_version: Any,
    other_steward: Any,
    analyst: Any,
    admin: Any,
    client_for: Callable[[Any], Any],
    api_for: Callable[[Any], Any],
) -> None:
    for user in (other_steward, analyst, admin):
        client, api = client_for(user), api_for(user)
        for url in pages(model_version):
            assert client.get(url).status_code == 404, (user, url)
        for url in resources(model_version):
            assert api.get(url).status_code == 404, (user, url)
        answer = api.post(
            reverse("api:predict", args=[model_version.pk]), {"rows": [{}]}
        )
        assert answer.status_code == 404
        assert api.get(reverse("api:models")).data["count"] == 0
        assert api.get(reverse("api:assessments")).data["count"] == 0
        version = str(model_version.run.version_id)
        answer = api.post(reverse("api:trainings"), {"version": version})
        assert answer.status_code == 404


def test_analyst_sees_released_metrics_and_no_exact_one(
    shared: Any,
    analyst: Any,
    client_for: Callable[[Any], Any],
    api_for: Callable[[Any], Any],
) -> None:
    assessment = shared.assessments.get()
    exact = 77.6543  # like no released figure, all of which are shares
    assessment.exact["metrics"]["auc"]["value"] = exact
    assessment.save(update_fields=["exact"])
    page = client_for(analyst).get(reverse("web:model_version", args=[shared.pk]))
    text = page.content.decode()
    assert "Covered by the guarantee" in text
    assert EXACT not in text
    assert f"{exact:.4f}" not in text
    assert 'id="exact"' not in text
    told = api_for(analyst).get(reverse("api:assessments")).data["results"]
    assert [one["exact"] for one in told] == [None]
    assert told[0]["released"]["metrics"]["auc"]["value"] is not None
    assert api_for(analyst).get(resources(shared)[-1]).status_code == 404


def test_exact_losses_are_for_managers_and_auditors(
    shared: Any,
    steward: Any,
    auditor: Any,
    analyst: Any,
    api_for: Callable[[Any], Any],
) -> None:
    shared.loss_curve = [0.7, 0.6]
    shared.save(update_fields=["loss_curve"])
    one, every = (
        reverse("api:model_version", args=[shared.pk]),
        reverse("api:model_versions"),
    )
    for user, told in ((steward, [0.7, 0.6]), (auditor, [0.7, 0.6]), (analyst, [])):
        api = api_for(user)
        assert api.get(one).json()["loss_curve"] == told
        assert [row["loss_curve"] for row in api.get(every).json()["results"]] == [told]


@pytest.mark.parametrize("name", ["steward", "auditor"])
def test_manager_and_auditor_see_exact_metrics_labelled(
    name: str,
    shared: Any,
    request: pytest.FixtureRequest,
    client_for: Callable[[Any], Any],
    api_for: Callable[[Any], Any],
) -> None:
    user = request.getfixturevalue(name)
    exact = shared.assessments.get().exact
    page = client_for(user).get(reverse("web:model_version", args=[shared.pk]))
    text = page.content.decode()
    assert EXACT in text
    assert f"{exact['metrics']['auc']['value']:.4f}" in text
    told = api_for(user).get(reverse("api:assessments")).data["results"]
    assert told[0]["exact"] == exact


def test_auditor_reads_and_changes_nothing(
    shared: Any, auditor: Any, api_for: Callable[[Any], Any]
) -> None:
    api = api_for(auditor)
    for url in resources(shared)[:3]:
        assert api.get(url).status_code == 200, url
    again = api.post(reverse("api:assessments"), {"model_version": str(shared.pk)})
    assert again.status_code == 403
    version = str(shared.run.version_id)
    assert api.post(reverse("api:trainings"), {"version": version}).status_code == 403
    assert api.get(reverse("api:model_file", args=[shared.pk])).status_code == 403


def test_download_is_the_artefact_and_is_audited(
    shared: Any, analyst: Any, api_for: Callable[[Any], Any]
) -> None:
    import hashlib

    answer = api_for(analyst).get(reverse("api:model_file", args=[shared.pk]))
    content = b"".join(answer.streaming_content)
    assert hashlib.sha256(content).hexdigest() == shared.artefact_sha256
    event = AuditEvent.objects.get(action="model_version.download")
    assert (event.actor, event.object_id) == ("analyst", str(shared.pk))


def test_looking_is_not_using(
    model_version: Any, steward: Any, analyst: Any, api_for: Callable[[Any], Any]
) -> None:
    services.share(model=model_version.model, user=analyst, right="view", by=steward)
    api = api_for(analyst)
    assert api.get(reverse("api:model_version", args=[model_version.pk])).status_code
    asked = reverse("api:predict", args=[model_version.pk])
    assert api.post(asked, {"rows": [{}]}).status_code == 403
    assert (
        api.get(reverse("api:model_file", args=[model_version.pk])).status_code == 403
    )
    assert AuditEvent.objects.filter(action="model_version.refuse").count() == 2


def test_another_assessment_is_charged_again(
    shared: Any, steward: Any, api_for: Callable[[Any], Any], run_jobs: Any
) -> None:
    account = shared.run.version.ledgers.get()
    before = int(account.spent_heldout[0])
    body = {"model_version": str(shared.pk), "epsilon": "0.25"}
    answer = api_for(steward).post(reverse("api:assessments"), body)
    assert answer.status_code == 202
    run_jobs()
    account.refresh_from_db()
    assert int(account.spent_heldout[0]) > before
    assert [one.epsilon for one in shared.assessments.all()] == ["0.25", "0.5"]
    body["epsilon"] = "0"
    answer = api_for(steward).post(reverse("api:assessments"), body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "epsilon"


def test_erased_model_gives_nothing_more(
    shared: Any, steward: Any, api_for: Callable[[Any], Any], client_for: Any
) -> None:
    from privacyhub.datasets import erasure

    dataset = shared.model.dataset
    erasure.erase(dataset=dataset, by=steward, confirm=dataset.name, with_models=True)
    api = api_for(steward)
    asked = reverse("api:predict", args=[shared.pk])
    assert api.post(asked, {"rows": [{}]}).status_code == 409
    assert api.get(reverse("api:model_file", args=[shared.pk])).status_code == 409
    page = client_for(steward).get(reverse("web:model_version", args=[shared.pk]))
    assert page.status_code == 200
    assert "Erased" in page.content.decode()


def test_leaderboard_compares_released_figures(
    shared: Any, analyst: Any, client_for: Callable[[Any], Any]
) -> None:
    client = client_for(analyst)
    page = client.get(reverse("web:models"), {"compare": str(shared.pk)})
    text = page.content.decode()
    assert page.status_code == 200
    assert shared.model.name in text
    assert '"kind": "scatter"' in text
