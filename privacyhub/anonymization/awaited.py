"""A release that is still to come: whether it will, and what is known of it before.

Other work, such as a training, may be ordered on the release of a run that is queued or
running. `release_of` is what such an order calls first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.db import transaction

from jobs import services as jobs
from jobs.models import Job
from jobs.states import State
from privacyhub.anonymization import family, policies
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.anonymization.services import Release
from privacyhub.anonymization.vocabulary_treatments import kind_after
from privacyhub.datasets import intake
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Column, Version
from privacyhub.datasets.services import require_open
from privacyhub.engines.tables import Kind

_ENDED_BADLY = frozenset({State.FAILED, State.CANCELLED})


def release_of(*, run: AnonymizationRun) -> Version | None:
    """The run's release, or None while it is to come. Call it in a transaction.

    The run's job stays locked and so does not end before the transaction does: what is
    ordered in it is there when the release is published, or when it fails to be. Like
    the end of a job it takes this lock before any ledger's. Raises Conflict where no
    release is there or to come.
    """
    job = Job.objects.select_for_update().get(pk=run.job_id)
    if job.state == State.QUEUED:
        # A worker that comes for it meanwhile passes a locked row over.
        transaction.on_commit(partial(jobs.publish, job=job))
    runs = AnonymizationRun.objects.select_related(
        "job", "version__dataset", "release__dataset"
    )
    row = runs.get(pk=run.pk)  # after the lock: as it is by now
    require_release(row)
    return row.release


def require_release(run: AnonymizationRun) -> None:
    """Refuse a run whose release is neither there nor to come, by what is known."""
    require_open(run.release or run.version)
    reason = why_not(run)
    if reason:
        raise Conflict(reason, code="no_release")


def why_not(run: AnonymizationRun) -> str:
    """Why the run has no release and none is to come; empty where one is."""
    job = run.job
    if run.release_id is not None:
        return ""
    if job.state in _ENDED_BADLY:
        return "This anonymization ended without a release."
    if job.state == State.SUCCEEDED:
        return "This anonymization holds its release back. Release it first."
    if job.cancel_requested_at is not None:
        return "This anonymization was asked to stop: it will release nothing."
    release = Release(job.spec["release"])
    if release == Release.NEVER:
        return "This anonymization only tells the joint risk: it will release nothing."
    if release == Release.IF_ALONE and family.releases(run.version):
        return (
            "This anonymization will be held until somebody has confirmed the joint "
            "risk of all releases of its family."
        )
    return ""


def is_offered(run: AnonymizationRun, *, to: Any) -> bool:
    """Whether the user may order something on a release that is not there yet."""
    managed = Version.objects.managed_by(to).filter(pk=run.version_id)
    return run.job.is_open and not why_not(run) and managed.exists()


def columns_of(run: AnonymizationRun) -> list[Column]:
    """The columns of the run's release, or those that its policy lets it have.

    A column that the run leaves alone is its version's own. One that it recodes or
    treats is not saved and of no version: of its values nothing is known.
    """
    if run.release is not None:
        return list(run.release.columns.all())
    roles = policies.roles_of(run.version)
    shown = set(policies.shown_columns(roles=roles, policy=run.policy))
    return [
        _to_come(column, run.policy)
        for column in run.version.columns.all()
        if column.name in shown
    ]


def _to_come(column: Column, policy: Mapping[str, Any]) -> Column:
    treated = policy.get("treatments", {}).get(column.name)
    if column.name in policy["quasi_identifiers"]:
        changed = intake.copied(column, kind=Kind.TEXT)
    elif treated:
        changed = intake.copied(column, kind=kind_after(treated))
    else:
        return column
    for field, value in policies.undeclared(policy, column=column.name).items():
        setattr(changed, field, value)
    return changed
