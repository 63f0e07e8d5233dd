"""Reserve, charge, settle: what the ledger allows, and what it never does."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import (
    EntryKind,
    Ledger,
    LedgerEntry,
    Part,
    Reservation,
)
from privacyhub.governance.sums import load

from .conftest import gaussian, price, reserve


def test_reserve_five_times_holds_once(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    for _ in range(5):
        reserve(account, steward, run, price(5))
    account.refresh_from_db()
    assert load(account.reserved_train) == rdp_vector(gaussian(5))
    assert Reservation.objects.count() == 1


def test_reserve_another_amount_under_the_same_key_is_an_error(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    reserve(account, steward, run, price(5))
    with pytest.raises(ledger.LedgerError, match="another amount"):
        reserve(account, steward, run, price(6))


def test_reserve_over_the_cap_leaves_nothing(account: Ledger, steward: Any) -> None:
    before = Ledger.objects.values().get()
    lines = LedgerEntry.objects.count()
    with pytest.raises(ledger.BudgetRefused, match="does not fit"):
        reserve(
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
        reserve(row, steward, uuid.uuid4(), price(1))


def test_reserve_of_nothing_is_an_error(account: Ledger, steward: Any) -> None:
    with pytest.raises(ledger.LedgerError, match="positive"):
        reserve(account, steward, uuid.uuid4(), price(0))


def test_reserve_at_a_delta_above_the_cap_is_refused(
    account: Ledger, steward: Any
) -> None:
    dear = ledger.Price(
        purpose="training", event=gaussian(1), part=Part.ALL, epsilon="1", delta="1e-3"
    )
    with pytest.raises(ledger.BudgetRefused, match="Delta"):
        reserve(account, steward, uuid.uuid4(), dear)


def test_charge_beyond_the_reservation_is_refused(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    reserve(account, steward, run, price(5))
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
    reserve(account, steward, run, price(5))
    ledger.settle(run_id=run)
    with pytest.raises(ledger.LedgerError, match="closed"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))


def test_settle_returns_only_what_never_ran(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    reserve(account, steward, run, price(5))
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
    reserve(account, steward, run, price(5))
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
    reserve(
        account,
        steward,
        run,
        price(fits, part=Part.TRAIN),
        price(fits, part=Part.HELDOUT, purpose="metrics"),
    )
    account.refresh_from_db()
    assert not ledger.would_fit(account, [price(1)])
    with pytest.raises(ledger.BudgetRefused):
        reserve(account, steward, uuid.uuid4(), price(1, part=Part.HELDOUT))


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


def test_additive_deltas_have_a_part_of_the_cap_of_their_own(
    account: Ledger, steward: Any
) -> None:
    held = int(1e-5 * 0.1 * UNITS_PER_ONE)
    reserve(account, steward, uuid.uuid4(), price(1, delta_units=held))
    with pytest.raises(ledger.BudgetRefused, match="categories"):
        reserve(account, steward, uuid.uuid4(), price(1, delta_units=1))


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


@pytest.mark.parametrize(
    "values",
    [
        {"delta_units": -1},
        {"delta": "-1e-5"},
        {"delta": "nan"},
        {"epsilon": "inf"},
        {"epsilon": "one"},
    ],
)
def test_a_price_that_is_no_amount_is_refused(values: dict[str, Any]) -> None:
    given = {"epsilon": "0.5", "delta": "1e-5"} | values
    with pytest.raises(ledger.LedgerError):
        ledger.Price(purpose="training", event=gaussian(1), part=Part.ALL, **given)


def test_a_charge_that_is_no_amount_is_refused(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    reserve(account, steward, run, price(5, delta_units=10**8))
    before = Ledger.objects.values().get()
    for event, delta_units in ((gaussian(1), -1), (gaussian(0), 0), (gaussian(0), 5)):
        with pytest.raises(ledger.LedgerError, match="positive"):
            ledger.charge(
                run_id=run, purpose="training", event=event, delta_units=delta_units
            )
    assert Ledger.objects.values().get() == before
