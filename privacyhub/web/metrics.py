"""`/metrics` for Prometheus: computed from the database when it is asked for.

So every web process gives the same answer, and a restart loses none. No label names a
person, a table or a dataset: ledgers are counted and summed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.models import Job
from jobs.overview import DAY, overview
from privacyhub.accounts.models import User
from privacyhub.accounts.roles import Permission
from privacyhub.governance.balances import balance
from privacyhub.governance.models import Ledger

_BOUNDS = (1, 5, 15, 60, 300, 1800, 7200)  # seconds that a job ran
_LOW = 10  # percent of a cap
_MOST_LEDGERS = 1000


class HubCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _jobs()
        yield from _queues()
        yield from _durations()
        yield from _ledgers()
        yield from _disk()


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"privacyhub_{name}", text, labels=labels)


def _jobs() -> Iterator[Metric]:
    found = _gauge("jobs", "Jobs by state.", "state", "queue", "kind")
    rows = Job.objects.order_by().values_list("state", "queue", "kind")
    for state, queue, kind, count in rows.annotate(Count("pk")):
        found.add_metric([state, queue, kind], count)
    yield found


def _queues() -> Iterator[Metric]:
    seen = overview()
    per_queue = {
        "queue_queued_jobs": ("Jobs that wait.", "queued"),
        "queue_running_jobs": ("Jobs that run.", "running"),
        "queue_stuck_jobs": ("Running jobs whose lease has expired.", "stuck"),
        "queue_oldest_wait_seconds": ("Age of the oldest that waits.", "oldest_wait"),
        "queue_workers": ("Workers that live and take this queue.", "workers"),
    }
    for name, (text, attribute) in per_queue.items():
        found = _gauge(name, text, "queue")
        for queue in seen.queues:
            found.add_metric([queue.name], getattr(queue, attribute))
        yield found
    alive = _gauge("workers_alive", "Workers heard of within a lease.")
    alive.add_metric([], len(seen.alive))
    yield alive
    children = _gauge("worker_children", "Jobs that living workers may do at once.")
    children.add_metric([], sum(worker.children for worker in seen.alive))
    yield children


def _durations() -> Iterator[Metric]:
    """Of the jobs that ended within a day: their number only grows in that window."""
    ran = ExpressionWrapper(
        F("finished_at") - F("started_at"), output_field=DurationField()
    )
    bounds = {
        f"within_{bound}": Count("pk", filter=Q(ran__lte=timedelta(seconds=bound)))
        for bound in _BOUNDS
    }
    rows = (
        Job.objects.filter(
            finished_at__gt=timezone.now() - DAY, started_at__isnull=False
        )
        .annotate(ran=ran)
        .order_by()
        .values("kind", "state")
        .annotate(ended=Count("pk"), seconds=Sum("ran"), **bounds)
    )
    labels = ("kind", "state")
    ended = _gauge("day_ended_jobs", "Jobs that ended within a day.", *labels)
    seconds = _gauge("day_run_seconds", "Seconds that these jobs ran.", *labels)
    within = _gauge(
        "day_ended_jobs_within", "Of these, ran at most le seconds.", *labels, "le"
    )
    for row in rows:
        named = [row["kind"], row["state"]]
        ended.add_metric(named, row["ended"])
        seconds.add_metric(named, row["seconds"].total_seconds())
        for bound in _BOUNDS:
            within.add_metric([*named, str(bound)], row[f"within_{bound}"])
        within.add_metric([*named, "+Inf"], row["ended"])
    yield from (ended, seconds, within)


def _ledgers() -> Iterator[Metric]:
    total = _gauge(
        "ledgers", "Ledgers by whether their budget is declared.", "declared"
    )
    declared = Ledger.objects.exclude(epsilon_cap="").exclude(declared_units=None)
    number = declared.count()
    total.add_metric(["yes"], number)
    total.add_metric(["no"], Ledger.objects.count() - number)
    yield total
    epsilon = _gauge(
        "ledger_epsilon", "Epsilon of all caps, by what became of it.", "part"
    )
    low = _gauge("ledgers_low", f"Ledgers with less than {_LOW} of 100 left.")
    sums = {"spent": 0.0, "reserved": 0.0, "left": 0.0}
    few = 0
    for ledger in declared[:_MOST_LEDGERS]:
        held = balance(ledger)
        for part in sums:
            sums[part] += float(getattr(held, part))
        few += held.left * 100 < held.cap * _LOW
    for part, value in sums.items():
        epsilon.add_metric([part], value)
    low.add_metric([], few)
    yield from (epsilon, low)


def _disk() -> Iterator[Metric]:
    used = shutil.disk_usage(settings.VAR_DIR)
    found = _gauge("disk_bytes", "Of the disk that holds the hub's files.", "part")
    found.add_metric(["total"], used.total)
    found.add_metric(["free"], used.free)
    yield found


@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """With the token of the settings, or for auditors and administrators."""
    if not _may_read(request):
        answer = HttpResponse("Not for you.\n", status=401, content_type="text/plain")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HubCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        known = settings.METRICS_TOKEN
        return bool(known) and constant_time_compare(token.strip(), known)
    user: Any = request.user
    return isinstance(user, User) and user.may(Permission.READ_AUDIT)


urlpatterns: list[URLPattern] = [path("metrics", metrics, name="metrics")]
