"""From an uploaded file to a version: checked at once, then typed in a job.

`take_in` receives and queues; `publish_upload` is called where the job publishes;
`job_ended` forgets the upload, whatever the end was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, BinaryIO

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.datasets import lineage, storage
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import (
    Column,
    Dataset,
    Upload,
    Version,
    VersionKind,
)
from privacyhub.datasets.tables import Written
from privacyhub.datasets.uploads import SealedUpload, open_sealed, seal
from privacyhub.engines import tables
from privacyhub.engines.identifiers import RoleSuggestion
from privacyhub.governance import audit, keys, ledger
from privacyhub.governance.models import Ledger

NAME_LIMIT = 200
# What a refreshed table may turn into without the declarations becoming void.
_WIDER = {("integer", "number"), ("number", "integer")}


def take_in(
    *,
    file: SealedUpload,
    by: Any,
    name: str = "",
    description: str = "",
    purpose: str = "",
    legal_basis: str = "",
    dataset: Dataset | None = None,
) -> Job:
    """Receive a file and queue the job that reads it: both, or neither.

    With `dataset` it is a refresh: the columns of its latest version must be there.
    """
    if not by.may(Permission.MANAGE_DATA):
        file.discard()
        raise NotAllowed("Only stewards upload tables.")
    latest = dataset.latest if dataset else None
    wanted = list(latest.columns.values_list("name", flat=True)) if latest else []
    upload = receive(file=file, by=by, must_have=wanted)
    with forgotten_unless_queued(upload):
        return submit(
            upload=upload,
            by=by,
            name=name,
            description=description,
            purpose=purpose,
            legal_basis=legal_basis,
            dataset=dataset,
        )


def load_sample(*, by: Any) -> Job:
    """Take in the generated patient register: the way of every other file."""
    frame = tables.patient_register()
    return take_in(
        file=seal(tables.to_csv(frame), name="patient_register.csv"),
        by=by,
        name="Patient register (sample)",
        description="A generated register of 20,000 stays. No row is a person.",
        purpose="Trying PrivacyHub",
        legal_basis="None needed: the data are made up",
    )


def receive(*, file: SealedUpload, by: Any, must_have: Collection[str] = ()) -> Upload:
    """Check the file's structure in one pass; keep it, or forget it altogether.

    Raises DataError naming row and column of what is wrong.
    """
    source_name = safe_name(file.name or "table")
    try:
        form, structure = _checked(file, source_name)
        for column in must_have:
            if column not in structure.columns:
                raise Conflict(
                    f"The file has no column “{column}”, which the version before has.",
                    code="column_vanished",
                    column=column,
                )
        with transaction.atomic():
            key, _ = keys.create(purpose="upload", plain=file.key)
            upload = Upload.objects.create(
                owner=by,
                source_name=source_name,
                format=form,
                size=file.size or 0,
                structure={"columns": len(structure.columns)},
                file=file.stored_as,
                key=key,
            )
            audit.record(
                actor=by, action="upload.receive", target=upload, size=file.size
            )
    except BaseException:
        file.discard()
        raise
    file.keep()
    return upload


@contextmanager
def forgotten_unless_queued(upload: Upload) -> Iterator[None]:
    """Forget the upload where the job that is to read it is refused."""
    try:
        yield
    except BaseException:
        forget(upload)
        raise


def _checked(
    file: SealedUpload, source_name: str
) -> tuple[tables.Format, tables.Structure]:
    try:
        with file.open_plain() as source:
            head = source.read(tables.HEAD_BYTES)
            form = tables.detect_format(filename=source_name, head=head)
            source.seek(0)
            return form, tables.check_structure(source, format=form)
    except tables.TableError as error:
        raise DataError(
            error.message, code=error.code, row=error.row, column=error.column
        ) from error


def safe_name(name: str) -> str:
    """A file's name without folders and control characters, at most 200 long."""
    base = PurePath(name.replace("\\", "/")).name
    shown = "".join(char for char in base if char.isprintable())
    return shown[-NAME_LIMIT:] or "table"


@transaction.atomic
def submit(
    *,
    upload: Upload,
    by: Any,
    name: str,
    description: str = "",
    purpose: str = "",
    legal_basis: str = "",
    dataset: Dataset | None = None,
) -> Job:
    """Queue the job that makes a version; with `dataset`, a refresh of that one."""
    row = Upload.objects.select_for_update().get(pk=upload.pk)
    if row.consumed_at is not None:
        raise Conflict("This upload was used already.", code="upload_used")
    if dataset is not None and dataset.erased_at is not None:
        raise Conflict("The dataset was erased.", code="erased")
    row.consumed_at = timezone.now()
    row.save(update_fields=["consumed_at"])
    return jobs.submit(
        kind="ingest",
        title=f"Read {row.source_name}",
        owner=by,
        spec={
            "schema": 1,
            "upload": str(row.pk),
            "dataset": str(dataset.pk) if dataset else "",
            "name": name.strip()[:NAME_LIMIT] or row.source_name,
            "description": description,
            "purpose": purpose,
            "legal_basis": legal_basis,
        },
    )


def open_upload(upload: Upload) -> BinaryIO:
    """The plaintext of an upload, through a decrypting reader.

    Raises KeyDestroyed once it is forgotten.
    """
    return open_sealed(upload.file, key=keys.unwrap(upload.key))


@transaction.atomic
def forget(upload: Upload) -> None:
    """Remove an upload that became a version, or failed to: its key is destroyed."""
    keys.destroy(upload.key)
    transaction.on_commit(lambda: storage.remove(upload.file))


def job_ended(job: Job) -> None:
    """An upload is read once: it goes with its job, in the same transaction."""
    named = {
        "ingest": {"pk": job.spec.get("upload")},
        "predict": {"predictionbatch__job": job.pk},
    }
    if job.kind not in named:
        return
    for upload in Upload.objects.filter(**named[job.kind]):
        forget(upload)


@transaction.atomic
def publish_upload(
    *,
    upload: Upload,
    spec: dict[str, Any],
    written: Written,
    profile: tables.TableProfile,
    suggestions: list[RoleSuggestion],
    job: Job,
) -> Version:
    """The version with its columns, its dataset and its ledgers."""
    lineage.wait_for_others()
    by = job.owner
    if spec["dataset"]:
        dataset = Dataset.objects.managed_by(by).filter(pk=spec["dataset"]).first()
        if dataset is None:
            raise Conflict("The dataset is no longer yours.", code="not_yours")
    else:
        dataset = Dataset.objects.create(
            name=spec["name"],
            description=spec["description"],
            purpose=spec["purpose"],
            legal_basis=spec["legal_basis"],
            owner=by,
        )
    before = dataset.latest
    known = {column.name: column for column in before.columns.all()} if before else {}
    _require_same_kinds(known, profile)
    alike = lineage.with_the_same_rows(dataset, written)
    version = publish_version(
        dataset=dataset,
        kind=VersionKind.UPLOADED,
        written=written,
        profile=lineage.with_remark(profile, alike),
        by=by,
        job=job,
        ledgers=lineage.ledgers_of(dataset, written, alike),
        source_name=upload.source_name,
    )
    Column.objects.bulk_create(
        _column(version, position, suggestion, profile, known.get(suggestion.column))
        for position, suggestion in enumerate(suggestions)
    )
    return version


def _require_same_kinds(known: dict[str, Column], profile: tables.TableProfile) -> None:
    """Bounds, categories and recipes speak of a kind: a refresh keeps it."""
    for name, column in known.items():
        now = profile.column(name).kind
        widened = (column.kind, now) in _WIDER and not column.is_unit_key
        if now != column.kind and not widened:
            raise Conflict(
                f"Column “{name}” held {column.kind} and now holds {now}. "
                "Upload the file as a dataset of its own.",
                code="column_kind",
                column=name,
            )


def _column(
    version: Version,
    position: int,
    suggestion: RoleSuggestion,
    profile: tables.TableProfile,
    before: Column | None,
) -> Column:
    """A column with its suggestion; what was declared before stays declared."""
    column = Column(
        version=version,
        position=position,
        name=suggestion.column,
        kind=profile.column(suggestion.column).kind,
        role=suggestion.role,
        suggested_role=suggestion.role,
        confidence=suggestion.confidence,
        reason=suggestion.reason[:300],
        looks_like=suggestion.kind or "",
    )
    if before is not None:
        column.role = before.role
        column.is_target, column.is_unit_key = before.is_target, before.is_unit_key
        column.lower, column.upper = before.lower, before.upper
        column.categories = before.categories
    return column


@transaction.atomic
def publish_version(
    *,
    dataset: Dataset,
    kind: VersionKind,
    written: Written,
    profile: tables.TableProfile,
    by: Any,
    job: Job,
    ledgers: list[Ledger],
    parents: list[Version] | None = None,
    source_name: str = "",
    origin: dict[str, Any] | None = None,
) -> Version:
    """A version's row for a table that was written; call it where a job publishes."""
    locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if locked.erased_at is not None:
        raise Conflict("The dataset was erased.", code="erased")
    last = locked.versions.aggregate(last=Max("number"))["last"] or 0
    told = profile.to_dict()
    key, _ = keys.create(purpose="version", plain=written.secret)
    version = Version.objects.create(
        id=written.version_id,
        dataset=dataset,
        number=last + 1,
        kind=kind,
        source_name=source_name,
        origin=origin or {},
        rows=written.manifest.rows,
        columns_count=len(written.manifest.columns) - 1,
        size=written.manifest.bytes,
        file=written.file,
        sha256=written.manifest.sha256,
        key=key,
        fingerprint=written.fingerprint,
        sketch=written.sketch,
        csv_fingerprint=written.csv_fingerprint,
        csv_sketch=written.csv_sketch,
        sealed_profile=keys.seal_json(told, key=key, context=str(written.version_id)),
        checks=told["checks"],
        job_id=job.pk,
        created_by=by,
    )
    version.parents.set(parents or [])
    version.ledgers.set(ledgers)
    ledger.note_steward_read(ledgers=ledgers, by=by, purpose="profile", run_id=job.pk)
    audit.record(
        actor=by,
        action="version.publish",
        target=version,
        kind=kind,
        sha256=version.sha256,
        parents=[str(parent.pk) for parent in parents or []],
    )
    return version


@transaction.atomic
def copy_columns(*, source: Version, to: Version, kinds: dict[str, str]) -> None:
    """Give a derived version the roles of its parent, for the columns it still has."""
    Column.objects.bulk_create(
        copied(column, kind=kinds[column.name], version=to)
        for column in source.columns.all()
        if column.name in kinds
    )


def copied(column: Column, *, kind: str, version: Version | None = None) -> Column:
    """The column as a derived version has it, not saved; None: of one to come."""
    return Column(
        version=version,
        position=column.position,
        name=column.name,
        kind=kind,
        role=column.role,
        suggested_role=column.suggested_role,
        confidence=column.confidence,
        reason=column.reason,
        looks_like=column.looks_like,
        is_target=column.is_target,
        is_unit_key=column.is_unit_key,
        lower=column.lower,
        upper=column.upper,
        categories=column.categories,
    )
