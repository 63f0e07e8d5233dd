"""Rows beside the ledger's lines that somebody changed are told."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from privacyhub.governance import heads, ledger
from privacyhub.governance.models import (
    AuditHead,
    Ledger,
    RecipientCap,
    Reservation,
)
from privacyhub.governance.sums import store
from privacyhub.governance.verification import verify

from .conftest import gaussian, price

DOUBLED = store([2 * 10**15] * 24)


@pytest.fixture(autouse=True)
def used(account: Ledger, steward: Any, analyst: Any) -> None:
    """A settled run, one that is under way and one that waits; a recipient's cap."""
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.9", by=steward
    )
    for charged in (2, 1, 0):
        run = uuid.uuid4()
        ledger.reserve(
            ledgers=[account],
            run_id=run,
            prices=[price(3, delta_units=10**8)],
            recipient="analyst",
            by=steward,
        )
        if charged:
            ledger.charge(
                run_id=run,
                purpose="training",
                event=gaussian(charged),
                delta_units=10**7,
            )
        if charged == 2:
            ledger.settle(run_id=run)
    assert verify().holds


CHANGES: list[tuple[type[Any], dict[str, Any], str]] = [
    (Ledger, {"epsilon_cap": "2"}, "cap of the ledger"),
    (Ledger, {"delta_cap": "1e-4"}, "cap of the ledger"),
    (Ledger, {"cap_vector": DOUBLED}, "cap of the ledger"),
    (Ledger, {"cap_vector": []}, "cap of the ledger"),
    (Ledger, {"epsilon_cap": "much"}, "cannot be read|cap of the ledger"),
    (Ledger, {"spent_heldout": DOUBLED}, "has spent"),
    (Ledger, {"spent_delta": "0"}, "has spent"),
    (Ledger, {"reserved_train": store([0] * 24)}, "holds is not"),
    (Ledger, {"reserved_delta": "0"}, "holds is not"),
    (Ledger, {"unit": "key"}, "reservation for training"),
    (Ledger, {"uncovered_release_at": timezone.now()}, "released uncovered"),
    (RecipientCap, {"epsilon_cap": "1"}, "cap for analyst"),
    (RecipientCap, {"cap_vector": DOUBLED}, "cap for analyst"),
    (RecipientCap, {"spent_train": store([0] * 24)}, "cap for analyst"),
    (RecipientCap, {"reserved_train": store([0] * 24)}, "cap for analyst"),
    (RecipientCap, {"recipient": "steward"}, "cap for (analyst|steward)"),
    (Reservation, {"state": "settled"}, "reservation for training"),
    (Reservation, {"vector": DOUBLED}, "reservation for training"),
    (Reservation, {"charged": store([0] * 24)}, "reservation for training"),
    (Reservation, {"charged_delta": "0"}, "reservation for training"),
    (Reservation, {"delta": "5"}, "holds is not"),
    (Reservation, {"recipient": "steward"}, "reservation for training"),
    (Reservation, {"part": "train"}, "reservation for training"),
    (Reservation, {"event": gaussian(9).to_dict()}, "reservation for training"),
    (Reservation, {"relation": "replace"}, "reservation for training"),
    (Reservation, {"purpose": "metrics"}, "lacks reservations"),
]


@pytest.mark.parametrize(("model", "values", "told"), CHANGES)
def test_a_changed_row_beside_the_lines_is_told(
    account: Ledger, model: type[Any], values: dict[str, Any], told: str
) -> None:
    rows = model.objects.all()
    if model is Reservation:
        rows = rows.filter(state="active")
    assert rows.update(**values) == 1
    assert re.search(told, " ".join(verify().problems))


@pytest.mark.parametrize(
    ("model", "told"),
    [(RecipientCap, "cap for analyst"), (Reservation, "lacks reservations")],
)
def test_a_lost_row_beside_the_lines_is_told(model: type[Any], told: str) -> None:
    model.objects.all().delete()
    assert told in " ".join(verify().problems)


def test_the_cap_of_a_raise_is_the_one_of_its_line(
    account: Ledger, steward: Any, auditor: Any
) -> None:
    wish = ledger.request_raise(
        ledger=account, epsilon_cap="1.5", reason="more", by=steward
    )
    ledger.decide_raise(request=wish, approve=True, by=auditor)
    assert verify().holds
    Ledger.objects.update(epsilon_cap="1")
    assert "cap of the ledger" in verify().problems[0]


def test_a_head_row_that_is_gone_is_told(account: Ledger) -> None:
    heads.export_audit_head()
    heads.export_ledger_head(account.pk)
    AuditHead.objects.all().delete()
    first, second, third = verify().problems
    assert "head is gone" in first
    assert "another database" in second
    assert "audit trail does not hold" in third
    assert not AuditHead.objects.exists()


def test_a_head_row_under_another_id_is_told(account: Ledger) -> None:
    heads.export_audit_head()
    before = str(heads.hub().hub)
    AuditHead.objects.update(hub=uuid.uuid4(), exported_sequence=0)
    (told,) = verify().problems
    assert before in told


def test_a_folder_that_this_hub_did_not_sign_is_no_problem(
    second_place: Path, open_ledger: Callable[..., Ledger]
) -> None:
    stranger = second_place / str(uuid.uuid4())
    stranger.mkdir(parents=True)
    (stranger / heads.TRAIL).write_text('{"statement": {}, "signature": ""}\n')
    assert verify().holds
