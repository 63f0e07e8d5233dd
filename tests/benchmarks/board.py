"""How long the server takes for a page of the jobs board over 10,000 jobs.

`python -m tests.benchmarks.board`: the environment names the hub, whose database is
there. Prints one JSON object: the median in seconds, and the queries of a page with few
jobs and with many.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from datetime import timedelta

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import F  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from jobs import registry  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.states import State  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.web import request_ids  # noqa: E402

JOBS = 10_000
OWNERS = 20
PAGES = 20
# Of each hundred; the ended ones lie over the last month.
SHARES = (
    (State.QUEUED, 4),
    (State.RUNNING, 1),
    (State.FAILED, 10),
    (State.CANCELLED, 5),
    (State.SUCCEEDED, 80),
)
MONTH = timedelta(days=30)


def fill(count: int) -> None:
    """Jobs of every kind, state and owner, with a specification and a result."""
    owners = [
        User.objects.get_or_create(username=f"owner-{n}", role="steward")[0]
        for n in range(OWNERS)
    ]
    states = [state for state, share in SHARES for _ in range(share)]
    kinds = [registry.kind(name) for name in registry.kinds()]
    now = timezone.now()
    rows = []
    for number in range(count):
        kind, state = kinds[number % len(kinds)], states[number * 37 % 100]
        is_open = state in {State.QUEUED, State.RUNNING}
        at = now if is_open else now - MONTH * (number / count)
        row = Job(
            kind=kind.name,
            title=f"Job {number}",
            queue=kind.queue,
            owner=owners[number * 7 % OWNERS],
            spec={"columns": [f"column {n}" for n in range(40)]},
            state=state,
            stage="waiting" if state == State.QUEUED else "step",
            done=number % 100,
            total=100,
            result={"figures": list(range(100))},
        )
        if state != State.QUEUED:
            row.worker, row.started_at, row.attempt = "here:1:2", at, 1
        if state == State.RUNNING:
            row.lease_until = now + timedelta(hours=1)
        elif not is_open:
            row.finished_at = at
        rows.append(row)
    Job.objects.bulk_create(rows, batch_size=500)
    ended = Job.objects.filter(finished_at__isnull=False)
    ended.update(created_at=F("finished_at"))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def main() -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    # A line for each page would lie between the benchmark's own.
    logging.getLogger(request_ids.__name__).setLevel(logging.WARNING)
    admin, _ = User.objects.get_or_create(username="board", role="admin")
    client = Client()
    client.force_login(admin)
    fill(JOBS // 100)
    few = _queries(client)
    fill(JOBS - Job.objects.count())
    many = _queries(client)
    times = []
    for _ in range(PAGES):
        began = time.perf_counter()
        _page(client)
        times.append(time.perf_counter() - began)
    told = {"seconds": statistics.median(times), "queries": [few, many]}
    print(json.dumps(told))


def _page(client: Client) -> None:
    answer = client.get("/jobs/", secure=True)
    if answer.status_code != 200:
        raise RuntimeError(f"the board answered {answer.status_code}")


def _queries(client: Client) -> int:
    _page(client)  # what is looked up once a process
    with CaptureQueriesContext(connection) as captured:
        _page(client)
    return len(captured)


if __name__ == "__main__":
    main()
