"""Value hierarchies of stewards: uploaded, kept sealed, given back in ARX's format.

A hierarchy lists the values of a column, so it is treated like the column: encrypted
at rest, steward-only, and each look at it is on the record.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import polars as pl
from django.db import transaction

from jobs.models import Job
from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.anonymization import hierarchy_builders, policies, treatments
from privacyhub.anonymization.models import AnonymizationRun, Hierarchy
from privacyhub.anonymization.policies import AUTOMATIC
from privacyhub.anonymization.vocabulary import MODELS
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.datasets.uploads import SealedUpload
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.hierarchies import MISSING, ROOT, as_text
from privacyhub.governance import audit, keys, ledger

MOST_BYTES = 32 * 2**20
MOST_LEVELS = 24
CHECKED_AT_ONCE = 1_000_000  # rows whose columns are read while a request waits
PREVIEW_ROWS = 12
MISSING_SHOWN = 10_000


@dataclass(frozen=True)
class Preview:
    """A look at a hierarchy: some rows of values, and how many labels a level has.

    `missing_rows` counts the rows of the version whose value it does not place;
    `missing` are these values, the most frequent first, up to `MISSING_SHOWN`.
    """

    rows: list[tuple[str, ...]]
    labels: list[int]
    values: int
    missing_rows: int
    missing_values: int
    missing: list[an.HierarchyProblem]


def parse(content: bytes) -> an.Hierarchy:
    """A hierarchy from a file in ARX's format, or DataError naming the row."""
    if len(content) > MOST_BYTES:
        raise _too_large()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"Row {row} is not UTF-8 text.", code="not_utf8", row=row
        ) from error
    try:
        # The engine takes text without a line break for a path.
        found = an.Hierarchy.from_csv(text)
    except (an.AnonymizeError, csv.Error) as error:
        told = str(error) if isinstance(error, an.AnonymizeError) else ""
        raise DataError(
            told or "This is not a table of cells separated by semicolons.",
            code="hierarchy",
        ) from error
    if not 1 <= found.height <= MOST_LEVELS:
        raise DataError(
            "A hierarchy needs the value and 1 to "
            f"{MOST_LEVELS} levels in each row, separated by semicolons.",
            code="hierarchy",
        )
    return found


def take_in(*, name: str, file: SealedUpload, by: Any) -> Hierarchy:
    """Upload a hierarchy from a file that came in sealed; the file is forgotten."""
    try:
        if file.size is not None and file.size > MOST_BYTES:
            raise _too_large()
        with file.open_plain() as source:
            content = source.read()
    finally:
        file.discard()
    return upload(name=name, content=content, by=by)


def upload(*, name: str, content: bytes, by: Any) -> Hierarchy:
    """Check a file in ARX's format and keep it sealed."""
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    return keep(name=name, found=parse(content), by=by)


def keep(*, name: str, found: an.Hierarchy, by: Any) -> Hierarchy:
    """Keep a hierarchy sealed, under a key of its own."""
    if not by.may(Permission.MANAGE_DATA):
        raise NotAllowed
    title = name.strip()
    if not title or len(title) > 200:
        raise DataError("A name has 1 to 200 characters.", code="name")
    if not 1 <= found.height <= MOST_LEVELS:
        raise DataError(f"A hierarchy has 1 to {MOST_LEVELS} levels.", code="hierarchy")
    pk = uuid4()
    with transaction.atomic():
        key, _ = keys.create(purpose="hierarchy")
        hierarchy = Hierarchy.objects.create(
            id=pk,
            name=title,
            owner=by,
            levels=found.height,
            values_count=len(found.levels),
            key=key,
            sealed_csv=keys.seal_json(found.to_csv(), key=key, context=str(pk)),
        )
        audit.record(
            actor=by,
            action="hierarchy.upload",
            target=hierarchy,
            levels=found.height,
            values=len(found.levels),
        )
    return hierarchy


def _too_large() -> DataError:
    return DataError(
        f"A hierarchy has at most {MOST_BYTES // 2**20} MB.", code="too_large"
    )


def read(hierarchy: Hierarchy) -> an.Hierarchy:
    """The hierarchy itself."""
    text = keys.unseal_json(
        bytes(hierarchy.sealed_csv), key=hierarchy.key, context=str(hierarchy.pk)
    )
    return an.Hierarchy.from_csv(text)


def download(*, hierarchy: Hierarchy, by: Any) -> str:
    """The CSV in ARX's format, on the record."""
    text = read(hierarchy).to_csv()
    audit.record(actor=by, action="hierarchy.download", target=hierarchy)
    return text


def open_for_editing(*, hierarchy: Hierarchy, by: Any) -> an.Hierarchy:
    """The hierarchy for its steward's screen, on the record."""
    audit.record(actor=by, action="hierarchy.open", target=hierarchy)
    return read(hierarchy)


@transaction.atomic
def delete(*, hierarchy: Hierarchy, by: Any) -> None:
    """Destroy it with its key; a job that is to use it stands in the way."""
    row = Hierarchy.objects.select_for_update().get(pk=hierarchy.pk)
    if row.owner_id != by.pk:
        raise NotAllowed("Only its owner can delete a hierarchy.")
    if is_waited_for(row):
        raise Conflict(
            "A job that uses this hierarchy is queued or running.", code="busy"
        )
    audit.record(actor=by, action="hierarchy.delete", target=row)
    key = row.key
    row.delete()
    keys.destroy(key)


def is_waited_for(hierarchy: Hierarchy) -> bool:
    open_jobs = Job.objects.open().filter(kind="anonymize")
    waiting = AnonymizationRun.objects.filter(job__in=open_jobs.values("pk"))
    return any(str(hierarchy.pk) in named_in(run.policy) for run in waiting)


def named_in(policy: Mapping[str, Any]) -> set[str]:
    """The ids of the kept hierarchies that columns and models of a policy name."""
    entries = [*policy["quasi_identifiers"].values(), *policy["models"]]
    return {one["hierarchy"] for one in entries if "hierarchy" in one} - {AUTOMATIC}


def marks(policy: Mapping[str, Any]) -> dict[str, str]:
    """By id, what an edit of a hierarchy that the policy names would change."""
    rows = Hierarchy.objects.filter(pk__in=named_in(policy))
    return {str(row.pk): sha256(bytes(row.sealed_csv)).hexdigest() for row in rows}


def of_column(*, hierarchy: str, values: pl.Series, column: str) -> an.Hierarchy:
    """What a policy names for a column: the automatic one, or an uploaded one.

    Raises DataError where it is gone or does not place each value; the message counts
    rows and names no value.
    """
    if hierarchy == AUTOMATIC:
        return automatic(values=values, column=column)
    row = Hierarchy.objects.filter(pk=UUID(hierarchy)).first()
    if row is None:
        raise Conflict(
            f"Column “{column}”: the hierarchy was deleted.",
            code="no_hierarchy",
            column=column,
        )
    found = read(row)
    problems = found.check(values)
    if problems:
        rows = sum(problem.rows for problem in problems)
        first = min(problem.first_row for problem in problems)
        raise DataError(
            f"Column “{column}”: the hierarchy “{row.name}” has no place for "
            f"{len(problems):,} value{'s' if len(problems) > 1 else ''} in "
            f"{rows:,} row{'s' if rows > 1 else ''}; the first is row {first:,}.",
            code="hierarchy_lacks_values",
            row=first,
            column=column,
        )
    return found


def automatic(*, values: pl.Series, column: str) -> an.Hierarchy:
    """The hierarchy that is built from a column's type and content."""
    try:
        return an.Hierarchy.automatic(values, name=column)
    except an.AnonymizeError as error:
        raise DataError(str(error), code="hierarchy", column=column) from error


def of_model(entry: Mapping[str, Any], *, values: pl.Series) -> an.Hierarchy:
    """What a model names for its sensitive column.

    Where it gives only an order, missing cells need no place in it: they come last.
    """
    column = entry["column"]
    if MODELS[entry["name"]].optional:
        values = as_text(values).replace(MISSING, ROOT)
    return of_column(hierarchy=entry["hierarchy"], values=values, column=column)


def _of_models(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models that name an uploaded hierarchy, where it can be checked beforehand.

    What noise or groups of similar rows make of a column is known to the job alone.
    """
    treated = policy.get("treatments", {})
    return [
        entry
        for entry in policy["models"]
        if entry.get("hierarchy", AUTOMATIC) != AUTOMATIC
        and treated.get(entry["column"], {}).get("name")
        not in ("microaggregate", "add_noise")
    ]


def check_uploaded(*, version: Version, policy: dict[str, Any], by: Any) -> None:
    """That each uploaded hierarchy places every value of its column.

    Reading the columns of a long table would keep a request waiting: there the job
    finds out, by the same rule.
    """
    if version.rows > CHECKED_AT_ONCE:
        return
    aggregated = policies.aggregates(policy)
    named = {
        column: entry["hierarchy"]
        for column, entry in policy["quasi_identifiers"].items()
        if entry["hierarchy"] != AUTOMATIC and column not in aggregated
    }
    models = _of_models(policy)
    columns = list(dict.fromkeys([*named, *(entry["column"] for entry in models)]))
    if not columns:
        return
    ledger.note_steward_read(
        ledgers=version.ledgers.all(), by=by, purpose="check hierarchies"
    )
    treated = {
        column: entry
        for column, entry in policy.get("treatments", {}).items()
        if column in columns
    }
    frame = an.compact(tables.batches(version, columns), plain=list(treated))
    frame = treatments.applied(frame, policy={"treatments": treated}, owner=by)
    for column, hierarchy in named.items():
        of_column(hierarchy=hierarchy, values=frame[column], column=column)
    for entry in models:
        of_model(entry, values=frame[entry["column"]])


def preview(*, version: Version, column: str, hierarchy: str, by: Any) -> Preview:
    """What a hierarchy makes of a column of a version, on the record."""
    found, values = _for_column(version, column, hierarchy, by=by, action="preview")
    return preview_of(found, values)


def preview_of(found: an.Hierarchy, values: pl.Series | None = None) -> Preview:
    """Some rows of a hierarchy, and what of a column's values it does not place."""
    problems = [] if values is None else found.check(values)
    step = max(1, len(found.levels) // PREVIEW_ROWS)
    return Preview(
        rows=list(found.levels[::step])[:PREVIEW_ROWS],
        labels=[len(found.labels(level)) for level in range(found.height + 1)],
        values=len(found.levels),
        missing_rows=sum(problem.rows for problem in problems),
        missing_values=len(problems),
        missing=problems[:MISSING_SHOWN],
    )


def build(
    *, version: Version, column: str, builder: str, given: Mapping[str, Any], by: Any
) -> tuple[an.Hierarchy, Preview]:
    """A hierarchy of a column's values by a builder, on the record; nothing is kept."""
    values = column_values(version=version, column=column, by=by, action="build")
    found = hierarchy_builders.build(
        builder=builder, values=values, column=column, given=given
    )
    return found, preview_of(found, values)


def download_for_column(
    *, version: Version, column: str, hierarchy: str, by: Any
) -> str:
    """A column's hierarchy as CSV, to edit and upload again; on the record."""
    found, _ = _for_column(version, column, hierarchy, by=by, action="download")
    return found.to_csv()


def _for_column(
    version: Version, column: str, hierarchy: str, *, by: Any, action: str
) -> tuple[an.Hierarchy, pl.Series]:
    uploaded = None
    if hierarchy != AUTOMATIC:
        uploaded = _visible(hierarchy, by=by)
    values = column_values(version=version, column=column, by=by, action=action)
    if uploaded is not None:
        return read(uploaded), values
    return automatic(values=values, column=column), values


def column_values(*, version: Version, column: str, by: Any, action: str) -> pl.Series:
    """A column's values, for its steward's screen; the look is on the record."""
    require_open(version)
    if not version.columns.filter(name=column).exists():
        raise DataError(
            f"This version has no column “{column}”.", code="no_column", column=column
        )
    with transaction.atomic():
        ledger.note_steward_read(
            ledgers=version.ledgers.all(), by=by, purpose=f"hierarchy {action}"
        )
        audit.record(
            actor=by, action=f"hierarchy.{action}", target=version, column=column
        )
    return an.compact(tables.batches(version, [column]))[column]


def _visible(text: str, *, by: Any) -> Hierarchy:
    try:
        return Hierarchy.objects.visible_to(by).get(pk=UUID(text))
    except (ValueError, Hierarchy.DoesNotExist) as error:
        raise DataError("There is no such hierarchy.", code="no_hierarchy") from error
