"""A recipe: what to train, from which columns, at which price. Holds no version.

Everything that a request leaves open is filled in here and checked before anything
is read or charged. A recipe names columns and the domains that a steward declared;
it holds nothing that was found in rows, but for names of classes that the steward
did not declare: these are marked, and the guarantee says that they are not covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Column, Role, Version, VersionKind
from privacyhub.engines.dp.architecture import Task
from privacyhub.engines.prepare.encoding import Kind as EncodedKind
from privacyhub.engines.prepare.encoding import TargetSpec
from privacyhub.engines.tables import Kind
from privacyhub.governance.models import Unit
from privacyhub.training.models import Privacy

DEFAULT_EPSILON = "1"
DEFAULT_METRICS_EPSILON = "0.5"
DEFAULT_HOLDOUT = 0.2
MOST_COLUMNS = 500
# What an epsilon or a delta may be: the ledger's least unit, and its highest cap.
LEAST_AMOUNT = Decimal("1e-15")
MOST_AMOUNT = Decimal(1000)
ENCODED_KINDS: dict[str, EncodedKind] = {
    Kind.INTEGER: "number",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.DATETIME: "date",
    Kind.TEXT: "category",
}
SETTINGS = frozenset(
    {
        "activation",
        "class_weights",
        "clip_norm",
        "ema",
        "embedding_width",
        "epochs",
        "expected_batch",
        "hidden",
        "implementation",
        "learning_rate",
        "momentum",
        "optimizer",
        "schedule",
    }
)
Found = Literal["declared", "dp"]


@dataclass(frozen=True, kw_only=True)
class InputColumn:
    """A column the model reads. `found`: its domain is declared, or DP statistics'."""

    name: str
    kind: EncodedKind
    found: Found
    lower: float | None = None
    upper: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """The specification of a run. Epsilons and delta are decimal strings.

    classes: of a classification, in the model's order; of two the second is the
    positive one. `classes_declared` is False when they were taken from the profile.
    target_bounds: of a regression; None lets DP statistics find them.
    delta: empty takes 1/(10 N) of the declared N, at most the ledger's cap.
    settings: what overrides the engine's rule.
    """

    target: str
    task: Task
    columns: tuple[InputColumn, ...]
    privacy: str = Privacy.DP
    classes: tuple[str, ...] = ()
    classes_declared: bool = True
    target_bounds: tuple[float, float] | None = None
    epsilon: str = DEFAULT_EPSILON
    delta: str = ""
    metrics_epsilon: str = DEFAULT_METRICS_EPSILON
    holdout: float = DEFAULT_HOLDOUT
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def is_private(self) -> bool:
        return self.privacy == Privacy.DP

    @property
    def searched(self) -> dict[str, EncodedKind]:
        """The columns whose domain DP statistics find, a regression's target last."""
        kinds = {c.name: c.kind for c in self.columns if c.found == "dp"}
        if self.task == "regression" and self.target_bounds is None:
            kinds[self.target] = "number"
        return kinds

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RecipeSpec:
        """Read a stored recipe. Raises ValueError for another schema."""
        values = dict(stored)
        if values.pop("schema", None) != 1:
            raise ValueError("The recipe is of an unknown schema.")
        values["columns"] = tuple(
            InputColumn(**(column | {"categories": tuple(column["categories"])}))
            for column in values["columns"]
        )
        values["classes"] = tuple(values["classes"])
        if values["target_bounds"] is not None:
            values["target_bounds"] = tuple(values["target_bounds"])
        return cls(**values)


def build(*, version: Version, request: Mapping[str, Any]) -> RecipeSpec:
    """The recipe of a request on this version.

    request: target, features, task, classes, privacy, epsilon, delta,
    metrics_epsilon, holdout, settings; each may be left out. Raises DataError (400)
    or Conflict (409) naming the column or the field.
    """
    datasets.require_open(version)
    columns = {column.name: column for column in version.columns.all()}
    target = _target(columns, request.get("target"))
    task, classes, declared = _task(version, target, request)
    privacy = request.get("privacy") or Privacy.DP
    if privacy not in Privacy.values:
        raise DataError("Privacy is “dp” or “none”.", code="privacy")
    bounds = None
    if task == "regression" and target.lower is not None and target.upper is not None:
        bounds = (target.lower, target.upper)
    return RecipeSpec(
        target=target.name,
        task=task,
        classes=classes,
        classes_declared=declared,
        target_bounds=bounds,
        columns=_inputs(columns, target, request.get("features")),
        privacy=privacy,
        epsilon=positive(
            request.get("epsilon") or DEFAULT_EPSILON, name="Epsilon", code="epsilon"
        ),
        delta=positive(request["delta"], name="Delta", code="delta")
        if request.get("delta")
        else "",
        metrics_epsilon=positive(
            request.get("metrics_epsilon") or DEFAULT_METRICS_EPSILON,
            name="The metrics' epsilon",
            code="metrics_epsilon",
        ),
        holdout=_holdout(request.get("holdout")),
        settings=_settings(request.get("settings") or {}),
    )


def fit_to(*, recipe: RecipeSpec, version: Version) -> None:
    """Refuse a version that lacks a column of the recipe, or has it as another kind."""
    datasets.require_open(version)
    columns = {column.name: column for column in version.columns.all()}
    _require_unit_key(version, columns)
    for name in [recipe.target, *(column.name for column in recipe.columns)]:
        if name not in columns:
            raise Conflict(
                f"{version} has no column “{name}” any more.",
                code="column_vanished",
                column=name,
            )
        if columns[name].role == Role.IDENTIFIER:
            raise Conflict(
                f"Column “{name}” is an identifier now: nothing is trained on it.",
                code="identifier",
                column=name,
            )
    for column in recipe.columns:
        if ENCODED_KINDS[columns[column.name].kind] != column.kind:
            raise Conflict(
                f"Column “{column.name}” is of another kind than in the recipe.",
                code="column_kind",
                column=column.name,
            )


def _require_unit_key(version: Version, columns: Mapping[str, Column]) -> None:
    """Where the unit is a key, the version must still hold it as it was uploaded."""
    for account in version.ledgers.filter(unit=Unit.KEY):
        if account.unit_key not in columns or version.kind == VersionKind.ANONYMIZED:
            raise Conflict(
                f"{version} does not hold the unit key “{account.unit_key}” as it was "
                "uploaded, so its units cannot be told apart. Train on the upload.",
                code="unit_key",
                column=account.unit_key,
            )


def positive(text: Any, *, name: str, code: str) -> str:
    """A positive finite decimal as it was written; DataError for anything else."""
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation as error:
        raise DataError(f"{name} must be a number.", code=code) from error
    if not value.is_finite() or value <= 0:
        raise DataError(f"{name} must be a number above 0.", code=code)
    if not LEAST_AMOUNT <= value <= MOST_AMOUNT:
        raise DataError(
            f"{name} lies between {LEAST_AMOUNT:e} and {MOST_AMOUNT:,}.", code=code
        )
    return format(value, "f")


def suggested_classes(*, version: Version, column: Column) -> tuple[str, ...]:
    """The names that a steward may declare as a target's classes.

    Declared ones first, else those of the steward's profile; empty for a number.
    """
    if column.kind == Kind.BOOLEAN:
        return ("false", "true")
    if column.categories:
        return tuple(str(value) for value in column.categories)
    if column.kind not in {Kind.TEXT, Kind.INTEGER}:
        return ()
    told = datasets.profile(version).column(column.name).classes or []
    found = [value for value, _ in told if value is not None]
    if column.kind == Kind.INTEGER:
        found.sort()
    return tuple(
        sorted(map(str, found)) if column.kind == Kind.TEXT else map(str, found)
    )


def _target(columns: Mapping[str, Column], wanted: Any) -> Column:
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


def _task(
    version: Version, target: Column, request: Mapping[str, Any]
) -> tuple[Task, tuple[str, ...], bool]:
    """Task, classes, and whether the classes are declared."""
    given = _texts(request.get("classes") or ())
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
    classes = given or suggested_classes(version=version, column=target)
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
    known = suggested_classes(version=version, column=target)
    own = bool(given) and set(given) != set(known)
    declared = bool(own or target.categories or target.kind == Kind.BOOLEAN)
    return task, classes, declared


def _inputs(
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
        chosen = [_feature(columns, target, name) for name in _texts(wanted)]
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
        names = _texts(column.categories or ())
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


def target_spec(recipe: RecipeSpec, bounds: tuple[float, float] | None) -> TargetSpec:
    """What the encoder knows of the target; `bounds` are a regression's."""
    if recipe.task != "regression":
        return TargetSpec(name=recipe.target, classes=recipe.classes)
    lower, upper = cast("tuple[float, float]", recipe.target_bounds or bounds)
    return TargetSpec(name=recipe.target, lower=lower, upper=upper)


def _texts(values: Any) -> tuple[str, ...]:
    """Names without surrounding blanks, each once, in their order."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise DataError("A list of names is expected.", code="list")
    return tuple(dict.fromkeys(str(value).strip() for value in values))


def _holdout(given: Any) -> float:
    if given is None or given == "":
        return DEFAULT_HOLDOUT
    try:
        share = float(given)
    except (TypeError, ValueError) as error:
        raise DataError(
            "The held-out share must be a number.", code="holdout"
        ) from error
    if not 0.05 <= share <= 0.5:
        raise DataError("The held-out share lies between 0.05 and 0.5.", code="holdout")
    return share


def _settings(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise DataError("The training settings must be an object.", code="settings")
    unknown = sorted(set(given) - SETTINGS)
    if unknown:
        raise DataError(
            f"“{unknown[0]}” is not a training setting.", code="unknown_setting"
        )
    return {name: value for name, value in given.items() if value not in (None, "")}
