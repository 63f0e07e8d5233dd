"""What a job saves on its way, so that another attempt goes on from there.

A checkpoint is a file under PRIVACYHUB_VAR, `checkpoints/JOB/ATTEMPT-POSITION`: workers
on several hosts resume each other's jobs where they share that folder. Its content is
opaque here: a domain that holds data seals it first. A file is whole or not there: it
is written beside its place, synced, and renamed while the job's row is locked, so only
the attempt that holds the job can save. Head and content carry one SHA-256: what is
truncated or flipped is told, taken away, and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction

from jobs import failpoints, outages, services
from jobs.models import Job

logger = logging.getLogger(__name__)

KEPT = 2
SCHEMA = 1

_MAGIC = b"PHUBCKPT"
_LENGTH = struct.Struct(">I")
_DIGEST = 32  # bytes of a SHA-256
_NAME = re.compile(r"(\d{6})-(\d{18})")


@dataclass(frozen=True)
class Checkpoint:
    """`position` counts what was done (steps, rows); `attempt` is who saved it."""

    position: int
    attempt: int
    content: bytes


class Damaged(Exception):
    """A file that is not what was saved."""


def save(*, job: Job, position: int, content: bytes) -> None:
    """Keep `content` as the job's state after `position`; a durable write.

    Raises StaleAttempt when another attempt holds the job, and JobFailed when the disk
    is full: what was saved before stays, and nothing half-written does.
    """
    target = _folder(job.pk) / f"{job.attempt:06d}-{position:018d}"
    spare = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        spare.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(spare, _sealed(job=job, position=position, content=content))
        failpoints.reach("checkpoint.written")
        with services.held(job=job):
            spare.replace(target)
            _sync(target.parent)
            failpoints.reach("checkpoint.renamed")
            services.note_saved(job=job, position=position)
            _prune(target.parent, attempt=job.attempt)
    except BaseException as error:
        _take_away(spare)
        if outages.is_full(error):
            raise outages.disk_full() from error
        raise
    failpoints.reach("checkpoint.committed")


def latest(*, job: Job) -> Checkpoint | None:
    """The newest that verifies: of the latest attempt, then the furthest position.

    None where there is none: then the work begins anew. Damaged ones are logged and
    taken away.
    """
    for path in _newest_first(_folder(job.pk)):
        try:
            return _opened(path.read_bytes(), job_id=job.pk)
        except FileNotFoundError:
            continue
        except Damaged as error:
            logger.error("checkpoint %s of job %s: %s", path.name, job.pk, error)
            path.unlink(missing_ok=True)
    return None


def discard(*, job: Job) -> None:
    """Forget the job's checkpoints once the transaction at work has committed."""
    transaction.on_commit(partial(_forget, job.pk))


def discard_orphans() -> int:
    """Forget what belongs to no open job, such as after a crash; returns how many."""
    found = {
        job_id: folder
        for folder in _root().glob("*")
        if (job_id := _job_id(folder.name)) is not None
    }
    still_open = Job.objects.open().filter(pk__in=list(found))
    orphans = set(found) - set(still_open.values_list("pk", flat=True))
    for job_id in orphans:
        _forget(job_id)
    return len(orphans)


def _root() -> Path:
    return Path(settings.VAR_DIR) / "checkpoints"


def _folder(job_id: uuid.UUID) -> Path:
    return _root() / str(job_id)


def _job_id(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None


def _forget(job_id: uuid.UUID) -> None:
    shutil.rmtree(_folder(job_id), ignore_errors=True)


def _sealed(*, job: Job, position: int, content: bytes) -> bytes:
    """Magic, digest of all that follows, length of the head, head, content."""
    told = {
        "schema": SCHEMA,
        "job": str(job.pk),
        "attempt": job.attempt,
        "position": position,
        "size": len(content),
    }
    head = json.dumps(told, sort_keys=True).encode()
    body = b"".join((_LENGTH.pack(len(head)), head, content))
    return b"".join((_MAGIC, hashlib.sha256(body).digest(), body))


def _opened(stored: bytes, *, job_id: uuid.UUID) -> Checkpoint:
    """The checkpoint in a file's bytes; Damaged when it is not as it was saved."""
    body = stored[len(_MAGIC) + _DIGEST :]
    digest = stored[len(_MAGIC) : len(_MAGIC) + _DIGEST]
    if not stored.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise Damaged("it is not what was saved")
    start = _LENGTH.size + _LENGTH.unpack_from(body)[0]
    told = json.loads(body[_LENGTH.size : start])
    if told["schema"] != SCHEMA or told["job"] != str(job_id):
        raise Damaged("it is of another job, or of another version of the hub")
    return Checkpoint(
        position=told["position"], attempt=told["attempt"], content=body[start:]
    )


def _write(path: Path, stored: bytes) -> None:
    with path.open("xb") as stream:
        failpoints.reach("checkpoint.opened")
        stream.write(stored)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Make a rename durable: the folder itself goes to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _newest_first(folder: Path) -> Iterator[Path]:
    """A later attempt began at what verified then, so its own come first."""
    if folder.is_dir():
        saved = (path for path in folder.iterdir() if _NAME.fullmatch(path.name))
        yield from sorted(saved, key=lambda path: path.name, reverse=True)


def _prune(folder: Path, *, attempt: int) -> None:
    """Keep the newest two; what a lost attempt left half-written goes too.

    While the job is held: another attempt may write here as soon as it is not.
    """
    for path in list(_newest_first(folder))[KEPT:]:
        path.unlink(missing_ok=True)
    for path in folder.glob(".*.part"):
        of = _NAME.match(path.name.removeprefix("."))
        if of is not None and int(of[1]) <= attempt:
            path.unlink(missing_ok=True)


def _take_away(spare: Path) -> None:
    """No temporary file stays, nor an empty folder of a job that has ended."""
    spare.unlink(missing_ok=True)
    try:
        spare.parent.rmdir()
    except OSError:
        return
