"""A restored hub that has forgotten charges does nothing until two people know."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.engines.dp.rdp import fits, rdp_vector
from privacyhub.governance import audit, gaps, heads, ledger, statement
from privacyhub.governance.models import (
    AuditEvent,
    AuditHead,
    EntryKind,
    Ledger,
    LedgerGap,
    Part,
)
from privacyhub.governance.sums import load
from privacyhub.governance.verification import verify

from .conftest import gaussian, price, reserve


def _run(account: Ledger, by: Any, count: int, *, part: Part = Part.ALL) -> None:
    """Reserve, charge and settle; then export, as the commits would."""
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[account],
        run_id=run,
        prices=[price(count, part=part)],
        recipient=by.username,
        by=by,
    )
    ledger.charge(run_id=run, purpose="training", event=gaussian(count))
    ledger.settle(run_id=run)
    heads.export_ledger_head(account.pk)
    heads.export_audit_head()


class _Undone(Exception):
    """Ends the savepoint: what came after it was never in the backup."""


@contextmanager
def _lost() -> Iterator[None]:
    """What is done within was done after the backup, and the restore undid it."""
    with suppress(_Undone), transaction.atomic():
        yield
        raise _Undone


@pytest.fixture
def restored(account: Ledger, steward: Any) -> Ledger:
    """Two counts were charged before the backup and three after it."""
    _run(account, steward, 2)
    with _lost():
        _run(account, steward, 3)
    account.refresh_from_db()
    return account


@pytest.fixture
def close_the_gap(steward: Any, auditor: Any) -> Callable[[], None]:
    def close() -> None:
        for user in (steward, auditor):
            gaps.acknowledge(by=user, reason="The disk broke; yesterday's backup.")

    return close


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


def test_caps_of_recipients_and_the_flag_come_back_with_the_gap(
    account: Ledger, steward: Any, analyst: Any, close_the_gap: Callable[[], None]
) -> None:
    def cap(recipient: str, epsilon: str) -> None:
        ledger.set_recipient_cap(
            ledger=account, recipient=recipient, epsilon_cap=epsilon, by=steward
        )

    cap("steward", "0.9")
    _run(account, steward, 2)
    with _lost():
        _run(account, steward, 3)
        cap("steward", "0.8")
        cap("analyst", "0.2")
        ledger.note_uncovered_release(
            ledgers=[account], by=steward, recipient="x", purpose="share", note="n"
        )
        heads.export_ledger_head(account.pk)
    account.refresh_from_db()
    assert account.uncovered_release_at is None
    close_the_gap()
    account.refresh_from_db()
    own, other = account.recipient_caps.order_by("-recipient")
    assert load(own.spent_train) == load(own.spent_heldout) == rdp_vector(gaussian(5))
    assert (own.epsilon_cap, other.epsilon_cap) == ("0.8", "0.2")
    assert not any(load(other.spent_train))
    assert account.uncovered_release_at is not None
    assert load(account.spent_train) == rdp_vector(gaussian(5))
    told = verify()
    assert told.holds, told.problems


def test_what_was_shared_after_a_backup_comes_back_with_the_gap(
    account: Ledger, steward: Any, analyst: Any, close_the_gap: Callable[[], None]
) -> None:
    ledger.set_recipient_cap(
        ledger=account, recipient="analyst", epsilon_cap="0.9", by=steward
    )
    _run(account, steward, 2)
    run = account.reservations.get().run_id
    with _lost():
        ledger.deliver(run_ids=[run], recipient="analyst", by=steward)
        heads.export_ledger_head(account.pk)
    own = account.recipient_caps.get()
    assert not any(load(own.spent_train))
    close_the_gap()
    own.refresh_from_db()
    assert load(own.spent_train) == load(own.spent_heldout) == rdp_vector(gaussian(2))
    account.refresh_from_db()
    assert load(account.spent_train) == rdp_vector(gaussian(2))
    told = verify()
    assert told.holds, told.problems


def test_a_recipients_share_of_a_gap_is_hidden_from_other_owners(
    account: Ledger,
    steward: Any,
    other_steward: Any,
    close_the_gap: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger.set_recipient_cap(
        ledger=account, recipient="steward", epsilon_cap="0.9", by=steward
    )
    with _lost():
        _run(account, steward, 3)
    close_the_gap()
    monkeypatch.setattr(statement, "has_other_owners", lambda *_: True)
    seen = statement.entries(ledger=account, user=other_steward)
    kinds = set(seen.values_list("kind", "recipient"))
    assert kinds == {(EntryKind.CAP, ""), (EntryKind.GAP, "")}


@pytest.mark.parametrize("acknowledged", [False, True])
def test_rows_whose_ledger_was_lost_do_not_start_at_zero(
    account: Ledger,
    open_ledger: Callable[..., Ledger],
    steward: Any,
    auditor: Any,
    close_the_gap: Callable[[], None],
    acknowledged: bool,
) -> None:
    with _lost():
        later = open_ledger("later", cap="2")
        ledger.set_recipient_cap(
            ledger=later, recipient="steward", epsilon_cap="0.5", by=steward
        )
        _run(later, steward, 1)
        _run(later, steward, 2, part=Part.TRAIN)  # on a coin that is lost too
    if acknowledged:
        close_the_gap()
        heads.hub()  # the folder of heads may be gone by then
        shutil.rmtree(heads.folder())
    again = ledger.open_ledger(name="again", fingerprint="later".ljust(64, "0"))
    again.refresh_from_db()
    assert load(again.spent_train) == load(again.spent_heldout)
    assert load(again.spent_train) == rdp_vector(gaussian(3))
    assert (again.epsilon_cap, again.declared_units) == ("2", 600)
    (cap,) = again.recipient_caps.all()
    assert load(cap.spent_heldout) == rdp_vector(gaussian(3))
    with pytest.raises(ledger.LedgerError, match="fixed by the first reservation"):
        ledger.declare(
            ledger=again,
            by=steward,
            declared_units=10,
            epsilon_cap="9",
            delta_cap="1e-5",
        )
    assert not [text for text in verify().problems if "again" in text]
    other = ledger.open_ledger(name="other", fingerprint="o" * 64)
    assert not any(load(other.spent_train))


def test_a_run_that_was_open_in_the_backup_does_not_pass_the_cap(
    account: Ledger, steward: Any, close_the_gap: Callable[[], None]
) -> None:
    most = ledger.runs_that_fit(account, [price(1)])
    assert most is not None
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[account], run_id=run, prices=[price(most)], recipient="s", by=steward
    )
    heads.export_ledger_head(account.pk)
    with _lost():
        ledger.charge(run_id=run, purpose="training", event=gaussian(most))
        heads.export_ledger_head(account.pk)
    close_the_gap()
    with pytest.raises(ledger.LedgerError, match="no longer holds"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    ledger.settle(run_id=run)
    account.refresh_from_db()
    assert load(account.spent_train) == rdp_vector(gaussian(most))
    assert fits(load(account.spent_train), load(account.cap_vector))


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
    AuditHead.objects.update(exported_sequence=0, exported_at=None)
    Ledger.objects.update(head_exported_at=None)
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


SAID = {"reason": "The old disk broke, and the heads with it."}


@pytest.fixture
def moved(account: Ledger, steward: Any) -> Ledger:
    """A hub that exported heads, on a new disk without the folder of them."""
    _run(account, steward, 2)
    shutil.rmtree(heads.folder())
    account.refresh_from_db()
    return account


def test_a_hub_without_its_heads_does_nothing_until_two_people_know(
    moved: Ledger, steward: Any, close_the_gap: Callable[[], None]
) -> None:
    gap = gaps.find()
    assert gap is not None
    assert gap.heads_are_gone
    for _ in range(2):
        with pytest.raises(ledger.LedgerError, match="heads are gone"):
            _run(moved, steward, 1)
        heads.export_all()
        assert not list(heads.folder().glob("*.json*"))
    with pytest.raises(CommandError, match="Nothing was written"):
        call_command("export_audit_head")
    close_the_gap()
    assert gaps.find() is None
    heads.export_all()  # as the commit does
    _run(moved, steward, 1)
    told = verify()
    assert told.holds, told.problems
    assert moved.entries.get(kind=EntryKind.GAP).vector == []


def test_heads_that_are_copied_back_close_the_gap_by_themselves(
    account: Ledger, steward: Any, tmp_path: Path
) -> None:
    _run(account, steward, 2)
    heads.folder().rename(tmp_path / "old disk")
    assert gaps.find() is not None
    shutil.copytree(tmp_path / "old disk", heads.folder(), dirs_exist_ok=True)
    assert gaps.find() is None
    _run(account, steward, 1)
    assert verify().holds


def test_a_word_for_heads_that_are_gone_counts_for_one_loss(
    moved: Ledger, steward: Any, close_the_gap: Callable[[], None]
) -> None:
    close_the_gap()
    heads.export_all()
    _run(moved, steward, 1)
    shutil.rmtree(heads.folder())
    moved.refresh_from_db()
    with pytest.raises(ledger.LedgerError, match="heads are gone"):
        _run(moved, steward, 1)


def test_a_charge_is_refused_where_the_heads_are_gone(
    account: Ledger, steward: Any
) -> None:
    run = uuid.uuid4()
    reserve(account, steward, run, price(5))
    heads.export_all()
    (heads.folder() / heads.TRAIL).unlink()
    with pytest.raises(ledger.LedgerError, match="heads are gone"):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    ledger.settle(run_id=run)  # to end is always allowed


@pytest.mark.parametrize("content", [None, "{}"])
def test_one_ledgers_head_that_is_gone_is_told_and_not_made_anew(
    account: Ledger,
    steward: Any,
    close_the_gap: Callable[[], None],
    content: str | None,
) -> None:
    _run(account, steward, 2)
    (path,) = heads.folder().glob("ledger-*.json")
    path.unlink() if content is None else path.write_text(content)
    ledger.note_steward_read(ledgers=[account], by=steward, purpose="preview")
    heads.export_all()
    assert (path.read_text() if path.exists() else None) == content
    assert "gone from their folder" in " ".join(verify().problems)
    with pytest.raises(ledger.LedgerError, match="heads are gone"):
        _run(account, steward, 1)
    close_the_gap()
    heads.export_all()
    assert heads.last_of_ledger(account.pk) is not None
    _run(account, steward, 1)


def test_what_to_do_without_the_heads_is_on_the_page_and_over_rest(
    moved: Ledger, steward: Any, auditor: Any, client_for: Any, api_for: Any
) -> None:
    client = client_for(steward)
    told = "The exported heads of this hub are gone."
    assert told in client.get("/ledgers/").content.decode()
    page = client.get("/ledgers/gap/").content.decode()
    assert told in page
    assert f"copy the folder of heads back to <code>{heads.folder()}</code>" in page
    assert "two people acknowledge it below" in page
    assert client.post("/ledgers/gap/", SAID).status_code == 302
    api = api_for(auditor)
    state = api.get("/api/v1/ledger-gap/").json()
    assert (state["open"], state["heads_gone"]) == (True, True)
    closed = api.post("/api/v1/ledger-gap/acknowledge/", SAID)
    assert closed.json()["second_by"] == "auditor"
    assert api.get("/api/v1/ledger-gap/").json()["heads_gone"] is False
    detail = AuditEvent.objects.get(action="ledger.close_gap").detail
    assert detail["heads_gone"] is True
