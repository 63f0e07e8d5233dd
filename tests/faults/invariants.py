"""The promises J1 to J5 and J8, and the ledger's and the trail's, asked of the facts.

Each function gives the violations that it finds; none of them knows which fault was
injected.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.history import Account, AuditLine, Event, Facts, JobRow


class Breach(StrEnum):
    """What was broken. The first three have a column of their own in the table."""

    LOST = "lost"
    DOUBLED = "doubled"
    OVERCHARGED = "overcharged"
    UNDERCHARGED = "undercharged"
    STALE = "stale write"
    REPLAYED = "replayed more than an interval"
    CHANGED = "terminal state changed"
    LEDGER = "ledger does not add up"
    AUDIT = "audit chain broken"
    PROMISE = "promise not kept"


@dataclass(frozen=True)
class Violation:
    breach: Breach
    about: str  # a job, or what else it is about
    told: str = ""

    def __str__(self) -> str:
        return f"{self.breach}: {self.about} {self.told}".rstrip()


def of_jobs(
    accepted: Iterable[str], facts: Facts, *, intervals: int = 1
) -> list[Violation]:
    """What is broken of the accepted jobs, which have had the time to end.

    intervals: how many checkpoint intervals an attempt may replay (J5; more where a
    checkpoint was damaged on purpose).
    """
    found: list[Violation] = []
    charged = _charged(facts)
    executed = _executed(facts)
    for pk in accepted:
        job = facts.jobs.get(pk)
        if job is None:
            found.append(Violation(Breach.LOST, pk, "its row is gone"))
            continue
        found += _ended_once(job, facts)
        if job.kind == "steps":
            found += _paid(job, charged[pk], executed[pk])
            interval = job.spec["interval"]
            found += _resumed(job, facts, most=intervals * interval)
        if job.kind == "train":
            block = max((c.steps for c in facts.charges if c.job == pk), default=0)
            found += _paid_in_all(job, facts, block=block)
            found += _resumed(job, facts, most=intervals * block)
    wanted = set(accepted)
    found += (found_ for found_ in _stale(facts) if found_.about in wanted)
    return found


def of_hub(facts: Facts) -> list[Violation]:
    """What is broken of the ledgers and of the audit trail."""
    found = [problem for account in facts.accounts for problem in _adds_up(account)]
    return found + list(_chained(facts.audit))


def of_ends(before: Mapping[str, JobRow], facts: Facts) -> list[Violation]:
    """J8: what had ended when it was first seen so has ended in the same way since."""
    found = []
    for pk, then in before.items():
        now = facts.jobs.get(pk)
        told = (then.state, then.finished_at, then.result, then.error_code)
        if now is None or told != (
            now.state,
            now.finished_at,
            now.result,
            now.error_code,
        ):
            found.append(Violation(Breach.CHANGED, pk, f"it was {then.state}"))
    return found


def _ended_once(job: JobRow, facts: Facts) -> Iterator[Violation]:
    """J1 and J3: one terminal state, and a result when, and only when, it succeeded."""
    if not job.ended:
        yield Violation(Breach.LOST, job.id, f"still {job.state}")
    if job.kind not in {"steps", "train"}:
        return
    results = facts.results.get(job.id, 0)
    if results > 1 or (results and job.state != "succeeded"):
        yield Violation(Breach.DOUBLED, job.id, f"{results} results, {job.state}")
    if job.state == "succeeded" and not results:
        yield Violation(Breach.LOST, job.id, "it succeeded without a result")


def _charged(facts: Facts) -> Mapping[str, Mapping[int, int]]:
    """Steps that were charged, by job and attempt."""
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for charge in facts.charges:
        sums[charge.job][charge.attempt] += charge.steps
    return sums


def _executed(facts: Facts) -> Mapping[str, Mapping[int, int]]:
    """Steps that ran, by job and attempt."""
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for event in facts.events:
        if event.name == "step":
            sums[event.job][event.attempt] += 1
    return sums


def _paid(
    job: JobRow, charged: Mapping[int, int], executed: Mapping[int, int]
) -> Iterator[Violation]:
    """J2, attempt by attempt: no step unpaid, and a block too much at most.

    The attempt that succeeded ran all that it had paid.
    """
    block = job.spec["block"]
    for attempt in sorted({*charged, *executed}):
        paid, ran = charged.get(attempt, 0), executed.get(attempt, 0)
        told = f"attempt {attempt}: {paid} steps charged, {ran} executed"
        succeeded = job.state == "succeeded" and attempt == job.attempt
        if paid < ran:
            yield Violation(Breach.UNDERCHARGED, job.id, told)
        if paid > ran + (0 if succeeded else block):
            yield Violation(Breach.OVERCHARGED, job.id, told)


def _paid_in_all(job: JobRow, facts: Facts, *, block: int) -> Iterator[Violation]:
    """J2 of a real training, over its attempts: its lines do not tell them apart.

    Its witness sees whole blocks: the one in which a worker died is not among them.
    """
    paid = sum(charge.steps for charge in facts.charges if charge.job == job.id)
    began = {e.attempt: int(e.value) for e in _of(job, facts, "began")}
    reached = began | {e.attempt: int(e.value) for e in _of(job, facts, "ran")}
    ran = sum(reached[attempt] - began[attempt] for attempt in began)
    lost = len(began) - (job.state == "succeeded")
    told = f"{paid} steps charged, {ran} executed, {lost} attempts lost"
    if paid < ran:
        yield Violation(Breach.UNDERCHARGED, job.id, told)
    if paid > ran + lost * block:
        yield Violation(Breach.OVERCHARGED, job.id, told)


def _of(job: JobRow, facts: Facts, *names: str) -> list[Event]:
    return [e for e in facts.events if e.job == job.id and e.name in names]


def _resumed(job: JobRow, facts: Facts, *, most: int) -> Iterator[Violation]:
    """J5: an attempt begins at most so far behind where the one before it had come."""
    reached: dict[int, int] = {}
    for event in _of(job, facts, "began", "step", "ran"):
        position = int(event.value)
        earlier = [attempt for attempt in reached if attempt < event.attempt]
        if event.name == "began" and earlier:
            behind = reached[max(earlier)] - position
            if behind > most:
                told = f"attempt {event.attempt} lost {behind} steps"
                yield Violation(Breach.REPLAYED, job.id, told)
        reached[event.attempt] = position


def _stale(facts: Facts) -> Iterator[Violation]:
    """J4: no write of an attempt after the next one's, and none that it got through."""
    newest: dict[str, int] = {}
    for charge in facts.charges:
        if charge.attempt < newest.get(charge.job, 0):
            told = f"attempt {charge.attempt} charged after {newest[charge.job]}"
            yield Violation(Breach.STALE, charge.job, told)
        newest[charge.job] = max(charge.attempt, newest.get(charge.job, 0))
    for event in facts.events:
        if event.name == "wrote":
            yield Violation(Breach.STALE, event.job, f"{event.value} went through")


def _adds_up(account: Account) -> Iterator[Violation]:
    """The sums are those of the lines, no run is overdrawn, and the cap holds."""
    for side in ("train", "heldout"):
        if list(account.spent[side]) != list(account.replayed_spent[side]):
            yield Violation(Breach.LEDGER, account.name, f"spent of {side}")
        if list(account.reserved[side]) != list(account.replayed_reserved[side]):
            yield Violation(Breach.LEDGER, account.name, f"reserved of {side}")
        held = [
            spent + reserved
            for spent, reserved in zip(
                account.spent[side], account.reserved[side], strict=True
            )
        ]
        if account.cap and not any(
            amount <= most for amount, most in zip(held, account.cap, strict=True)
        ):
            yield Violation(Breach.OVERCHARGED, account.name, f"cap of {side} passed")
    for run in account.overdrawn:
        yield Violation(Breach.OVERCHARGED, run, "above its reservation")


def _chained(lines: Iterable[AuditLine]) -> Iterator[Violation]:
    """Each line's hash is over the one before it and its own words; none is missing."""
    previous = "0" * 64
    for expected, line in enumerate(lines, start=1):
        told = f"{previous}\n{line.canonical}".encode()
        whole = line.sequence == expected and line.previous == previous
        if not whole or line.hash != hashlib.sha256(told).hexdigest():
            yield Violation(Breach.AUDIT, f"line {expected}")
            return
        previous = line.hash
