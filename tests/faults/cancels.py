"""F13: cancels at moments by chance; each is final within 30 s, and stays so.

Some are asked for after every worker is gone, while their jobs' leases still run.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from uuid import UUID

from tests.faults.campaign import Fault, Trial

FINAL_WITHIN = 30.0  # seconds, J6
LONG_LEASE = 120  # seconds: it outlives the wait for a cancel


def cancel(trial: Trial) -> None:
    """Some of the jobs never look whether they should stop; some are halted."""
    cancels = trial.size(100, 5)
    plain = cancels - trial.size(10, 1)
    stubborn = trial.submit(trial.size(5, 1), stubborn=True, pause=60)
    halted = trial.submit(trial.size(5, 0), pause=0.5, steps=200)
    _cancel_once_running(trial, stubborn + halted, halted=set(halted))
    _require_gone(trial, {job: trial.jobs()[job].pid for job in stubborn})
    for _ in range(plain):
        job = trial.submit(steps=trial.coins.randrange(3, 30))[0]
        time.sleep(trial.coins.uniform(0, 0.6))
        chosen = trial.coins.choice(trial.accepted[-6:])
        _ask(trial, chosen if chosen not in stubborn + halted else job)
    trial.wait()
    _cancel_without_workers(trial)
    _require_final_in_time(trial)


def _cancel_once_running(trial: Trial, jobs: list[str], *, halted: set[str]) -> None:
    trial.wait_for(jobs, lambda job: job.state == "running", within=60)
    time.sleep(1)
    for pk in jobs:
        row = trial.jobs()[pk]
        if pk in halted and trial.stack.is_ours(row.pid):
            os.kill(row.pid, signal.SIGSTOP)
        _ask(trial, pk)
    trial.wait_for(jobs, lambda job: job.ended, within=FINAL_WITHIN + 10)
    for pk in halted:
        with suppress(ProcessLookupError):
            os.kill(trial.jobs()[pk].pid, signal.SIGCONT)


def _cancel_without_workers(trial: Trial) -> None:
    """Nobody is left but the web, which must end them itself."""
    trial.stack.require(workers_with={"PRIVACYHUB_JOB_LEASE": str(LONG_LEASE)})
    jobs = trial.submit(trial.size(4, 1), pause=60)
    trial.wait_for(jobs, lambda job: job.state == "running", within=60)
    trial.stack.stop_workers()
    for job in jobs:
        _ask(trial, job)
    trial.wait_for(jobs, lambda job: job.ended, within=FINAL_WITHIN + 10)


def _require_gone(trial: Trial, processes: dict[str, int]) -> None:
    """A job that does not stop ends with its process, or it would keep its slot."""
    until = time.monotonic() + FINAL_WITHIN
    left = processes
    while left and time.monotonic() < until:
        time.sleep(0.2)
        left = {job: pid for job, pid in left.items() if trial.stack.is_ours(pid)}
    for job, pid in left.items():
        trial.broke(job, f"ended, and its process {pid} is still there")


def _ask(trial: Trial, job: str) -> None:
    trial.stack.client.post(f"jobs/{UUID(job)}/cancel/")
    trial.count += 1


def _require_final_in_time(trial: Trial) -> None:
    """By the database's own times: the end of a job that was asked to stop."""
    for job in trial.jobs().values():
        if job.cancel_requested_at is None:
            continue
        if job.finished_at is None:
            trial.broke(job.id, "cancelled, and without an end")
        elif job.finished_at - job.cancel_requested_at > FINAL_WITHIN:
            took = job.finished_at - job.cancel_requested_at
            trial.broke(job.id, f"its cancel took {took:.0f} s")


FAULTS = (
    Fault(
        "F13",
        "cancel at a moment by chance",
        cancel,
        ends=frozenset({"succeeded", "cancelled"}),
    ),
)
