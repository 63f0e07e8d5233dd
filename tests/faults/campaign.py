"""One run of the fault list: the jobs that were accepted, and what came of them.

A fault is a function of a `Trial`: it submits jobs, does its harm, counts each harm,
and waits. Afterwards the invariants are asked of everything that it had accepted.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from privacyhub.api.client import Refused
from tests.faults import invariants
from tests.faults.history import JobRow
from tests.faults.invariants import Breach, Violation
from tests.faults.stack import Stack
from tests.faults.table import Row

ENDS_WITHIN = 300.0  # seconds after the last harm that jobs have to end
STEPS = {"schema": 1, "steps": 12, "block": 3, "interval": 6, "pause": 0.1}
Harm = Callable[["Trial"], None]


@dataclass(frozen=True)
class Fault:
    """A line of the fault list. `ends` are the ends that its jobs may come to."""

    id: str
    title: str
    do: Harm
    ends: frozenset[str] = frozenset({"succeeded", "poison"})
    intervals: int = 1
    needs_services: bool = False
    on_plain_stack: bool = True  # else it starts processes of its own making


class NotPossible(Exception):
    """A harm that cannot be done here, and why: the fault is not tested."""


class Campaign:
    """The stack, the coins, and every end that was seen so far."""

    def __init__(self, stack: Stack, *, seed: int, short: bool) -> None:
        self.stack = stack
        self.seed = seed
        self.short = short
        self._ends: dict[str, JobRow] = {}

    def run(self, fault: Fault) -> Row:
        """Do the harm, wait, ask the invariants."""
        began = time.monotonic()
        trial = Trial(fault, self)
        try:
            if fault.on_plain_stack:
                self.stack.require()
            fault.do(trial)
        except NotPossible as error:
            trial.broke(fault.id, f"not tested: {error}")
        except (TimeoutError, requests.RequestException, Refused) as error:
            trial.broke(fault.id, f"the hub did not go along: {error!r}")
        trial.wait()
        facts = self.stack.history.facts()
        row = Row(fault.id, fault.title, trials=trial.count, jobs=len(trial.accepted))
        row.violations += trial.violations
        row.violations += trial.unexpected_ends(facts.jobs)
        row.violations += invariants.of_jobs(
            trial.accepted, facts, intervals=fault.intervals
        )
        row.violations += invariants.of_hub(facts)
        row.violations += invariants.of_ends(self._ends, facts)
        self._ends |= {pk: job for pk, job in facts.jobs.items() if job.ended}
        row.seconds = time.monotonic() - began
        return row


@dataclass
class Trial:
    """One fault at work: its jobs, its count of harms, and what it saw go wrong."""

    fault: Fault
    campaign: Campaign
    accepted: list[str] = field(default_factory=list)
    count: int = 0
    violations: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        seed = f"{self.campaign.seed} {self.fault.id}"
        self.coins = random.Random(seed)  # noqa: S311 - chance, no secret
        self.stack = self.campaign.stack
        self.ledger = self.stack.ledgers[self.coins.randrange(len(self.stack.ledgers))]

    def size(self, full: int, short: int) -> int:
        """How many, in the full run or in the short one."""
        return short if self.campaign.short else full

    def submit(self, count: int = 1, **spec: Any) -> list[str]:
        """Accepted jobs of the kind `steps`, by REST."""
        body = {**STEPS, "ledger": self.ledger, **spec}
        client = self.stack.client
        return [self._took(client.post("steps/", body)) for _ in range(count)]

    def submit_if_it_answers(self, **spec: Any) -> None:
        """Submit while something is broken: what is accepted in spite of it counts."""
        with suppress(requests.RequestException, Refused):
            self.submit(**spec)

    def submit_nothing(self, count: int = 1, *, seconds: float = 0) -> list[str]:
        body = {"kind": "nothing", "seconds": seconds}
        client = self.stack.client
        return [self._took(client.post("jobs/", body)) for _ in range(count)]

    def adopt(self, jobs: Iterable[str]) -> None:
        """Count jobs as accepted that were committed without an answer."""
        self.accepted += [pk for pk in jobs if pk not in self.accepted]

    def jobs(self) -> dict[str, JobRow]:
        rows = self.stack.history.jobs()
        return {pk: rows[pk] for pk in self.accepted if pk in rows}

    def running(self) -> list[JobRow]:
        """Jobs of this fault that a living process of this run works at."""
        return [
            job
            for job in self.jobs().values()
            if job.state == "running" and self.stack.is_ours(job.pid)
        ]

    def a_running_job(self, *, within: float = 60.0) -> JobRow | None:
        """One by chance; None when all have ended."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            running = self.running()
            if running:
                return self.coins.choice(sorted(running, key=lambda job: job.id))
            if all(job.ended for job in self.jobs().values()):
                return None
            time.sleep(0.02)
        return None

    def strike(self, job: JobRow, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to the process that works at a job; False when it is gone."""
        if not self.stack.is_ours(job.pid):
            return False
        with suppress(ProcessLookupError):
            os.kill(job.pid, number)
            self.count += 1
            return True
        return False

    def wait(self, *, within: float = ENDS_WITHIN) -> None:
        """Until every accepted job has ended, or the time is over."""
        self.wait_for(self.accepted, lambda job: job.ended, within=within)

    def wait_for(
        self, jobs: Iterable[str], holds: Callable[[JobRow], bool], *, within: float
    ) -> bool:
        """Until something holds of all these jobs; False when the time is over."""
        wanted = set(jobs)
        until = time.monotonic() + within
        while True:
            rows = self.stack.history.jobs()
            if all(pk in rows and holds(rows[pk]) for pk in wanted):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.1)

    def broke(self, about: str, told: str) -> None:
        """A promise that has no column of its own was not kept."""
        self.violations.append(Violation(Breach.PROMISE, about, told))

    def unexpected_ends(self, jobs: dict[str, JobRow]) -> list[Violation]:
        """Jobs that ended in a way that this fault does not explain."""
        return [
            Violation(Breach.PROMISE, pk, f"ended as {_end(jobs[pk])}")
            for pk in self.accepted
            if pk in jobs and jobs[pk].ended and _end(jobs[pk]) not in self.fault.ends
        ]

    def _took(self, answer: dict[str, Any]) -> str:
        job = UUID(answer["job"]).hex
        self.accepted.append(job)
        return job


def _end(job: JobRow) -> str:
    return job.error_code if job.state == "failed" else job.state
