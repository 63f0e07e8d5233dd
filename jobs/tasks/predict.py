"""A file's rows are answered by a model; the answers are sealed, each with an id."""

from __future__ import annotations

from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.datasets.errors import DataError
from privacyhub.deployments import batches
from privacyhub.deployments.models import PredictionBatch
from privacyhub.engines.tables import TableError

STEPS = 2


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, batch."""
    batch = PredictionBatch.objects.select_related(
        "model_version__key", "model_version__model", "upload__key", "requested_by"
    ).get(pk=attempt.spec["batch"])
    if batch.job_id != attempt.job.pk:
        raise JobFailed("Upload the file again.", code="upload_used")
    attempt.report("reading and predicting", 0, STEPS)
    try:
        answered = batches.answer(batch)
    except (DataError, TableError) as error:
        raise JobFailed(error.message, code=error.code) from error
    attempt.report("publishing", 1, STEPS)

    def publish() -> dict[str, Any]:
        batches.publish(batch=batch, answered=answered, job=attempt.job)
        return {
            "model_version": str(batch.model_version_id),
            "batch": str(batch.pk),
        }

    return publish
