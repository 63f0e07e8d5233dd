"""What may be done to single columns before the search, by role and kind of column.

`formal` says whether a treatment keeps to a privacy model by itself; the others make
values less exact and promise nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from privacyhub.anonymization.vocabulary_parameters import (
    Parameter,
    amount,
    choice,
    part,
    whole,
)
from privacyhub.datasets.models import Role
from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import aggregation
from privacyhub.engines.anonymize.numbers import FORMAL
from privacyhub.engines.tables import Kind


@dataclass(frozen=True, kw_only=True)
class TreatmentKind:
    """`apply(series, **parameters)` gives the new column.

    It is None for what is done elsewhere: dropping, pseudonyms, which need a key,
    microaggregation, which takes several columns at once, and aggregation, which takes
    the groups that the search finds. `also`: further kinds that it takes, as text.
    `keeps`: what was declared of the column and holds of the new one too.
    """

    name: str
    label: str
    says: str
    roles: frozenset[Role]
    numeric: bool | None  # None: any kind
    also: frozenset[Kind] = frozenset()
    parameters: tuple[Parameter, ...] = ()
    apply: Callable[..., pl.Series] | None = None
    formal: bool = False
    keeps: frozenset[str] = frozenset()

    def fits(self, *, role: str, kind: str) -> bool:
        numeric = Kind(kind).is_numeric
        fitting = self.numeric in (None, numeric) or kind in self.also
        return role in self.roles and fitting


def _extremes(
    series: pl.Series, *, bottom: float | None, top: float | None
) -> pl.Series:
    return an.code_extremes(series, bottom=bottom, top=top)


AGGREGATE = "aggregate"
DECLARED = frozenset({"lower", "upper", "categories"})
_BOUNDS = frozenset({"lower", "upper"})
_QUASI = frozenset({Role.QUASI_IDENTIFIER})
_OTHER = frozenset({Role.SENSITIVE, Role.INSENSITIVE})

TREATMENTS: dict[str, TreatmentKind] = {
    kind.name: kind
    for kind in (
        TreatmentKind(
            name="drop",
            label="Drop",
            says="The column is not in the release.",
            roles=_OTHER,
            numeric=None,
            formal=True,
        ),
        TreatmentKind(
            name="pseudonym",
            label="Keyed pseudonym",
            says="A random-looking name that stays the same for the same value, so "
            "that tables of one domain can be joined. Its key lies in the key store; "
            "destroying it cuts the link.",
            roles=frozenset({Role.IDENTIFIER}),
            numeric=None,
            parameters=(
                Parameter(name="domain", label="Domain", default="", longest=100),
            ),
        ),
        TreatmentKind(
            name="mask",
            label="Mask characters",
            says="Characters from one side are replaced by *.",
            roles=frozenset({Role.IDENTIFIER, *_OTHER}),
            numeric=False,
            also=frozenset({Kind.INTEGER}),  # phone and record numbers
            parameters=(
                choice("side", "From the", "right", "left"),
                whole("characters", "Characters", 4, 1),
            ),
            apply=an.mask,
        ),
        TreatmentKind(
            name="zip_text",
            label="ZIP code with leading zeros",
            says="Whole numbers are read as ZIP codes of five digits: 2139 is 02139.",
            roles=_QUASI | _OTHER,
            numeric=True,
            apply=an.pad_zip,
        ),
        TreatmentKind(
            name="code_extremes",
            label="Top and bottom coding",
            says="Values beyond a bound become the bound.",
            roles=_QUASI | _OTHER,
            numeric=True,
            parameters=(
                amount("bottom", "At least", None),
                amount("top", "At most", None),
            ),
            apply=_extremes,
            formal=FORMAL["code_extremes"],
            keeps=_BOUNDS,
        ),
        TreatmentKind(
            name="round_to",
            label="Rounding",
            says="Values become the nearest multiple of the step.",
            roles=_QUASI | _OTHER,
            numeric=True,
            parameters=(Parameter(name="step", label="Step", default=10, lower=1e-9),),
            apply=an.round_to,
            formal=FORMAL["round_to"],
        ),
        TreatmentKind(
            name=AGGREGATE,
            label="Microaggregation",
            says="All rows of a group show one value, which is made of theirs. The "
            "other quasi-identifiers form the groups; this one is not generalized, and "
            "the search does not weigh it. A missing value shows what its group shows.",
            roles=_QUASI,
            numeric=None,
            parameters=(choice("aggregate", "Value", *aggregation.FUNCTIONS),),
            formal=True,
        ),
        TreatmentKind(
            name="microaggregate",
            label="Microaggregation of similar rows",
            says="Similar rows, at least k at a time, share one value. Columns with "
            "the same settings are grouped together and are k-anonymous together.",
            roles=_OTHER,
            numeric=True,
            parameters=(
                whole("k", "k", 5),
                choice("aggregate", "Value", "mean", "median", "mode", "interval"),
            ),
            formal=FORMAL["microaggregate"],
            keeps=_BOUNDS,
        ),
        TreatmentKind(
            name="add_noise",
            label="Random noise",
            says="Normal noise is added, with this share of the column's standard "
            "deviation.",
            roles=_OTHER,
            numeric=True,
            parameters=(
                Parameter(name="share", label="Share", default=0.1, lower=1e-6),
            ),
            apply=an.add_noise,
            formal=FORMAL["add_noise"],
        ),
        TreatmentKind(
            name="swap_ranks",
            label="Rank swapping",
            says="Values are swapped with others of about the same rank, at most this "
            "share of the rows apart. The column keeps its distribution.",
            roles=_OTHER,
            numeric=True,
            parameters=(part("share", "Share", 0.05),),
            apply=an.swap_ranks,
            formal=FORMAL["swap_ranks"],
            keeps=DECLARED,
        ),
    )
}


def choices_for(*, role: str, kind: str) -> list[TreatmentKind]:
    """What may be done to a column of this role and kind."""
    return [one for one in TREATMENTS.values() if one.fits(role=role, kind=kind)]


def kind_after(entry: Mapping[str, Any]) -> Kind:
    """The kind of a column that an entry of a policy treats; a number may be whole."""
    numeric = TREATMENTS[entry["name"]].numeric
    if not numeric or entry["name"] == "zip_text":
        return Kind.TEXT
    return Kind.TEXT if entry.get("aggregate") == "interval" else Kind.NUMBER


def kept_after(entry: Mapping[str, Any]) -> frozenset[str]:
    """What was declared of a column and holds of what an entry makes of it."""
    is_number = kind_after(entry) == Kind.NUMBER
    return TREATMENTS[entry["name"]].keeps if is_number else frozenset()


def parameters_of(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an entry as `apply` takes them."""
    return {p.name: given[p.name] for p in TREATMENTS[name].parameters}
