"""A restored hub that has forgotten charges does nothing until two people know."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import audit, gaps, heads, ledger
from privacyhub.governance.models import (
    AuditEvent,
    AuditHead,
    EntryKind,
    Ledger,
    LedgerGap,
)
from privacyhub.governance.sums import load
from privacyhub.governance.verification import verify

from .conftest import gaussian, price


@pytest.fixture(autouse=True)
def second_place(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_HEADS_DIR = tmp_path / "heads"


def _run(account: Ledger, by: Any, count: int) -> None:
    """Reserve, charge and settle; then export, as the commits would."""
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[account],
        run_id=run,
        prices=[price(count)],
        recipient=by.username,
        by=by,
    )
    ledger.charge(run_id=run, purpose="training", event=gaussian(count))
    ledger.settle(run_id=run)
    heads.export_ledger_head(account.pk)
    heads.export_audit_head()


class _Undone(Exception):
    """Ends the savepoint: what came after it was never in the backup."""


@pytest.fixture
def restored(account: Ledger, steward: Any) -> Ledger:
    """Two counts were charged before the backup and three after it."""
    _run(account, steward, 2)
    try:
        with transaction.atomic():
            _run(account, steward, 3)
            raise _Undone
    except _Undone:
        account.refresh_from_db()
    return account


def test_a_hub_that_lost_nothing_has_no_gap(account: Ledger, steward: Any) -> None:
    _run(account, steward, 2)
    audit.record(actor=steward, action="one.more")
    assert gaps.find() is None
    _run(account, steward, 1)
    with pytest.raises(ledger.LedgerError, match="no gap"):
        gaps.acknowledge(by=steward, reason="Nothing happened at all.")


def test_reserve_and_charge_are_refused_behind_the_exported_head(
    restored: Ledger, steward: Any
) -> None:
    gap = gaps.find()
    assert gap is not None
    assert (gap.lines, gap.audit_lines) == (3, 1)
    for _ in range(2):
        with pytest.raises(ledger.LedgerError, match="3 lines behind"):
            _run(restored, steward, 1)


def test_a_charge_of_a_run_that_was_reserved_before_is_refused(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[account], run_id=run, prices=[price(5)], recipient="s", by=steward
    )
    try:
        with transaction.atomic():
            ledger.charge(run_id=run, purpose="training", event=gaussian(1))
            heads.export_ledger_head(account.pk)
            raise _Undone
    except _Undone:
        pass
    with pytest.raises(ledger.LedgerError, match="1 line behind"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    ledger.settle(run_id=run)  # to end is always allowed


def test_lines_that_follow_a_restore_do_not_hide_the_gap(
    restored: Ledger, steward: Any
) -> None:
    for _ in range(8):
        ledger.note_steward_read(ledgers=[restored], by=steward, purpose="preview")
        heads.export_ledger_head(restored.pk)
    gap = gaps.find()
    assert gap is not None
    assert gap.lines == 3
    assert not verify().holds


def test_two_people_close_the_gap_and_what_was_lost_is_charged_again(
    restored: Ledger, steward: Any, auditor: Any
) -> None:
    said = "The disk broke; yesterday's backup."
    gaps.acknowledge(by=steward, reason=said)
    with pytest.raises(NotAllowed, match="second person"):
        gaps.acknowledge(by=steward, reason=said)
    with pytest.raises(ledger.LedgerError, match="behind"):
        _run(restored, steward, 1)
    row = gaps.acknowledge(by=auditor, reason=said)
    assert row.second_by == auditor
    restored.refresh_from_db()
    assert load(restored.spent_train) == rdp_vector(gaussian(5))
    assert load(restored.spent_heldout) == rdp_vector(gaussian(5))
    assert restored.entries.filter(kind=EntryKind.GAP).count() == 2
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert {"ledger.acknowledge_gap", "ledger.close_gap"} <= set(actions)
    assert gaps.find() is None
    _run(restored, steward, 1)
    told = verify()
    assert told.holds, told.problems
    assert load(Ledger.objects.get().spent_train) == rdp_vector(gaussian(6))


def test_one_of_the_two_is_an_auditor(
    restored: Ledger, steward: Any, other_steward: Any, admin: Any, analyst: Any
) -> None:
    said = "The disk broke; yesterday's backup."
    with pytest.raises(NotAllowed):
        gaps.acknowledge(by=analyst, reason=said)
    gaps.acknowledge(by=steward, reason=said)
    for user in (other_steward, admin):
        with pytest.raises(NotAllowed, match="auditor"):
            gaps.acknowledge(by=user, reason=said)
    assert LedgerGap.objects.get().second_at is None


def test_a_first_word_counts_for_the_gap_it_saw(
    restored: Ledger, open_ledger: Any, steward: Any, auditor: Any
) -> None:
    said = "The disk broke; yesterday's backup."
    other = open_ledger("other")
    gaps.acknowledge(by=steward, reason=said)
    try:
        with transaction.atomic():
            ledger.note_steward_read(ledgers=[other], by=steward, purpose="preview")
            heads.export_ledger_head(other.pk)
            raise _Undone
    except _Undone:
        pass
    row = gaps.acknowledge(by=auditor, reason=said)
    assert row.second_at is None
    assert row.first_by == auditor


def test_another_database_in_the_same_place_has_no_gap(
    restored: Ledger, steward: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE governance_audithead SET hub = %s", [uuid.uuid4().hex])
    assert AuditHead.objects.count() == 1
    assert gaps.find() is None


def test_the_gap_on_its_page_and_over_rest(
    restored: Ledger,
    steward: Any,
    auditor: Any,
    analyst: Any,
    client_for: Any,
    api_for: Any,
) -> None:
    said = {"reason": "The disk broke; yesterday's backup."}
    assert client_for(analyst).get("/ledgers/gap/").status_code == 403
    assert api_for(analyst).get("/api/v1/ledger-gap/").status_code == 403
    client = client_for(steward)
    assert b"An older backup was restored." in client.get("/ledgers/").content
    assert b"Heads that are not reached" in client.get("/ledgers/gap/").content
    assert client.post("/ledgers/gap/", {"reason": "x"}).status_code == 400
    assert client.post("/ledgers/gap/", said).status_code == 302
    assert client.post("/ledgers/gap/", said).status_code == 403
    api = api_for(auditor)
    told = api.get("/api/v1/ledger-gap/").json()
    assert (told["open"], told["acknowledged_by"]) == (True, "steward")
    closed = api.post("/api/v1/ledger-gap/acknowledge/", said)
    assert closed.json()["second_by"] == "auditor"
    assert api.post("/api/v1/ledger-gap/acknowledge/", said).status_code == 409
    assert b"Gaps that were closed" in client.get("/ledgers/gap/").content
    assert api.get("/api/v1/ledger-gap/").json()["open"] is False
