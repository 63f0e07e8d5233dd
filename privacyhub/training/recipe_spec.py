"""A recipe as it is stored: what to train, from which columns, at which price.

It names columns and the domains that a steward declared, and holds no version. Nothing
in it was found in rows, but for names of classes that the steward did not declare:
these are marked, and the guarantee says that they are not covered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from privacyhub.engines.dp.architecture import Task
from privacyhub.engines.prepare.encoding import Kind as EncodedKind
from privacyhub.engines.prepare.encoding import TargetSpec
from privacyhub.engines.tables import Kind
from privacyhub.training.models import Privacy

DEFAULT_EPSILON = "1"
DEFAULT_METRICS_EPSILON = "0.5"
DEFAULT_HOLDOUT = 0.2
ENCODED_KINDS: dict[str, EncodedKind] = {
    Kind.INTEGER: "number",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.DATETIME: "date",
    Kind.TEXT: "category",
}
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
    target_kind: as which kind the target is read; older recipes do not say it.
    target_bounds: of a regression; None lets DP statistics find them.
    delta: empty takes 1/(10 N) of the declared N, at most the ledger's cap.
    settings: what overrides the engine's rule.
    tuning: a search over settings, as `tuning.tuning_of` makes it; None without one.
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
    tuning: dict[str, Any] | None = None
    target_kind: EncodedKind | Literal[""] = ""

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


def target_spec(recipe: RecipeSpec, bounds: tuple[float, float] | None) -> TargetSpec:
    """What the encoder knows of the target; `bounds` are a regression's."""
    if recipe.task != "regression":
        return TargetSpec(name=recipe.target, classes=recipe.classes)
    lower, upper = cast("tuple[float, float]", recipe.target_bounds or bounds)
    return TargetSpec(name=recipe.target, lower=lower, upper=upper)
