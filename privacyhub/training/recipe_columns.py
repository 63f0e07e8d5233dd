"""Which columns a recipe reads and predicts, from what is declared of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Column, Role
from privacyhub.engines.dp.architecture import Task
from privacyhub.engines.tables import Kind
from privacyhub.training.recipe_spec import ENCODED_KINDS, InputColumn

MOST_COLUMNS = 500


def suggested_classes(column: Column, *, by: Any) -> tuple[str, ...]:
    """The names that a steward may declare as a target's classes.

    Declared ones first, else those of the steward's profile, whose look is on record;
    empty for a number, and for a column whose values are still to be made.
    """
    if column.kind == Kind.BOOLEAN:
        return ("false", "true")
    if column.categories:
        return tuple(str(value) for value in column.categories)
    if column.kind not in {Kind.TEXT, Kind.INTEGER} or column.version_id is None:
        return ()
    profile = datasets.profile(
        version=column.version, by=by, purpose="classes of the target"
    )
    told = profile.column(column.name).classes or []
    found = [value for value, _ in told if value is not None]
    if column.kind == Kind.INTEGER:
        found.sort()
    return tuple(
        sorted(map(str, found)) if column.kind == Kind.TEXT else map(str, found)
    )


def target_of(columns: Mapping[str, Column], wanted: Any) -> Column:
    if wanted:
        column = columns.get(str(wanted))
        if column is None:
            raise Conflict(
                f"This version has no column “{wanted}”.",
                code="no_column",
                column=str(wanted),
            )
    else:
        column = next((c for c in columns.values() if c.is_target), None)
        if column is None:
            raise Conflict("Choose the target column first.", code="no_target")
    if column.role == Role.IDENTIFIER or column.is_unit_key:
        raise Conflict(
            f"Column “{column.name}” names people and cannot be the target.",
            code="target_is_identifier",
            column=column.name,
        )
    if ENCODED_KINDS[column.kind] == "date":
        raise Conflict(
            f"Column “{column.name}” is a date and cannot be the target.",
            code="target_is_date",
            column=column.name,
        )
    return column


def task_of(
    target: Column, request: Mapping[str, Any], *, by: Any
) -> tuple[Task, tuple[str, ...], bool]:
    """Task, classes, and whether the classes are declared."""
    given = texts(request.get("classes") or ())
    wanted = request.get("task") or ""
    if wanted not in {"", "binary", "multiclass", "regression"}:
        raise DataError("The task is binary, multiclass or regression.", code="task")
    is_number = target.kind in {Kind.NUMBER, Kind.INTEGER}
    if wanted == "regression" or (
        not wanted and not given and target.kind == Kind.NUMBER
    ):
        if not is_number:
            raise Conflict(
                f"Column “{target.name}” holds no numbers to regress on.",
                code="task",
                column=target.name,
            )
        return "regression", (), True
    classes = given or suggested_classes(target, by=by)
    if not classes and is_number and not wanted:
        return "regression", (), True
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise Conflict(
            f"Column “{target.name}” needs two different classes or more. "
            "Declare them.",
            code="classes",
            column=target.name,
        )
    task: Task = "binary" if len(classes) == 2 else "multiclass"
    if wanted and wanted != task:
        raise Conflict(
            f"Column “{target.name}” has {len(classes)} classes: the task is {task}.",
            code="task",
            column=target.name,
        )
    # The profile's own classes, sent back, were not declared by anybody.
    known = suggested_classes(target, by=by)
    own = bool(given) and set(given) != set(known)
    declared = bool(own or target.categories or target.kind == Kind.BOOLEAN)
    return task, classes, declared


def inputs_of(
    columns: Mapping[str, Column], target: Column, wanted: Sequence[str] | None
) -> tuple[InputColumn, ...]:
    if wanted is None:
        chosen = [
            column
            for column in columns.values()
            if column.role != Role.IDENTIFIER
            and not column.is_unit_key
            and column.name != target.name
        ]
    else:
        chosen = [_feature(columns, target, name) for name in texts(wanted)]
    if not chosen:
        raise Conflict(
            "There is no column to learn from: identifiers are never trained on.",
            code="no_features",
        )
    if len(chosen) > MOST_COLUMNS:
        raise DataError(f"A model reads at most {MOST_COLUMNS} columns.")
    return tuple(_input(column) for column in chosen)


def _feature(columns: Mapping[str, Column], target: Column, name: str) -> Column:
    column = columns.get(name)
    if column is None:
        raise Conflict(
            f"This version has no column “{name}”.", code="no_column", column=name
        )
    if column.role == Role.IDENTIFIER or column.is_unit_key:
        raise Conflict(
            f"Column “{name}” is an identifier: nothing is trained on it.",
            code="identifier",
            column=name,
        )
    if name == target.name:
        raise DataError(
            f"Column “{name}” is the target and cannot be an input too.",
            code="target_is_input",
            column=name,
        )
    return column


def _input(column: Column) -> InputColumn:
    kind = ENCODED_KINDS[column.kind]
    if kind == "boolean":
        return InputColumn(name=column.name, kind=kind, found="declared")
    if kind == "category":
        names = texts(column.categories or ())
        return InputColumn(
            name=column.name,
            kind=kind,
            found="declared" if names else "dp",
            categories=names,
        )
    bounded = column.lower is not None and column.upper is not None
    return InputColumn(
        name=column.name,
        kind=kind,
        found="declared" if bounded else "dp",
        lower=column.lower if bounded else None,
        upper=column.upper if bounded else None,
    )


def texts(values: Any) -> tuple[str, ...]:
    """Names without surrounding blanks, each once, in their order."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise DataError("A list of names is expected.", code="list")
    return tuple(dict.fromkeys(str(value).strip() for value in values))
