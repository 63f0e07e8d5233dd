"""From an uploaded file to a version: checked at once, then typed in a job."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from jobs import services as jobs
from jobs.models import Job
from privacyhub.datasets import storage
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import (
    Column,
    Dataset,
    Upload,
    Version,
    VersionKind,
)
from privacyhub.datasets.tables import Written
from privacyhub.datasets.uploads import SealedUpload, open_sealed
from privacyhub.engines import tables
from privacyhub.engines.identifiers import RoleSuggestion
from privacyhub.governance import audit, keys, ledger
from privacyhub.governance.models import DataKey, Ledger

NAME_LIMIT = 200


def receive(*, file: SealedUpload, by: Any) -> Upload:
    """Check the file's structure in one pass; keep it, or forget it altogether.

    Raises DataError naming row and column of what is wrong.
    """
    source_name = safe_name(file.name or "table")
    try:
        with file.open_plain() as source:
            head = source.read(tables.HEAD_BYTES)
            form = tables.detect_format(filename=source_name, head=head)
            source.seek(0)
            structure = tables.check_structure(source, format=form)
    except tables.TableError as error:
        file.discard()
        raise DataError(
            error.message, code=error.code, row=error.row, column=error.column
        ) from error
    except BaseException:
        file.discard()
        raise
    with transaction.atomic():
        key, _ = keys.create(purpose="upload", plain=file.key)
        upload = Upload.objects.create(
            owner=by,
            source_name=source_name,
            format=form,
            size=file.size,
            structure={"columns": len(structure.columns)},
            file=file.stored_as,
            key=key,
        )
        audit.record(actor=by, action="upload.receive", target=upload, size=file.size)
    return upload


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
    if upload.consumed_at is not None:
        raise Conflict("This upload was used already.", code="upload_used")
    upload.consumed_at = timezone.now()
    upload.save(update_fields=["consumed_at"])
    return jobs.submit(
        kind="ingest",
        title=f"Read {upload.source_name}",
        owner=by,
        spec={
            "schema": 1,
            "upload": str(upload.pk),
            "dataset": str(dataset.pk) if dataset else "",
            "name": name.strip()[:NAME_LIMIT] or upload.source_name,
            "description": description,
            "purpose": purpose,
            "legal_basis": legal_basis,
        },
    )


def open_upload(upload: Upload) -> Any:
    """The plaintext of an upload, through a decrypting reader."""
    return open_sealed(upload.file, key=keys.unwrap(upload.key))


def forget(upload: Upload) -> None:
    """Remove an upload that became a version, or failed to: its key is destroyed."""
    keys.destroy(upload.key)
    storage.remove(upload.file)


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
    """The version with its columns, its dataset and its ledger."""
    by = job.owner
    if spec["dataset"]:
        dataset = Dataset.objects.managed_by(by).get(pk=spec["dataset"])
        accounts = list(Ledger.objects.filter(versions__dataset=dataset).distinct())
    else:
        dataset = Dataset.objects.create(
            name=spec["name"],
            description=spec["description"],
            purpose=spec["purpose"],
            legal_basis=spec["legal_basis"],
            owner=by,
        )
        accounts = []
    same = Ledger.objects.filter(fingerprint=written.fingerprint).first()
    if same is not None and same not in accounts:
        accounts.append(same)
    if not accounts:
        name = spec["name"]
        accounts = [ledger.open_ledger(name=name, fingerprint=written.fingerprint)]
    version = publish_version(
        dataset=dataset,
        kind=VersionKind.UPLOADED,
        written=written,
        profile=profile,
        by=by,
        job=job,
        ledgers=accounts,
        source_name=upload.source_name,
    )
    Column.objects.bulk_create(
        Column(
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
        for position, suggestion in enumerate(suggestions)
    )
    return version


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
        key=written.key,
        fingerprint=written.fingerprint,
        sealed_profile=_sealed_profile(
            told, key=written.key, context=str(written.version_id)
        ),
        checks=told["checks"],
        job_id=job.pk,
        created_by=by,
    )
    version.parents.set(parents or [])
    version.ledgers.set(ledgers)
    audit.record(
        actor=by,
        action="version.publish",
        target=version,
        kind=kind,
        sha256=version.sha256,
        parents=[str(parent.pk) for parent in parents or []],
    )
    ledger.note_steward_read(ledgers=ledgers, by=by, purpose="profile", run_id=job.pk)
    return version


def _sealed_profile(told: dict[str, Any], *, key: DataKey, context: str) -> bytes:
    return keys.seal_json(told, key=key, context=context)


@transaction.atomic
def copy_columns(*, source: Version, to: Version, kinds: dict[str, str]) -> None:
    """Give a derived version the roles of its parent, for the columns it still has."""
    Column.objects.bulk_create(
        Column(
            version=to,
            position=column.position,
            name=column.name,
            kind=kinds[column.name],
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
        for column in source.columns.all()
        if column.name in kinds
    )
