"""Reserve, charge, settle: what the ledger allows, and what it never does."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Ledger,
    LedgerEntry,
    Part,
    Reservation,
)
from privacyhub.governance.sums import load

from .conftest import gaussian, price


def _reserve(account: Ledger, by: Any, run: uuid.UUID, *prices: ledger.Price) -> None:
    ledger.reserve(
        ledgers=[account], run_id=run, prices=prices, recipient="steward", by=by
    )


def test_reserve_twice_holds_once(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    _reserve(account, steward, run, price(5))
    account.refresh_from_db()
    assert load(account.reserved_train) == rdp_vector(gaussian(5))
    assert Reservation.objects.count() == 1


def test_reserve_another_amount_under_the_same_key_is_an_error(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    with pytest.raises(ledger.LedgerError, match="another amount"):
        _reserve(account, steward, run, price(6))


def test_reserve_over_the_cap_leaves_nothing(account: Ledger, steward: Any) -> None:
    before = Ledger.objects.values().get()
    lines = LedgerEntry.objects.count()
    with pytest.raises(ledger.BudgetRefused, match="does not fit"):
        _reserve(
            account,
            steward,
            uuid.uuid4(),
            price(1, purpose="metrics"),
            price(10_000),
        )
    assert Ledger.objects.values().get() == before
    assert LedgerEntry.objects.count() == lines
    assert not Reservation.objects.exists()


def test_reserve_before_the_declaration_is_an_error(steward: Any) -> None:
    row = ledger.open_ledger(name="new", fingerprint="f" * 64)
    with pytest.raises(ledger.LedgerError, match="Declare"):
        _reserve(row, steward, uuid.uuid4(), price(1))


def test_reserve_of_nothing_is_an_error(account: Ledger, steward: Any) -> None:
    with pytest.raises(ledger.LedgerError, match="positive"):
        _reserve(account, steward, uuid.uuid4(), price(0))


def test_reserve_at_a_delta_above_the_cap_is_refused(
    account: Ledger, steward: Any
) -> None:
    dear = ledger.Price(
        purpose="training", event=gaussian(1), part=Part.ALL, epsilon="1", delta="1e-3"
    )
    with pytest.raises(ledger.BudgetRefused, match="Delta"):
        _reserve(account, steward, uuid.uuid4(), dear)


def test_charge_beyond_the_reservation_is_refused(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    ledger.charge(run_id=run, purpose="training", event=gaussian(4))
    with pytest.raises(ledger.LedgerError, match="does not cover"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(2))
    account.refresh_from_db()
    assert load(account.spent_train) == rdp_vector(gaussian(4))


def test_charge_without_a_reservation_is_an_error(account: Ledger) -> None:
    with pytest.raises(ledger.LedgerError, match="no reservation"):
        ledger.charge(run_id=uuid.uuid4(), purpose="training", event=gaussian(1))


def test_charge_after_the_settlement_is_an_error(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    ledger.settle(run_id=run)
    with pytest.raises(ledger.LedgerError, match="closed"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))


def test_settle_returns_only_what_never_ran(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    ledger.charge(run_id=run, purpose="training", event=gaussian(2))
    for _ in range(5):
        ledger.settle(run_id=run)
    account.refresh_from_db()
    assert load(account.spent_train) == rdp_vector(gaussian(2))
    assert not any(load(account.reserved_train))
    assert account.entries.filter(kind=EntryKind.SETTLE).count() == 1


def test_settle_of_a_run_that_never_started_returns_all(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    _reserve(account, steward, run, price(5))
    ledger.settle(run_id=run)
    account.refresh_from_db()
    assert ledger.balance(account).left == ledger.balance(account).cap
    assert account.entries.filter(kind=EntryKind.RELEASE).count() == 1


def test_the_sides_of_the_coin_are_charged_in_parallel(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    most = next(n for n in range(1, 500) if not ledger.would_fit(account, [price(n)]))
    fits = most - 1
    _reserve(
        account,
        steward,
        run,
        price(fits, part=Part.TRAIN),
        price(fits, part=Part.HELDOUT, purpose="metrics"),
    )
    account.refresh_from_db()
    assert not ledger.would_fit(account, [price(1)])
    with pytest.raises(ledger.BudgetRefused):
        _reserve(account, steward, uuid.uuid4(), price(1, part=Part.HELDOUT))


def test_a_charge_goes_to_every_ledger_of_the_version(
    account: Ledger, open_ledger: Any, steward: Any
) -> None:
    second, run = open_ledger("second"), uuid.uuid4()
    ledger.reserve(
        ledgers=[account, second],
        run_id=run,
        prices=[price(3)],
        recipient="steward",
        by=steward,
    )
    ledger.charge(run_id=run, purpose="training", event=gaussian(3))
    for row in Ledger.objects.all():
        assert load(row.spent_heldout) == rdp_vector(gaussian(3))


def test_gaussian_price_is_the_closed_form() -> None:
    """RDP of a Gaussian mechanism at order a is a / (2 sigma^2), rounded up."""
    for order, units in zip(ORDERS, rdp_vector(gaussian(1, noise=4.0)), strict=True):
        exact = order / (2 * 4.0**2) * UNITS_PER_ONE
        assert exact <= units <= exact * (1 + 1e-9) + 1


def test_a_million_tiny_charges_do_not_drift() -> None:
    one = rdp_vector(gaussian(1, noise=1000.0))
    total = [0] * len(one)
    for _ in range(1_000_000 // 1000):
        total = [t + u * 1000 for t, u in zip(total, one, strict=True)]
    whole = rdp_vector(gaussian(1_000_000, noise=1000.0))
    assert tuple(total) == whole
    exact = [order / (2 * 1000.0**2) * 1e6 * UNITS_PER_ONE for order in ORDERS]
    assert all(t >= e * (1 - 1e-12) for t, e in zip(whole, exact, strict=True))


def test_additive_deltas_have_a_part_of_the_cap_of_their_own(
    account: Ledger, steward: Any
) -> None:
    held = int(1e-5 * 0.1 * UNITS_PER_ONE)
    _reserve(account, steward, uuid.uuid4(), price(1, delta_units=held))
    with pytest.raises(ledger.BudgetRefused, match="categories"):
        _reserve(account, steward, uuid.uuid4(), price(1, delta_units=1))


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "much"])
def test_a_cap_is_a_positive_number(steward: Any, amount: str) -> None:
    row = ledger.open_ledger(name="new", fingerprint="f" * 64)
    with pytest.raises(ledger.LedgerError, match="number"):
        ledger.declare(
            ledger=row,
            by=steward,
            declared_units=10,
            epsilon_cap=amount,
            delta_cap="1e-5",
        )


def test_a_delta_cap_of_one_in_n_is_refused(steward: Any) -> None:
    row = ledger.open_ledger(name="new", fingerprint="f" * 64)
    with pytest.raises(ledger.LedgerError, match="below 1/N"):
        ledger.declare(
            ledger=row,
            by=steward,
            declared_units=100,
            epsilon_cap="1",
            delta_cap="0.01",
        )


def test_a_declaration_is_fixed_by_the_first_reservation(
    account: Ledger, steward: Any
) -> None:
    _reserve(account, steward, uuid.uuid4(), price(1))
    with pytest.raises(ledger.LedgerError, match="fixed by the first reservation"):
        ledger.declare(
            ledger=account,
            by=steward,
            declared_units=600,
            epsilon_cap="100",
            delta_cap="1e-5",
        )


def test_a_raise_needs_a_second_person(
    account: Ledger, steward: Any, auditor: Any
) -> None:
    wish = ledger.request_raise(
        ledger=account, epsilon_cap="2", reason="A retrain.", by=steward
    )
    with pytest.raises(NotAllowed):
        ledger.decide_raise(request=wish, approve=True, by=steward)
    CapRequest.objects.filter(pk=wish.pk).update(requested_by=auditor)
    with pytest.raises(NotAllowed, match="own"):
        ledger.decide_raise(request=wish, approve=True, by=auditor)
    CapRequest.objects.filter(pk=wish.pk).update(requested_by=steward)
    ledger.decide_raise(request=wish, approve=True, by=auditor)
    account.refresh_from_db()
    assert ledger.balance(account).cap == 2
    with pytest.raises(ledger.LedgerError, match="already"):
        ledger.decide_raise(request=wish, approve=True, by=auditor)


def test_only_a_steward_asks_for_a_raise(account: Ledger, auditor: Any) -> None:
    with pytest.raises(NotAllowed):
        ledger.request_raise(ledger=account, epsilon_cap="2", reason="x", by=auditor)


def test_an_uncovered_release_marks_the_ledger_for_good(
    account: Ledger, steward: Any
) -> None:
    for _ in range(2):
        ledger.note_uncovered_release(
            ledgers=[account],
            by=steward,
            recipient="analyst",
            purpose="share version",
            note="v2 was shared",
        )
    first = Ledger.objects.get().uncovered_release_at
    assert first is not None
    assert account.entries.filter(kind=EntryKind.UNCOVERED).count() == 2


@pytest.mark.parametrize("table", ["governance_ledgerentry", "governance_auditevent"])
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {}", "UPDATE {} SET actor = 'nobody'"]
)
def test_the_database_refuses_to_change_history(
    account: Ledger, table: str, statement: str
) -> None:
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(table))
