"""Questions of the risk report: answered at once, or by a job for a large table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from jobs import services as jobs
from jobs.models import Job
from jobs.states import OPEN, JobFailed, State
from privacyhub.anonymization.models import RiskReportRun
from privacyhub.anonymization.risk_report import (
    Answer,
    Question,
    question_of,
    source_of,
)
from privacyhub.anonymization.services import require_manager
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.governance import audit, ledger


@dataclass(frozen=True)
class Plan:
    """What a worker needs of a run."""

    run: RiskReportRun
    version: Version
    question: Question[Any]


def is_large(version: Version) -> bool:
    """Whether reading it, or what it was made of, is a job's and not a page's work."""
    source = source_of(version)
    rows = max(version.rows, 0 if source is None else source.rows)
    return rows > settings.RISK_REPORT_ROWS


def ask(
    *, version: Version, question: Question[Answer], by: Any
) -> Answer | RiskReportRun:
    """The answer; for a large table the one that is kept, or the run that makes it."""
    require_manager(version=version, by=by)
    require_open(version)
    if not is_large(version):
        _note_read(version=version, question=question, by=by)
        return question.answered(version)
    run = latest(version=version, question=question)
    if run is None:
        return _accept(version=version, question=question, by=by)
    if run.job.state == State.SUCCEEDED:
        return question.restored(shown(run=run, by=by))
    return run


def latest(
    *, version: Version, question: Question[Any] | None = None, part: str = ""
) -> RiskReportRun | None:
    """The latest run with this question, or of this part, that has or may succeed."""
    runs = RiskReportRun.objects.filter(
        version=version, job__state__in=[State.SUCCEEDED, *OPEN]
    ).select_related("job")
    if question is None:
        return runs.filter(part=part).first()
    alike = runs.filter(part=question.part)
    return next((run for run in alike if run.asked == question.to_json()), None)


def shown(*, run: RiskReportRun, by: Any) -> Any:
    """The answer that a run keeps, as JSON; the look is on the record."""
    require_manager(version=run.version, by=by)
    require_open(run.version)
    audit.record(
        actor=by,
        action="version.risk_report",
        target=run.version,
        part=run.get_part_display(),
        run=str(run.pk),
    )
    return run.result


@transaction.atomic
def _note_read(*, version: Version, question: Question[Any], by: Any) -> None:
    part = question.part.label
    ledger.note_steward_read(
        ledgers=version.ledgers.all(), by=by, purpose=f"risk report: {part}"
    )
    audit.record(actor=by, action="version.risk_report", target=version, part=part)


@transaction.atomic
def _accept(*, version: Version, question: Question[Any], by: Any) -> RiskReportRun:
    pk = uuid4()
    job = jobs.submit(
        kind="risk_report",
        title=f"Risk report of {version}: {question.part.label}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(version.dataset_id),
            "version": str(version.pk),
            "run": str(pk),
        },
    )
    run = RiskReportRun.objects.create(
        id=pk,
        version=version,
        owner=by,
        job=job,
        part=question.part,
        asked=question.to_json(),
    )
    audit.record(
        actor=by,
        action="risk_report.submit",
        target=run,
        version=str(version.pk),
        part=question.part.label,
    )
    return run


def again(*, job: Job, by: Any) -> Job:
    """The question of a run whose job failed or was cancelled, asked anew."""
    run = RiskReportRun.objects.select_related("version__dataset").get(job=job)
    require_manager(version=run.version, by=by)
    require_open(run.version)
    question = question_of(part=run.part, asked=run.asked)
    return _accept(version=run.version, question=question, by=by).job


def begin(*, job: Job) -> Plan:
    """Note the read that a job is about to make; raises JobFailed if it cannot run."""
    run = RiskReportRun.objects.select_related("version__dataset").get(job=job)
    try:
        require_open(run.version)
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    ledger.note_steward_read(
        ledgers=run.version.ledgers.all(),
        by=job.owner,
        purpose=f"risk report: {run.get_part_display()}",
        run_id=job.pk,
    )
    question = question_of(part=run.part, asked=run.asked)
    return Plan(run=run, version=run.version, question=question)


@transaction.atomic
def record(*, plan: Plan, answer: Any) -> None:
    """Keep the answer; call it where a job publishes."""
    run = RiskReportRun.objects.select_for_update().get(pk=plan.run.pk)
    run.result = plan.question.kept(answer)
    run.save(update_fields=["result"])
