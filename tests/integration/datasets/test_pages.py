"""The datasets' pages: what each role sees and may do."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from jobs.models import Job
from privacyhub.datasets import services
from privacyhub.datasets.models import Dataset
from privacyhub.governance.models import AuditEvent, Grant, LedgerEntry, Right
from tests.integration.datasets.conftest import ROWS

TABS = ("pipeline", "columns", "quality", "versions", "access", "ledger")


def _posts(version: Any) -> list[str]:
    dataset = f"/datasets/{version.dataset_id}"
    return [
        f"{dataset}/describe/",
        f"{dataset}/refresh/",
        f"{dataset}/share/",
        f"{dataset}/hand-over/",
        f"{dataset}/erase/",
        f"/versions/{version.pk}/columns/",
        f"/versions/{version.pk}/budget/",
        f"/versions/{version.pk}/share/",
    ]


def test_upload_page_takes_a_file_in(
    steward: Any, client_for: Any, run_jobs: Any
) -> None:
    client = client_for(steward)
    file = SimpleUploadedFile("t.csv", ROWS)
    answer = client.post("/datasets/upload/", {"file": file, "name": "People"})
    job = Job.objects.get()
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    run_jobs()
    assert "People" in client.get("/datasets/").content.decode()


def test_upload_page_tells_what_is_wrong_and_keeps_nothing(
    steward: Any, client_for: Any, store: Any
) -> None:
    before = store()
    client = client_for(steward)
    file = SimpleUploadedFile("t.csv", b"a,b\n1,2\nZanzibar\n")
    answer = client.post("/datasets/upload/", {"file": file})
    assert answer.status_code == 400
    assert "Row 2" in answer.content.decode()
    assert "Zanzibar" not in answer.content.decode()
    assert store() == before
    missing = client.post("/datasets/upload/", {"name": "x"})
    assert "Choose a file." in missing.content.decode()


def test_empty_list_offers_the_sample(steward: Any, client_for: Any) -> None:
    client = client_for(steward)
    assert "Load the sample register" in client.get("/datasets/").content.decode()
    assert client.post("/datasets/sample/").status_code == 302
    assert Job.objects.get().kind == "ingest"


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_shows_for_steward_and_auditor(
    tab: str, steward: Any, auditor: Any, anonymized: Any, client_for: Any
) -> None:
    page = f"/datasets/{anonymized.dataset_id}/?tab={tab}"
    assert client_for(steward).get(page).status_code == 200
    seen = client_for(auditor).get(page).content.decode()
    main = seen.split("<main")[1]
    assert 'method="post"' not in main  # an auditor reads


def test_analyst_sees_what_was_shared_and_no_exact_figure(
    steward: Any, analyst: Any, anonymized: Any, client_for: Any
) -> None:
    services.share(
        target=anonymized.dataset, user=analyst, right=Right.VIEW, by=steward
    )
    client = client_for(analyst)
    for tab in TABS:
        page = client.get(f"/datasets/{anonymized.dataset_id}/?tab={tab}")
        main = page.content.decode().split("<main")[1]
        assert "60 rows" not in main
        assert ">60<" not in main
        assert "sure" not in main
        assert "look like" not in main
        assert 'method="post"' not in main
    raw = anonymized.parents.get()
    assert client.get(f"/versions/{raw.pk}/preview/").status_code == 403
    assert client.get(f"/versions/{raw.pk}/download/").status_code == 403
    assert client.get(f"/versions/{anonymized.pk}/preview/").status_code == 200
    released = LedgerEntry.objects.filter(kind="uncovered")
    assert released.get().recipient == analyst.username


def test_version_shared_alone_shows_without_its_dataset(
    steward: Any, analyst: Any, anonymized: Any, client_for: Any
) -> None:
    services.share(target=anonymized, user=analyst, right=Right.VIEW, by=steward)
    client = client_for(analyst)
    assert f"/versions/{anonymized.pk}/" in client.get("/datasets/").content.decode()
    page = client.get(f"/versions/{anonymized.pk}/").content.decode()
    assert f"/datasets/{anonymized.dataset_id}/" not in page
    assert client.get(f"/datasets/{anonymized.dataset_id}/").status_code == 404


def test_foreign_pages_are_not_found_and_watchers_change_nothing(
    steward: Any,
    other_steward: Any,
    auditor: Any,
    admin: Any,
    analyst: Any,
    taken_in: Any,
    client_for: Any,
) -> None:
    version = taken_in(steward)
    pages = [
        f"/datasets/{version.dataset_id}/",
        f"/datasets/{version.dataset_id}/erase/",
        f"/versions/{version.pk}/",
        f"/versions/{version.pk}/preview/",
        f"/versions/{version.pk}/download/",
        f"/versions/{version.pk}/risk/",
        f"/versions/{version.pk}/odds/",
    ]
    for user in (other_steward, admin, analyst):
        client = client_for(user)
        assert {client.get(page).status_code for page in pages} == {404}
        assert {client.post(page).status_code for page in _posts(version)} == {404}
    client = client_for(auditor)
    assert {client.post(page).status_code for page in _posts(version)} == {403}
    assert client.get(f"/versions/{version.pk}/preview/").status_code == 403
    version.dataset.refresh_from_db()
    assert version.dataset.erased_at is None
    assert not Grant.objects.exists()


def test_columns_and_budget_are_saved_and_mistakes_come_back(
    steward: Any, taken_in: Any, client_for: Any
) -> None:
    version = taken_in(steward)
    client = client_for(steward)
    body = {
        "target": "sick",
        "unit_key": "",
        "0-role": "identifier",
        "1-role": "quasi_identifier",
        "1-lower": "0",
        "1-upper": "100",
        "2-role": "sensitive",
        "2-categories": "no\nyes\n",
    }
    page = f"/versions/{version.pk}/columns/"
    assert client.post(page, body).status_code == 302
    told = {column.name: column for column in version.columns.all()}
    assert told["sick"].is_target
    assert told["sick"].categories == ["no", "yes"]
    assert (told["age"].lower, told["age"].upper) == (0, 100)
    wrong = client.post(page, body | {"1-upper": "-1"})
    assert wrong.status_code == 400
    assert "lower bound" in wrong.content.decode()

    budget = {
        "unit": "record",
        "unit_key": "",
        "most_rows_per_unit": "1",
        "declared_units": "60",
        "epsilon_cap": "2",
        "delta_cap": "",
    }
    page = f"/versions/{version.pk}/budget/"
    assert client.post(page, budget | {"epsilon_cap": "-1"}).status_code == 400
    assert client.post(page, budget).status_code == 302
    account = services.the_ledger(version)
    assert account.declared_units == 60
    assert float(account.delta_cap) <= 1 / 600
    assert client.get("/datasets/").content.decode().count("left of 2.00") == 1


def test_risk_counts_what_the_form_holds_and_is_noted(
    steward: Any, taken_in: Any, client_for: Any
) -> None:
    version = taken_in(steward)
    client = client_for(steward)
    page = f"/versions/{version.pk}/risk/"
    text = client.get(page, {"0-role": "quasi_identifier"}).content.decode()
    assert "60 of 60" in text
    alone = client.get(page, {"2-role": "quasi_identifier"}).content.decode()
    assert "0 of 60" in alone
    assert LedgerEntry.objects.filter(purpose="risk").count() == 2


def test_preview_is_on_the_trail(steward: Any, taken_in: Any, client_for: Any) -> None:
    version = taken_in(steward)
    client = client_for(steward)
    page = client.get(f"/versions/{version.pk}/preview/?offset=20").content.decode()
    assert "Person 20" in page
    assert "Person 19" not in page
    assert AuditEvent.objects.filter(action="version.preview").count() == 1
    client.head(f"/versions/{version.pk}/preview/")
    assert AuditEvent.objects.filter(action="version.preview").count() == 1


def test_share_revoke_hand_over_and_erase_from_pages(
    steward: Any, other_steward: Any, analyst: Any, taken_in: Any, client_for: Any
) -> None:
    version = taken_in(steward)
    dataset = version.dataset
    client = client_for(steward)
    page = f"/datasets/{dataset.pk}"
    client.post(f"{page}/share/", {"user": str(analyst.pk), "right": "view"})
    grant = Grant.objects.live().get()
    assert client_for(analyst).get(f"{page}/").status_code == 200
    assert client_for(analyst).post(f"/grants/{grant.pk}/revoke/").status_code == 404
    client.post(f"/grants/{grant.pk}/revoke/")
    assert not Grant.objects.live().exists()
    client.post(f"{page}/hand-over/", {"user": str(other_steward.pk)})
    assert client.get(f"{page}/").status_code == 404
    owner = client_for(other_steward)
    assert "Type" in owner.get(f"{page}/erase/").content.decode()
    assert owner.post(f"{page}/erase/", {"confirm": "no"}).status_code == 400
    done = owner.post(f"{page}/erase/", {"confirm": dataset.name})
    assert done.status_code == 302
    assert Dataset.objects.get().erased_at is not None
    for tab in TABS:
        assert owner.get(f"{page}/?tab={tab}").status_code == 200
    assert owner.get(f"/versions/{version.pk}/").status_code == 200
