"""Corrected predictions become rows of a child version, with their provenance.

A row is the prediction's input as the author sent it, typed like the parent's
columns, with the corrected label as its target. What the model does not read, and
every identifier, stays missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from django.db import transaction

from jobs.models import Job
from jobs.states import JobFailed
from privacyhub.datasets import intake
from privacyhub.datasets import tables as stored
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.datasets.services import require_open
from privacyhub.datasets.tables import Written
from privacyhub.deployments.models import Prediction
from privacyhub.deployments.services import input_of
from privacyhub.engines import tables
from privacyhub.feedback.models import Feedback
from privacyhub.feedback.services import corrections_of
from privacyhub.governance import audit, keys, ledger
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.training.models import TrainingRun


@dataclass(frozen=True)
class Correction:
    """What a worker needs: the feedback and the version that gets its rows."""

    feedback: Feedback
    parent: Version
    job: Job


@dataclass(frozen=True)
class Appended:
    """The child's table. `predictions` are the ids behind the last rows, in order."""

    frame: pl.DataFrame
    predictions: list[str]
    fingerprint: str

    @property
    def provenance(self) -> list[dict[str, str]]:
        """Which row came from which prediction. Ids are text: they pass 2^53."""
        ids = self.frame[tables.ROW_ID].tail(len(self.predictions)).to_list()
        return [
            {"prediction": prediction, "row": str(row)}
            for prediction, row in zip(self.predictions, ids, strict=True)
        ]


def begin(*, job: Job) -> Correction:
    """Note the read that the job is about to make; JobFailed if it cannot run."""
    feedback = Feedback.objects.select_related("model_version__key").get(
        pk=job.spec["feedback"]
    )
    parent = Version.objects.get(pk=job.spec["version"])
    try:
        require_open(parent)
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    if feedback.version_id is not None:
        raise JobFailed("These corrections were added already.", code="corrected")
    ledger.note_steward_read(
        ledgers=parent.ledgers.all(),
        by=job.owner,
        purpose="add corrections",
        run_id=job.pk,
    )
    return Correction(feedback=feedback, parent=parent, job=job)


def append(correction: Correction, *, frame: pl.DataFrame) -> Appended:
    """The parent's rows and one row a correction. `frame`: the parent's, with ids."""
    try:
        corrections = corrections_of(correction.feedback)
        inputs = _inputs(correction.feedback, corrections)
    except KeyDestroyed as error:
        raise JobFailed("The corrections were erased.", code="erased") from error
    own = frame.drop(tables.ROW_ID)
    fresh = _typed_rows(correction, like=own, inputs=inputs, corrections=corrections)
    secret = keys.identity_key("table")
    ids = tables.RowIds(key=secret, fingerprint_key=secret)
    ids.ids(own)  # so that a row equal to one of the parent's gets an id of its own
    given = pl.Series(tables.ROW_ID, ids.ids(fresh), dtype=pl.Int64)
    both = pl.concat([frame, fresh.insert_column(0, given).select(frame.columns)])
    if both[tables.ROW_ID].is_duplicated().any():  # one chance in 2^64 a pair
        raise JobFailed("A row's id would be given twice.", code="row_id")
    return Appended(
        frame=both,
        predictions=[one["prediction"] for one in corrections],
        fingerprint=ids.fingerprint.hexdigest() if ids.fingerprint else "",
    )


def _inputs(
    feedback: Feedback, corrections: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    named = [one["prediction"] for one in corrections]
    known = Prediction.objects.filter(model_version=feedback.model_version)
    found = known.select_related("model_version__key").in_bulk(named)
    by_id = {str(pk): prediction for pk, prediction in found.items()}
    missing = [one for one in corrections if one["prediction"] not in by_id]
    if missing:
        raise JobFailed("A corrected prediction is not there any more.", code="gone")
    return [input_of(by_id[one["prediction"]]) for one in corrections]


def _typed_rows(
    correction: Correction,
    *,
    like: pl.DataFrame,
    inputs: Sequence[dict[str, Any]],
    corrections: Sequence[dict[str, Any]],
) -> pl.DataFrame:
    target = correction.feedback.model_version.model.target
    if target not in like.columns:
        raise JobFailed(f"The version has no column “{target}”.", code="no_column")
    identifiers = set(
        correction.parent.columns.filter(role=Role.IDENTIFIER).values_list(
            "name", flat=True
        )
    )
    read = {
        column["name"]
        for column in correction.feedback.model_version.summary.get("inputs", [])
    }
    series = []
    for name, kind in like.schema.items():
        if name == target:
            cells = [one["label"] for one in corrections]
        elif name in identifiers or name not in read:
            cells = [None] * len(inputs)
        else:
            cells = [row.get(name) for row in inputs]
        series.append(_typed(name, cells, kind))
    return pl.DataFrame(series)


def _typed(name: str, cells: Sequence[Any], kind: pl.DataType) -> pl.Series:
    """Cells of JSON as a column of this type; what does not fit is missing."""
    texts = pl.Series(
        name,
        [_text(cell) for cell in cells],
        dtype=pl.String,
    )
    if kind == pl.String:
        return texts
    if kind == pl.Boolean:
        return texts.str.to_lowercase().replace_strict(
            ["true", "false"], [True, False], default=None, return_dtype=pl.Boolean
        )
    if kind == pl.Date:
        return texts.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    if isinstance(kind, pl.Datetime):
        return texts.str.to_datetime(time_unit="us", strict=False).cast(kind)
    numbers = texts.cast(pl.Float64, strict=False)
    if kind == pl.Float64:
        return numbers
    # A number with decimals is no whole number: it stays missing.
    whole = texts.cast(kind, strict=False)
    rounded = numbers.cast(kind, strict=False)
    same = rounded.cast(pl.Float64) == numbers
    return whole.fill_null(rounded.set(~same.fill_null(False), None))


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return str(cell).strip() or None


def written(appended: Appended) -> Written:
    """Encrypt the child's table; its fingerprint is that of an upload of its rows."""
    return replace(stored.write_frame(appended.frame), fingerprint=appended.fingerprint)


@transaction.atomic
def publish(
    *,
    correction: Correction,
    appended: Appended,
    table: Written,
    profile: tables.TableProfile,
) -> Version:
    """The child version; the feedback and its waiting retrain learn of it."""
    feedback = Feedback.objects.select_for_update().get(pk=correction.feedback.pk)
    parent, job = correction.parent, correction.job
    if feedback.version_id is not None:
        raise JobFailed("These corrections were added already.", code="corrected")
    try:
        version = intake.publish_version(
            dataset=parent.dataset,
            kind=VersionKind.CORRECTED,
            written=table,
            profile=profile,
            by=job.owner,
            job=job,
            ledgers=list(parent.ledgers.all()),
            parents=[parent],
            origin={"feedback": str(feedback.pk), "rows": appended.provenance},
        )
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    kinds = {column.name: column.kind for column in profile.columns}
    intake.copy_columns(source=parent, to=version, kinds=kinds)
    feedback.version = version
    feedback.save(update_fields=["version"])
    if feedback.run_id is not None:
        TrainingRun.objects.filter(pk=feedback.run_id, version=None).update(
            version=version
        )
    audit.record(
        actor=job.owner,
        action="feedback.correct",
        target=feedback,
        version=str(version.pk),
        rows=len(appended.predictions),
    )
    return version
