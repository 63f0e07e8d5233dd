"""Reading rows of a version for a person: allowed, on the record, with its class.

Rows as they came in never leave stewards (`steward_only`). An anonymized version that
is downloaded, or looked at by someone it was shared with, is a release that no
guarantee covers: the ledger names the recipient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from django.db import transaction
from django.db.models import Q

from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets import services, tables
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import RELEASABLE, require_open
from privacyhub.engines.identifiers import Uniqueness, uniqueness
from privacyhub.engines.tables import TableProfile, to_csv, to_parquet
from privacyhub.governance import audit, ledger
from privacyhub.governance.models import Grant

PREVIEW_ROWS = 20
MOST_PREVIEW_ROWS = 200
MOST_OFFSET = 2**53  # what JSON counts exactly; no table is as long
CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


def may_read_rows(*, version: Version, user: Any) -> bool:
    """Managers read every version; a grant reaches the anonymized ones."""
    if Version.objects.managed_by(user).filter(pk=version.pk).exists():
        return True
    if version.kind not in RELEASABLE:
        return False
    grants = Grant.objects.held_by(user)
    return grants.filter(Q(version=version) | Q(dataset=version.dataset_id)).exists()


def preview(
    *, version: Version, by: Any, offset: int = 0, rows: int = PREVIEW_ROWS
) -> pl.DataFrame:
    """Some rows as they are; at most `MOST_PREVIEW_ROWS`."""
    _require_reader(version, by)
    if not 0 <= offset <= MOST_OFFSET or not 1 <= rows <= MOST_PREVIEW_ROWS:
        raise DataError(
            f"A preview has 1 to {MOST_PREVIEW_ROWS} rows, from row 0 on.",
            code="preview_range",
        )
    _note(version, by=by, purpose="preview", leaves=not _manages(version, by))
    return _rows(version).slice(offset, rows)


@dataclass(frozen=True)
class Download:
    """A version as a file, in pieces."""

    name: str
    content_type: str
    pieces: Iterator[bytes]


def download(*, version: Version, by: Any, form: str) -> Download:
    """The version as CSV (formulas escaped) or Parquet."""
    if form not in CONTENT_TYPES:
        raise DataError("A download is csv or parquet.", code="format")
    _require_reader(version, by)
    frame = _rows(version)
    _note(version, by=by, purpose="download", leaves=version.kind in RELEASABLE)
    return Download(
        name=f"version-{version.number}-{str(version.pk)[:8]}.{form}",
        content_type=CONTENT_TYPES[form],
        pieces=to_csv(frame) if form == "csv" else iter([to_parquet(frame)]),
    )


def profile(*, version: Version, by: Any) -> TableProfile:
    """The profile for its steward or an auditor; the look is on the record."""
    require_open(version)
    if not (by.is_auditor or _manages(version, by)):
        raise NotAllowed("Exact figures are for stewards.")
    told = services.profile(version=version, by=by)
    audit.record(actor=by, action="version.profile", target=version)
    return told


def risk_of(*, version: Version, columns: Sequence[str], by: Any) -> Uniqueness:
    """How many rows stand alone on the columns. Exact: for stewards only."""
    require_open(version)
    if not _manages(version, by):
        raise NotAllowed("Exact figures are for stewards.")
    known = set(version.columns.values_list("name", flat=True))
    for name in columns:
        if name not in known:
            raise DataError(
                f"This version has no column “{name}”.", code="no_column", column=name
            )
    ledger.note_steward_read(ledgers=version.ledgers.all(), by=by, purpose="risk")
    frame = tables.load(version, columns=columns) if columns else pl.DataFrame()
    return uniqueness(frame, columns)


def _rows(version: Version) -> pl.DataFrame:
    """The rows without their hidden ids."""
    names = list(version.columns.values_list("name", flat=True))
    return tables.load(version, columns=names)


def _manages(version: Version, user: Any) -> bool:
    return Version.objects.managed_by(user).filter(pk=version.pk).exists()


def _require_reader(version: Version, by: Any) -> None:
    require_open(version)
    if not may_read_rows(version=version, user=by):
        raise NotAllowed(
            "The rows of this version are for its stewards. Only anonymized versions "
            "can be read by those with whom they are shared."
        )


@transaction.atomic
def _note(version: Version, *, by: Any, purpose: str, leaves: bool) -> None:
    accounts = version.ledgers.all()
    if leaves:
        ledger.note_uncovered_release(
            ledgers=accounts,
            by=by,
            recipient=by.username,
            purpose=f"{purpose} version",
            note=f"version {version.number} was read ({purpose})",
        )
    else:
        ledger.note_steward_read(ledgers=accounts, by=by, purpose=purpose)
    audit.record(actor=by, action=f"version.{purpose}", target=version, leaves=leaves)
