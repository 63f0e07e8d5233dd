"""Each line says whose privacy it counts, and under which relation."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from privacyhub.engines.dp.orders import ORDERS
from privacyhub.governance import ledger
from privacyhub.governance.entries import START, chained, is_chained
from privacyhub.governance.models import Ledger, LedgerEntry, Reservation, Unit
from privacyhub.governance.verification import verify

from .conftest import gaussian, price, reserve
from .plays import play


@pytest.fixture
def by_key(account: Ledger, steward: Any) -> Ledger:
    """A ledger that counts all records of one unit key, with a charge."""
    row = ledger.declare(
        ledger=account,
        by=steward,
        declared_units=600,
        epsilon_cap="1",
        delta_cap="1e-5",
        unit=Unit.KEY,
        unit_key="household",
        most_rows_per_unit=4,
    )
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[row],
        run_id=run,
        prices=[price(2, unit=Unit.KEY)],
        recipient="steward",
        by=steward,
    )
    ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    ledger.settle(run_id=run)
    return row


def test_each_line_has_the_unit_and_the_relation_of_its_time(by_key: Ledger) -> None:
    lines = by_key.entries.order_by("number").values_list("kind", "unit", "relation")
    first, *later = lines
    assert first == ("cap", "record", "add/remove")
    assert [kind for kind, *_ in later] == ["cap", "reserve", "charge", "settle"]
    assert {tuple(terms) for _, *terms in later} == {("key", "add/remove")}
    assert verify().holds


@pytest.mark.parametrize("values", [{"unit": Unit.KEY}, {"relation": "replace-one"}])
def test_another_unit_or_relation_is_refused_and_never_added(
    account: Ledger, steward: Any, values: dict[str, str]
) -> None:
    run = uuid.uuid4()
    with pytest.raises(ledger.LedgerError, match="another unit or relation"):
        reserve(account, steward, run, price(5, **values))
    assert not Reservation.objects.exists()
    reserve(account, steward, run, price(5, unit=Unit.RECORD))
    Reservation.objects.update(**values)
    with pytest.raises(ledger.LedgerError, match="another unit or relation"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))


def test_a_ledger_of_other_orders_takes_no_more_amounts(
    account: Ledger, steward: Any
) -> None:
    Ledger.objects.update(orders=[*ORDERS[:-1], 300.0])
    with pytest.raises(ledger.LedgerError, match="list of orders"):
        reserve(account, steward, uuid.uuid4(), price(1))


@pytest.mark.parametrize(
    "values", [{"unit": "record"}, {"unit": ""}, {"relation": "replace-one"}]
)
def test_the_database_refuses_a_line_of_other_terms(
    by_key: Ledger, values: dict[str, str]
) -> None:
    line = by_key.entries.get(kind="charge")
    line.pk, line.number = None, 100
    for name, value in values.items():
        setattr(line, name, value)
    with (
        pytest.raises(DatabaseError, match="another unit or relation"),
        transaction.atomic(),
    ):
        line.save(force_insert=True)


def _write_over(line: LedgerEntry, **values: str) -> None:
    """As who owns the database might."""
    table = "governance_ledgerentry"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            connection.check_constraints()
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        else:
            cursor.execute(f"DROP TRIGGER {table}_no_update")
    LedgerEntry.objects.filter(pk=line.pk).update(**values)


@pytest.mark.parametrize("values", [{"unit": "record"}, {"relation": "replace-one"}])
def test_changed_terms_of_a_line_are_told(
    by_key: Ledger, values: dict[str, str]
) -> None:
    line = by_key.entries.get(kind="charge")
    _write_over(line, **values)
    assert f"from line {line.number} on" in verify().problems[0]


def test_an_amount_of_other_terms_is_told_though_it_is_chained_well(
    by_key: Ledger,
) -> None:
    last = by_key.entries.get(kind="settle")
    before = by_key.entries.get(number=last.number - 1)
    last.unit, last.event = "record", gaussian(1).to_dict()
    _write_over(
        last,
        unit=last.unit,
        event=last.event,
        hash=chained(before.hash, last),
    )
    problems = verify().problems
    assert problems == (
        "Lines of “register” are of another unit or relation than it counts.",
    )


def test_a_line_is_sealed_with_its_terms_or_was_before_it_had_them(
    by_key: Ledger,
) -> None:
    line = by_key.entries.get(number=1)
    assert is_chained(START, line)
    line.unit = "key"
    assert not is_chained(START, line)
    line.hash = chained(START, line, terms=False)
    assert is_chained(START, line)
    line.note = "another cap"
    assert not is_chained(START, line)


def test_lines_are_shown_with_their_terms(
    register_version: Any, steward: Any, client_for: Any, api_for: Any
) -> None:
    account = register_version.ledgers.get()
    told = api_for(steward).get(f"/api/v1/ledgers/{account.pk}/entries/").json()
    assert {(line["unit"], line["relation"]) for line in told["results"]} == {
        ("record", "add/remove")
    }
    client = client_for(steward)
    page = client.get(f"/ledgers/{account.pk}/").content.decode()
    assert "one record, add/remove" in page
    tab = client.get(f"/datasets/{register_version.dataset_id}/?tab=ledger")
    assert "one record<small>add/remove</small>" in tab.content.decode()


def _holds(told: dict[str, Any]) -> None:
    assert told == {
        "hashes_stay": True,
        "terms": [["key", "add/remove"]],
        "refused": [True, True],
        "gap": False,
        "problems": [],
    }


def test_lines_of_before_take_their_ledgers_terms(tmp_path: Path) -> None:
    _holds(play("upgrade_play", tmp_path / "var"))


@pytest.mark.service
def test_lines_of_before_take_their_ledgers_terms_on_postgresql(
    tmp_path: Path, own_database: Callable[[], str]
) -> None:
    _holds(play("upgrade_play", tmp_path / "var", url=own_database()))
