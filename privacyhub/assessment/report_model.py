"""The privacy report of a model version, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from privacyhub.assessment import report_data, report_figures, report_ledgers
from privacyhub.assessment.models import Assessment
from privacyhub.assessment.report_fields import (
    Table,
    assumed,
    decimal_up,
    declared,
    field,
    measured,
    odds_of_100,
    section,
)
from privacyhub.assessment.report_figures import Loss, is_private
from privacyhub.assessment.report_implementation import (
    NO_GUARANTEE,
    implementation_section,
)
from privacyhub.assessment.report_sections import (
    attacks_section,
    attestation_section,
    basic_section,
    deployment_section,
)
from privacyhub.datasets.models import Version
from privacyhub.governance.models import Ledger
from privacyhub.training.models import ModelVersion

_TASKS = {
    "binary": "Binary classifier",
    "multiclass": "Classifier of several classes",
    "regression": "Regression",
}


def content(model_version: ModelVersion, *, by: Any) -> dict[str, Any]:
    """Sections, figures and charts. Released metrics only, never exact ones."""
    run = model_version.run
    version = run.version
    if version is None:  # a model version's run has trained on one
        raise ValueError("The run of this model has no version.")
    accounts = list(version.ledgers.order_by("created_at"))
    loss = report_figures.loss_of(model_version)
    assessment = report_figures.latest_released(model_version)
    released = report_figures.released_of(assessment)
    charged = _run_ids(model_version)
    return {
        "figures": report_figures.machine_readable(
            loss=loss, released=released, totals=report_ledgers.totals(accounts)
        ),
        "charts": report_figures.charts(loss=loss, released=released),
        "sections": [
            _basic(model_version, version),
            _variant(model_version, accounts),
            _loss(model_version, loss, accounts, charged),
            deployment_section(
                release_type="A trained model: its file, its predictions and the "
                "released metrics.",
            ),
            _accounting(model_version, loss, accounts, charged, by=by),
            implementation_section(model_version),
            _data(model_version, version, by=by),
            attacks_section(),
            _utility(model_version, released, assessment),
            attestation_section(
                limits=_limits(model_version, accounts), accounts=accounts
            ),
        ],
    }


def _run_ids(model_version: ModelVersion) -> list[UUID]:
    run = model_version.run
    jobs = [run.job_id, run.assess_job_id]
    jobs += [one.job_id for one in report_figures.readings(model_version)]
    return [job for job in dict.fromkeys(jobs) if job is not None]


def _basic(model_version: ModelVersion, version: Version) -> dict[str, Any]:
    model = model_version.model
    kind = _TASKS.get(model.task, model.task)
    return basic_section(
        name=str(model_version),
        dataset=version.dataset,
        product_type=f"Machine-learning model. {kind} of “{model.target}”",
    )


def _variant(model_version: ModelVersion, accounts: Sequence[Ledger]) -> dict[str, Any]:
    guarantee = model_version.guarantee
    sources = guarantee.get("column_sources") or {}
    told = {"declared": "declared", "dp": "found by DP statistics"}
    domain = [f"{name}: {told.get(how, how)}" for name, how in sources.items()]
    private = is_private(model_version)
    return section(
        "variant",
        "Variant of differential privacy",
        assumed(
            "neighbouring_relation",
            "Neighbouring relation",
            guarantee.get("relation") if private else NO_GUARANTEE,
        ),
        measured("data_domain", "Bounds and domains of the columns", domain),
        declared(
            "declared_units",
            "Declared number of units",
            [
                f"{account.declared_units:,}"
                for account in accounts
                if account.declared_units
            ],
        ),
        measured(
            "unprotected_quantities",
            "Unprotected quantities",
            [
                "Names and kinds of the columns.",
                *(guarantee.get("not_covered") or ([] if private else [NO_GUARANTEE])),
            ],
        ),
    )


def _loss(
    model_version: ModelVersion,
    loss: Loss,
    accounts: Sequence[Ledger],
    charged: Sequence[UUID],
) -> dict[str, Any]:
    guarantee = model_version.guarantee
    private = is_private(model_version)
    how = (
        "The larger of the two sides: one coin a unit puts each person either among "
        "the training units or among the held-out ones."
        if loss.parallel
        else "The sum: both sides are charged to all units"
        + (f", because {loss.why_all}." if loss.why_all else ".")
    )
    groups = guarantee.get("group_epsilons") or {}
    odds = odds_of_100(loss.total)
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
        measured(
            "most_rows",
            "Most rows per unit, and how it is enforced",
            [
                f"{account.most_rows_per_unit}: "
                + (
                    "each record is a unit of its own"
                    if account.unit == "record"
                    else "more are left out at random, without looking at values"
                )
                for account in accounts
            ],
        ),
        measured("epsilon", "Epsilon of the model", loss.total or _none(private)),
        assumed("epsilon_explained", "How the epsilon is made up", how),
        measured(
            "epsilon_training",
            "Epsilon, training units",
            loss.training or _none(private),
        ),
        measured("epsilon_metrics", "Epsilon, held-out units", loss.metrics),
        measured("delta", "Delta", loss.delta or _none(private)),
        assumed(
            "odds",
            "Odds",
            f"From an even chance, an attacker who wants to know whether one unit is "
            f"in the data is right in at most {odds} of 100 cases, delta aside."
            if odds
            else _none(private),
        ),
        measured(
            "group_epsilons",
            "Epsilon for groups of units",
            [
                f"{size} units: {decimal_up(value) or 'unbounded'}"
                for size, value in groups.items()
            ],
        ),
        measured(
            "filter_epsilon",
            "Epsilon of the same events in the ledger's Rényi filter",
            decimal_up(guarantee.get("filter_epsilon")),
        ),
        measured(
            "rdp_curve",
            "Rényi curve, as charged",
            report_ledgers.rdp_curve(run_ids=charged),
        ),
    )


def _none(private: bool) -> str | None:
    return None if private else NO_GUARANTEE


def _accounting(
    model_version: ModelVersion,
    loss: Loss,
    accounts: Sequence[Ledger],
    charged: Sequence[UUID],
    *,
    by: Any,
) -> dict[str, Any]:
    guarantee = model_version.guarantee
    versions = guarantee.get("versions") or {}
    name = guarantee.get("accountant")
    library = versions.get("dp-accounting")
    accountant = f"{name}, dp-accounting {library}" if name and library else name
    return report_ledgers.accounting_section(
        accounts,
        by=by,
        run_ids=charged,
        accountant=measured("accountant", "Accountant and version", accountant),
        samplers=(
            assumed(
                "sampler_assumed",
                "Sampler that is accounted",
                guarantee.get("sampler_assumed") or guarantee.get("sampler"),
            ),
            measured(
                "sampler_used",
                "Sampler that ran",
                guarantee.get("sampler_used") or guarantee.get("sampler"),
            ),
        ),
        this_run=[
            f"{label}: epsilon {value}"
            for label, value in (
                ("training units", loss.training),
                ("held-out units", loss.metrics),
            )
            if value
        ],
    )


def _data(model_version: ModelVersion, version: Version, *, by: Any) -> dict[str, Any]:
    inputs = model_version.summary.get("inputs", [])
    used = {str(column.get("name")) for column in inputs} | {model_version.model.target}
    return report_data.data_section(
        version,
        by=by,
        used=used,
        runs=report_data.runs_of(report_data.releases(version)),
        model=model_version.model,
    )


def _utility(
    model_version: ModelVersion,
    released: Mapping[str, Any],
    assessment: Assessment | None,
) -> dict[str, Any]:
    rows = report_figures.metric_rows(released)
    confusion = released.get("confusion") or {}
    labels = [str(label) for label in confusion.get("labels", [])]
    counts = [
        [label, *(str(count) for count in row)]
        for label, row in zip(labels, confusion.get("counts", []), strict=False)
    ]
    return section(
        "utility",
        "Utility",
        measured(
            "metrics",
            "Metrics on held-out units, with 95% intervals",
            Table(["Metric", "Value", "From", "To"], rows),
        ),
        measured(
            "confusion",
            "Confusion, noisy counts",
            Table(["True class", *(f"Predicted {one}" for one in labels)], counts),
        ),
        assumed(
            "metrics_covered",
            "Whether the metrics are covered",
            _metrics_covered(private=is_private(model_version)) if rows else None,
        ),
        measured(
            "assessed_at",
            "Assessed",
            f"{assessment.created_at:%Y-%m-%d %H:%M} UTC" if assessment else None,
        ),
        measured(
            "group_errors",
            "Error per group, with the noisy rows of each group and 95% intervals",
            Table(
                ["Column", "Group", "Rows", "Figure", "Value", "From", "To"],
                report_figures.group_rows(model_version),
            ),
        ),
    )


def _metrics_covered(*, private: bool) -> str:
    covered = (
        "Covered by the guarantee."
        if private
        else "For the held-out units alone, by the noise. The model was fitted without "
        "noise, and its metrics may reveal it, and with it its training units."
    )
    return (
        f"{covered} The metrics follow from one noisy histogram of scores, and their "
        "intervals include its noise. Exact metrics stay with stewards and are not in "
        "this report."
    )


def _limits(model_version: ModelVersion, accounts: Sequence[Ledger]) -> dict[str, Any]:
    told = [
        "The guarantee bounds what the model adds to what an attacker knows; it does "
        "not say that nothing can be inferred about a group of people.",
        "Delta is left aside where odds are given.",
    ]
    if not is_private(model_version):
        told = [
            NO_GUARANTEE,
            f"The reason given: {model_version.run.reason or 'not known'}",
        ]
    if not report_ledgers.is_covered(accounts):
        told.append(
            "Releases of this family without differential privacy are not covered by "
            "any epsilon of this report."
        )
    return field("limits", "Limits", told, "declared")
