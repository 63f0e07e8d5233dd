"""Whose turn it is: priority, then fewer running, then age; and how many may run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs import draining, execution, messages, reaping, services
from jobs.models import Job
from jobs.states import State

Submit = Callable[..., Job]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the jobs that a message was sent for."""
    told: list[str] = []

    def send(*, job_id: str, queue: str) -> bool:
        told.append(job_id)
        return True

    monkeypatch.setattr(messages, "send", send)
    return told


def _next(queue: str = "light") -> Job | None:
    return services.claim_next(queue=queue, worker="one")


def test_a_higher_priority_goes_first_whatever_the_message_names(
    submit: Submit,
) -> None:
    low, high, middle = (submit(priority=n) for n in (0, 9, 5))
    execution.execute_next(job_id=str(low.pk), queue="light")
    states = {job.pk: job.state for job in Job.objects.all()}
    assert states[high.pk] == State.SUCCEEDED
    assert states[low.pk] == states[middle.pk] == State.QUEUED
    assert _next() == middle
    assert _next() == low
    assert _next() is None


def test_a_message_of_one_queue_takes_no_job_of_another(submit: Submit) -> None:
    submit(kind="train", priority=9)
    light = submit()
    assert _next("data") is None
    assert _next("light") == light


def test_fifty_jobs_of_one_owner_do_not_starve_another(
    submit: Submit, other_steward: Any, settings: Any
) -> None:
    settings.MAX_JOBS_PER_USER = 100
    many = [submit() for _ in range(50)]
    assert _next() == many[0]
    late = submit(owner=other_steward)
    assert _next() == late
    urgent = submit(priority=1)
    assert _next() == urgent
    assert _next() == many[1]


def test_two_children_are_not_both_one_owners_while_another_waits(
    submit: Submit, other_steward: Any
) -> None:
    """The limit of running jobs is above the number of children: the turn shares."""
    many = [submit() for _ in range(6)]
    children = [_next(), _next()]
    assert children == many[:2]
    late = [submit(owner=other_steward) for _ in range(3)]
    for freed in (0, 1, 0, 1):
        held = children[freed]
        assert held is not None
        services.finish(job=held, publish=dict)
        children[freed] = _next()
        owners = {job.owner_id for job in children if job is not None}
        if Job.objects.filter(pk__in=[job.pk for job in late]).open().exists():
            assert len(owners) == 2


def test_an_owner_runs_no_more_than_may_run_and_the_next_is_woken(
    submit: Submit,
    other_steward: Any,
    settings: Any,
    sent: list[str],
    django_capture_on_commit_callbacks: Any,
) -> None:
    settings.MAX_RUNNING_JOBS_PER_USER = 2
    jobs = [submit() for _ in range(4)]
    running = [_next(), _next()]
    assert running == jobs[:2]
    assert _next() is None
    assert services.claim(job_id=jobs[2].pk, worker="one") is None
    foreign = submit(owner=other_steward)
    assert _next() == foreign
    Job.objects.update(published_at=None)
    sent.clear()
    reaping.reap()
    assert sent == []  # a message could wake nobody for what may not start
    assert running[0] is not None
    with django_capture_on_commit_callbacks(execute=True):
        services.finish(job=running[0], publish=dict)
    assert sent == [str(jobs[2].pk)]
    assert _next() == jobs[2]
    assert _next() is None


def test_a_worker_that_is_to_stop_passes_the_message_on(
    submit: Submit, sent: list[str]
) -> None:
    job = submit()
    draining.begin()
    try:
        execution.execute_next(job_id=str(job.pk), queue="light")
    finally:
        draining.forget()
    job.refresh_from_db()
    assert job.state == State.QUEUED
    assert sent == [str(job.pk)]


def test_a_broker_that_took_no_message_is_asked_again_at_once(
    submit: Submit,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    monkeypatch.setattr(messages, "send", lambda **_: False)
    with django_capture_on_commit_callbacks(execute=True):
        job = submit()
    job.refresh_from_db()
    assert job.published_at is None
    monkeypatch.setattr(messages, "send", lambda **_: True)
    assert reaping.reap() == 1


@pytest.mark.parametrize("ending", ["succeed", "fail", "cancel"])
def test_a_chain_goes_on_or_ends_as_a_whole(
    submit: Submit, steward: Any, ending: str, sent: list[str]
) -> None:
    """anonymize -> train -> assess: each row names the one before, no chord."""
    first = submit(kind="anonymize")
    second = submit(kind="train", depends_on=first)
    third = submit(kind="assess", depends_on=second)
    assert _next("train") is None
    held = _next("data")
    assert held == first
    services.finish(job=held, publish=dict)
    held = _next("train")
    assert held == second
    if ending == "succeed":
        services.finish(job=held, publish=dict)
        assert _next("data") == third
    elif ending == "fail":
        services.fail(job=held, code="broken", message="It broke.")
    else:
        services.request_cancel(job=held, by=steward)
        services.end_cancelled(job=held)
    third.refresh_from_db()
    told = {"succeed": ("running", ""), "fail": ("failed", "dependency")}
    assert (third.state, third.error_code) == told.get(ending, told["fail"])


def test_cancel_of_a_queued_link_ends_what_waits_for_it_alone(
    submit: Submit, steward: Any
) -> None:
    first = submit()
    second = submit(depends_on=first)
    third = submit(depends_on=second)
    services.request_cancel(job=second, by=steward)
    for job in (first, second, third):
        job.refresh_from_db()
    assert [first.state, second.state, third.state] == ["queued", "cancelled", "failed"]
