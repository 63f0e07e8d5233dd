"""Who reaches what: foreign 404, seen but not managed 403, releases on the ledger."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from django.utils import timezone

from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets import services
from privacyhub.datasets.errors import DataError
from privacyhub.governance.models import AuditEvent, Grant, LedgerEntry, Right

READS = {
    "datasets/{d}/": 200,
    "versions/{v}/": 200,
    "versions/{v}/columns/": 200,
}
STEWARD_READS = (
    "datasets/{d}/grants/",
    "datasets/{d}/erase/",
    "versions/{v}/profile/",
    "versions/{v}/budget/",
)
ROW_READS = (
    "versions/{v}/preview/",
    "versions/{v}/download/",
    "versions/{v}/risk/?columns=age",
)
WRITES = (
    ("patch", "datasets/{d}/", {"name": "x"}),
    ("post", "datasets/{d}/share/", {"user": "analyst"}),
    ("post", "datasets/{d}/hand-over/", {"user": "other"}),
    ("post", "datasets/{d}/erase/", {"confirm": "t.csv"}),
    ("post", "datasets/{d}/refresh/", {}),
    ("patch", "versions/{v}/columns/", {"age": {"role": "sensitive"}}),
    ("put", "versions/{v}/budget/", {"declared_units": 9, "epsilon_cap": "1"}),
    ("post", "versions/{v}/share/", {"user": "analyst"}),
)


def _address(path: str, version: Any) -> str:
    return "/api/v1/" + path.format(v=version.pk, d=version.dataset_id)


def _get_all(client: Any, version: Any, paths: Any) -> set[int]:
    return {client.get(_address(path, version)).status_code for path in paths}


def _write_all(client: Any, version: Any) -> set[int]:
    found = set()
    for method, path, body in WRITES:
        form = "multipart" if "refresh" in path else "json"
        send = getattr(client, method)
        found.add(send(_address(path, version), body, format=form).status_code)
    return found


def test_foreign_objects_are_not_found(
    steward: Any,
    other_steward: Any,
    analyst: Any,
    admin: Any,
    taken_in: Any,
    api_for: Any,
) -> None:
    version = taken_in(steward)
    for user in (other_steward, analyst, admin):
        client = api_for(user)
        assert _get_all(client, version, [*READS, *STEWARD_READS, *ROW_READS]) == {404}
        assert _write_all(client, version) == {404}
        assert client.get("/api/v1/datasets/").json()["results"] == []
        assert client.get("/api/v1/versions/").json()["results"] == []


def test_nobody_without_a_token(db: None, taken_in: Any, steward: Any) -> None:
    from rest_framework.test import APIClient

    version = taken_in(steward)
    assert _get_all(APIClient(), version, [*READS, *STEWARD_READS, *ROW_READS]) == {401}


def test_auditor_reads_all_and_changes_nothing(
    steward: Any,
    auditor: Any,
    other_steward: Any,
    analyst: Any,
    taken_in: Any,
    api_for: Any,
) -> None:
    version = taken_in(steward)
    client = api_for(auditor)
    assert _get_all(client, version, [*READS, *STEWARD_READS]) == {200}
    assert _get_all(client, version, ROW_READS) == {403}
    assert _write_all(client, version) == {403}
    assert client.get(_address("versions/{v}/", version)).json()["rows"] == 60


def test_viewer_sees_no_exact_figure_and_changes_nothing(
    steward: Any, analyst: Any, other_steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    services.share(target=version.dataset, user=analyst, right=Right.VIEW, by=steward)
    client = api_for(analyst)
    assert _get_all(client, version, READS) == {200}
    assert _get_all(client, version, [*STEWARD_READS, *ROW_READS]) == {403}
    assert _write_all(client, version) == {403}
    told = client.get(_address("versions/{v}/", version)).json()
    hidden = ("rows", "size", "checks", "ledgers")
    assert [told[name] for name in hidden] == [None] * 4
    columns = client.get(_address("versions/{v}/columns/", version)).json()
    assert {column["reason"] for column in columns} == {None}
    assert {column["confidence"] for column in columns} == {None}


def test_manager_by_grant_works_but_cannot_erase_or_hand_over(
    steward: Any, other_steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    services.share(
        target=version.dataset, user=other_steward, right=Right.MANAGE, by=steward
    )
    client = api_for(other_steward)
    assert _get_all(client, version, [*READS, *STEWARD_READS, *ROW_READS]) == {200}
    for path, body in (
        ("datasets/{d}/erase/", {"confirm": version.dataset.name}),
        ("datasets/{d}/hand-over/", {"user": other_steward.username}),
    ):
        answer = client.post(_address(path, version), body, format="json")
        assert answer.status_code == 403
    version.dataset.refresh_from_db()
    assert version.dataset.owner == steward
    assert version.dataset.erased_at is None


def test_expired_and_revoked_grants_end_access(
    steward: Any, analyst: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    grant = services.share(
        target=version.dataset,
        user=analyst,
        right=Right.VIEW,
        by=steward,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    client = api_for(analyst)
    address = _address("datasets/{d}/", version)
    assert client.get(address).status_code == 200
    Grant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(address).status_code == 404
    Grant.objects.update(expires_at=None)
    assert client.get(address).status_code == 200
    path = _address("datasets/{d}/grants/", version) + f"{grant.pk}/"
    assert api_for(steward).delete(path).status_code == 204
    assert client.get(address).status_code == 404


def test_raw_version_is_shared_with_nobody(
    steward: Any, analyst: Any, other_steward: Any, taken_in: Any
) -> None:
    version = taken_in(steward)
    for user in (analyst, other_steward):
        with pytest.raises(NotAllowed):
            services.share(target=version, user=user, right=Right.VIEW, by=steward)
    assert not Grant.objects.exists()
    assert not LedgerEntry.objects.filter(kind="uncovered").exists()


def test_sharing_an_anonymized_version_is_a_release_with_its_recipient(
    steward: Any, analyst: Any, anonymized: Any, api_for: Any
) -> None:
    path = _address("versions/{v}/share/", anonymized)
    answer = api_for(steward).post(path, {"user": "analyst"}, format="json")
    assert answer.status_code == 201
    line = LedgerEntry.objects.get(kind="uncovered")
    assert (line.recipient, line.actor) == ("analyst", "steward")
    account = services.the_ledger(anonymized)
    assert account.uncovered_release_at is not None

    client = api_for(analyst)
    download = client.get(_address("versions/{v}/download/", anonymized))
    assert download.status_code == 200
    content = b"".join(download.streaming_content).decode()
    assert content.splitlines()[0] == "age,sick"
    assert LedgerEntry.objects.filter(purpose="download version").count() == 1
    assert AuditEvent.objects.filter(action="version.download").count() == 1
    parent = anonymized.parents.get()
    assert client.get(_address("versions/{v}/", parent)).status_code == 404
    assert client.get(_address("datasets/{d}/", parent)).status_code == 404


@pytest.mark.parametrize(
    ("who", "right"),
    [
        ("admin", "view"),
        ("auditor", "view"),
        ("steward", "view"),
        ("analyst", "manage"),
    ],
)
def test_shares_that_make_no_sense_are_refused(
    who: str, right: str, request: Any, steward: Any, taken_in: Any
) -> None:
    user = request.getfixturevalue(who)
    version = taken_in(steward)
    with pytest.raises(DataError):
        services.share(target=version.dataset, user=user, right=right, by=steward)
    assert not Grant.objects.exists()


def test_hand_over_moves_ownership(
    steward: Any, other_steward: Any, analyst: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    client = api_for(steward)
    path = _address("datasets/{d}/hand-over/", version)
    assert client.post(path, {"user": "analyst"}, format="json").status_code == 400
    assert client.post(path, {"user": "other"}, format="json").status_code == 204
    assert client.get(_address("versions/{v}/", version)).status_code == 404
    assert _get_all(api_for(other_steward), version, READS) == {200}


def test_raw_download_escapes_formulas_and_is_audited(
    steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward, b"word,n\n=1+1,1\nplain,-2\n")
    client = api_for(steward)
    path = _address("versions/{v}/download/", version)
    answer = client.get(path)
    assert b"".join(answer.streaming_content) == b"word,n\n'=1+1,1\nplain,-2\n"
    assert "attachment" in answer.headers["Content-Disposition"]
    again = client.get(path, {"format": "parquet"})
    frame = pl.read_parquet(io.BytesIO(b"".join(again.streaming_content)))
    assert frame.columns == ["word", "n"]
    assert AuditEvent.objects.filter(action="version.download").count() == 2
    assert client.get(path, {"format": "xlsx"}).status_code == 400


def test_head_reads_nothing(steward: Any, taken_in: Any, api_for: Any) -> None:
    version = taken_in(steward)
    client = api_for(steward)
    before = (AuditEvent.objects.count(), LedgerEntry.objects.count())
    for path in ROW_READS:
        assert client.head(_address(path, version)).status_code == 200
    assert (AuditEvent.objects.count(), LedgerEntry.objects.count()) == before


def test_preview_and_risk_are_noted_as_steward_only_reads(
    steward: Any, taken_in: Any, api_for: Any
) -> None:
    version = taken_in(steward)
    client = api_for(steward)
    told = client.get(_address("versions/{v}/preview/", version), {"rows": 3}).json()
    assert told["columns"] == ["name", "age", "sick"]
    assert len(told["rows"]) == 3
    risk = client.get(
        _address("versions/{v}/risk/", version), {"columns": "age,sick"}
    ).json()
    assert risk["rows"] == 60
    assert risk["unique_rows"] + 2 * (60 - risk["classes"]) <= 120
    purposes = LedgerEntry.objects.filter(kind="steward_read").values_list(
        "purpose", flat=True
    )
    assert set(purposes) == {"profile", "preview", "risk"}
    wrong = client.get(_address("versions/{v}/risk/", version), {"columns": "nobody"})
    assert (wrong.status_code, wrong.json()["column"]) == (400, "nobody")


def test_lists_filter(steward: Any, taken_in: Any, api_for: Any) -> None:
    first = taken_in(steward, name="a.csv")
    taken_in(steward, b"x,y\n1,2\n3,4\n", name="b.csv")
    client = api_for(steward)

    def found(path: str, **query: Any) -> Any:
        return client.get(f"/api/v1/{path}/", query).json()

    assert found("datasets")["count"] == 2
    assert found("datasets", name="A.CS")["count"] == 1
    assert found("datasets", erased="true")["count"] == 0
    assert found("datasets", owner="other")["count"] == 0
    assert found("versions", dataset=str(first.dataset_id))["count"] == 1
    assert found("versions", kind="anonymized")["count"] == 0
    assert found("versions", kind="strange")["code"] == "invalid"
    assert found("versions", dataset="strange")["code"] == "invalid"
