"""An upload becomes a version: typed, profiled, stored encrypted."""

from __future__ import annotations

from typing import Any

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.datasets import intake
from privacyhub.datasets import tables as stored
from privacyhub.datasets.models import Upload
from privacyhub.engines import identifiers, tables

STEPS = 4
SAMPLE_ROWS = 20_000


def run(attempt: Attempt) -> Publish:
    """Spec: upload, dataset (or empty), name, description, purpose, legal_basis."""
    upload = Upload.objects.get(pk=attempt.spec["upload"])
    attempt.report("reading the file", 0, STEPS)
    try:
        with intake.open_upload(upload) as source:
            written, profile, suggestions = _read(attempt, upload, source)
    except tables.TableError as error:
        intake.forget(upload)
        raise JobFailed(error.message, code=error.code) from error
    attempt.report("publishing", 3, STEPS)

    def publish() -> dict[str, Any]:
        version = intake.publish_upload(
            upload=upload,
            spec=attempt.spec,
            written=written,
            profile=profile,
            suggestions=suggestions,
            job=attempt.job,
        )
        intake.forget(upload)
        return {"dataset": str(version.dataset_id), "version": str(version.pk)}

    return publish


def _read(
    attempt: Attempt, upload: Upload, source: Any
) -> tuple[stored.Written, tables.TableProfile, list[identifiers.RoleSuggestion]]:
    form = tables.Format(upload.format)
    structure = tables.check_structure(source, format=form)
    source.seek(0)
    table = tables.read_table(source, format=form, structure=structure)
    attempt.report("encrypting", 1, STEPS)
    written = stored.write(table.batches(), schema=table.schema)
    attempt.report("profiling", 2, STEPS)
    profile = tables.profile(table.batches(), schema=table.schema, checks=table.checks)
    sample = pl.from_arrow(next(iter(table.batches()))).head(SAMPLE_ROWS)
    return written, profile, identifiers.suggest_roles(sample, profile)
