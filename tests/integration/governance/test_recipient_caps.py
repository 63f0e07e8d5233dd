"""Caps of recipients: beneath the ledger's own, lowered by one, raised by two."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from privacyhub.accounts.roles import NotAllowed
from privacyhub.engines.dp.rdp import fits, rdp_vector
from privacyhub.governance import ledger, statement
from privacyhub.governance.models import CapRequest, Ledger, RecipientCap
from privacyhub.governance.sums import load
from privacyhub.governance.verification import verify

from .conftest import gaussian, price


def _reserve(account: Ledger, by: Any, count: int, *, to: str) -> uuid.UUID:
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[account], run_id=run, prices=[price(count)], recipient=to, by=by
    )
    return run


@pytest.fixture
def capped(account: Ledger, steward: Any, analyst: Any) -> RecipientCap:
    """The ledger's cap is 1; the analyst's is half of that."""
    return ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.5", by=steward
    )


def _most(account: Ledger, to: str) -> int:
    fitting = ledger.runs_that_fit(account, [price(1)], recipient=to)
    assert fitting is not None
    return fitting


def test_a_recipients_cap_refuses_what_the_ledgers_own_would_hold(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    own, whole = _most(account, "analyst"), _most(account, "steward")
    assert 0 < own < whole
    with pytest.raises(ledger.BudgetRefused, match="The cap for analyst"):
        _reserve(account, steward, own + 1, to="analyst")
    _reserve(account, steward, own, to="analyst")
    account.refresh_from_db()
    assert not ledger.would_fit(account, [price(1)], recipient="analyst")
    _reserve(account, steward, whole - own, to="steward")
    account.refresh_from_db()
    assert _most(account, "steward") == 0


def test_the_ledgers_cap_holds_whatever_recipients_may(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    _reserve(account, steward, _most(account, "steward"), to="steward")
    with pytest.raises(ledger.BudgetRefused, match="The cap of"):
        _reserve(account, steward, 1, to="analyst")


def test_sums_of_a_recipient_follow_charge_and_settlement(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    run = _reserve(account, steward, 5, to="analyst")
    ledger.charge(run_id=run, purpose="training", event=gaussian(2))
    capped.refresh_from_db()
    assert load(capped.spent_train) == rdp_vector(gaussian(2))
    assert load(capped.reserved_train) == rdp_vector(gaussian(3))
    ledger.settle(run_id=run)
    capped.refresh_from_db()
    assert load(capped.spent_train) == rdp_vector(gaussian(2))
    assert not any(load(capped.reserved_train))


def test_a_cap_lowered_after_the_reservation_holds_at_the_charge(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    """What is spent may grow as far as the cap; the ledger's own has room."""
    own = _most(account, "analyst")
    run = _reserve(account, steward, own, to="analyst")
    ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.3", by=steward
    )
    capped.refresh_from_db()
    cap = load(capped.cap_vector)
    most = max(n for n in range(own) if fits(rdp_vector(gaussian(n)), cap))
    assert 1 < most < own
    ledger.charge(run_id=run, purpose="training", event=gaussian(most - 1))
    before = Ledger.objects.values().get()
    with pytest.raises(ledger.LedgerError, match="cap for analyst .* was lowered"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    assert Ledger.objects.values().get() == before
    capped.refresh_from_db()
    assert load(capped.spent_train) == rdp_vector(gaussian(most))
    ledger.settle(run_id=run)
    assert verify().holds


def test_a_first_cap_holds_for_what_was_reserved_before_it(
    account: Ledger, steward: Any, analyst: Any
) -> None:
    run = _reserve(account, steward, 9, to="analyst")
    other = _reserve(account, steward, 9, to="steward")
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.01", by=steward
    )
    with pytest.raises(ledger.LedgerError, match="cap for analyst"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(9))
    ledger.charge(run_id=other, purpose="training", event=gaussian(9))


def test_a_cap_set_later_counts_what_was_spent_before(
    account: Ledger, steward: Any, analyst: Any
) -> None:
    run = _reserve(account, steward, 6, to="analyst")
    ledger.charge(run_id=run, purpose="training", event=gaussian(2))
    ledger.settle(run_id=_reserve(account, steward, 4, to="analyst"))
    _reserve(account, steward, 1, to="steward")
    cap = ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.5", by=steward
    )
    assert load(cap.spent_train) == rdp_vector(gaussian(2))
    assert load(cap.reserved_train) == rdp_vector(gaussian(4))


def test_what_others_get_too_counts_for_each_and_once_for_the_ledger(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    more = {"recipient": "steward", "by": steward, "audience": ["analyst", "steward"]}
    ledger.reserve(ledgers=[account], run_id=run, prices=[price(4)], **more)
    ledger.charge(run_id=run, purpose="training", event=gaussian(3))
    late = ledger.set_recipient_cap(
        ledger=account, recipient="steward", epsilon_cap="0.5", by=steward
    )
    account.refresh_from_db()
    capped.refresh_from_db()
    for holder in (account, capped, late):
        assert load(holder.spent_train) == rdp_vector(gaussian(3))
        assert load(holder.reserved_train) == rdp_vector(gaussian(1))
    ledger.settle(run_id=run)
    capped.refresh_from_db()
    assert not any(load(capped.reserved_train))
    assert verify().holds


def test_audience_whose_cap_has_no_room_refuses_the_reservation(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    own = _most(account, "analyst")
    more = {"recipient": "steward", "by": steward, "audience": ["analyst"]}
    with pytest.raises(ledger.RecipientCapRefused, match="The cap for analyst"):
        ledger.reserve(
            ledgers=[account], run_id=uuid.uuid4(), prices=[price(own + 1)], **more
        )
    ledger.reserve(ledgers=[account], run_id=uuid.uuid4(), prices=[price(own)], **more)
    assert verify().holds


def test_cap_of_the_audience_that_was_lowered_holds_at_the_charge(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    run, own = uuid.uuid4(), _most(account, "analyst")
    more = {"recipient": "steward", "by": steward, "audience": ["analyst"]}
    ledger.reserve(ledgers=[account], run_id=run, prices=[price(own)], **more)
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.1", by=steward
    )
    with pytest.raises(ledger.LedgerError, match="cap for analyst .* was lowered"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(own))


def test_numbers_of_a_cap_are_not_told_to_owners_of_other_rows(
    capped: RecipientCap,
    account: Ledger,
    steward: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statement, "has_other_owners", lambda *_: True)
    run = _reserve(account, steward, _most(account, "steward"), to="steward")
    with pytest.raises(ledger.RecipientCapRefused) as refused:
        ledger.deliver(run_ids=[run], recipient="analyst", by=steward)
    assert str(refused.value).endswith("does not fit into what is left.")


def test_a_higher_cap_needs_a_second_person(
    capped: RecipientCap, account: Ledger, steward: Any, auditor: Any
) -> None:
    def set_to(cap: str) -> None:
        ledger.set_recipient_cap(
            ledger=account, recipient="analyst", epsilon_cap=cap, by=steward
        )

    set_to("0.4")
    with pytest.raises(ledger.LedgerError, match="second person"):
        set_to("0.5")
    wish = ledger.request_raise(
        ledger=account, recipient="analyst", epsilon_cap="0.8", reason="x", by=steward
    )
    with pytest.raises(NotAllowed):
        ledger.decide_raise(request=wish, approve=True, by=steward)
    ledger.decide_raise(request=wish, approve=True, by=auditor)
    capped.refresh_from_db()
    account.refresh_from_db()
    assert (capped.epsilon_cap, account.epsilon_cap) == ("0.8", "1")


@pytest.mark.parametrize(
    ("recipient", "cap", "told"),
    [
        ("analyst", "2", "beneath"),
        ("nobody", "0.5", "no user"),
        ("analyst", "nan", "number"),
        ("analyst", "0", "number"),
    ],
)
def test_a_cap_that_cannot_be_is_refused(
    account: Ledger, steward: Any, analyst: Any, recipient: str, cap: str, told: str
) -> None:
    with pytest.raises(ledger.LedgerError, match=told):
        ledger.set_recipient_cap(
            ledger=account, recipient=recipient, epsilon_cap=cap, by=steward
        )


def test_a_ledger_declared_anew_takes_its_recipients_caps_along(
    capped: RecipientCap, account: Ledger, steward: Any
) -> None:
    ledger.declare(
        ledger=account,
        by=steward,
        declared_units=600,
        epsilon_cap="0.3",
        delta_cap="1e-6",
    )
    account.refresh_from_db()
    capped.refresh_from_db()
    assert capped.epsilon_cap == "0.3"
    assert capped.cap_vector == account.cap_vector
    assert verify().holds


def test_only_stewards_set_caps(account: Ledger, auditor: Any, analyst: Any) -> None:
    for user in (auditor, analyst):
        with pytest.raises(NotAllowed):
            ledger.set_recipient_cap(
                ledger=account, recipient="analyst", epsilon_cap="0.5", by=user
            )


def test_caps_of_recipients_on_pages_and_over_rest(
    register_version: Any,
    steward: Any,
    analyst: Any,
    auditor: Any,
    client_for: Any,
    api_for: Any,
) -> None:
    account = register_version.ledgers.get()
    client, api = client_for(steward), api_for(steward)
    path = f"/ledgers/{account.pk}/recipient-caps/"
    assert client.post(path, {"recipient": "x", "epsilon_cap": "1"}).status_code == 400
    form = {"recipient": "analyst", "epsilon_cap": "2"}
    assert client.post(path, form).status_code == 302
    page = client.get(f"/ledgers/{account.pk}/").content.decode()
    assert "Caps of recipients" in page
    assert "cap 2 for analyst" in page
    (told,) = api.get(f"/api/v1{path}").json()
    assert (told["recipient"], told["balance"]["cap"]) == ("analyst", "2")
    lower = {"recipient": "analyst", "epsilon_cap": "1.5"}
    assert api.post(f"/api/v1{path}", lower).status_code == 201
    higher = {"recipient": "analyst", "epsilon_cap": "3"}
    assert api.post(f"/api/v1{path}", higher).status_code == 409
    wish = {"recipient": "analyst", "epsilon_cap": "3", "reason": "A retrain."}
    raised = f"/ledgers/{account.pk}/raise/"
    assert client.post(raised, wish).status_code == 302
    assert b"for analyst" in client.get(f"/ledgers/{account.pk}/").content
    decide = f"/api/v1/cap-requests/{CapRequest.objects.get().pk}/decide/"
    assert api_for(auditor).post(decide, {"approve": True}).status_code == 200
    assert RecipientCap.objects.get().epsilon_cap == "3"
