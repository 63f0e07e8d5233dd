"""F1, F2, F5, F14: a worker or its child is killed, halted, or asked to stop."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress

from tests.faults import trainings
from tests.faults.campaign import Fault, Trial
from tests.faults.history import JobRow
from tests.faults.invariants import Breach, Violation
from tests.faults.stack import LEASE, Process

KEPT_AGAIN_WITHIN = 30.0  # seconds
DRAINS_WITHIN = 60.0  # seconds, F14
TRAININGS = 12
CLAIMED_AGAIN_WITHIN = 120.0  # seconds, F2
WRITES = frozenset(
    {"beat", "report", "checkpoint", "charge", "finish", "fail", "cancel"}
)


def kill_children(trial: Trial) -> None:
    """F1: at moments by chance, the child that works at some job gets SIGKILL."""
    trial.submit(trial.size(200, 6), steps=trial.size(24, 12))
    trial.submit_nothing(trial.size(20, 2), seconds=1)
    _kill(trial, trial.size(100, 4), within=0.6)
    trial.wait()
    if not trial.campaign.short:
        _kill_trainings(trial)


def _kill_trainings(trial: Trial) -> None:
    """Real trainings, some of which are killed at work, in other attempts too."""
    trial.stack.require(workers_with={"PRIVACYHUB_JOB_LEASE": str(trainings.LEASE)})
    version = trainings.upload(trial.stack.client)
    for _ in range(TRAININGS):
        trainings.submit(trial, version)
    _kill(trial, trial.count + TRAININGS, within=8)


def _kill(trial: Trial, until: int, *, within: float) -> None:
    """Kill until so many have been, each so long after the choice at most."""
    while trial.count < until:
        job = trial.a_running_job(within=30)
        if job is None:
            trial.submit(1)  # all have ended: the kills that are left need more
            continue
        time.sleep(trial.coins.uniform(0, within))
        trial.strike(job)


def kill_workers(trial: Trial) -> None:
    """F2: a whole worker gets SIGKILL, half of the time its children with it."""
    kills = trial.size(50, 1)
    waiting: dict[str, tuple[int, float]] = {}
    while trial.count < kills:
        _keep_open(trial, trial.size(12, 3))
        job = trial.a_running_job()
        if job is None:
            continue
        time.sleep(trial.coins.uniform(0, 1))
        worker = _worker_of(trial, job)
        if worker is None:
            continue
        children = set(worker.children())
        for lost in trial.running():
            if lost.pid in children:
                waiting.setdefault(lost.id, (lost.attempt, time.monotonic()))
        trial.stack.workers.remove(worker)
        if trial.coins.random() < 0.5:
            worker.kill()
        else:
            worker.kill_all()
        trial.count += 1
        trial.stack.start_worker()
        _forget_claimed(trial, waiting)
    for _ in range(trial.size(5, 1)):
        _kill_keeper(trial)
    until = time.monotonic() + CLAIMED_AGAIN_WITHIN
    while waiting and time.monotonic() < until:
        _forget_claimed(trial, waiting)
        time.sleep(0.1)
    _forget_claimed(trial, waiting)
    trial.stack.until_ready(len(trial.stack.workers))


def _keep_open(trial: Trial, count: int) -> None:
    """Submit until so many jobs are open: enough for every child, and no long line.

    Where a line is long, a lost job's wait tells of the line and not of the loss.
    """
    still = [job for job in trial.jobs().values() if not job.ended]
    trial.submit(max(0, count - len(still)), steps=24)


def _kill_keeper(trial: Trial) -> None:
    """The process that reaps and wakes dies alone: its worker must start another."""
    worker = trial.coins.choice(trial.stack.workers)
    trial.stack.until_ready(len(trial.stack.workers))
    before = worker.keepers()
    if not before:
        trial.broke(f"worker {worker.pid}", "it has no keeper")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    trial.count += 1
    until = time.monotonic() + KEPT_AGAIN_WITHIN
    while time.monotonic() < until:
        if set(worker.keepers()) - set(before):
            return
        time.sleep(0.1)
    told = f"no other keeper started within {KEPT_AGAIN_WITHIN:.0f} s"
    trial.broke(f"worker {worker.pid}", told)


def _worker_of(trial: Trial, job: JobRow) -> Process | None:
    workers = trial.stack.workers
    return next((w for w in workers if job.pid in w.children()), None)


def _forget_claimed(trial: Trial, waiting: dict[str, tuple[int, float]]) -> None:
    """Take out jobs that another attempt has, or that ended; tell of the late ones."""
    rows = trial.jobs()
    for pk, (attempt, since) in list(waiting.items()):
        row = rows.get(pk)
        claimed = row is not None and row.state == "running" and row.attempt > attempt
        took = time.monotonic() - since
        if claimed or (row is not None and row.ended):
            del waiting[pk]
        if took > CLAIMED_AGAIN_WITHIN:
            trial.broke(pk, f"not claimed again within {CLAIMED_AGAIN_WITHIN:.0f} s")
            waiting.pop(pk, None)


def halt_children(trial: Trial) -> None:
    """F5: SIGSTOP until another attempt has the job, then SIGCONT: it writes nothing.

    The one that wakes tries every write that an attempt has; see `hub.steps`. One that
    the hub itself ends before it has tried them is no trial: another is halted for it.
    """
    halts = trial.size(30, 1)
    together = 1 if trial.stack.embedded else 6
    halted: list[JobRow] = []
    for _ in range(2 * halts):
        if len(halted) == halts:
            break
        trial.submit(together, steps=40)
        batch = _halt_some(trial, most=min(together, halts - len(halted)))
        for job in batch:
            _until_another_has_it(trial, job)
        for job in batch:
            with suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGCONT)
        trial.wait()
        awake = [job for job in batch if trial.stack.is_ours(job.pid)]
        trial.count -= len(batch) - len(awake)
        halted += awake
    _require_refusals(trial, halted)
    if len(halted) < halts:
        trial.broke("F5", f"only {len(halted)} of {halts} woke up to try their writes")


def _halt_some(trial: Trial, *, most: int) -> list[JobRow]:
    """Halt the processes of up to so many jobs that run, each once."""
    batch: dict[str, JobRow] = {}
    while len(batch) < most:
        job = trial.a_running_job()
        if job is None:
            break
        if job.id not in batch and _halt(trial, job):
            batch[job.id] = job
    return list(batch.values())


def _halt(trial: Trial, job: JobRow) -> bool:
    """SIGSTOP, within a step. On SQLite not inside a transaction: that halts all.

    One file has one writer, so there the promise cannot hold for as long as a process
    that has the write lock is halted.
    """
    if not trial.strike(job, signal.SIGSTOP):
        return False
    if trial.stack.embedded and _is_locked(trial):
        os.kill(job.pid, signal.SIGCONT)
        trial.count -= 1
        return False
    return True


def _is_locked(trial: Trial) -> bool:
    path = trial.stack.folder / "hub.sqlite3"
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    return False


def _until_another_has_it(trial: Trial, job: JobRow) -> None:
    """The next attempt runs, or has ended the job."""
    held = trial.wait_for(
        [job.id],
        lambda row: row.ended or (row.attempt > job.attempt and row.state == "running"),
        within=LEASE + 60,
    )
    if not held:
        trial.broke(job.id, "no other attempt took it from a halted worker")


def _require_refusals(trial: Trial, halted: list[JobRow]) -> None:
    """Each halted attempt was refused, whatever it tried."""
    refused: dict[tuple[str, int], set[str]] = {}
    for event in trial.stack.history.events():
        if event.name == "refused":
            refused.setdefault((event.job, event.attempt), set()).add(event.value)
    for job in halted:
        missing = WRITES - refused.get((job.id, job.attempt), set())
        if missing:
            told = (
                f"attempt {job.attempt} was not refused: {', '.join(sorted(missing))}"
            )
            trial.violations.append(Violation(Breach.STALE, job.id, told))


def ask_to_stop(trial: Trial) -> None:
    """F14: SIGTERM with eight jobs running; others take over what it leaves."""
    for _ in range(trial.size(5, 1)):
        jobs = trial.submit(8, steps=40)
        trial.wait_for(jobs, lambda job: job.state != "queued", within=60)
        old = list(trial.stack.workers)
        for worker in old:
            worker.terminate()
        trial.count += len(trial.running())
        trial.stack.workers = []
        trial.stack.require(workers=len(old))
        for worker in old:
            if not worker.ends_within(DRAINS_WITHIN):
                trial.broke(str(worker.pid), "a worker did not end after SIGTERM")
        trial.wait()


FAULTS = (
    Fault(
        "F1",
        "SIGKILL of a worker's child",
        kill_children,
        ends=frozenset({"succeeded", "poison", "worker_lost", "dependency"}),
    ),
    Fault("F2", "SIGKILL of the whole worker", kill_workers),
    Fault("F5", "SIGSTOP past the lease, then SIGCONT", halt_children),
    Fault("F14", "SIGTERM with 8 jobs running", ask_to_stop),
)
