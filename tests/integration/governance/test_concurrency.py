"""Many at once on PostgreSQL: the cap holds, and the audit trail stays one line."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Count

from jobs import execution, registry, services
from jobs.models import Job
from jobs.states import TooManyJobs
from privacyhub.accounts.models import User
from privacyhub.datasets import intake, lineage
from privacyhub.governance import audit, ledger
from privacyhub.governance.models import AuditEvent, Ledger, Reservation
from privacyhub.governance.verification import verify

from .busy import is_written_during_a_snapshot, problems_seen_in_use
from .conftest import gaussian, price, tenth_cap

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

THREADS = 64
REPEATS = 100


@pytest.fixture(autouse=True)
def _emptied(transactional_db: None) -> Iterator[None]:
    """These tests commit, so Django empties the tables after each; those that are
    append-only refuse that, but for a session that plays a replica."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = origin")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")


def _all_at_once(work: Callable[[int], Any], *, threads: int) -> list[Any]:
    def one(number: int) -> Any:
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def _ten_fit(name: str, by: User) -> Ledger:
    """A ledger whose cap is ten times the price at every order."""
    row = ledger.open_ledger(name=name, fingerprint=uuid.uuid4().hex)
    return ledger.declare(
        ledger=row, by=by, declared_units=600, epsilon_cap="1", delta_cap="1e-5"
    )


def test_of_64_reservations_of_a_tenth_exactly_10_win(
    steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread keeps its connection, and all start each repeat together."""
    for module in ("caps", "ledger_checks"):
        monkeypatch.setattr(f"privacyhub.governance.{module}.cap_of", tenth_cap)
    rows = [_ten_fit(f"ledger {repeat}", steward) for repeat in range(REPEATS)]
    together = Barrier(THREADS)

    def reserve(row: Ledger) -> bool:
        together.wait(timeout=60)
        try:
            ledger.reserve(
                ledgers=[row],
                run_id=uuid.uuid4(),
                prices=[price(1)],
                recipient="steward",
                by=steward,
            )
        except ledger.BudgetRefused:
            return False
        return True

    won = _all_at_once(lambda _: [reserve(row) for row in rows], threads=THREADS)
    assert [sum(column) for column in zip(*won, strict=True)] == [10] * REPEATS
    held = Reservation.objects.values("ledger").annotate(held=Count("pk"))
    assert {row["held"] for row in held} == {10}
    assert len(held) == REPEATS
    assert verify().holds


def test_audit_of_50_writers_is_one_chain(steward: Any) -> None:
    def write(number: int) -> None:
        for line in range(4):
            audit.record(actor=steward, action=f"thread.{number}", line=line)

    _all_at_once(write, threads=50)
    told = verify()
    assert told.holds, told.problems
    numbers = AuditEvent.objects.order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, 201))


def test_a_hub_in_use_is_verified_without_a_false_problem(steward: Any) -> None:
    row = ledger.open_ledger(name="in use", fingerprint=uuid.uuid4().hex)
    row = ledger.declare(
        ledger=row, by=steward, declared_units=600, epsilon_cap="1", delta_cap="1e-5"
    )
    assert problems_seen_in_use(row, steward) == []
    assert is_written_during_a_snapshot(steward)


def test_uploads_of_much_the_same_rows_at_once_share_a_ledger(
    steward: Any, upload_file: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each differs in a row, so that only the look-up tells; it takes its time."""
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    monkeypatch.setattr("django.conf.settings.MAX_RUNNING_JOBS_PER_USER", 100)
    look_up = lineage.with_the_same_rows

    def slowly(*given: Any) -> Any:
        found = look_up(*given)
        time.sleep(0.5)
        return found

    monkeypatch.setattr(lineage, "with_the_same_rows", slowly)
    rows = b"id,age\n" + b"".join(b"P%d,%d\n" % (n, n % 50) for n in range(200))
    taken = []
    for number in range(4):
        upload = intake.receive(
            file=upload_file(rows + b"Q%d,1\n" % number), by=steward
        )
        taken.append(intake.submit(upload=upload, by=steward, name=f"table {number}"))
    _all_at_once(lambda n: execution.execute(str(taken[n].pk)), threads=4)
    states = Job.objects.values_list("state", "message")
    assert {state for state, _ in states} == {"succeeded"}, list(states)
    assert Ledger.objects.count() == 1


def test_a_job_is_claimed_once_by_20_workers(steward: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    job = services.submit(kind="nothing", title="Nothing", owner=steward, spec={})
    won = _all_at_once(
        lambda n: services.claim(job_id=job.pk, worker=f"worker {n}"), threads=20
    )
    assert len([claimed for claimed in won if claimed]) == 1
    assert Job.objects.get(pk=job.pk).attempt == 1


def test_no_owner_runs_more_than_may_run_however_many_workers_claim(
    steward: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    monkeypatch.setattr("django.conf.settings.MAX_RUNNING_JOBS_PER_USER", 3)
    for _ in range(12):
        services.submit(kind="nothing", title="Nothing", owner=steward, spec={})
    won = _all_at_once(
        lambda n: services.claim_next(queue="light", worker=f"worker {n}"), threads=12
    )
    assert len({job.pk for job in won if job}) == 3
    assert Job.objects.filter(state="running").count() == 3


def test_no_owner_has_more_jobs_open_than_may_be_however_many_ask_at_once(
    steward: Any, monkeypatch: Any
) -> None:
    """Some have a line of the audit trail already, as a domain's service may."""
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    monkeypatch.setattr("django.conf.settings.MAX_JOBS_PER_USER", 5)
    together = Barrier(16)

    def ask(number: int) -> bool:
        together.wait(timeout=60)
        try:
            with transaction.atomic():
                if number % 2:
                    audit.record(actor=steward, action="asked")
                services.submit(kind="nothing", title="One", owner=steward, spec={})
        except TooManyJobs:
            return False
        return True

    assert sum(_all_at_once(ask, threads=16)) == 5
    assert Job.objects.count() == 5
    assert verify().holds


def test_jobs_that_end_while_others_reserve_do_not_wait_for_each_other(
    steward: Any, monkeypatch: Any
) -> None:
    """The ledger's lock comes before the trail's, on both sides."""
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    row = ledger.open_ledger(name="busy", fingerprint=uuid.uuid4().hex)
    row = ledger.declare(
        ledger=row, by=steward, declared_units=600, epsilon_cap="8", delta_cap="1e-5"
    )

    def work(_: int) -> str:
        job = services.submit(kind="nothing", title="One", owner=steward, spec={})
        claimed = services.claim(job_id=job.pk, worker="one")
        assert claimed is not None
        ledger.reserve(
            ledgers=[row],
            run_id=job.pk,
            prices=[price(1)],
            recipient="steward",
            by=steward,
        )
        ledger.charge(run_id=job.pk, purpose="training", event=gaussian(1))
        services.finish(job=claimed, publish=dict)
        return Job.objects.get(pk=job.pk).state

    monkeypatch.setattr("django.conf.settings.MAX_JOBS_PER_USER", 100)
    monkeypatch.setattr("django.conf.settings.MAX_RUNNING_JOBS_PER_USER", 100)
    assert set(_all_at_once(work, threads=16)) == {"succeeded"}
    assert audit.first_bad_row() is None


@pytest.mark.parametrize("ending", ["fail", "cancel"])
def test_a_job_that_ends_in_vain_and_its_follower_cancelled_do_not_block_each_other(
    steward: Any, monkeypatch: Any, ending: str
) -> None:
    """All rows of a chain are locked before the trail, by whoever ends any of them."""
    monkeypatch.setattr("jobs.messages.send", lambda **_: True)
    first = services.submit(kind="nothing", title="First", owner=steward, spec={})
    second = services.submit(
        kind="nothing", title="Second", owner=steward, spec={}, depends_on=first
    )
    third = services.submit(
        kind="nothing", title="Third", owner=steward, spec={}, depends_on=second
    )
    held = services.claim(job_id=first.pk, worker="one") if ending == "fail" else first
    assert held is not None
    holds_the_trail = Event()

    def slowly(run: Callable[..., None]) -> Callable[..., None]:
        def hooks(row: Job, *more: Any) -> None:
            run(row, *more)
            if row.pk == first.pk:
                holds_the_trail.set()
                time.sleep(0.5)

        return hooks

    for name in ("run_ended_hooks", "run_cancel_hooks"):
        monkeypatch.setattr(registry, name, slowly(getattr(registry, name)))

    def work(number: int) -> None:
        if number:
            holds_the_trail.wait(timeout=60)
            services.request_cancel(job=third, by=steward)
        elif ending == "fail":
            services.fail(job=held, code="broken", message="It broke.")
        else:
            services.request_cancel(job=first, by=steward)

    _all_at_once(work, threads=2)
    told = {row.title: row.state for row in Job.objects.all()}
    assert told["First"] in {"failed", "cancelled"}
    assert {told["Second"], told["Third"]} <= {"failed", "cancelled"}
    assert verify().holds
