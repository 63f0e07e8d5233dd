"""Policies kept as templates, loaded from files, applied to other versions."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from privacyhub.anonymization import policy_templates, services
from privacyhub.anonymization.models import PolicyTemplate
from privacyhub.datasets.errors import DataError

pytestmark = pytest.mark.django_db
TEMPLATES = "/api/v1/policy-templates/"


def test_policy_of_a_run_is_kept_and_fills_the_form(
    released: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymization_template", args=[released.pk])
    assert client.post(where, {"name": "Clinic"}).status_code == 302
    template = PolicyTemplate.objects.get()
    form = client.get(
        reverse("web:anonymize", args=[released.version_id]),
        {"template": str(template.pk)},
    ).content.decode()
    assert 'name="model-0-k" value="4"' in form
    assert 'name="model-1-l" value="2"' in form
    assert "Start from a template" in form


def test_columns_that_do_not_meet_are_named(
    released: Any, steward: Any, client_for: Any
) -> None:
    policy = released.policy | {
        "quasi_identifiers": {"zip": {"hierarchy": "automatic"}, "age": {}}
    }
    kept = policy_templates.save(name="Other", policy=policy, by=steward)
    page = client_for(steward).get(
        reverse("web:anonymize", args=[released.version_id]),
        {"template": str(kept.pk)},
    )
    text = page.content.decode()
    assert "Column “age” of the policy is no quasi-identifier" in text
    assert "Column “sex” is a quasi-identifier that the policy does not name" in text


def test_file_goes_out_and_comes_in_again(
    released: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    file = client.get(reverse("web:anonymization_policy", args=[released.pk])).content
    upload = SimpleUploadedFile("policy.json", file, content_type="application/json")
    where = reverse("web:policy_template_upload")
    client.post(where, {"name": "Loaded", "file": upload})
    template = PolicyTemplate.objects.get()
    assert template.policy == released.policy
    again = client.get(reverse("web:policy_template_json", args=[template.pk]))
    assert again.json() == template.policy
    assert "Loaded" in client.get(reverse("web:policy_templates")).content.decode()
    client.post(reverse("web:policy_template_delete", args=[template.pk]))
    assert not PolicyTemplate.objects.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"models": {}}',
        b'{"models": [{"name": "magic"}]}',
        b'{"metric": 3}',
        b'{"metric": {"weights": []}}',
        b'{"suppression_limit": NaN}',
        b'{"suppression_limit": "x"}',
        b'{"treatments": {"a": 1}}',
        b'{"quasi_identifiers": {"a": 1}}',
        b'{"method": "magic"}',
        b'{"schema": 2}',
    ],
)
def test_file_that_is_no_policy_is_refused(
    content: bytes, steward: Any, client_for: Any
) -> None:
    with pytest.raises(DataError):
        policy_templates.parse(content)
    upload = SimpleUploadedFile("p.json", content or b" ")
    where = reverse("web:policy_template_upload")
    answer = client_for(steward).post(where, {"name": "x", "file": upload})
    assert answer.status_code == 302
    assert not PolicyTemplate.objects.exists()


def test_template_over_rest_runs_on_a_version(
    register_version: Any, policy: Any, steward: Any, other_steward: Any, api_for: Any
) -> None:
    api = api_for(steward)
    kept = api.post(TEMPLATES, {"name": "Clinic", "policy": policy})
    assert kept.status_code == 201, kept.content
    found = api.get(f"{TEMPLATES}{kept.data['id']}/").data
    run = services.submit(version=register_version, policy=found["policy"], by=steward)
    assert run.policy["models"] == policy["models"]
    assert api_for(other_steward).get(f"{TEMPLATES}{found['id']}/").status_code == 404
    bad = api.post(TEMPLATES, {"name": "x", "policy": {"models": [{"name": "?"}]}})
    assert bad.status_code == 400
    assert bad["Content-Type"] == "application/problem+json"
    assert api.delete(f"{TEMPLATES}{found['id']}/").status_code == 204


def test_domains_of_pseudonyms_over_rest(
    register_version: Any,
    policy: Any,
    steward: Any,
    other_steward: Any,
    api_for: Any,
    run_jobs: Any,
) -> None:
    treatments = {"email": {"name": "pseudonym", "domain": "patient"}}
    services.submit(
        version=register_version, policy=policy | {"treatments": treatments}, by=steward
    )
    api = api_for(steward)
    listed = api.get("/api/v1/pseudonym-domains/").data["results"]
    assert [one["name"] for one in listed] == ["patient"]
    where = f"/api/v1/pseudonym-domains/{listed[0]['id']}/destroy/"
    assert api.post(where).status_code == 409
    run_jobs()
    assert api_for(other_steward).post(where).status_code == 404
    assert api.post(where).data["destroyed_at"] is not None
