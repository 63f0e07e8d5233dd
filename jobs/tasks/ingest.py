"""An upload becomes a version: typed, profiled, stored encrypted."""

from __future__ import annotations

from typing import Any, BinaryIO

import polars as pl

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.datasets import intake
from privacyhub.datasets import tables as stored
from privacyhub.datasets.models import Upload
from privacyhub.engines import identifiers, tables
from privacyhub.governance.keys import KeyDestroyed

STEPS = 4
SAMPLE_ROWS = 20_000


def run(attempt: Attempt) -> Publish:
    """Spec: upload, dataset (or empty), name, description, purpose, legal_basis."""
    upload = Upload.objects.get(pk=attempt.spec["upload"])
    attempt.report("reading the file", 0, STEPS)
    try:
        with intake.open_upload(upload) as source:
            table = _read(upload, source)
            attempt.report("encrypting", 1, STEPS)
            written = stored.write(table.batches(), schema=table.schema)
            try:
                return _described(attempt, upload, table, written)
            except BaseException:
                stored.discard(written)
                raise
    except tables.TableError as error:
        raise JobFailed(error.message, code=error.code) from error
    except (KeyDestroyed, tables.SealedError) as error:
        raise JobFailed(
            "The uploaded file is gone. Upload it again.", code="upload_gone"
        ) from error


def _read(upload: Upload, source: BinaryIO) -> tables.TypedTable:
    form = tables.Format(upload.format)
    structure = tables.check_structure(source, format=form)
    source.seek(0)
    return tables.read_table(source, format=form, structure=structure)


def _described(
    attempt: Attempt, upload: Upload, table: tables.TypedTable, written: stored.Written
) -> Publish:
    """Profile the rows and suggest roles; what is left is one transaction."""
    attempt.report("profiling", 2, STEPS)
    profile = tables.profile(table.batches(), schema=table.schema, checks=table.checks)
    first = pl.DataFrame(pl.from_arrow(next(table.batches())))
    suggestions = identifiers.suggest_roles(first.head(SAMPLE_ROWS), profile)
    attempt.report("publishing", 3, STEPS)

    def publish() -> dict[str, Any]:
        with stored.publishing(written):
            version = intake.publish_upload(
                upload=upload,
                spec=attempt.spec,
                written=written,
                profile=profile,
                suggestions=suggestions,
                job=attempt.job,
            )
        return {"dataset": str(version.dataset_id), "version": str(version.pk)}

    return publish
