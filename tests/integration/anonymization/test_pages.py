"""The pages, as steward and auditor see them, and what others do not see."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.governance.models import AuditEvent, EntryKind, LedgerEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def fields(register_version: Any, policy: Any) -> dict[str, str]:
    """The form as a browser sends it."""
    quasi = register_version.columns.filter(role="quasi_identifier")
    told = {f"hierarchy-{column.pk}": "automatic" for column in quasi}
    told |= {f"weight-{column.pk}": "1" for column in quasi}
    return told | {
        "model-0-name": "k_anonymity",
        "model-0-k": "4",
        "model-1-name": "distinct_l_diversity",
        "model-1-column": "diagnosis",
        "model-1-l": "2",
        "suppression": "5",
        "metric": "loss",
        "aggregate": "geometric_mean",
        "factor": "0.5",
        "recipient": "The laboratory",
    }


def test_form_submits_the_policy(
    register_version: Any, fields: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymize", args=[register_version.pk])
    page = client.get(where)
    assert page.status_code == 200
    assert "birth_date" in page.content.decode()
    answer = client.post(where, fields)
    run = AnonymizationRun.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == reverse("web:job", args=[run.job_id])
    assert run.policy["models"] == policy["models"]
    assert run.policy["suppression_limit"] == 0.05
    assert run.job.spec["recipient"] == "The laboratory"


def test_form_says_what_is_wrong_and_keeps_what_was_typed(
    register_version: Any, fields: Any, steward: Any, client_for: Any
) -> None:
    where = reverse("web:anonymize", args=[register_version.pk])
    wrong = fields | {"model-0-k": "9999", "suppression": "3.5"}
    page = client_for(steward).post(where, wrong)
    assert page.status_code == 400
    text = page.content.decode()
    assert "only 600 rows" in text
    assert 'value="9999"' in text
    assert 'value="3.5"' in text
    assert not AnonymizationRun.objects.exists()
    for odd in ({"suppression": "lots"}, {"suppression": "inf"}, {"model-0-k": "x"}):
        assert client_for(steward).post(where, fields | odd).status_code == 400


def test_models_are_added_and_removed(
    register_version: Any, fields: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymize_models", args=[register_version.pk])
    added = {"add": "equal_t_closeness", "add_model": "1"}
    more = client.post(where, fields | added).content.decode()
    assert 'name="model-2-t"' in more
    less = client.post(where, fields | {"remove": "0"}).content.decode()
    assert "model-0-k" not in less
    assert 'name="model-0-l"' in less


def test_live_risk_counts_and_is_noted_once(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymize_risk", args=[register_version.pk])
    for known in (["birth_date", "zip"], ["sex"], []):
        page = client.post(where, {"known": known})
        assert page.status_code == 200
    noted = LedgerEntry.objects.filter(
        kind=EntryKind.STEWARD_READ, purpose="risk of quasi-identifiers"
    )
    assert noted.count() == 1


def test_hierarchy_preview_and_download_are_on_the_trail(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    column = register_version.columns.get(name="zip")
    where = reverse("web:anonymize_hierarchy", args=[register_version.pk])
    page = client.post(where, {"preview": column.pk})
    assert "Every value has a place" in page.content.decode()
    file = client.post(
        reverse("web:anonymize_hierarchy_csv", args=[register_version.pk]),
        {"column": column.pk, "hierarchy": "automatic"},
    )
    assert file.content.decode().splitlines()[0].endswith(";*")
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"hierarchy.preview", "hierarchy.download"} <= actions


def test_run_page_shows_the_result(
    released: Any, steward: Any, auditor: Any, client_for: Any
) -> None:
    where = reverse("web:anonymization", args=[released.pk])
    for user, manages in ((steward, True), (auditor, False)):
        page = client_for(user).get(where)
        assert page.status_code == 200
        text = page.content.decode()
        assert "Why this solution" in text
        assert "Risk of re-identification" in text
        assert ("Apply another solution" in text) == manages
        assert ("Show rows" in text) == manages
    picked = client_for(steward).get(where, {"node": "0"}).content.decode()
    assert "Picked from the plot" in picked
    assert client_for(steward).get(where, {"node": "99999"}).status_code == 200


def test_rows_are_for_stewards_and_on_the_trail(
    released: Any, steward: Any, auditor: Any, client_for: Any
) -> None:
    where = reverse("web:anonymization_rows", args=[released.pk])
    page = client_for(steward).post(where)
    assert "Rows after" in page.content.decode()
    assert AuditEvent.objects.filter(action="anonymization.compare").count() == 1
    refused = client_for(auditor).post(where)
    assert "Rows after" not in refused.content.decode()
    assert AuditEvent.objects.filter(action="anonymization.compare").count() == 1


def test_held_run_is_released_with_a_tick(
    released: Any, policy: Any, steward: Any, client_for: Any, run_jobs: Any
) -> None:
    from privacyhub.anonymization import services

    policy = policy | {"models": [{"name": "k_anonymity", "k": 9}]}
    held = services.submit(version=released.version, policy=policy, by=steward)
    run_jobs()
    client = client_for(steward)
    page = client.get(reverse("web:anonymization", args=[held.pk])).content.decode()
    assert "This run has released nothing" in page
    assert "joint k" in page
    where = reverse("web:anonymization_apply", args=[held.pk])
    client.post(where)
    assert AnonymizationRun.objects.count() == 2
    assert client.post(where, {"confirm_joint": "1"}).status_code == 302
    run_jobs()
    assert AnonymizationRun.objects.filter(release__isnull=False).count() == 2
    fresh = AnonymizationRun.objects.latest("created_at")
    page = client.get(reverse("web:anonymization", args=[fresh.pk])).content.decode()
    assert "Together with the other releases" in page
    old = client.get(reverse("web:anonymization", args=[held.pk])).content.decode()
    assert reverse("web:anonymization", args=[fresh.pk]) in old


def test_live_part_reloads_when_the_job_has_ended(
    register_version: Any, policy: Any, steward: Any, client_for: Any, run_jobs: Any
) -> None:
    from privacyhub.anonymization import services

    run = services.submit(version=register_version, policy=policy, by=steward)
    client = client_for(steward)
    where = reverse("web:anonymization_live", args=[run.pk])
    assert "every 2s" in client.get(where).content.decode()
    assert (
        "At work"
        in client.get(reverse("web:anonymization", args=[run.pk])).content.decode()
    )
    run_jobs()
    ended = client.get(where)
    assert ended["HX-Refresh"] == "true"
    assert "every 2s" not in ended.content.decode()


def test_failed_run_says_why_and_offers_its_policy(
    register_version: Any, policy: Any, steward: Any, client_for: Any, run_jobs: Any
) -> None:
    from privacyhub.anonymization import services

    models = [{"name": "average_risk", "threshold": 0.001}]
    run = services.submit(
        version=register_version, policy=policy | {"models": models}, by=steward
    )
    run_jobs()
    client = client_for(steward)
    page = client.get(reverse("web:anonymization", args=[run.pk])).content.decode()
    assert "No transformation meets the models" in page
    form = client.get(
        reverse("web:anonymize", args=[register_version.pk]), {"from": str(run.pk)}
    )
    assert 'name="model-0-threshold" value="0.001"' in form.content.decode()
    policy_file = client.get(reverse("web:anonymization_policy", args=[run.pk]))
    assert policy_file.json()["models"] == models


def test_pages_of_others_are_not_there(
    released: Any, other_steward: Any, analyst: Any, auditor: Any, client_for: Any
) -> None:
    run_pages = ("anonymization", "anonymization_live", "anonymization_policy")
    for user in (other_steward, analyst):
        client = client_for(user)
        for name in run_pages:
            assert (
                client.get(reverse(f"web:{name}", args=[released.pk])).status_code
                == 404
            )
        for name in ("anonymization_rows", "anonymization_apply"):
            assert (
                client.post(reverse(f"web:{name}", args=[released.pk])).status_code
                == 404
            )
        where = reverse("web:anonymize", args=[released.version_id])
        assert client.get(where).status_code == 404
    where = reverse("web:anonymize", args=[released.version_id])
    assert client_for(auditor).get(where).status_code == 403


def test_hierarchies_page(steward: Any, analyst: Any, client_for: Any) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    client = client_for(steward)
    where = reverse("web:hierarchies")
    assert "No hierarchy yet" in client.get(where).content.decode()
    good = SimpleUploadedFile("h.csv", b"a;*\nb;*\n")
    assert client.post(where, {"name": "Two values", "file": good}).status_code == 302
    assert "Two values" in client.get(where).content.decode()
    bad = SimpleUploadedFile("h.csv", b"a;*\na;*\n")
    page = client.post(where, {"name": "Bad", "file": bad})
    assert page.status_code == 400
    assert "same value" in page.content.decode()
    assert "Two values" not in client_for(analyst).get(where).content.decode()
