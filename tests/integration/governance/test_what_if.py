"""What could still run: an answer that a reservation of it would accept."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import PoissonGaussianEvent
from privacyhub.governance import ledger, statement, what_if
from privacyhub.governance.models import Ledger, Part

from .conftest import price

SHAPE = what_if.shape_of(units=480, batch=48, epochs=5, delta="1e-5")


def _price(shape: what_if.Shape, noise: float) -> ledger.Price:
    return shape.prices(noise)[0]


def _reserve(account: Ledger, by: Any, held: ledger.Price) -> None:
    ledger.reserve(
        ledgers=[account],
        run_id=uuid.uuid4(),
        prices=[held],
        recipient=by.username,
        by=by,
    )
    account.refresh_from_db()


def test_the_largest_epsilon_fits_and_a_larger_one_does_not(
    account: Ledger, steward: Any
) -> None:
    _reserve(account, steward, price(10))
    told = what_if.largest(ledger=account, shape=SHAPE)
    assert told is not None
    noise = accounting.noise_multiplier_for(
        target_epsilon=float(told.epsilon),
        delta=1e-5,
        sampling_probability=SHAPE.sampling_probability,
        steps=SHAPE.steps,
    )
    assert ledger.would_fit(account, [_price(SHAPE, noise)])
    assert not ledger.would_fit(account, [_price(SHAPE, noise * 0.97)])
    assert told.runs == 1
    _reserve(account, steward, _price(SHAPE, noise))


def test_the_number_of_runs_is_what_can_be_reserved(
    account: Ledger, steward: Any
) -> None:
    told = what_if.of_epsilon(ledger=account, shape=SHAPE, epsilon=Decimal("0.3"))
    assert told.runs > 1
    for _ in range(told.runs):
        _reserve(account, steward, _price(SHAPE, told.noise_multiplier))
    with pytest.raises(ledger.BudgetRefused):
        _reserve(account, steward, _price(SHAPE, told.noise_multiplier))


def test_a_run_that_must_fit_often_is_smaller(account: Ledger) -> None:
    once = what_if.largest(ledger=account, shape=SHAPE)
    thrice = what_if.largest(ledger=account, shape=SHAPE, runs=3)
    assert once is not None
    assert thrice is not None
    assert thrice.epsilon < once.epsilon
    assert thrice.runs == 3


def test_a_recipients_cap_counts_too(
    account: Ledger, steward: Any, analyst: Any
) -> None:
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.5", by=steward
    )
    anyone = what_if.largest(ledger=account, shape=SHAPE)
    theirs = what_if.largest(ledger=account, shape=SHAPE, recipient="analyst")
    assert anyone is not None
    assert theirs is not None
    assert theirs.epsilon < anyone.epsilon


def test_nothing_fits_when_all_is_spent(account: Ledger, steward: Any) -> None:
    _reserve(account, steward, price(5))
    account.cap_vector = account.reserved_train
    account.save()
    assert what_if.largest(ledger=account, shape=SHAPE) is None


def test_runs_are_counted_as_one_reservation_after_another_would(
    account: Ledger, steward: Any
) -> None:
    prices = [price(7), price(3, purpose="metrics", part=Part.HELDOUT)]
    fitting = ledger.runs_that_fit(account, prices)
    assert fitting is not None
    assert ledger.would_fit(account, prices * fitting)
    assert not ledger.would_fit(account, prices * (fitting + 1))


@pytest.mark.parametrize(
    "numbers",
    [
        {"units": 0, "batch": 1, "epochs": 1.0, "delta": "1e-5"},
        {"units": 10, "batch": 11, "epochs": 1.0, "delta": "1e-5"},
        {"units": 10, "batch": 1, "epochs": float("nan"), "delta": "1e-5"},
        {"units": 10, "batch": 1, "epochs": 1e9, "delta": "1e-5"},
        {"units": 10, "batch": 1, "epochs": 1.0, "delta": "0.1"},
    ],
)
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ledger.LedgerError):
        what_if.shape_of(**numbers)


def test_a_shape_is_accounted_as_it_would_run() -> None:
    event = SHAPE.event(2.0)
    assert event == PoissonGaussianEvent(
        sampling_probability=0.1, noise_multiplier=2.0, steps=50
    )


def test_what_if_is_asked_for_oneself_and_of_others_where_nobody_shares(
    register_version: Any,
    steward: Any,
    analyst: Any,
    api_for: Any,
    client_for: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = register_version.ledgers.get()
    path = f"/ledgers/{account.pk}/what-if/"
    api = api_for(steward)
    numbers = {"units": 480, "batch": 48, "epochs": 5}

    def most(**more: str) -> Decimal:
        told = api.get(f"/api/v1{path}", numbers | more).json()
        return Decimal(told["largest"]["epsilon"])

    before = most()
    for name, cap in (("steward", "0.5"), ("analyst", "2")):
        ledger.set_recipient_cap(
            ledger=account, recipient=name, epsilon_cap=cap, by=steward
        )
    assert most() < most(recipient="analyst") < before
    whole = client_for(steward).get(path, numbers).content.decode()
    assert f"Up to epsilon {str(most())[:4]}" in whole
    whole = client_for(steward).get(path, numbers | {"recipient": ""}).content.decode()
    assert f"Up to epsilon {str(before)[:4]}" in whole
    monkeypatch.setattr(statement, "has_other_owners", lambda *_: True)
    assert most() < before
    for name in ("analyst", "nobody"):  # alike, whether there is a cap or not
        answer = api.get(f"/api/v1{path}", numbers | {"recipient": name})
        assert (answer.status_code, list(answer.json()["errors"])) == (
            400,
            ["recipient"],
        )


def test_what_if_on_the_page_and_over_rest(
    register_version: Any, steward: Any, analyst: Any, client_for: Any, api_for: Any
) -> None:
    account = register_version.ledgers.get()
    path = f"/ledgers/{account.pk}/what-if/"
    client, api = client_for(steward), api_for(steward, scope="read")
    numbers = {"units": 480, "batch": 48, "epochs": 5, "epsilon": "1"}
    told = api.get(f"/api/v1{path}", numbers).json()
    assert told["steps"] == 50
    assert Decimal(told["largest"]["epsilon"]) > 1
    assert told["asked"]["runs_that_fit"] >= 1
    del numbers["epsilon"]
    part = client.get(path, numbers, headers={"HX-Request": "true"}).content.decode()
    assert "Up to epsilon" in part
    assert "50 steps over 480 units" in part
    assert "<html" not in part
    bad: dict[str, Any]
    for bad in ({"batch": 10_000}, {"units": "x"}, {"training": str(uuid.uuid4())}):
        assert api.get(f"/api/v1{path}", bad).status_code in {400, 409}, bad
    whole = client.get(path, {"batch": 10_000}).content.decode()
    assert "This cannot be asked." in whole
    assert (
        "What could still run" in client.get(f"/ledgers/{account.pk}/").content.decode()
    )
    assert api_for(analyst).get(f"/api/v1{path}").status_code == 404
