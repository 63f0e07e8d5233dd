"""Run against a real worker in a process of its own; prints what happened as JSON.

`python -m tests.integration.jobs.queue_driver lose|fill|tell|abandon`: the environment
names the hub. `fill` leaves four short and four long jobs running; `tell` says what
became of them. `abandon` leaves a cancelled job whose worker is no more.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from jobs import services  # noqa: E402
from jobs.models import Job, Worker  # noqa: E402
from jobs.states import TERMINAL  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402

PATIENCE = 60


SHORT, LONG = 3, 50


def fill(owner: User) -> dict[str, object]:
    held = [_submit(owner, seconds) for seconds in [LONG] * 4 + [SHORT] * 4]
    for job in held:
        _until(job, "running", "succeeded")  # on a slow machine a short one is over
    return {"running": len(held)}


def tell(owner: User) -> dict[str, object]:
    jobs = Job.objects.filter(owner=owner)
    return {
        str(seconds): [
            [job.state, job.attempt, job.workers_lost]
            for job in jobs.filter(spec__seconds=seconds)
        ]
        for seconds in (SHORT, LONG)
    }


def lose(owner: User) -> dict[str, object]:
    told: dict[str, object] = {"nothing": _done(_submit(owner, 0))}

    lost = _submit(owner, 2)
    _until(lost, "running")
    child = int(lost.worker.rpartition(":")[2])
    os.kill(child, signal.SIGKILL)
    told["killed"] = {**_done(lost), "workers_lost": lost.workers_lost}

    cancelled = _submit(owner, 60)
    _until(cancelled, "running")
    services.request_cancel(job=cancelled, by=owner)
    told["cancelled"] = _done(cancelled)
    told["workers"] = Worker.objects.count()
    return told


def abandon(owner: User) -> dict[str, object]:
    """It had a lease still when it was cancelled, and the time for that is over."""
    job = services.claim(job_id=_submit(owner, LONG).pk, worker="gone")
    assert job is not None
    services.request_cancel(job=job, by=owner)
    time_to_end = settings.JOB_CANCEL_GRACE + 5 * settings.JOB_CANCEL_POLL
    Job.objects.filter(pk=job.pk).update(cancel_requested_at=Now() - time_to_end)
    return _state(job) | {"leased": Job.objects.filter(lease_until__gt=Now()).exists()}


def _state(job: Job) -> dict[str, object]:
    job.refresh_from_db()
    return {"state": job.state, "attempt": job.attempt}


def _submit(owner: User, seconds: float) -> Job:
    return services.submit(
        kind="nothing", title="Nothing", owner=owner, spec={"seconds": seconds}
    )


def _done(job: Job) -> dict[str, object]:
    _until(job, *TERMINAL)
    return _state(job)


def _until(job: Job, *states: str) -> None:
    patience = time.monotonic() + PATIENCE
    while job.state not in states:
        if time.monotonic() > patience:
            raise TimeoutError(f"the job is still {job.state}")
        time.sleep(0.05)
        job.refresh_from_db()


def main(action: str) -> None:
    owner, _ = User.objects.get_or_create(username="steward", role="steward")
    actions = {"lose": lose, "fill": fill, "tell": tell, "abandon": abandon}
    print(json.dumps(actions[action](owner)))


if __name__ == "__main__":
    main(sys.argv[1])
