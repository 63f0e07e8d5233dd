"""A job that works like a DP training, without TensorFlow.

It charges a block of steps before it runs them, saves a checkpoint each interval, and
an attempt after a lost one resumes from the newest valid checkpoint: replayed steps are
paid out of the same reservation, and where that is used up the job ends with fewer.
Each step is told to the witness as it runs; a training's failpoints are passed too.

Spec: ledger, steps, block, interval (steps between checkpoints), pause (seconds a
step), weight (bytes of an artefact and of a checkpoint); and how it misbehaves:
`stubborn` never looks whether it should stop, `hungry` allocates until it is killed,
`short_of_memory` gives its first attempt back.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from jobs import checkpoints, failpoints, services
from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed, StaleAttempt
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import ledger
from tests.faults.hub.models import StepsResult
from tests.faults.hub.views import NOISE, PURPOSE
from tests.faults.hub.witness import tell

PIECE = 8 * 2**20  # bytes that a hungry job takes at a time


def run(attempt: Attempt) -> Publish:
    try:
        return _run(attempt)
    except StaleAttempt:
        _try_every_write(attempt)
        raise
    except DatabaseError:
        connection.close()
        with suppress(DatabaseError):
            _try_if_stale(attempt)
        raise


def _try_if_stale(attempt: Attempt) -> None:
    """Halted inside a transaction, it lost that first, and then the job."""
    try:
        services.cancel_requested(job=attempt.job)
    except StaleAttempt:
        _try_every_write(attempt)


def _run(attempt: Attempt) -> Publish:
    spec = attempt.spec
    saved = checkpoints.latest(job=attempt.job)
    position = saved.position if saved else 0
    rdp_vector(_event(1))  # what a price needs is imported now, outside transactions
    tell(attempt.job, "began", position)
    failpoints.reach("train.trial")
    if spec.get("short_of_memory") and attempt.job.attempt == 1:
        raise MemoryError
    while position < spec["steps"]:
        block = min(spec["block"], spec["steps"] - position)
        if not _pay(attempt, position, block):
            break
        for _ in range(block):
            position += 1
            tell(attempt.job, "step", position)
            time.sleep(spec["pause"])
            if position % spec["interval"] == 0:
                failpoints.reach("train.ran")
                _save(attempt, position)
            if not spec.get("stubborn"):
                attempt.report("stepping", position, spec["steps"])
        if spec.get("hungry"):
            _eat()
    sha256 = _store(attempt, position)
    failpoints.reach("train.stored")

    def publish() -> dict[str, Any]:
        StepsResult.objects.create(
            job_id=attempt.job.pk,
            attempt=attempt.job.attempt,
            position=position,
            sha256=sha256,
        )
        return {"artefact": sha256, "position": position}

    return publish


def _pay(attempt: Attempt, position: int, block: int) -> bool:
    """Charge the steps that come next; False when the reservation is used up."""
    failpoints.reach("train.paying")
    try:
        _charge(attempt, position, block)
    except ledger.LedgerError:
        return False
    failpoints.reach("train.paid")
    return True


def _charge(attempt: Attempt, position: int, block: int) -> None:
    with attempt.held():
        ledger.charge(
            run_id=attempt.job.pk,
            purpose=PURPOSE,
            event=_event(block),
            note=f"attempt {attempt.job.attempt} from {position}",
        )


def _event(steps: int) -> GaussianEvent:
    return GaussianEvent(noise_multiplier=NOISE, count=steps)


def _save(attempt: Attempt, position: int) -> None:
    """Save, and where the disk is full tell what is still there to resume from."""
    content = os.urandom(attempt.spec.get("weight", 64))
    try:
        checkpoints.save(job=attempt.job, position=position, content=content)
    except JobFailed:
        before = checkpoints.latest(job=attempt.job)
        tell(attempt.job, "full", before.position if before else 0)
        raise


def _store(attempt: Attempt, position: int) -> str:
    """An artefact under the name of its content; fresh noise makes each another."""
    size = attempt.spec.get("weight", 64)
    content = f"{attempt.job.pk} {position} ".encode() + os.urandom(size)
    sha256 = hashlib.sha256(content).hexdigest()
    folder = Path(settings.ARTEFACT_DIR)
    folder.mkdir(exist_ok=True)
    spare = folder / f".{sha256}.part"
    try:
        with spare.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        spare.replace(folder / sha256)
    finally:
        spare.unlink(missing_ok=True)
    return sha256


def _eat() -> None:
    """Take memory until the kernel ends this process.

    In a control group of its own where there is one: nothing else on the machine runs
    short. Otherwise the kernel is asked to choose this process first.
    """
    if settings.MEMORY_GROUP:
        (Path(settings.MEMORY_GROUP) / "cgroup.procs").write_text(str(os.getpid()))
    Path("/proc/self/oom_score_adj").write_text("1000")
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1) * PIECE))


def _try_every_write(attempt: Attempt) -> None:
    """A worker that was thought dead tries all it could write: none may go through."""
    job = attempt.job
    tries: dict[str, Callable[[], Any]] = {
        "beat": lambda: services.beat(job=job),
        "report": lambda: services.report(job=job, stage="stale", done=0, total=1),
        "checkpoint": lambda: checkpoints.save(job=job, position=1, content=b"stale"),
        "charge": lambda: _charge(attempt, 0, 1),
        "finish": lambda: services.finish(job=job, publish=lambda: {"stale": True}),
        "fail": lambda: services.fail(job=job, code="stale", message="stale"),
        "cancel": lambda: services.end_cancelled(job=job),
    }
    for name, write in tries.items():
        try:
            write()
        except StaleAttempt:
            tell(job, "refused", name)
        else:
            tell(job, "wrote", name)
