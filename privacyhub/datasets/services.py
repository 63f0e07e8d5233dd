"""What a steward does with a dataset: roles, declarations, sharing, handing over.

Reading rows is in `reads`, erasing in `erasure`, taking in a file in `intake`.
"""

from __future__ import annotations

import math
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.models import Job
from jobs.states import JobFailed
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Column, Dataset, Role, Version, VersionKind
from privacyhub.engines.tables import Kind, TableProfile, target_checks
from privacyhub.governance import audit, entries, grants, ledger
from privacyhub.governance.caps import MOST_EPSILON
from privacyhub.governance.hooks import OPEN_TO_ALL
from privacyhub.governance.models import Grant, Ledger, Right

# Kinds of version that are made to leave the stewards.
RELEASABLE = frozenset({VersionKind.ANONYMIZED, VersionKind.SYNTHETIC})
MOST_CATEGORIES = 1_000
LEAST_DELTA = Decimal("1e-13")
_CHANGEABLE = frozenset(
    {"role", "is_target", "is_unit_key", "lower", "upper", "categories"}
)
_MEASURED = frozenset({Kind.INTEGER, Kind.NUMBER, Kind.DATE, Kind.DATETIME})


def require_open(version: Version) -> None:
    """Refuse work on what was erased."""
    if version.erased_at is not None or version.dataset.erased_at is not None:
        raise Conflict("This version was erased.", code="erased")


def require_manager(*, dataset: Dataset, by: Any) -> None:
    """Refuse those who may see a dataset and not change it."""
    if not Dataset.objects.managed_by(by).filter(pk=dataset.pk).exists():
        raise NotAllowed("Only those who manage the dataset can do this.")


def set_columns(
    *, version: Version, changes: dict[str, dict[str, Any]], by: Any
) -> None:
    """Change roles, target, unit key and declared domains, by column name.

    Bounds of dates are in days since 1970-01-01. What the profile tells of the target
    is on record though the change is refused.
    """
    require_open(version)
    told = profile(version=version, by=by, purpose="check the target")
    _set_columns(version, changes, told=told, by=by)


@transaction.atomic
def _set_columns(
    version: Version,
    changes: dict[str, dict[str, Any]],
    *,
    told: TableProfile,
    by: Any,
) -> None:
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
    _check_target(columns, told)
    # Flags are cleared before they are set: each is unique in a version.
    for flagged in (False, True):
        for column in columns.values():
            if (column.is_target or column.is_unit_key) == flagged:
                column.save()
    audit.record(
        actor=by, action="version.set_columns", target=version, columns=list(changes)
    )


def _apply(column: Column, change: dict[str, Any]) -> None:
    unknown = set(change) - _CHANGEABLE
    if unknown:
        raise DataError(
            f"“{sorted(unknown)[0]}” of a column cannot be set.", column=column.name
        )
    if "role" in change and change["role"] not in Role.values:
        raise DataError(
            f"Column “{column.name}”: a role is one of {', '.join(Role.values)}.",
            code="unknown_role",
            column=column.name,
        )
    for field, value in change.items():
        setattr(column, field, value)
    _check_bounds(column)
    _check_categories(column)
    if column.is_target and column.role == Role.IDENTIFIER:
        raise Conflict(
            f"Column “{column.name}” is an identifier and cannot be the target.",
            code="target_is_identifier",
            column=column.name,
        )
    if column.is_target and column.is_unit_key:
        raise Conflict(
            f"Column “{column.name}” cannot be target and unit key at once.",
            code="target_is_unit_key",
            column=column.name,
        )


def _check_bounds(column: Column) -> None:
    bounds = [bound for bound in (column.lower, column.upper) if bound is not None]
    if not bounds:
        return
    problem = ""
    if column.kind not in _MEASURED:
        problem = "only numbers and dates have bounds"
    elif not all(math.isfinite(bound) for bound in bounds):
        problem = "a bound must be a finite number"
    elif len(bounds) == 2 and not bounds[0] < bounds[1]:
        problem = "the lower bound must be below the upper"
    if problem:
        raise DataError(
            f"Column “{column.name}”: {problem}.", code="bounds", column=column.name
        )


def _check_categories(column: Column) -> None:
    if column.categories is None:
        return
    found = column.categories
    if (
        not isinstance(found, list)
        or not found
        or len(found) > MOST_CATEGORIES
        or not all(isinstance(one, str) and one.strip() for one in found)
        or len(set(found)) != len(found)
    ):
        raise DataError(
            f"Column “{column.name}”: categories are 1 to {MOST_CATEGORIES:,} "
            "different texts.",
            code="categories",
            column=column.name,
        )


def _keep_one(
    columns: dict[str, Column], changes: dict[str, dict[str, Any]], flag: str
) -> None:
    """A newly flagged column takes the flag from the one that had it."""
    fresh = [name for name, change in changes.items() if change.get(flag)]
    if len(fresh) > 1:
        what = "target" if flag == "is_target" else "unit key"
        raise DataError(
            f"Only one column can be the {what}.", code=flag, column=fresh[1]
        )
    for name, column in columns.items():
        if fresh and name != fresh[0]:
            setattr(column, flag, False)


def _check_target(columns: dict[str, Column], profile: TableProfile) -> None:
    """One class, or more classes than a model can learn: told when it is chosen."""
    target = next((column for column in columns.values() if column.is_target), None)
    if target is None:
        return
    told = profile.column(target.name)
    if told.distinct >= 2 and (
        target.kind == Kind.NUMBER
        or (target.kind == Kind.INTEGER and told.classes is None)
    ):
        return  # a measure or a count: regression
    for check in target_checks(told):
        raise Conflict(
            f"Column “{target.name}”: {check.message}",
            code=check.code,
            column=target.name,
        )


def profile(*, version: Version, by: Any, purpose: str = "profile") -> TableProfile:
    """The steward's profile of a version. It holds values: never leaves stewards.

    The look is on the ledger, by its purpose.
    """
    ledger.note_steward_look(ledgers=version.ledgers.all(), by=by, purpose=purpose)
    return TableProfile.from_dict(tables.profile(version))


def the_ledger(version: Version) -> Ledger:
    """The ledger of the first root; most versions have one."""
    return version.ledgers.order_by("created_at")[0]


def suggested_units(version: Version) -> int:
    """The rows to two digits, as a steward's starting point for the declared N."""
    digits = max(0, len(str(version.rows)) - 2)
    return max(1, round(version.rows, -digits))


def default_delta(units: int) -> str:
    """1 / (10 N), rounded down to two digits: far below the 1/N that is refused.

    >>> default_delta(20_000)
    '0.000005'
    """
    exact = Decimal(1) / (10 * units)
    step = Decimal(1).scaleb(exact.adjusted() - 1)
    return f"{exact.quantize(step, rounding=ROUND_FLOOR).normalize():f}"


@transaction.atomic
def declare_budget(
    *,
    version: Version,
    by: Any,
    declared_units: int,
    epsilon_cap: Any,
    delta_cap: Any = "",
    unit_key: str = "",
    **declared: Any,
) -> None:
    """Fix unit, N and caps on every ledger of the version (see `ledger.declare`).

    Without `delta_cap` it is 1 / (10 N).
    """
    require_open(version)
    if unit_key and not version.columns.filter(name=unit_key).exists():
        raise DataError(
            f"This version has no column “{unit_key}”.",
            code="no_column",
            column=unit_key,
        )
    if declared_units >= 1 and delta_cap in {"", None}:
        delta_cap = default_delta(declared_units)
    epsilon = ledger.positive_decimal(epsilon_cap, name="The cap on epsilon")
    delta = ledger.positive_decimal(delta_cap, name="The cap on delta")
    if epsilon > MOST_EPSILON:
        raise DataError(
            f"A cap on epsilon is at most {MOST_EPSILON:,}.", code="epsilon_range"
        )
    if delta < LEAST_DELTA:
        raise DataError(
            f"A cap on delta is at least {LEAST_DELTA}: the ledger counts in steps of "
            "1e-15.",
            code="delta_range",
        )
    # All of them before the first one's line on the audit trail, as ever.
    for account in entries.locked(version.ledgers.all()):
        ledger.declare(
            ledger=account,
            by=by,
            declared_units=declared_units,
            epsilon_cap=epsilon_cap,
            delta_cap=delta_cap,
            unit_key=unit_key,
            **declared,
        )


@transaction.atomic
def describe(*, dataset: Dataset, by: Any, **changes: str) -> None:
    """Change name, description, purpose or legal basis."""
    allowed = {"name", "description", "purpose", "legal_basis"}
    row = Dataset.objects.select_for_update().get(pk=dataset.pk)
    for field, value in changes.items():
        if field not in allowed:
            raise DataError(f"“{field}” of a dataset cannot be set.")
        setattr(row, field, value)
    if not row.name.strip():
        raise DataError("A dataset needs a name.", code="no_name")
    row.save(update_fields=list(changes))
    audit.record(
        actor=by, action="dataset.describe", target=row, fields=sorted(changes)
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
    if user.is_auditor:
        raise DataError("Auditors see everything already.", code="auditor")
    if not user.is_active:
        raise DataError("This user is not active.", code="inactive")
    if right == Right.MANAGE and not user.is_steward:
        raise DataError("Only stewards can manage data.", code="not_steward")
    if expires_at is not None and expires_at <= timezone.now():
        raise DataError("The expiry must be in the future.", code="expired")
    if isinstance(target, Dataset) and target.erased_at is not None:
        raise Conflict("The dataset was erased.", code="erased")
    if isinstance(target, Version):
        _require_releasable(target)
        # The ledgers before the audit trail's head, which `give` takes.
        ledger.note_uncovered_release(
            ledgers=target.ledgers.all(),
            by=by,
            recipient=user.username,
            purpose="share version",
            note=f"version {target.number} was shared",
        )
    return grants.give(
        target=target, right=right, by=by, user=user, expires_at=expires_at
    )


def _require_releasable(version: Version) -> None:
    require_open(version)
    if version.kind not in RELEASABLE:
        raise NotAllowed(
            "Only anonymized versions leave stewards. To work on the data with another "
            "steward, share the dataset with the right to manage it."
        )


@transaction.atomic
def hand_over(*, dataset: Dataset, to: Any, by: Any) -> None:
    """Make another steward the owner. Only the owner does that."""
    if not to.is_steward or not to.is_active:
        raise DataError("Only an active steward can own a dataset.", code="not_steward")
    row = Dataset.objects.select_for_update().get(pk=dataset.pk)
    require_owner(row, by)
    if row.owner_id == to.pk:
        raise DataError("This is yours already.", code="own")
    before, row.owner = row.owner, to
    row.save(update_fields=["owner"])
    audit.record(
        actor=by,
        action="dataset.hand_over",
        target=row,
        before=before.username,
        after=to.username,
    )


def require_owner(dataset: Dataset, by: Any) -> None:
    """Handing over and erasing are the owner's, not of those who may manage."""
    if dataset.owner_id != by.pk:
        raise NotAllowed("Only the owner of the dataset can do this.")


def job_starting(job: Job) -> None:
    """The owner's right to the data may be withdrawn since the job was queued.

    A job that makes a dataset names none yet.
    """
    dataset = job.spec.get("dataset")
    if not dataset or job.kind in OPEN_TO_ALL:
        return
    if not Dataset.objects.managed_by(job.owner).filter(pk=dataset).exists():
        raise JobFailed("Its owner may no longer do this.", code="not_allowed")
