"""Backup and restore of a hub: its database and its sealed files, never its keys.

A backup is a folder:

    manifest.json          what it holds, with SHA-256, signed by the hub
    database.sqlite3       or database.dump (PostgreSQL)
    store/, checkpoints/   sealed files, as they lie under PRIVACYHUB_VAR

The key-encryption keys lie apart (`keys` copies them, to another place): a backup
that held both would need no key at all. The database is copied first, so each file
that it names was there; what is made meanwhile is copied too and named by nothing.

A restore brings the past back, and three things with it must not come: sessions (they
are ended), keys that were destroyed since (they are destroyed again, as far as
`erasures` knows them, and `when_destroyed_again` marks whose they are), and budget that
was spent since (see `gaps`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from jobs.models import Worker
from privacyhub.accounts.models import User
from privacyhub.governance import audit, databases, erasures, gaps, heads, keys
from privacyhub.governance.databases import BackupError
from privacyhub.governance.models import AuditHead, DataKey, Ledger

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
FOLDERS = ("store", "checkpoints")
_ALIVE = timedelta(minutes=1)  # since a worker's last word
_CHUNK = 2**20


@dataclass(frozen=True)
class Restored:
    """What a restore did: when its backup was made, how many files, and the gap."""

    made_at: str
    files: int
    keys_destroyed: int
    gap: gaps.Gap | None


def backup(destination: Path) -> dict[str, Any]:
    """Copy the running hub into a new folder; the manifest's statement.

    Raises BackupError before anything is written where the folder is not fit.
    """
    place = destination.resolve()
    _require_fit(place)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    head = heads.audit_head()
    databases.dump(place / databases.file_name())
    for folder in FOLDERS:
        _copy_folder(Path(settings.VAR_DIR) / folder, place / folder)
    files = {name: _told(place / name) for name in _names(place)}
    statement = {
        "format": FORMAT,
        "kind": "backup",
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "database": connection.vendor,
        "audit_head": head,
        "files": files,
    }
    (place / MANIFEST).write_text(json.dumps(heads.sign(statement), indent=1))
    audit.record(
        actor="system",
        action="backup.make",
        object_type="backup",
        made_at=statement["made_at"],
        files=len(files),
    )
    return statement


def backup_keys(destination: Path) -> list[str]:
    """Copy the key folder's files to a place of their own; their names.

    Whoever holds these and a backup can read everything.
    """
    place = destination.resolve()
    if any((folder / MANIFEST).exists() for folder in (place, *place.parents)):
        raise BackupError("Keys do not go into a backup: keep the two apart.")
    if place.exists() and any(place.iterdir()):
        raise BackupError(f"{place} is not empty.")
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    copied = []
    for path in sorted(Path(settings.KEY_FILE).parent.iterdir()):
        if path.is_file() and path.suffix != ".lock":
            shutil.copy2(path, place / path.name)
            copied.append(path.name)
    audit.record(actor="system", action="backup.keys", object_type="backup")
    return copied


def restore(source: Path, *, replace: bool = False) -> Restored:
    """Put a backup in this hub's place, after each of its files was checked.

    Raises BackupError, with nothing changed, where the backup is damaged or of another
    hub, where this hub holds anything (unless `replace`), or where a worker is alive.
    """
    place = source.resolve()
    statement = _verified(place)
    if not replace and not _is_empty():
        raise BackupError(
            "This hub is not empty. With --replace everything in it is given up for "
            "the backup."
        )
    if _has_workers():
        raise BackupError("A worker is running. Stop the hub before a restore.")
    if replace:
        _say_last_words()
    databases.load(place / databases.file_name())
    for folder in FOLDERS:
        _put_back(place / folder, Path(settings.VAR_DIR) / folder)
    call_command("migrate", interactive=False, verbosity=0)
    Session.objects.all().delete()
    destroyed = _destroy_again()
    audit.record(
        actor="system",
        action="backup.restore",
        object_type="backup",
        made_at=statement["made_at"],
        files=len(statement["files"]),
        keys_destroyed=destroyed,
    )
    return Restored(
        made_at=statement["made_at"],
        files=len(statement["files"]),
        keys_destroyed=destroyed,
        gap=gaps.find(),
    )


def _require_fit(place: Path) -> None:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BackupError(f"{place} is there already and not an empty folder.")
    apart = [Path(settings.KEY_FILE).parent, *_sources()]
    for folder in (one.resolve() for one in apart):
        if folder in (place, *place.parents):
            raise BackupError(
                f"A backup does not lie in {folder}: keys and live files are there."
            )


def _sources() -> list[Path]:
    return [Path(settings.VAR_DIR) / folder for folder in FOLDERS]


def _copy_folder(source: Path, target: Path) -> None:
    """Every file but those in the making; one that goes away meanwhile is let go."""
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            shutil.copyfile(path, copy)
        except FileNotFoundError:  # erased or swept while we copied
            copy.unlink(missing_ok=True)


def _names(place: Path) -> Iterator[str]:
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path.relative_to(place).as_posix()


def _told(path: Path) -> dict[str, Any]:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": found.hexdigest()}


def _verified(place: Path) -> dict[str, Any]:
    """The manifest's statement, after every file agreed with it."""
    try:
        signed = json.loads((place / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise BackupError(f"{place} holds no backup that can be read.") from error
    if not heads.is_genuine(signed):
        raise BackupError(
            "The manifest is not signed with this hub's key: it was changed, or the "
            "backup is of another hub. To move a hub, put its key file in place first."
        )
    statement: dict[str, Any] = signed["statement"]
    if statement.get("kind") != "backup" or statement.get("format") != FORMAT:
        raise BackupError("The backup is of a form that this version cannot read.")
    if statement["database"] != connection.vendor:
        raise BackupError(
            f"The backup is of a {statement['database']} database, and this hub runs "
            f"on {connection.vendor}."
        )
    found = set(_names(place))
    for name, said in statement["files"].items():
        if name not in found or _told(place / name) != said:
            raise BackupError(f"The backup is damaged: {name} is not what was saved.")
    if extra := found - statement["files"].keys():
        raise BackupError(f"The backup holds a file it does not name: {min(extra)}.")
    return statement


def _tables() -> list[str]:
    return connection.introspection.table_names()


def _is_empty() -> bool:
    files = any(path.is_file() for one in _sources() for path in one.rglob("*"))
    users = User._meta.db_table in _tables() and User.objects.exists()
    return not files and not users


def _has_workers() -> bool:
    if Worker._meta.db_table not in _tables():
        return False
    return Worker.objects.filter(seen_at__gt=timezone.now() - _ALIVE).exists()


def _say_last_words() -> None:
    """Export what the hub that is given up spent and destroyed, if it still can tell.

    A crash may have kept it from that; the restored one must know.
    """
    if Ledger._meta.db_table not in _tables():
        return
    for say in (erasures.note_missed, heads.export_all):
        try:
            if AuditHead.objects.filter(sequence__gt=0).exists():
                say()
        except (DatabaseError, OSError, ValueError):
            # Damaged, of another release, or without its disk of heads: one restores.
            logger.warning("what is replaced could not tell its last", exc_info=True)


def _put_back(source: Path, target: Path) -> None:
    fresh = target.with_name(f"{target.name}.restored")
    old = target.with_name(f"{target.name}.replaced")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, fresh)
    else:
        fresh.mkdir(mode=0o700)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


_destroyed_again_hooks: list[Callable[[], None]] = []


def when_destroyed_again(hook: Callable[[], None]) -> None:
    """Call `hook` in the transaction in which a restore destroys keys again.

    The rows that own such keys come from the backup, and do not say that they are gone.
    """
    _destroyed_again_hooks.append(hook)


@transaction.atomic
def _destroy_again() -> int:
    """Keys that were destroyed after the backup was made stay so."""
    revived = DataKey.objects.filter(pk__in=[*erasures.noted()], destroyed_at=None)
    rows = list(revived)
    for key in rows:
        keys.destroy(key)
    for hook in _destroyed_again_hooks:
        hook()
    return len(rows)
