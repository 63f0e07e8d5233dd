"""The privacy models and metrics that a policy may name, with their parameters.

What pages and the API offer, and what the engine is given, is read from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from privacyhub.engines import anonymize as an


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a model: a number within bounds, or one of some choices."""

    name: str
    label: str
    default: float | int | str
    lower: float = 0
    upper: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()

    @property
    def step(self) -> str:
        """For an input of type number."""
        return "1" if self.whole else "any"


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """A privacy model: `sensitive` says that it looks at a sensitive column."""

    name: str
    label: str
    says: str
    build: Callable[..., an.Model]
    parameters: tuple[Parameter, ...]
    sensitive: bool = False


def _whole(name: str, label: str, default: int, lower: int = 2) -> Parameter:
    return Parameter(name=name, label=label, default=default, lower=lower, whole=True)


def _part(name: str, label: str, default: float) -> Parameter:
    return Parameter(name=name, label=label, default=default, lower=0, upper=1)


MODELS: dict[str, ModelKind] = {
    kind.name: kind
    for kind in (
        ModelKind(
            name="k_anonymity",
            label="k-anonymity",
            says="Everyone looks the same as at least k - 1 others.",
            build=an.KAnonymity,
            parameters=(_whole("k", "k", 5),),
        ),
        ModelKind(
            name="distinct_l_diversity",
            label="Distinct l-diversity",
            says="Each group holds at least l different values of the column.",
            build=an.DistinctLDiversity,
            parameters=(_whole("l", "l", 2),),
            sensitive=True,
        ),
        ModelKind(
            name="entropy_l_diversity",
            label="Entropy l-diversity",
            says="The values of the column are spread in each group as if l were "
            "equally frequent.",
            build=an.EntropyLDiversity,
            parameters=(
                Parameter(name="l", label="l", default=2, lower=1),
                Parameter(
                    name="estimator",
                    label="Estimator",
                    default="shannon",
                    choices=("shannon", "grassberger"),
                ),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="recursive_cl_diversity",
            label="Recursive (c, l)-diversity",
            says="The most frequent value of the column is less than c times as "
            "frequent in each group as the l-th and rarer ones together.",
            build=an.RecursiveCLDiversity,
            parameters=(
                Parameter(name="c", label="c", default=4.0, lower=0.01),
                _whole("l", "l", 2),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="equal_t_closeness",
            label="t-closeness, equal distance",
            says="The column is distributed in each group nearly as in the whole "
            "table, at most t apart.",
            build=an.EqualTCloseness,
            parameters=(_part("t", "t", 0.2),),
            sensitive=True,
        ),
        ModelKind(
            name="ordered_t_closeness",
            label="t-closeness, ordered distance",
            says="As with equal distance, but values that are close in order count "
            "as close.",
            build=an.OrderedTCloseness,
            parameters=(_part("t", "t", 0.2),),
            sensitive=True,
        ),
        ModelKind(
            name="basic_beta_likeness",
            label="Basic beta-likeness",
            says="No value of the column is more than 1 + beta times as frequent in a "
            "group as in the table.",
            build=an.BasicBetaLikeness,
            parameters=(Parameter(name="beta", label="beta", default=1.0, lower=0.01),),
            sensitive=True,
        ),
        ModelKind(
            name="enhanced_beta_likeness",
            label="Enhanced beta-likeness",
            says="As basic beta-likeness, and frequent values may gain less.",
            build=an.EnhancedBetaLikeness,
            parameters=(Parameter(name="beta", label="beta", default=1.0, lower=0.01),),
            sensitive=True,
        ),
        ModelKind(
            name="delta_disclosure",
            label="Delta-disclosure privacy",
            says="Each value of the column is about as frequent in a group as in the "
            "table, within a factor of 2 to the power delta.",
            build=an.DeltaDisclosure,
            parameters=(
                Parameter(name="delta", label="delta", default=1.0, lower=0.01),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="average_risk",
            label="Average risk",
            says="The re-identification risk, averaged over the rows, is at most this.",
            build=an.AverageRisk,
            parameters=(_part("threshold", "At most", 0.05),),
        ),
        ModelKind(
            name="sample_uniqueness",
            label="Sample uniqueness",
            says="At most this share of the rows is alone in its group.",
            build=an.SampleUniqueness,
            parameters=(_part("threshold", "At most", 0.01),),
        ),
        ModelKind(
            name="population_uniqueness",
            label="Population uniqueness",
            says="At most this share of the population is estimated to be unique.",
            build=an.PopulationUniqueness,
            parameters=(
                _part("threshold", "At most", 0.01),
                Parameter(
                    name="estimator",
                    label="Estimator",
                    default="dankar",
                    choices=("dankar", "pitman", "zayatz", "snb"),
                ),
            ),
        ),
    )
}

METRICS: dict[str, Callable[..., an.Metric]] = {
    "loss": an.Loss,
    "precision": an.Precision,
}
