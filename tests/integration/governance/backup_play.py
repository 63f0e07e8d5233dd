"""One hub from its first charge to its restore, told as JSON; see `test_backup`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

import django

django.setup()

from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from jobs import workers  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.engines.dp.events import GaussianEvent  # noqa: E402
from privacyhub.governance import backups, gaps, heads, keys, ledger  # noqa: E402
from privacyhub.governance.databases import BackupError  # noqa: E402
from privacyhub.governance.models import DataKey, Ledger, Part  # noqa: E402
from privacyhub.governance.verification import verify  # noqa: E402


def _charge(row: Ledger, by: Any, count: int) -> None:
    event = GaussianEvent(noise_multiplier=40.0, count=count)
    price = ledger.Price(
        purpose="training", event=event, part=Part.ALL, epsilon="0.5", delta="1e-5"
    )
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[row], run_id=run, prices=[price], recipient=by.username, by=by
    )
    ledger.charge(run_id=run, purpose="training", event=event)
    ledger.settle(run_id=run)


def _spent() -> str:
    return str(ledger.balance(Ledger.objects.get()).spent)


def _refusal(source: Path, *, replace: bool = True) -> str:
    try:
        backups.restore(source, replace=replace)
    except BackupError as error:
        return str(error)
    return ""


def main(var: Path) -> dict[str, Any]:
    told: dict[str, Any] = {}
    call_command("migrate", verbosity=0)
    steward = User.objects.create_user("steward", password="x", role="steward")
    auditor = User.objects.create_user("auditor", password="x", role="auditor")
    row = ledger.open_ledger(name="Register", fingerprint="f" * 64)
    row = ledger.declare(
        ledger=row,
        by=steward,
        declared_units=600,
        epsilon_cap="8",
        delta_cap="1e-5",
    )
    erased, secret = keys.create(purpose="table")
    sealed = var / "store" / "tables" / "one.parquet"
    sealed.parent.mkdir(parents=True)
    sealed.write_text("sealed bytes")
    _charge(row, steward, 2)

    place = var.parent / "backup"
    call_command("backup", str(place), stdout=sys.stderr)
    told["spent_at_backup"] = _spent()
    content = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    file = keys._key_file(Path(os.environ["PRIVACYHUB_VAR"]) / "keys/instance.json")
    held = (secret, file.identity, *file.keys.values())
    told["no_key_in_backup"] = not any(key in content for key in held)
    try:
        backups.backup_keys(place / "keys")
    except BackupError as error:
        told["refused_keys_within"] = str(error)

    exported = var / "exported"
    shutil.copytree(heads.folder(), exported)
    _charge(row, steward, 3)
    keys.destroy(erased)
    # A crash after these commits: what follows them was not written.
    shutil.rmtree(heads.folder())
    exported.rename(heads.folder())
    sealed.write_text("other bytes")
    later = sealed.with_name("later.parquet")
    later.write_text("made after the backup")
    Session.objects.create(session_key="k", session_data="", expire_date=timezone.now())
    told["spent_at_end"] = _spent()

    told["refused_not_empty"] = _refusal(place, replace=False)
    saved = place / "store" / "tables" / "one.parquet"
    saved.write_text("sealed byteS")
    told["refused_damaged"] = _refusal(place)
    saved.write_text("sealed bytes")
    workers.say_that_it_lives(name="worker", queues="data")
    told["refused_worker"] = _refusal(place)
    workers.say_goodbye(name="worker")
    told["spent_after_refusals"] = _spent()

    call_command("restore", str(place), "--replace", stdout=sys.stderr)
    told["file_restored"] = sealed.read_text()
    told["file_made_later_is_gone"] = not later.exists()
    told["spent_after_restore"] = _spent()
    told["sessions"] = Session.objects.count()
    told["erased_key_stays_erased"] = (
        DataKey.objects.get(pk=erased.pk).destroyed_at is not None
    )
    gap = gaps.find()
    told["gap_lines"] = gap.lines if gap else 0
    try:
        _charge(Ledger.objects.get(), steward, 1)
    except ledger.LedgerError as error:
        told["refused_reserve"] = error.message
    for user in (steward, auditor):
        gaps.acknowledge(by=user, reason="The play restored an older backup.")
    told["spent_after_two_people"] = _spent()
    told["verified"] = list(verify().problems)
    return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
