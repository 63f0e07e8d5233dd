"""F10, F11, F12: memory runs out, the disk is full, a checkpoint is damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from tests.faults.campaign import Fault, NotPossible, Trial

GROUPS = Path("/sys/fs/cgroup/memory")  # version 1; version 2 has them one higher
MEMORY = 400 * 2**20  # bytes of a hungry child
DISK = 4 * 2**20  # bytes of the small disk
WEIGHT = 256 * 2**10  # bytes of a checkpoint, or of an artefact


def exhaust_memory(trial: Trial) -> None:
    """F10: a job that eats memory is ended by the kernel until it is called poison."""
    with _memory_group(trial) as group:
        trial.stack.require(workers_with={"FAULTS_MEMORY_GROUP": str(group or "")})
        hungry = trial.submit(trial.size(5, 1), hungry=True)
        neighbours = trial.submit(8) + trial.submit_nothing(8, seconds=1)
        trial.wait()
    rows = trial.jobs()
    for job in hungry:
        trial.count += 1
        if rows[job].error_code != "poison":
            trial.broke(job, f"ended as {rows[job].error_code or rows[job].state}")
        began = _attempts(trial, job)
        if len(began) != 3:
            trial.broke(job, f"{len(began)} attempts before it was called poison")
    for job in neighbours:
        if rows[job].state != "succeeded":
            trial.broke(job, f"a neighbour ended as {rows[job].state}")


def _attempts(trial: Trial, job: str) -> list[int]:
    events = trial.stack.history.events()
    return [e.attempt for e in events if e.job == job and e.name == "began"]


@contextmanager
def _memory_group(trial: Trial) -> Iterator[Path | None]:
    """A control group with little memory; None where this user may not make one."""
    unified = not GROUPS.is_dir()
    root = Path("/sys/fs/cgroup") if unified else GROUPS
    group = root / f"faults-{os.getpid()}"
    limit = group / ("memory.max" if unified else "memory.limit_in_bytes")
    try:
        group.mkdir()
        limit.write_text(str(MEMORY))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        trial.stack.stop_workers()
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(100):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def fill_disk(trial: Trial) -> None:
    """F11: no space for a checkpoint, or for the artefact: a clean failure.

    Its checkpoints or artefacts lie on a small disk, filled after the first checkpoint.
    """
    for number in range(trial.size(10, 2)):
        name = "checkpoints" if number % 2 == 0 else "artefacts"
        folder = trial.stack.folder / name
        with _small_disk(folder):
            interval = 6 if name == "checkpoints" else 100
            job = trial.submit(steps=18, interval=interval, weight=WEIGHT)[0]
            _until_step(trial, job, 8)
            _fill(folder / "filler")
            trial.wait_for([job], lambda row: row.ended, within=60)
            trial.count += 1
            left = [path.name for path in folder.rglob("*.part")]
        _require_clean_failure(trial, job, kept=6 if interval == 6 else None)
        if left:
            trial.broke(job, f"left {left}")


def _require_clean_failure(trial: Trial, job: str, *, kept: int | None) -> None:
    row = trial.jobs()[job]
    if row.error_code != "disk_full":
        trial.broke(job, f"ended as {row.error_code or row.state}, not as disk_full")
    if kept is not None:
        told = [
            int(event.value)
            for event in trial.stack.history.events()
            if event.job == job and event.name == "full"
        ]
        if told != [kept]:
            trial.broke(job, f"valid checkpoint when the disk was full: {told}")


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A small file system at a folder, for as long as the block lasts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "faults"]
    done = subprocess.run(
        [*mount, str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        told = done.stderr.strip()
        raise NotPossible(f"a small disk takes root's right to mount ({told})")
    try:
        yield
    finally:
        for _ in range(50):
            done = subprocess.run(["umount", str(folder)], check=False)
            if done.returncode == 0:
                break
            time.sleep(0.2)


def _fill(path: Path) -> None:
    """Write until there is no space."""
    with path.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"\0" * 4096)


def damage_checkpoints(trial: Trial) -> None:
    """F12: the newest checkpoint is truncated or flipped while its worker is lost.

    The attempt after that begins at the one before.
    """
    together = trial.size(5, 2)
    for _ in range(trial.size(4, 1)):
        expected: dict[str, tuple[int, int]] = {}
        for number, job in enumerate(
            trial.submit(together, steps=48, block=3, interval=3)
        ):
            _until_step(trial, job, 8)
            struck = trial.jobs()[job]
            if not trial.strike(struck):
                trial.broke(job, "it could not be killed")
                continue
            saved = _newest_checkpoints(trial, job)
            if len(saved) < 2:
                trial.broke(job, f"{len(saved)} checkpoints at step 8 of 48")
                continue
            newest, before = saved
            _damage(newest, trial, truncate=number % 2 == 0)
            expected[job] = struck.attempt, _position(before)
        trial.wait()
        for job, (attempt, position) in expected.items():
            _require_beginning(trial, job, after=attempt, at=position)


def _require_beginning(trial: Trial, job: str, *, after: int, at: int) -> None:
    """The attempt after the lost one began at the checkpoint before the damaged."""
    began = [
        int(event.value)
        for event in trial.stack.history.events()
        if (event.job, event.name) == (job, "began") and event.attempt > after
    ]
    if began[:1] != [at]:
        trial.broke(job, f"began at {began}, newest valid checkpoint {at}")


def _newest_checkpoints(trial: Trial, job: str) -> list[Path]:
    folder = trial.stack.folder / "checkpoints" / str(UUID(job))
    saved = [path for path in folder.glob("*") if not path.name.startswith(".")]
    return sorted(saved, reverse=True)[:2]


def _position(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _damage(path: Path, trial: Trial, *, truncate: bool) -> None:
    stored = bytearray(path.read_bytes())
    place = trial.coins.randrange(len(stored))
    if truncate:
        del stored[place:]
    else:
        stored[place] ^= 1 << trial.coins.randrange(8)
    path.write_bytes(stored)


def _until_step(trial: Trial, job: str, position: int) -> None:
    """Until the witness has seen a step of the job."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for event in trial.stack.history.events():
            mine = event.job == job and event.name == "step"
            if mine and int(event.value) >= position:
                return
        time.sleep(0.02)


FAULTS = (
    Fault(
        "F10",
        "the worker's child runs out of memory",
        exhaust_memory,
        on_plain_stack=False,
    ),
    Fault(
        "F11",
        "disk full on a checkpoint or artefact",
        fill_disk,
        ends=frozenset({"disk_full"}),
    ),
    Fault("F12", "a truncated or flipped checkpoint", damage_checkpoints, intervals=2),
)
