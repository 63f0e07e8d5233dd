"""Signed heads: what somebody keeps shows what the chain alone cannot."""

from __future__ import annotations

import base64
import errno
import fcntl
import io
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings as live_settings
from django.core.management import CommandError, call_command
from django.db import connection

from jobs import registry
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import (
    audit,
    backups,
    erasures,
    head_files,
    heads,
    keys,
    ledger,
)
from privacyhub.governance.models import AuditEvent, AuditHead, Ledger
from privacyhub.governance.sums import store
from privacyhub.governance.verification import verify

from .conftest import gaussian, price


@pytest.fixture
def trail(steward: Any) -> None:
    for number in range(6):
        audit.record(actor=steward, action=f"thing.{number}", target=steward)


def _cut_the_end_off(keep: int) -> None:
    """What somebody does who owns the database: also the head row is set back."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE governance_auditevent DISABLE TRIGGER ALL")
        else:
            cursor.execute("DROP TRIGGER governance_auditevent_no_delete")
        cursor.execute("DELETE FROM governance_auditevent WHERE sequence > %s", [keep])
    last = AuditEvent.objects.get(pk=keep)
    AuditHead.objects.update(sequence=keep, hash=last.hash)


def test_a_tail_cut_off_is_found_by_the_exported_head(trail: None) -> None:
    heads.export_audit_head()
    _cut_the_end_off(4)
    assert audit.first_bad_row() is None  # the chain alone cannot tell
    told = verify()
    assert told.first_bad_row == 5
    assert "line 6, whose head was exported" in told.problems[0]
    with pytest.raises(CommandError, match="line 5"):
        call_command("verify_audit")


def test_a_tail_written_anew_is_found(trail: None, steward: Any) -> None:
    heads.export_audit_head()
    _cut_the_end_off(4)
    for _ in range(4):
        audit.record(actor=steward, action="something.else")
    told = verify()
    assert told.first_bad_row == 6
    assert "is not the one" in told.problems[0]
    before = (heads.folder() / heads.TRAIL).read_bytes()
    heads.export_audit_head()  # must not be hidden by a later head
    assert (heads.folder() / heads.TRAIL).read_bytes() == before


def test_a_trail_that_holds_agrees_with_every_head(trail: None, steward: Any) -> None:
    heads.export_audit_head()
    audit.record(actor=steward, action="one.more")
    heads.export_audit_head()
    heads.export_audit_head()
    told = verify()
    assert told.holds
    assert told.heads_checked == 2
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert "7 lines hold" in out.getvalue()
    assert "2 exported heads agree" in out.getvalue()


def test_a_forged_head_is_told(trail: None) -> None:
    heads.export_audit_head()
    path = heads.folder() / heads.TRAIL
    forged = json.loads(path.read_text())
    forged["statement"]["sequence"] = 3
    path.write_text(json.dumps(forged) + "\n{not json\n")
    assert [text[:15] for text in verify().problems] == ["Exported head 1"] + [
        "Exported head 2"
    ]


def test_heads_that_are_gone_are_told(trail: None) -> None:
    heads.export_audit_head()
    (heads.folder() / heads.TRAIL).unlink()
    assert "gone from their folder" in verify().problems[0]


def test_a_line_that_a_crash_cut_leaves_the_next_whole(
    trail: None, steward: Any
) -> None:
    heads.export_audit_head()
    with (heads.folder() / heads.TRAIL).open("ab") as stream:
        stream.write(b'{"statement": {"seq')
    audit.record(actor=steward, action="one.more")
    heads.export_audit_head()
    said = heads.last_of_trail()
    assert said is not None
    assert said["sequence"] == 7


def test_anyone_can_check_a_head_with_the_public_key_alone(trail: None) -> None:
    signed = heads.audit_head()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed["public_key"]))
    canonical = json.dumps(
        signed["statement"], sort_keys=True, separators=(",", ":")
    ).encode()
    key.verify(base64.b64decode(signed["signature"]), canonical)
    assert signed["statement"]["sequence"] == 6


def test_the_signing_key_lies_with_the_keys_and_not_in_the_database(
    trail: None,
) -> None:
    assert heads.public_key() == heads.public_key()
    assert Path(live_settings.KEY_FILE).exists()
    signed = json.dumps(heads.audit_head())
    secret = keys.identity_key("signed heads")
    assert secret.hex() not in signed
    assert not AuditHead.objects.filter(hash=secret.hex()).exists()


def test_the_trail_exports_after_some_lines(
    trail: None, steward: Any, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heads.export_audit_head()
    settings.AUDIT_EXPORT_LINES = 3
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            audit.record(actor=steward, action="few")
    assert AuditHead.objects.get().exported_sequence == 6
    with django_capture_on_commit_callbacks(execute=True):
        audit.record(actor=steward, action="enough")
    assert AuditHead.objects.get().exported_sequence == 9


def test_a_second_place_that_cannot_be_written_stops_nothing(
    steward: Any,
    settings: Any,
    tmp_path: Path,
    django_capture_on_commit_callbacks: Any,
) -> None:
    (tmp_path / "file").write_text("not a folder")
    settings.AUDIT_HEADS_DIR = tmp_path / "file"
    with django_capture_on_commit_callbacks(execute=True):
        audit.record(actor=steward, action="goes.on")
    assert AuditEvent.objects.count() == 1
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export_audit_head")


def test_whether_the_second_place_takes_heads_is_tried_and_leaves_nothing(
    db: None, second_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert heads.can_be_written()
    assert list(second_place.iterdir()) == []
    assert not AuditHead.objects.exists()
    heads.export_audit_head()
    (folder,) = second_place.iterdir()
    kept = sorted(folder.iterdir())
    assert heads.can_be_written()
    assert sorted(folder.iterdir()) == kept

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert not heads.can_be_written()
    shutil.rmtree(folder)
    folder.touch()  # in the place of this hub's own folder
    assert not heads.can_be_written()


def test_a_ledger_writes_its_head_after_each_line(
    account: Ledger, steward: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = uuid.uuid4()
        ledger.reserve(
            ledgers=[account], run_id=run, prices=[price(3)], recipient="s", by=steward
        )
        ledger.charge(run_id=run, purpose="training", event=gaussian(2))
    said = heads.last_of_ledger(account.pk)
    assert said is not None
    last = account.entries.order_by("-number").first()
    assert last is not None
    assert (said["sequence"], said["hash"]) == (last.number, last.hash)
    assert said["spent_train"] == store(rdp_vector(gaussian(2)))
    assert oct(heads.folder().stat().st_mode)[-3:] == "700"


def test_a_head_that_a_crash_kept_from_being_written_is_exported_later(
    account: Ledger, steward: Any
) -> None:
    heads.export_if_due()  # the declaration's commit had done that
    ledger.note_steward_read(ledgers=[account], by=steward, purpose="preview")
    audit.record(actor=steward, action="one.more")
    AuditHead.objects.update(exported_at=None)
    heads.export_if_due()
    said = heads.last_of_ledger(account.pk)
    assert said is not None
    assert said["sequence"] == account.entries.count() == 2


def test_an_erasure_that_a_crash_kept_from_being_noted_is_noted_later(
    trail: None,
) -> None:
    """A test's transaction never commits, so nothing was written at the erasure."""
    rows = [keys.create(purpose="table")[0] for _ in range(3)]
    for row in rows[:2]:
        keys.destroy(row)
    erasures.note(rows[0])
    for _ in range(2):
        registry.run_tidying_hooks()
    assert list(erasures.noted()) == [str(row.pk) for row in rows[:2]]


def test_one_who_is_halted_among_the_heads_does_not_halt_the_ledger(
    account: Ledger,
    steward: Any,
    django_capture_on_commit_callbacks: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What could not be exported then, the next line exports."""
    monkeypatch.setattr(head_files, "WAITS", 0.05)
    run = uuid.uuid4()
    with django_capture_on_commit_callbacks(execute=True):
        ledger.reserve(
            ledgers=[account], run_id=run, prices=[price(3)], recipient="s", by=steward
        )
    with (heads.folder() / ".lock").open("wb") as halted:
        fcntl.flock(halted, fcntl.LOCK_EX)
        before = heads.last_of_ledger(account.pk)
        with django_capture_on_commit_callbacks(execute=True):
            ledger.charge(run_id=run, purpose="training", event=gaussian(1))
        assert heads.last_of_ledger(account.pk) == before
    with django_capture_on_commit_callbacks(execute=True):
        ledger.charge(run_id=run, purpose="training", event=gaussian(1))
    said = heads.last_of_ledger(account.pk)
    assert said is not None
    assert said["spent_train"] == store(rdp_vector(gaussian(2)))


def test_a_changed_ledger_line_or_sum_is_told(account: Ledger) -> None:
    assert verify().holds
    Ledger.objects.update(spent_train=store([5] * 24))
    assert "has spent is not what its lines say" in verify().problems[0]
    Ledger.objects.update(spent_train=store([0] * 24))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE governance_ledgerentry DISABLE TRIGGER ALL")
        else:
            cursor.execute("DROP TRIGGER governance_ledgerentry_no_update")
        cursor.execute("UPDATE governance_ledgerentry SET actor = 'nobody'")
    assert "does not hold from line 1" in verify().problems[0]


def test_the_page_says_where_the_heads_lie_beside_the_data(
    auditor: Any, client_for: Any, settings: Any
) -> None:
    settings.AUDIT_HEADS_DIR = Path(live_settings.VAR_DIR) / "not" / "made"
    client = client_for(auditor)
    assert b"what takes one takes both" in client.get("/audit/").content
    assert not (Path(live_settings.VAR_DIR) / "not").exists()
    settings.AUDIT_HEADS_DIR = Path("/proc")
    assert b"what takes one takes both" not in client.get("/audit/").content


def test_the_head_on_the_page_and_over_rest(
    auditor: Any, steward: Any, client_for: Any, api_for: Any
) -> None:
    page = client_for(auditor).get("/audit/").content.decode()
    assert heads.public_key() in page.replace("&#x2B;", "+").replace("&#43;", "+")
    assert heads.fingerprint() in page
    told = api_for(auditor).get("/api/v1/audit/head/").json()
    assert heads.is_genuine(told)
    file = client_for(auditor).get("/audit/head/")
    assert "attachment" in file["Content-Disposition"]
    assert heads.is_genuine(json.loads(file.content))
    assert client_for(steward).get("/audit/head/").status_code == 403
    assert api_for(steward).get("/api/v1/audit/head/").status_code == 403


def test_a_head_of_an_earlier_release_is_missed_too(
    account: Ledger, second_place: Path
) -> None:
    """Its ledger does not say yet that the head was exported."""
    heads.export_ledger_head(account.pk)
    Ledger.objects.filter(pk=account.pk).update(head_exported_at=None)
    heads.export_all()
    account.refresh_from_db()
    assert account.head_exported_at is not None
    assert not heads.gone([account])
    next(second_place.rglob("ledger-*.json")).unlink()
    assert [one["ledger"] for one in heads.gone([account])] == [str(account.pk)]


def test_a_disk_that_cannot_be_read_for_now_is_no_loss(
    account: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads.export_all()
    account.refresh_from_db()

    def fails(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fails)
    assert not heads.gone([account])


def test_what_is_replaced_says_what_it_can(
    trail: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full or gone is why one restores."""
    audit.record(actor="system", action="one")
    said = []
    monkeypatch.setattr(heads, "export_all", lambda: said.append("heads"))

    def fails() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(erasures, "note_missed", fails)
    backups._say_last_words()
    assert said == ["heads"]
