"""What a steward does with a dataset: roles, declarations, sharing, erasure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from django.db import transaction
from django.utils import timezone

from jobs.models import Job
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Column, Dataset, Role, Version, VersionKind
from privacyhub.engines.tables import Kind, TableProfile, target_checks
from privacyhub.governance import audit, grants, keys, ledger
from privacyhub.governance.models import Grant, Ledger

PREVIEW_ROWS = 20
_CHANGEABLE = frozenset(
    {"role", "is_target", "is_unit_key", "lower", "upper", "categories"}
)


@dataclass(frozen=True)
class Touched:
    """What an erasure reaches."""

    versions: list[Version]
    models: list[Any]
    reports: list[Any]


def require_open(version: Version) -> None:
    """Refuse work on what was erased."""
    if version.erased_at is not None or version.dataset.erased_at is not None:
        raise Conflict("This version was erased.", code="erased")


@transaction.atomic
def set_columns(
    *, version: Version, changes: dict[str, dict[str, Any]], by: Any
) -> None:
    """Change roles, target, unit key and declared domains, by column name."""
    require_open(version)
    columns = {
        column.name: column
        for column in version.columns.select_for_update().order_by("position")
    }
    for name, change in changes.items():
        if name not in columns:
            raise DataError(
                f"This version has no column “{name}”.", code="no_column", column=name
            )
        _apply(columns[name], change)
    for flag in ("is_target", "is_unit_key"):
        _keep_one(columns, changes, flag)
    _check_target(version, columns)
    # Flags are cleared before they are set: each is unique in a version.
    for flag in (False, True):
        for column in columns.values():
            if (column.is_target or column.is_unit_key) == flag:
                column.save()
    audit.record(
        actor=by, action="version.set_columns", target=version, columns=list(changes)
    )


def _apply(column: Column, change: dict[str, Any]) -> None:
    unknown = set(change) - _CHANGEABLE
    if unknown:
        raise DataError(f"“{sorted(unknown)[0]}” of a column cannot be set.")
    if "role" in change and change["role"] not in Role.values:
        raise DataError(
            f"A role is one of {', '.join(Role.values)}.",
            code="unknown_role",
            column=column.name,
        )
    for field, value in change.items():
        setattr(column, field, value)
    if column.lower is not None and column.upper is not None:
        if not column.lower < column.upper:
            raise DataError(
                f"Column “{column.name}”: the lower bound must be below the upper.",
                code="bounds",
                column=column.name,
            )
    if column.is_target and column.role == Role.IDENTIFIER:
        raise Conflict(
            f"Column “{column.name}” is an identifier and cannot be the target.",
            code="target_is_identifier",
            column=column.name,
        )


def _keep_one(
    columns: dict[str, Column], changes: dict[str, dict[str, Any]], flag: str
) -> None:
    """A newly flagged column takes the flag from the one that had it."""
    fresh = [name for name, change in changes.items() if change.get(flag)]
    if len(fresh) > 1:
        raise DataError("Only one column can be it.", code=flag, column=fresh[1])
    for name, column in columns.items():
        if fresh and name != fresh[0]:
            setattr(column, flag, False)


def _check_target(version: Version, columns: dict[str, Column]) -> None:
    """One class, or more classes than a model can learn: told when it is chosen."""
    target = next((column for column in columns.values() if column.is_target), None)
    if target is None or target.kind in {Kind.NUMBER}:
        return
    told = profile(version).column(target.name)
    if target.kind == Kind.INTEGER and told.classes is None:
        return  # a count: regression
    for check in target_checks(told):
        raise Conflict(check.message, code=check.code, column=target.name)


def profile(version: Version) -> TableProfile:
    """The steward's profile of a version. It holds values: never leaves stewards."""
    return TableProfile.from_dict(tables.profile(version))


def preview(
    *, version: Version, by: Any, offset: int = 0, rows: int = PREVIEW_ROWS
) -> pl.DataFrame:
    """Some rows as they are, on the record."""
    require_open(version)
    names = list(version.columns.values_list("name", flat=True))
    frame = tables.load(version, columns=names).slice(offset, rows)
    with transaction.atomic():
        audit.record(
            actor=by, action="version.preview", target=version, rows=frame.height
        )
    return frame


def the_ledger(version: Version) -> Ledger:
    """The ledger of the first root; most versions have one."""
    return version.ledgers.order_by("created_at")[0]


@transaction.atomic
def declare_budget(*, version: Version, by: Any, **declared: Any) -> None:
    """Fix unit, N and caps on every ledger of the version (see `ledger.declare`)."""
    require_open(version)
    unit_key = declared.get("unit_key") or ""
    if unit_key and not version.columns.filter(name=unit_key).exists():
        raise DataError(
            f"This version has no column “{unit_key}”.",
            code="no_column",
            column=unit_key,
        )
    for account in version.ledgers.all():
        ledger.declare(ledger=account, by=by, **declared)


@transaction.atomic
def describe(*, dataset: Dataset, by: Any, **changes: str) -> None:
    """Change name, description, purpose or legal basis."""
    allowed = {"name", "description", "purpose", "legal_basis"}
    for field, value in changes.items():
        if field not in allowed:
            raise DataError(f"“{field}” of a dataset cannot be set.")
        setattr(dataset, field, value)
    dataset.save()
    audit.record(
        actor=by, action="dataset.describe", target=dataset, fields=sorted(changes)
    )


@transaction.atomic
def share(
    *,
    target: Any,
    user: Any,
    right: str,
    by: Any,
    expires_at: datetime | None = None,
) -> Grant:
    """Give a right; an anonymized version given away is an uncovered release."""
    if user == by:
        raise DataError("This is yours already.", code="own")
    if user.is_admin:
        raise DataError("Administrators see no data.", code="admin")
    grant = grants.give(
        target=target, right=right, by=by, user=user, expires_at=expires_at
    )
    if isinstance(target, Version):
        if target.kind != VersionKind.ANONYMIZED and not user.is_steward:
            raise NotAllowed("Only anonymized versions leave stewards.")
        ledger.note_uncovered_release(
            ledgers=target.ledgers.all(),
            by=by,
            recipient=user.username,
            purpose="share version",
            note=f"{target} was shared",
        )
    return grant


@transaction.atomic
def hand_over(*, dataset: Dataset, to: Any, by: Any) -> None:
    """Make another steward the owner."""
    if not to.is_steward or not to.is_active:
        raise DataError("Only an active steward can own a dataset.", code="not_steward")
    row = Dataset.objects.select_for_update().get(pk=dataset.pk)
    before, row.owner = row.owner, to
    row.save(update_fields=["owner"])
    audit.record(
        actor=by,
        action="dataset.hand_over",
        target=row,
        before=before.username,
        after=to.username,
    )


def touched(dataset: Dataset) -> Touched:
    """The versions, model versions and reports that an erasure would reach."""
    versions = list(dataset.versions.all())
    models = [
        model_version
        for model in dataset.models.all()
        for model_version in model.versions.all()
    ]
    reports = [report for version in versions for report in version.reports.all()]
    reports += [report for model in models for report in model.reports.all()]
    return Touched(versions=versions, models=models, reports=reports)


@transaction.atomic
def erase(*, dataset: Dataset, by: Any, confirm: str, with_models: bool) -> Touched:
    """Destroy the keys of every version, and of the models if asked.

    The ledger, the audit trail and the reports stay. `confirm` is the dataset's name.
    """
    row = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if row.erased_at is not None:
        raise Conflict("The dataset was erased already.", code="erased")
    if confirm != row.name:
        raise DataError("Type the dataset's name to confirm.", code="confirm")
    if Job.objects.open().filter(spec__dataset=str(row.pk)).exists():
        raise Conflict(
            "A job on this dataset is queued or running. Cancel it first.",
            code="busy",
        )
    reached = touched(row)
    now = timezone.now()
    for thing in [*reached.versions, *(reached.models if with_models else [])]:
        keys.destroy(thing.key)
        thing.erased_at = now
        thing.save(update_fields=["erased_at"])
    row.erased_at = now
    row.save(update_fields=["erased_at"])
    audit.record(
        actor=by,
        action="dataset.erase",
        target=row,
        versions=[str(version.pk) for version in reached.versions],
        models=[str(model.pk) for model in reached.models],
        models_erased=with_models,
    )
    return reached
