"""Edits of a kept hierarchy: cells, levels, values that a column brings.

Each edit is checked as a whole and kept under the same id. A run holds the id, so one
that a queued run names cannot be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from django.db import transaction

from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization import hierarchies
from privacyhub.anonymization.models import Hierarchy
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.hierarchies import as_text
from privacyhub.governance import audit, keys

MOST_LABEL = 200
EDITS = (
    "rename_label",
    "set_cells",
    "remove_value",
    "remove_level",
    "insert_level",
    "place_missing",
)


def edit(
    *,
    hierarchy: Hierarchy,
    change: str,
    by: Any,
    values: pl.Series | None = None,
    **told: Any,
) -> Hierarchy:
    """Make one change, or raise DataError and change nothing.

    `change` is one of `EDITS`; `values` are a column's, for "place_missing".
    """
    if hierarchy.owner_id != by.pk:
        raise NotAllowed("Only its owner can change a hierarchy.")
    found = hierarchies.read(hierarchy)
    try:
        changed = _changed(found, change=change, told=told, values=values)
    except an.AnonymizeError as error:
        raise DataError(str(error), code="hierarchy") from error
    if not 1 <= changed.height <= hierarchies.MOST_LEVELS:
        raise DataError(
            f"A hierarchy has 1 to {hierarchies.MOST_LEVELS} levels.", code="hierarchy"
        )
    return _kept(hierarchy, changed, change=change, by=by)


def _changed(
    found: an.Hierarchy,
    *,
    change: str,
    told: Mapping[str, Any],
    values: pl.Series | None,
) -> an.Hierarchy:
    if change == "rename_label":
        return found.with_label(
            level=_level(told), old=_label(told, "old"), new=_label(told, "new")
        )
    if change == "set_cells":
        return _with_cells(found, told)
    if change == "remove_value":
        return found.without_value(_known(found, told))
    if change == "remove_level":
        return found.without_level(_level(told))
    if change == "insert_level":
        labels = told.get("labels") or {}
        if not isinstance(labels, Mapping):
            raise DataError("“labels” maps the labels below to new ones.", code="edit")
        return found.with_level(
            _level(told), labels={str(k): str(v) for k, v in labels.items()}
        )
    if change == "place_missing":
        if values is None:
            raise DataError("Name the version and the column.", code="edit")
        return found.with_missing_values(as_text(values).unique().sort().to_list())
    raise DataError(f"An edit is one of {', '.join(EDITS)}.", code="edit")


def _with_cells(found: an.Hierarchy, told: Mapping[str, Any]) -> an.Hierarchy:
    """Cells of values, each under another label.

    A label that stands elsewhere on the level brings its parents along, where they
    were not set too.
    """
    cells = told.get("cells")
    if not isinstance(cells, list) or not cells:
        raise DataError("“cells” lists value, level and new.", code="edit")
    asked: dict[int, dict[int, str]] = {}
    for cell in cells:
        if not isinstance(cell, Mapping):
            raise DataError("A cell has value, level and new.", code="edit")
        row, level = found.row_of(_known(found, cell)), _level(cell)
        if row is None or not 1 <= level <= found.height:
            raise DataError(f"The level must be from 1 to {found.height}.", code="edit")
        asked.setdefault(row, {})[level] = _label(cell, "new")
    rows = [list(one) for one in found.levels]
    for row, changes in asked.items():
        for level in sorted(changes):
            new = changes[level]
            twin = next((one for one in found.levels if one[level] == new), None)
            rows[row][level] = new
            if twin is not None:
                rows[row][level + 1 :] = twin[level + 1 :]
    return an.Hierarchy.from_rows(rows)


def _level(told: Mapping[str, Any]) -> int:
    level = told.get("level")
    if isinstance(level, bool) or not isinstance(level, int):
        raise DataError("“level” must be a whole number.", code="edit")
    return level


def _label(told: Mapping[str, Any], key: str) -> str:
    text = told.get(key)
    if not isinstance(text, str) or len(text) > MOST_LABEL:
        raise DataError(
            f"“{key}” must be text of at most {MOST_LABEL} characters.", code="edit"
        )
    return text


def _known(found: an.Hierarchy, told: Mapping[str, Any]) -> str:
    value = _label(told, "value")
    if found.row_of(value) is None:
        raise DataError("The hierarchy does not hold that value.", code="edit")
    return value


@transaction.atomic
def _kept(
    hierarchy: Hierarchy, changed: an.Hierarchy, *, change: str, by: Any
) -> Hierarchy:
    row = (
        Hierarchy.objects.select_for_update().select_related("key").get(pk=hierarchy.pk)
    )
    if hierarchies.is_waited_for(row):
        raise Conflict(
            "A job that uses this hierarchy is queued or running.", code="busy"
        )
    row.sealed_csv = keys.seal_json(changed.to_csv(), key=row.key, context=str(row.pk))
    row.levels, row.values_count = changed.height, len(changed.levels)
    row.save(update_fields=["sealed_csv", "levels", "values_count"])
    audit.record(
        actor=by,
        action="hierarchy.edit",
        target=row,
        change=change,
        levels=row.levels,
        values=row.values_count,
    )
    return row
