"""The invariants find what they are there to find: each on a history that breaks it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.faults import invariants
from tests.faults.history import Account, AuditLine, Charge, Event, Facts, JobRow
from tests.faults.invariants import Breach
from tests.faults.table import Row, upper_bound

JOB = JobRow(
    id="a",
    kind="steps",
    state="succeeded",
    attempt=3,
    pid=1,
    error_code="",
    result={"position": 6},
    spec={"steps": 6, "block": 2, "interval": 2},
    started_at=1.0,
    finished_at=2.0,
    cancel_requested_at=None,
)
# Attempt 1 paid for steps 1 to 4 and was lost in step 3; attempt 3 resumed after 2.
CHARGES = (
    Charge(1, "a", 1, 2),
    Charge(2, "a", 1, 2),
    Charge(3, "a", 3, 2),
    Charge(4, "a", 3, 2),
)
EVENTS = tuple(
    Event("a", attempt, name, str(position))
    for attempt, name, position in (
        (1, "began", 0),
        (1, "step", 1),
        (1, "step", 2),
        (1, "step", 3),
        (3, "began", 2),
        (3, "step", 3),
        (3, "step", 4),
        (3, "step", 5),
        (3, "step", 6),
        (1, "refused", "charge"),
    )
)


def _facts(
    job: JobRow = JOB,
    *,
    results: int = 1,
    charges: Sequence[Charge] = CHARGES,
    events: Sequence[Event] = EVENTS,
) -> Facts:
    return Facts(
        jobs={job.id: job}, results={job.id: results}, charges=charges, events=events
    )


def _breaches(facts: Facts) -> list[Breach]:
    return [violation.breach for violation in invariants.of_jobs(["a"], facts)]


def test_a_resumed_job_that_paid_for_its_replay_breaks_nothing() -> None:
    assert _breaches(_facts()) == []


def test_a_job_without_an_end_or_a_row_is_lost() -> None:
    waiting = replace(JOB, state="queued")
    assert _breaches(_facts(waiting, results=0)) == [Breach.LOST]
    assert _breaches(Facts()) == [Breach.LOST]


def test_success_without_a_result_is_lost() -> None:
    assert _breaches(_facts(results=0)) == [Breach.LOST]


@pytest.mark.parametrize(("state", "results"), [("succeeded", 2), ("failed", 1)])
def test_a_second_result_and_one_without_success_are_doubled(
    state: str, results: int
) -> None:
    assert _breaches(_facts(replace(JOB, state=state), results=results)) == [
        Breach.DOUBLED
    ]


def test_a_block_beyond_the_one_of_the_kill_is_overcharged() -> None:
    charges = (Charge(0, "a", 1, 2), *CHARGES)
    assert _breaches(_facts(charges=charges)) == [Breach.OVERCHARGED]


def test_the_attempt_that_succeeded_has_no_block_to_spare() -> None:
    charges = (*CHARGES, Charge(5, "a", 3, 1))
    assert _breaches(_facts(charges=charges)) == [Breach.OVERCHARGED]


def test_a_step_that_ran_before_it_was_paid_is_undercharged() -> None:
    assert _breaches(_facts(charges=CHARGES[1:])) == [Breach.UNDERCHARGED]


def test_an_attempt_that_loses_more_than_an_interval_is_told() -> None:
    from_the_start = [
        replace(event, value="0") if event.name == "began" else event
        for event in EVENTS
    ]
    assert Breach.REPLAYED in _breaches(_facts(events=from_the_start))


def test_a_charge_after_the_next_attempt_s_is_stale() -> None:
    first, second, third, fourth = CHARGES
    assert _breaches(_facts(charges=(first, third, second, fourth))) == [Breach.STALE]


def test_a_write_that_a_stale_attempt_got_through_is_told() -> None:
    events = (*EVENTS, Event("a", 1, "wrote", "report"))
    assert _breaches(_facts(events=events)) == [Breach.STALE]


def test_a_terminal_state_that_changes_is_told() -> None:
    before = {"a": JOB}
    assert invariants.of_ends(before, _facts()) == []
    for after in (
        replace(JOB, state="failed"),
        replace(JOB, finished_at=3.0),
        replace(JOB, result={"position": 4}),
    ):
        found = invariants.of_ends(before, _facts(after))
        assert [violation.breach for violation in found] == [Breach.CHANGED]


SUMS = {"train": [5, 5], "heldout": [0, 0]}
NONE = {"train": [0, 0], "heldout": [0, 0]}
ACCOUNT = Account(
    name="Family",
    cap=[3, 9],
    spent=SUMS,
    reserved=NONE,
    replayed_spent=SUMS,
    replayed_reserved=NONE,
)


@pytest.mark.parametrize(
    ("account", "breach"),
    [
        (replace(ACCOUNT, replayed_spent=NONE), Breach.LEDGER),
        (replace(ACCOUNT, replayed_reserved=SUMS), Breach.LEDGER),
        (replace(ACCOUNT, cap=[3, 4]), Breach.OVERCHARGED),
        (replace(ACCOUNT, overdrawn=["a"]), Breach.OVERCHARGED),
    ],
)
def test_a_ledger_that_does_not_add_up_is_told(
    account: Account, breach: Breach
) -> None:
    assert invariants.of_hub(Facts(accounts=[ACCOUNT])) == []
    found = invariants.of_hub(Facts(accounts=[account]))
    assert {violation.breach for violation in found} == {breach}


def _chain(*texts: str) -> list[AuditLine]:
    lines: list[AuditLine] = []
    previous = "0" * 64
    for sequence, text in enumerate(texts, start=1):
        told = hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
        lines.append(AuditLine(sequence, text, previous, told))
        previous = told
    return lines


def test_a_broken_audit_chain_is_told_at_its_first_bad_line() -> None:
    lines = _chain("one", "two", "three")
    assert invariants.of_hub(Facts(audit=lines)) == []
    changed = [lines[0], replace(lines[1], canonical="2"), lines[2]]
    missing = [lines[0], lines[2]]
    for broken in (changed, missing):
        found = invariants.of_hub(Facts(audit=broken))
        assert [violation.about for violation in found] == ["line 2"]


def test_a_row_counts_each_job_once() -> None:
    row = Row("F1", "", trials=10)
    row.violations = invariants.of_jobs(["a"], _facts(results=2)) * 2
    assert (row.count(Breach.DOUBLED), row.failures) == (1, 1)


def test_upper_bound_is_about_three_over_n_without_a_failure() -> None:
    assert upper_bound(failures=0, trials=1000) == pytest.approx(0.003, rel=0.01)
    assert upper_bound(failures=1, trials=100) == pytest.approx(0.0466, abs=1e-3)
    assert upper_bound(failures=0, trials=0) == 1
