"""The privacy models that a policy may name, with their parameters.

`protects` says in plain words against whom a model helps; `says` what it demands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from privacyhub.anonymization.vocabulary_parameters import (
    Parameter,
    amount,
    choice,
    part,
    whole,
)
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize.uniqueness import DEFAULT_POPULATION, ESTIMATORS


class Need(StrEnum):
    """What a model needs besides numbers; a policy names it under the same key."""

    HIERARCHY = "hierarchy"  # of the sensitive column, or its values' order
    SUBSET = "subset"  # of the rows: those of another version, or of a filter
    POPULATION = "population"  # its number of people, or a version that lists them


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """A privacy model: `sensitive` says that it looks at a sensitive column.

    `people`: the population may be given as a number of people. `optional`: what it
    needs may be left out; of a hierarchy that is the automatic one.
    """

    name: str
    label: str
    group: str
    says: str
    protects: str
    build: Callable[..., an.Model]
    parameters: tuple[Parameter, ...] = ()
    sensitive: bool = False
    needs: tuple[Need, ...] = ()
    people: bool = False
    optional: bool = False

    @property
    def keys(self) -> set[str]:
        """What an entry of this model may hold."""
        keys = {"name", *(p.name for p in self.parameters), *self.needs}
        return keys | ({"column"} if self.sensitive else set())


def _profitability(
    *,
    attacker: str,
    population: pl.DataFrame | None = None,
    **amounts: float,
) -> an.Profitability:
    an_attack_must_not_pay = attacker == "no_attack"
    return an.Profitability(
        no_attack=an_attack_must_not_pay,
        population=None if attacker == "prosecutor" else population,
        **amounts,
    )


def _hierarchical(*, hierarchy: Any, **told: Any) -> an.Model:
    return an.HierarchicalTCloseness(hierarchy=hierarchy, **told)


def _ordered(*, hierarchy: Any = None, **told: Any) -> an.Model:
    order = None if hierarchy is None else hierarchy.values
    return an.OrderedTCloseness(order=order, **told)


IDENTITY = "Against being found"
ATTRIBUTE = "Against a sensitive value being learnt"
MEMBERSHIP = "Against being known to take part"
RISK = "A limit on the risk of the whole table"
FORMAL = "A formal guarantee"

_LEARNT = (
    "Whoever knows that somebody is in a group still cannot be sure of their value."
)

MODELS: dict[str, ModelKind] = {
    kind.name: kind
    for kind in (
        ModelKind(
            name="k_anonymity",
            label="k-anonymity",
            group=IDENTITY,
            says="Everyone looks the same as at least k - 1 others.",
            protects="Whoever knows a person's quasi-identifiers finds k rows and not "
            "one.",
            build=an.KAnonymity,
            parameters=(whole("k", "k", 5),),
        ),
        ModelKind(
            name="k_map",
            label="k-map",
            group=IDENTITY,
            says="Each group matches at least k people of the population.",
            protects="As k-anonymity, against an attacker who does not know who of the "
            "population is in the table.",
            build=an.KMap,
            parameters=(
                whole("k", "k", 5),
                Parameter(
                    name="significance",
                    label="Significance",
                    default=0.01,
                    lower=0.0001,
                    upper=0.5,
                ),
                choice("estimator", "Estimator", "poisson", "truncated_poisson"),
            ),
            needs=(Need.POPULATION,),
            people=True,
        ),
        ModelKind(
            name="distinct_l_diversity",
            label="Distinct l-diversity",
            group=ATTRIBUTE,
            says="Each group holds at least l different values of the column.",
            protects=_LEARNT,
            build=an.DistinctLDiversity,
            parameters=(whole("l", "l", 2),),
            sensitive=True,
        ),
        ModelKind(
            name="entropy_l_diversity",
            label="Entropy l-diversity",
            group=ATTRIBUTE,
            says="The values of the column are spread in each group as if l were "
            "equally frequent. Grassberger's estimate corrects for small groups; as "
            "in ARX, the order of the rows may decide a close case.",
            protects="As distinct l-diversity, and no value may dominate a group.",
            build=an.EntropyLDiversity,
            parameters=(
                Parameter(name="l", label="l", default=2, lower=1),
                choice("estimator", "Estimator", "shannon", "grassberger"),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="recursive_cl_diversity",
            label="Recursive (c, l)-diversity",
            group=ATTRIBUTE,
            says="The most frequent value of the column is less than c times as "
            "frequent in each group as the l-th and rarer ones together.",
            protects="As distinct l-diversity, even when the attacker can rule out "
            "l - 2 values.",
            build=an.RecursiveCLDiversity,
            parameters=(
                Parameter(name="c", label="c", default=4.0, lower=0.01),
                whole("l", "l", 2),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="equal_t_closeness",
            label="t-closeness, equal distance",
            group=ATTRIBUTE,
            says="The column is distributed in each group nearly as in the whole "
            "table, at most t apart.",
            protects="To know somebody's group tells little about their value that the "
            "whole table does not tell.",
            build=an.EqualTCloseness,
            parameters=(part("t", "t", 0.2),),
            sensitive=True,
        ),
        ModelKind(
            name="ordered_t_closeness",
            label="t-closeness, ordered distance",
            group=ATTRIBUTE,
            says="As with equal distance, but values that are close in order count "
            "as close. Numbers go by size and words by the alphabet, or values as the "
            "rows of a hierarchy of yours.",
            protects="For numbers, and grades such as A to F: a group of only high or "
            "only low values would tell much.",
            build=_ordered,
            parameters=(part("t", "t", 0.2),),
            sensitive=True,
            needs=(Need.HIERARCHY,),
            optional=True,
        ),
        ModelKind(
            name="hierarchical_t_closeness",
            label="t-closeness, hierarchical distance",
            group=ATTRIBUTE,
            says="As with equal distance, but values under one parent of the column's "
            "hierarchy count as close.",
            protects="For diagnoses and jobs: a group of related values only would "
            "tell much.",
            build=_hierarchical,
            parameters=(part("t", "t", 0.2),),
            sensitive=True,
            needs=(Need.HIERARCHY,),
        ),
        ModelKind(
            name="basic_beta_likeness",
            label="Basic beta-likeness",
            group=ATTRIBUTE,
            says="No value of the column is more than 1 + beta times as frequent in a "
            "group as in the table.",
            protects="To know somebody's group raises the odds of a value by a bounded "
            "factor, for rare values too.",
            build=an.BasicBetaLikeness,
            parameters=(Parameter(name="beta", label="beta", default=1.0, lower=0.01),),
            sensitive=True,
        ),
        ModelKind(
            name="enhanced_beta_likeness",
            label="Enhanced beta-likeness",
            group=ATTRIBUTE,
            says="As basic beta-likeness, and frequent values may gain less.",
            protects="As basic beta-likeness; a frequent value can never become "
            "certain.",
            build=an.EnhancedBetaLikeness,
            parameters=(Parameter(name="beta", label="beta", default=1.0, lower=0.01),),
            sensitive=True,
        ),
        ModelKind(
            name="delta_disclosure",
            label="Delta-disclosure privacy",
            group=ATTRIBUTE,
            says="Each value of the column is about as frequent in a group as in the "
            "table, within a factor of 2 to the power delta.",
            protects="Neither that somebody has a value nor that they do not have it "
            "can be learnt. It is strict: every group must hold every value.",
            build=an.DeltaDisclosure,
            parameters=(
                Parameter(name="delta", label="delta", default=1.0, lower=0.01),
            ),
            sensitive=True,
        ),
        ModelKind(
            name="delta_presence",
            label="Delta-presence",
            group=MEMBERSHIP,
            says="Of the rows of each group, the share that is in the subset lies "
            "between the bounds. Only the subset is released. Beside a model that asks "
            "for rows or values, groups without anyone of the subset do not count.",
            protects="Whoever knows the larger table cannot tell who of it is in the "
            "subset, such as the patients of one study.",
            build=an.DeltaPresence,
            parameters=(part("lower", "From", 0.0), part("upper", "To", 0.5)),
            needs=(Need.SUBSET,),
        ),
        ModelKind(
            name="inclusion",
            label="Inclusion",
            group=MEMBERSHIP,
            says="Only a subset of the rows is anonymized and released.",
            protects="Nobody by itself: it says which rows the other models look at.",
            build=an.Inclusion,
            needs=(Need.SUBSET,),
        ),
        ModelKind(
            name="average_risk",
            label="Average risk",
            group=RISK,
            says="The re-identification risk, averaged over the rows, is at most this.",
            protects="Most rows against being found; a few may stay at a higher risk.",
            build=an.AverageRisk,
            parameters=(part("threshold", "At most", 0.05),),
        ),
        ModelKind(
            name="sample_uniqueness",
            label="Sample uniqueness",
            group=RISK,
            says="At most this share of the rows is alone in its group.",
            protects="All but that share of the rows against being singled out.",
            build=an.SampleUniqueness,
            parameters=(part("threshold", "At most", 0.01),),
        ),
        ModelKind(
            name="population_uniqueness",
            label="Population uniqueness",
            group=RISK,
            says="At most this share of the population is estimated to be unique.",
            protects="A row that is unique in the table need not be so among all "
            "people; this bounds how many are.",
            build=an.PopulationUniqueness,
            parameters=(
                part("threshold", "At most", 0.01),
                choice("estimator", "Estimator", *ESTIMATORS),
                whole("population", "People", DEFAULT_POPULATION, 1),
            ),
        ),
        ModelKind(
            name="profitability",
            label="Profitability",
            group=RISK,
            says="A group is released when the publisher gains more by it than an "
            "attack would cost. No attack: groups are so large that none pays.",
            protects="Against an attacker who weighs cost and gain. All amounts are in "
            "one currency and for one row.",
            build=_profitability,
            parameters=(
                choice("attacker", "Attacker", "prosecutor", "journalist", "no_attack"),
                amount("publisher_benefit", "Publisher gains", 1200),
                amount("publisher_loss", "Publisher loses", 300),
                amount("adversary_gain", "Attacker gains", 300),
                Parameter(
                    name="adversary_cost",
                    label="An attack costs",
                    default=4,
                    lower=0.0001,
                ),
            ),
            needs=(Need.POPULATION,),
            optional=True,
        ),
        ModelKind(
            name="epsilon_delta_dp",
            label="(epsilon, delta)-differential privacy",
            group=FORMAL,
            says="Rows are drawn by chance and generalized to levels fixed beforehand, "
            "and groups that are too small are suppressed: the suppression limit does "
            "not hold. There is no search.",
            protects="The quasi-identifiers of one record, whatever the attacker "
            "knows. Other columns, and hierarchies that are built from the data, are "
            "not covered, so the ledger notes the release as one that no epsilon "
            "covers.",
            build=an.EpsilonDeltaDP,
            parameters=(
                Parameter(
                    name="epsilon", label="epsilon", default=2.0, lower=0.01, upper=4
                ),
                Parameter(
                    name="delta", label="delta", default=1e-6, lower=1e-12, upper=0.5
                ),
                part("generalization", "Degree of generalization", 0.5),
            ),
        ),
    )
}
