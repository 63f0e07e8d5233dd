"""Reserve, charge, settle: what the ledger allows, and what it never does."""

from __future__ import annotations

import math
import uuid
from fractions import Fraction
from typing import Any

import dp_accounting
import pytest
from django.db import DatabaseError, connection, transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.engines.dp import accountants
from privacyhub.engines.dp.events import (
    Event,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    event_from_dict,
)
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import UNBOUNDED, add_vectors, rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import (
    CapRequest,
    EntryKind,
    Ledger,
    LedgerEntry,
    Part,
    Reservation,
    Unit,
)
from privacyhub.governance.sums import load, store
from privacyhub.governance.verification import verify

from .conftest import gaussian, price


def _reserve(account: Ledger, by: Any, run: uuid.UUID, *prices: ledger.Price) -> None:
    ledger.reserve(
        ledgers=[account], run_id=run, prices=prices, recipient="steward", by=by
    )


def test_reserve_five_times_holds_once(account: Ledger, steward: Any) -> None:
    run = uuid.uuid4()
    for _ in range(5):
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
    """Each is added as `charge` adds it, and goes through text every thousandth time.

    The truth is a fraction: alpha / (2 sigma^2) an order, a million times.
    """
    one, charges, noise = rdp_vector(gaussian(1, noise=1000.0)), 1_000_000, 1000
    total: tuple[int, ...] = (0,) * len(one)
    for number in range(charges):
        total = add_vectors(total, one)
        if number % 1000 == 0:
            total = load(store(total))
    assert total == tuple(units * charges for units in one)
    assert total == rdp_vector(gaussian(charges, noise=1000.0))
    for order, units in zip(ORDERS, total, strict=True):
        true = Fraction(order) / (2 * noise**2) * charges * UNITS_PER_ONE
        assert true <= units <= true * (1 + Fraction(2, 10**12)) + charges


def test_many_charges_through_the_database_do_not_drift(
    account: Ledger, steward: Any
) -> None:
    times = 300
    run, tiny = uuid.uuid4(), gaussian(1, noise=5000.0)
    whole = ledger.Price(
        purpose="training",
        event=gaussian(times, noise=5000.0),
        part=Part.ALL,
        epsilon="0.1",
        delta="1e-5",
    )
    _reserve(account, steward, run, whole)
    for _ in range(times):
        ledger.charge(run_id=run, purpose="training", event=tiny)
    account.refresh_from_db()
    exact = tuple(units * times for units in rdp_vector(tiny))
    assert load(account.spent_train) == load(account.spent_heldout) == exact
    assert not any(load(account.reserved_train))
    lines = account.entries.filter(kind=EntryKind.CHARGE).values_list("vector")
    replayed = [
        sum(column) for column in zip(*(load(v) for (v,) in lines), strict=True)
    ]
    assert replayed == list(exact)
    with pytest.raises(ledger.LedgerError, match="does not cover"):
        ledger.charge(run_id=run, purpose="training", event=tiny)


def test_the_sum_is_the_composition_of_the_stored_events(
    open_ledger: Any, steward: Any
) -> None:
    """Against one `dp_accounting` accountant over every event: never lower."""
    account, run = open_ledger(cap="200"), uuid.uuid4()
    events: list[Event] = [
        PoissonGaussianEvent(sampling_probability=q, noise_multiplier=noise, steps=k)
        for q, noise, k in ((0.01, 1.1, 500), (0.2, 3.0, 40), (1.0, 20.0, 3))
    ]
    events += [
        gaussian(7, noise=9.0),
        LaplaceEvent(noise_multiplier=4.0, count=2),
        SelectionEvent(event=gaussian(1, noise=30.0), mean_trials=5.0),
    ]
    for number, event in enumerate(events):
        paid = ledger.Price(
            purpose=f"part {number}",
            event=event,
            part=Part.ALL,
            epsilon="1",
            delta="1e-5",
        )
        _reserve(account, steward, run, paid)
        ledger.charge(run_id=run, purpose=paid.purpose, event=event)
    account.refresh_from_db()
    stored = account.entries.filter(kind=EntryKind.CHARGE).order_by("number")
    accountant = dp_accounting.rdp.RdpAccountant(list(ORDERS))
    for entry in stored:
        accountant.compose(accountants.dp_event(event_from_dict(entry.event)))
    for units, composed in zip(load(account.spent_train), accountant._rdp, strict=True):
        if math.isfinite(composed) and units < UNBOUNDED:
            told = Fraction(units, UNITS_PER_ONE)
            assert (
                Fraction(composed)
                <= told
                <= Fraction(composed) * (1 + Fraction(1, 10**9))
            )
        else:
            assert units >= UNBOUNDED


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


TABLES = {"governance_ledgerentry": "id", "governance_auditevent": "sequence"}


def _is_refused(statement: str) -> None:
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {}",
        "UPDATE {} SET actor = 'nobody'",
        "UPDATE {} SET hash = hash",
        "DELETE FROM {} WHERE actor = 'steward'",
    ],
)
def test_the_database_refuses_to_change_history(
    account: Ledger, table: str, statement: str
) -> None:
    _is_refused(statement.format(table))


@pytest.mark.parametrize("table", TABLES)
def test_the_database_refuses_to_empty_or_replace_history(
    account: Ledger, table: str
) -> None:
    if connection.vendor == "postgresql":
        connection.check_constraints()  # else what waits for the commit refuses
        _is_refused(f"TRUNCATE {table} CASCADE")
        return
    key = TABLES[table]
    for verb in ("INSERT OR REPLACE", "REPLACE"):
        copy = "{} INTO {} SELECT * FROM {} WHERE {} = 1"
        _is_refused(copy.format(verb, table, table, key))
    change = "UPDATE OR REPLACE {} SET {} = 1"
    _is_refused(change.format(table, key))


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
    _reserve(account, steward, run, price(5, delta_units=10**8))
    before = Ledger.objects.values().get()
    for event, delta_units in ((gaussian(1), -1), (gaussian(0), 0), (gaussian(0), 5)):
        with pytest.raises(ledger.LedgerError, match="positive"):
            ledger.charge(
                run_id=run, purpose="training", event=event, delta_units=delta_units
            )
    assert Ledger.objects.values().get() == before


@pytest.mark.parametrize("values", [{"unit": Unit.KEY}, {"relation": "replace-one"}])
def test_another_unit_or_relation_is_refused_and_never_added(
    account: Ledger, steward: Any, values: dict[str, str]
) -> None:
    run = uuid.uuid4()
    with pytest.raises(ledger.LedgerError, match="another unit or relation"):
        _reserve(account, steward, run, price(5, **values))
    assert not Reservation.objects.exists()
    _reserve(account, steward, run, price(5, unit=Unit.RECORD))
    Reservation.objects.update(**values)
    with pytest.raises(ledger.LedgerError, match="another unit or relation"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))


def test_a_ledger_of_other_orders_takes_no_more_amounts(
    account: Ledger, steward: Any
) -> None:
    Ledger.objects.update(orders=[*ORDERS[:-1], 300.0])
    with pytest.raises(ledger.LedgerError, match="list of orders"):
        _reserve(account, steward, uuid.uuid4(), price(1))


def test_lines_are_numbered_from_one_without_holes(
    account: Ledger, open_ledger: Any, steward: Any
) -> None:
    other = open_ledger("other")
    for row in (account, other, account):
        _reserve(row, steward, uuid.uuid4(), price(1))
    for row, lines in ((account, 3), (other, 2)):
        numbers = row.entries.order_by("number").values_list("number", flat=True)
        assert list(numbers) == list(range(1, lines + 1))
    assert verify().holds
