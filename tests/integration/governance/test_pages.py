"""Ledgers on pages and over REST: who sees what, and the two people of a raise."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from jobs import services as jobs
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance import ledger, statement
from privacyhub.governance.models import CapRequest, Ledger, Part

from .conftest import gaussian, price


@pytest.fixture
def spent(register_version: Version, steward: Any) -> Ledger:
    """The register's ledger after a run that charged five steps of ten."""
    account = register_version.ledgers.get()
    spec = {"schema": 1, "dataset": str(register_version.dataset_id)}
    job = jobs.submit(kind="nothing", title="Training", owner=steward, spec=spec)
    ledger.reserve(
        ledgers=[account],
        run_id=job.pk,
        prices=[price(10, part=Part.TRAIN)],
        recipient="steward",
        by=steward,
    )
    ledger.charge(run_id=job.pk, purpose="training", event=gaussian(5), note="5 steps")
    account.refresh_from_db()
    return account


def test_ledger_pages_show_every_line(
    spent: Ledger, steward: Any, auditor: Any, client_for: Any
) -> None:
    for user in (steward, auditor):
        client = client_for(user)
        assert b"Register" in client.get("/ledgers/").content
        page = client.get(f"/ledgers/{spent.pk}/").content.decode()
        for told in ("Charged: training", "5 steps", "Cap set", "of 100", "spending"):
            assert told in page, told


def test_ledger_of_others_is_not_there(
    spent: Ledger,
    other_steward: Any,
    analyst: Any,
    admin: Any,
    client_for: Any,
    api_for: Any,
) -> None:
    for user in (other_steward, analyst, admin):
        client, api = client_for(user), api_for(user)
        assert client.get(f"/ledgers/{spent.pk}/").status_code == 404
        assert api.get(f"/api/v1/ledgers/{spent.pk}/").status_code == 404
        assert api.get(f"/api/v1/ledgers/{spent.pk}/entries/").status_code == 404
        assert api.get("/api/v1/ledgers/").json()["count"] == 0
        wish = {"epsilon_cap": "20", "reason": "x"}
        path = f"/api/v1/ledgers/{spent.pk}/raise/"
        assert api.post(path, wish).status_code == 404


@pytest.fixture
def shared(
    spent: Ledger, register_version: Version, other_steward: Any
) -> tuple[Ledger, Any]:
    """Another steward has uploaded the same rows: the ledger is of both."""
    other = Dataset.objects.create(name="Other name", owner=other_steward)
    twin = Version.objects.get(pk=register_version.pk)
    twin.pk, twin.dataset, twin._state.adding = uuid.uuid4(), other, True
    twin.save()
    twin.ledgers.set([spent])
    return spent, other_steward


def test_a_shared_ledger_shows_the_other_owner_totals_only(
    shared: tuple[Ledger, Any], client_for: Any, api_for: Any
) -> None:
    account, other = shared
    page = client_for(other).get(f"/ledgers/{account.pk}/").content.decode()
    assert "This ledger is shared." in page
    assert "Other name" in page
    assert "Cap set" in page
    for hidden in ("Register", "Charged: training", "5 steps"):
        assert hidden not in page, hidden
    api = api_for(other)
    told = api.get(f"/api/v1/ledgers/{account.pk}/").json()
    assert told["name"] == "Other name"
    assert float(told["balance"]["spent"]) > 0
    lines = api.get(f"/api/v1/ledgers/{account.pk}/entries/").json()["results"]
    assert {line["kind"] for line in lines} == {"cap"}


def test_the_tab_of_a_dataset_shows_a_shared_ledger_no_further(
    shared: tuple[Ledger, Any], client_for: Any
) -> None:
    account, other = shared
    tab = f"/datasets/{Dataset.objects.get(owner=other).pk}/?tab=ledger"
    page = client_for(other).get(tab).content.decode()
    assert "Cap set" in page
    for hidden in ("Register", "Charged", "5 steps"):
        assert hidden not in page, hidden


def test_an_owner_of_a_shared_ledger_declares_it_no_second_time(
    register_version: Version, steward: Any, other_steward: Any, api_for: Any
) -> None:
    """The other's budget is theirs too: only a raise, by two, changes it."""
    other = Dataset.objects.create(name="Other name", owner=other_steward)
    twin = Version.objects.get(pk=register_version.pk)
    twin.pk, twin.dataset, twin._state.adding = uuid.uuid4(), other, True
    twin.save()
    twin.ledgers.set(register_version.ledgers.all())
    budget = {"declared_units": 600, "epsilon_cap": "2", "delta_cap": "1e-5"}
    (account,) = register_version.ledgers.all()
    before = account.epsilon_cap
    for user, version in ((other_steward, twin), (steward, register_version)):
        path = f"/api/v1/versions/{version.pk}/budget/"
        answer = api_for(user).put(path, budget | {"epsilon_cap": "1000"})
        assert answer.status_code == 409, answer.content
        assert b"second person" in answer.content
    account.refresh_from_db()
    assert account.epsilon_cap == before


def test_a_shared_ledger_shows_the_owner_their_own_lines(
    shared: tuple[Ledger, Any], steward: Any, auditor: Any
) -> None:
    account, _ = shared
    everything = account.entries.count()
    assert statement.entries(ledger=account, user=auditor).count() == everything
    assert statement.others(ledger=account, user=auditor) is None
    assert statement.entries(ledger=account, user=steward).count() == everything


def test_a_raise_is_asked_for_and_approved_on_pages(
    spent: Ledger, steward: Any, auditor: Any, client_for: Any
) -> None:
    client = client_for(steward)
    form = {"epsilon_cap": "3", "reason": "lower"}
    assert client.post(f"/ledgers/{spent.pk}/raise/", form).status_code == 400
    form = {"epsilon_cap": "12", "reason": "A retrain."}
    assert client.post(f"/ledgers/{spent.pk}/raise/", form).status_code == 302
    wish = CapRequest.objects.get()
    decide = f"/cap-requests/{wish.pk}/decide/"
    assert client.post(decide, {"decision": "approve"}).status_code == 403
    assert b"asks for a cap of 12.00" in client_for(auditor).get("/").content
    client_for(auditor).post(decide, {"decision": "approve"})
    spent.refresh_from_db()
    assert spent.epsilon_cap == "12"


def test_a_raise_is_asked_for_and_declined_over_rest(
    spent: Ledger, steward: Any, auditor: Any, api_for: Any
) -> None:
    api = api_for(steward)
    wish = {"epsilon_cap": "12", "reason": "A retrain."}
    answer = api.post(f"/api/v1/ledgers/{spent.pk}/raise/", wish)
    assert answer.status_code == 201
    decide = f"/api/v1/cap-requests/{answer.json()['id']}/decide/"
    assert api.post(decide, {"approve": True}).status_code == 403
    told = api_for(auditor).post(decide, {"approve": False}).json()
    assert (told["approved"], told["decided_by"]) == (False, "auditor")
    spent.refresh_from_db()
    assert spent.epsilon_cap == "8"


def test_low_budgets_are_marked(spent: Ledger, steward: Any, client_for: Any) -> None:
    assert not statement.is_low(spent)
    spent.epsilon_cap = str(ledger.balance(spent).spent)
    spent.save()
    assert b"Budgets that run low" in client_for(steward).get("/").content
    assert b">Low<" in client_for(steward).get("/ledgers/").content
