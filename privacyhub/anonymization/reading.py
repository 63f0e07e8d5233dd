"""Looks at private rows around a run: the live risk, and rows before and after.

Both are steward-only reads and on the record; the live risk, which a page asks for
again and again, once an hour for each person and ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from django.db import transaction

from privacyhub.anonymization import risk_report_runs
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.anonymization.services import require_manager
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.engines import anonymize as an
from privacyhub.engines.tables import ROW_ID
from privacyhub.governance import audit, ledger

SHOWN_ROWS = 25
BY_JOB = "by_job"
LIVE_RISK = "risk of quasi-identifiers"


@dataclass(frozen=True)
class Comparison:
    """The same rows before and after, cell by cell; None is a missing cell.

    `offset` rows of the release come before them; it has `total`.
    """

    columns: list[str]
    before: list[tuple[Any, ...]]
    after: list[tuple[Any, ...]]
    offset: int
    total: int

    @property
    def changed(self) -> list[list[bool]]:
        """For each row which of its cells differ."""
        return [
            [one != other for one, other in zip(old, new, strict=True)]
            for old, new in zip(self.before, self.after, strict=True)
        ]


def live_risk(*, version: Version, columns: list[str], by: Any) -> an.risk.Risk:
    """How risky the columns are as they stand, for the steward's own screen."""
    require_manager(version=version, by=by)
    require_open(version)
    if not columns:
        raise DataError("Choose at least one quasi-identifier.", code="none")
    known = set(version.columns.values_list("name", flat=True))
    for name in columns:
        if name not in known:
            raise DataError(
                f"This version has no column “{name}”.", code="no_column", column=name
            )
    if risk_report_runs.is_large(version):
        raise Conflict(
            f"A table of {version.rows:,} rows is not counted while you wait. Its risk "
            "report is made by a job.",
            code=BY_JOB,
        )
    ledger.note_steward_look(ledgers=version.ledgers.all(), by=by, purpose=LIVE_RISK)
    frame = an.compact(tables.batches(version, columns))
    return an.risk.measure(frame, columns)


def compare_rows(*, run: AnonymizationRun, by: Any, offset: int = 0) -> Comparison:
    """Rows of a release from an offset on, beside the rows they were made of.

    An offset past the end gives the last rows.
    """
    release, source = run.release, run.version
    require_manager(version=source, by=by)
    require_open(source)
    if release is None:
        raise Conflict("This run has released nothing.", code="no_release")
    require_open(release)
    last = max(release.rows - 1, 0)
    offset = min(max(offset, 0), last - last % SHOWN_ROWS)
    columns = list(release.columns.order_by("position").values_list("name", flat=True))
    first = [name for name in run.policy["quasi_identifiers"] if name in columns]
    columns = first + [name for name in columns if name not in first]
    with transaction.atomic():
        ledger.note_steward_read(
            ledgers=source.ledgers.all(), by=by, purpose="compare rows"
        )
        audit.record(
            actor=by,
            action="anonymization.compare",
            target=run,
            rows=SHOWN_ROWS,
            offset=offset,
        )
    after = _part(release, columns, offset=offset)
    before = _with_ids(source, columns, ids=after[ROW_ID])
    return Comparison(
        columns=columns,
        before=before.select(columns).rows(),
        after=after.select(columns).rows(),
        offset=offset,
        total=release.rows,
    )


def _part(version: Version, columns: list[str], *, offset: int) -> pl.DataFrame:
    """`SHOWN_ROWS` rows from an offset on; at the end there are fewer."""
    found: list[pl.DataFrame] = []
    wanted = SHOWN_ROWS
    for batch in tables.batches(version, columns=[ROW_ID, *columns]):
        if offset < batch.num_rows or not found:
            part = batch.slice(min(offset, batch.num_rows), wanted)
            found.append(pl.DataFrame(pl.from_arrow(part)))
            wanted -= part.num_rows
        offset = max(offset - batch.num_rows, 0)
        if not wanted:
            break
    return pl.concat(found)


def _with_ids(version: Version, columns: list[str], *, ids: pl.Series) -> pl.DataFrame:
    """The rows with these ids, in their order: a release may hold a part of them."""
    wanted = pl.DataFrame({ROW_ID: ids})
    found: list[pl.DataFrame] = []
    missing = len(ids)
    for batch in tables.batches(version, columns=[ROW_ID, *columns]):
        part = pl.DataFrame(pl.from_arrow(batch)).join(wanted, on=ROW_ID, how="semi")
        found.append(part)
        missing -= part.height
        if missing <= 0:
            break
    return wanted.join(pl.concat(found), on=ROW_ID, how="left", maintain_order="left")
