"""What the queue's benchmark measures, as a process of the hub that runs.

`python -m tests.benchmarks.queue_rounds ADDRESS`: the environment names the hub and
the bare Celery beside it. Prints one JSON object; times in seconds, rates a second.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from jobs import services  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.states import OPEN  # noqa: E402
from privacyhub.accounts import tokens  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.api.client import Client  # noqa: E402
from tests.benchmarks import bare_celery  # noqa: E402
from tests.benchmarks.queue import LIGHT, PAUSE  # noqa: E402

BURST = 200
THREADS = 4  # clients that submit at once
SHORT_BURST = 100
ALONE = 30  # jobs, one at a time
ROUNDS = 3
PATIENCE = 120.0


class Hub:
    def __init__(self, address: str) -> None:
        self._owner, _ = User.objects.get_or_create(username="bench", role="steward")
        _, token = tokens.create(user=self._owner, name="bench", scope="write")
        self._new_client = lambda: Client(address, token=token)
        self._client = self._new_client()

    def post(self, client: Client | None = None) -> str:
        body = {"kind": "nothing"}
        return str((client or self._client).post("jobs/", body)["job"])

    def submit(self) -> None:
        services.submit(kind="nothing", title="Nothing", owner=self._owner, spec={})

    def wait(self) -> None:
        _until(lambda: not Job.objects.filter(state__in=OPEN).exists())

    def latencies(self) -> list[float]:
        """From before the request to the start, one job every `PAUSE`."""
        sent: dict[str, float] = {}
        for _ in range(LIGHT):
            at = time.time()
            sent[self.post()] = at
            time.sleep(max(0.0, at + PAUSE - time.time()))
        self.wait()
        started = Job.objects.filter(pk__in=sent).values_list("pk", "started_at")
        return [at.timestamp() - sent[str(pk)] for pk, at in started]

    def rate(self) -> float:
        """Jobs a second, submitted by clients at once and finished."""

        def some() -> None:
            client = self._new_client()
            for _ in range(BURST // THREADS):
                self.post(client)

        clients = [threading.Thread(target=some) for _ in range(THREADS)]
        began = time.time()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.wait()
        return BURST / (self._last_end() - began)

    def seconds_a_job(self) -> float:
        """From the first submit to the last end, over the jobs; no HTTP between."""
        began = time.time()
        for _ in range(SHORT_BURST):
            self.submit()
        self.wait()
        return (self._last_end() - began) / SHORT_BURST

    def seconds_of_one(self) -> float:
        """From the submit to the end of a job while there is no other, on average."""
        taken = []
        for _ in range(ALONE):
            began = time.time()
            self.submit()
            self.wait()
            taken.append(self._last_end() - began)
        return statistics.fmean(taken)

    def _last_end(self) -> float:
        ended = Job.objects.order_by("-finished_at").values_list("finished_at")[0][0]
        return float(ended.timestamp())


class Bare:
    def __init__(self) -> None:
        self._told = Path(bare_celery.TOLD)

    def _send(self, count: int, pause: float = 0.0) -> list[tuple[float, float]]:
        """Send that many; when each was sent and began, all of them done."""
        self._told.write_text("")
        for _ in range(count):
            at = time.time()
            bare_celery.nothing.delay(at)
            time.sleep(max(0.0, at + pause - time.time()))
        _until(lambda: self._told.read_text().count("\n") == count)
        lines = self._told.read_text().splitlines()
        return [(float(a), float(b)) for a, b in (line.split() for line in lines)]

    def latencies(self) -> list[float]:
        return [began - sent for sent, began in self._send(LIGHT, PAUSE)]

    def seconds_a_job(self, count: int = SHORT_BURST) -> float:
        times = self._send(count)
        return (max(b for _, b in times) - min(a for a, _ in times)) / count

    def seconds_of_one(self) -> float:
        """From the send to the only line of a task while there is no other."""
        rounds = (self._send(1)[0] for _ in range(ALONE))
        return statistics.fmean(began - sent for sent, began in rounds)


def _until(holds: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > patience:
            raise TimeoutError("the jobs did not end")
        time.sleep(0.02)


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94]}


def main() -> None:
    hub, bare = Hub(sys.argv[1]), Bare()
    hub.seconds_a_job()  # connections, imports, caches
    bare.seconds_a_job()
    told: dict[str, Any] = {
        "light": {"hub": hub.latencies(), "bare": bare.latencies()},
        "rate": hub.rate(),
        "bare_rate": 1 / bare.seconds_a_job(BURST),
        "rounds": [(hub.seconds_a_job(), bare.seconds_a_job()) for _ in range(ROUNDS)],
        "alone": [(hub.seconds_of_one(), bare.seconds_of_one()) for _ in range(ROUNDS)],
    }
    told["light"] = {name: _percentiles(v) for name, v in told["light"].items()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
