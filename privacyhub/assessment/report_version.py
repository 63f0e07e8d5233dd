"""The privacy report of a version of a dataset, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from privacyhub.anonymization import narration
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.anonymization.policies import FULL_DOMAIN
from privacyhub.anonymization.vocabulary import METHODS
from privacyhub.assessment import report_data, report_ledgers
from privacyhub.assessment.report_fields import (
    assumed,
    declared,
    exact,
    field,
    measured,
    not_known,
    section,
)
from privacyhub.assessment.report_sections import (
    attacks_section,
    attestation_section,
    basic_section,
    deployment_section,
)
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.governance.models import Ledger

_NO_EPSILON = "None: this version was not made with differential privacy."


def content(version: Version, *, by: Any) -> dict[str, Any]:
    """Sections and figures. Counts of private rows are only told of a release."""
    accounts = list(version.ledgers.order_by("created_at"))
    run = report_data.run_of(version)
    totals = report_ledgers.totals(accounts)
    figures: dict[str, Any] = {
        "epsilon_training": None,
        "epsilon_metrics": None,
        "epsilon": None,
        "delta": None,
        "k": report_data.reached(run) if run else None,
        "joint_k": report_data.joint_k(run) if run else None,
    }
    return {
        "figures": figures | {f"ledger_{key}": told for key, told in totals.items()},
        "charts": {},
        "sections": [
            basic_section(
                name=str(version),
                dataset=version.dataset,
                product_type=f"Table of rows, {version.get_kind_display().lower()}",
            ),
            _variant(version),
            _loss(accounts),
            deployment_section(release_type=_release_type(version)),
            report_ledgers.accounting_section(
                accounts,
                by=by,
                run_ids=[],
                accountant=assumed(
                    "accountant",
                    "Accountant and version",
                    "The ledger's Rényi filter; this version itself was not charged.",
                ),
                samplers=(
                    not_known("sampler_assumed", "Sampler that is accounted"),
                    not_known("sampler_used", "Sampler that ran"),
                ),
                this_run=[_NO_EPSILON],
            ),
            _implementation(version),
            report_data.data_section(
                version, by=by, used=_names(version), runs=[run] if run else []
            ),
            attacks_section(),
            _utility(version),
            attestation_section(limits=_limits(version, accounts), accounts=accounts),
        ],
    }


def _names(version: Version) -> set[str]:
    """The columns that whoever is given this version sees."""
    if version.kind == VersionKind.ANONYMIZED:
        return set(version.columns.values_list("name", flat=True))
    return set(
        version.columns.exclude(role=Role.IDENTIFIER).values_list("name", flat=True)
    )


def _release_type(version: Version) -> str:
    if version.kind == VersionKind.ANONYMIZED:
        return "A table: whoever is given it can download it."
    return "None: only anonymized versions leave stewards."


def _variant(version: Version) -> dict[str, Any]:
    return section(
        "variant",
        "Variant of differential privacy",
        measured("neighbouring_relation", "Neighbouring relation", _NO_EPSILON),
        declared(
            "data_domain",
            "Bounds and domains that were declared",
            [
                f"{column.name}: {_domain(column)}"
                for column in version.columns.all()
                if column.lower is not None or column.categories
            ],
        ),
        measured(
            "unprotected_quantities",
            "Unprotected quantities",
            "The whole table: no epsilon bounds what it reveals.",
        ),
    )


def _domain(column: Any) -> str:
    if column.categories:
        return f"{len(column.categories)} declared categories"
    upper = exact(column.upper) or "no upper bound"
    return f"{exact(column.lower)} to {upper}"


def _loss(accounts: Sequence[Ledger]) -> dict[str, Any]:
    units = [report_ledgers.unit_in_words(account) for account in accounts]
    return section(
        "privacy_loss",
        "Privacy loss",
        declared("unit_of_privacy", "Unit of privacy", "; ".join(dict.fromkeys(units))),
        assumed(
            "adjacency",
            "Adjacency",
            "Two tables are neighbours when one unit is added to or removed from one.",
        ),
        declared(
            "most_rows",
            "Most rows per unit, and how it is enforced",
            [f"{account.most_rows_per_unit}, at training" for account in accounts],
        ),
        measured("epsilon", "Epsilon", _NO_EPSILON),
        measured("delta", "Delta", _NO_EPSILON),
        not_known("rdp_curve", "Rényi curve, as charged"),
    )


def _implementation(version: Version) -> dict[str, Any]:
    run = report_data.run_of(version)
    levels = run.result.get("levels") or {} if run else {}
    heights = run.result.get("heights") or {} if run else {}
    mechanism = {
        VersionKind.ANONYMIZED: recoding(run),
        VersionKind.CORRECTED: "The parent's rows and one row a corrected prediction.",
        VersionKind.UPLOADED: "As it was uploaded.",
    }.get(VersionKind(version.kind))
    return section(
        "implementation",
        "Implementation",
        not_known("preprocessing_cost", "Cost of preprocessing"),
        not_known("tuning_cost", "Cost of tuning"),
        measured("mechanism", "Mechanism", mechanism),
        measured(
            "levels",
            "Generalization of the quasi-identifiers",
            [
                f"{name}: level {level} of {heights.get(name, 'not known')}"
                for name, level in levels.items()
            ]
            + [
                f"{name}: not generalized; every group shows {shown}"
                for name, shown in (
                    narration.shown_by_groups(run.result).items() if run else ()
                )
            ]
            or ("none" if run is None else None),
        ),
        measured(
            "suppressed",
            "Suppressed rows",
            exact(run.result.get("suppressed")) if run else "none",
        ),
        assumed(
            "timing",
            "Timing and side channels",
            "The search looks at the rows and stays with stewards. How long it takes "
            "is not protected.",
        ),
        assumed(
            "random_generator",
            "Random generator",
            "Keys and the coin of each unit come from the operating system.",
        ),
    )


def recoding(run: AnonymizationRun | None) -> str | None:
    """How the rows were recoded, and whether the search was proved."""
    if run is None:
        return None
    method = METHODS[run.policy.get("method", FULL_DOMAIN)]
    proved = "proved" if run.result.get("optimal") else "not proved"
    return (
        f"{method.label}, over value hierarchies, with a limit on suppressed rows. "
        f"That there is no better solution is {proved}."
    )


def _utility(version: Version) -> dict[str, Any]:
    run = report_data.run_of(version)
    rows = version.rows if version.kind == VersionKind.ANONYMIZED else None
    return section(
        "utility",
        "Utility",
        measured("rows", "Rows of the release", exact(rows)),
        measured("columns", "Columns", exact(version.columns_count)),
        measured(
            "loss",
            "Loss of the generalization, 0 to 1",
            exact(round(run.result["score"], 4))
            if run and run.result.get("score") is not None
            else None,
        ),
        not_known("group_errors", "Error per group, with the rows of each group"),
    )


def _limits(version: Version, accounts: Sequence[Ledger]) -> dict[str, Any]:
    told = []
    if version.kind == VersionKind.ANONYMIZED:
        told += [
            "k-anonymity bounds re-identification by the quasi-identifiers alone. It "
            "does not bound what can be inferred from the other columns, nor what two "
            "releases tell together.",
            "Whether people are still identifiable depends on the case: the attacks "
            "that were tried and their figures are under Attacks.",
        ]
    else:
        told.append(
            "This version holds the rows of people as they are, identifiers included "
            "where there were any."
        )
    if not report_ledgers.is_covered(accounts):
        told.append(
            "Releases of this family without differential privacy are not covered by "
            "any epsilon."
        )
    return field("limits", "Limits", told, "declared")
