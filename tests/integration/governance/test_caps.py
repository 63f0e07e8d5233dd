"""What is declared of a ledger: its caps, fixed by one, raised by two."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from privacyhub.accounts.roles import NotAllowed
from privacyhub.governance import ledger
from privacyhub.governance.models import CapRequest, Ledger

from .conftest import price, reserve


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
    reserve(account, steward, uuid.uuid4(), price(1))
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
