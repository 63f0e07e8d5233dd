"""The metrics and methods of a policy.

A metric says what is lost; its figure is a share from 0 to 1, or a number with a unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from privacyhub.engines import anonymize as an


@dataclass(frozen=True, kw_only=True)
class MetricKind:
    """`options`: which keys of a policy's metric it takes; `unit` "" is a share."""

    name: str
    label: str
    says: str
    build: Callable[..., an.Metric]
    options: frozenset[str]
    aggregate: str = "geometric_mean"
    unit: str = ""


_OF_COLUMNS = frozenset({"aggregate", "suppression_factor", "weights"})

METRICS: dict[str, MetricKind] = {
    kind.name: kind
    for kind in (
        MetricKind(
            name="loss",
            label="Loss of detail",
            says="Which part of a column's domain a released value stands for.",
            build=an.Loss,
            options=_OF_COLUMNS,
        ),
        MetricKind(
            name="precision",
            label="Precision of the levels",
            says="How high the levels are in their hierarchies.",
            build=an.Precision,
            options=_OF_COLUMNS,
        ),
        MetricKind(
            name="non_uniform_entropy",
            label="Non-uniform entropy",
            says="Bits that it takes to tell the original values from the released "
            "ones; a frequent value is easier to tell than a rare one.",
            build=an.NonUniformEntropy,
            options=_OF_COLUMNS,
            aggregate="sum",
            unit="bits",
        ),
        MetricKind(
            name="discernibility",
            label="Discernibility",
            says="The squared sizes of the groups; a suppressed row costs as much as "
            "the whole table.",
            build=an.Discernibility,
            options=frozenset(),
            unit="pairs of rows",
        ),
        MetricKind(
            name="average_class_size",
            label="Average group size",
            says="Rows that look the same, on average.",
            build=an.AverageClassSize,
            options=frozenset({"suppression_factor"}),
            unit="rows",
        ),
        MetricKind(
            name="kl_divergence",
            label="KL divergence",
            says="How far the distribution that the release tells lies from the real "
            "one, over all quasi-identifiers together.",
            build=an.KLDivergence,
            options=frozenset(),
            unit="bits",
        ),
        MetricKind(
            name="classification_accuracy",
            label="Classification accuracy",
            says="Rows whose target can no longer be told from their group.",
            build=an.ClassificationAccuracy,
            options=frozenset({"target"}),
            unit="",
        ),
    )
}

AGGREGATES = {
    "geometric_mean": "Geometric mean of the columns",
    "arithmetic_mean": "Arithmetic mean of the columns",
    "sum": "Sum of the columns",
    "max": "The worst column",
    "rank": "The worst column, then the next worst",
}


@dataclass(frozen=True, kw_only=True)
class MethodKind:
    """How values are recoded."""

    name: str
    label: str
    says: str


METHODS: dict[str, MethodKind] = {
    kind.name: kind
    for kind in (
        MethodKind(
            name="full_domain",
            label="One level for each column",
            says="The best combination of levels is searched and proved. The release "
            "is even: a column reads the same in every row.",
        ),
        MethodKind(
            name="local_recoding",
            label="Local recoding",
            says="What would be suppressed is generalized again, on its own, round by "
            "round: less is lost, and rows of one column can stand at different "
            "levels. Not for models that joining two groups can break.",
        ),
        MethodKind(
            name="cell_suppression",
            label="Single cells suppressed",
            says="Nothing is generalized: in each round a column is shown or hidden "
            "for the rows that are left. Not for models that joining two groups can "
            "break.",
        ),
    )
}
"""The first is the default."""
