"""A part of a version's risk report is counted and kept."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.anonymization import risk_report_runs
from privacyhub.engines import anonymize as an


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, version, run (which holds the question)."""
    with attempt.held():
        plan = risk_report_runs.begin(job=attempt.job)
    attempt.report("reading the table")

    def progress(done: int, total: int) -> None:
        attempt.report("counting", done, total)

    try:
        answer = plan.question.answered(plan.version, progress=progress)
    except an.AnonymizeError as error:
        raise JobFailed(str(error), code="risk_report") from error
    attempt.report("publishing")

    def publish() -> dict[str, Any]:
        risk_report_runs.record(plan=plan, answer=answer)
        return {"version": str(plan.version.pk), "run": str(plan.run.pk)}

    return publish
