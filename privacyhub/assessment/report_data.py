"""What a report says of the data: purpose, lineage with hashes, columns, releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privacyhub.anonymization import policy_seals
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.assessment.report_fields import (
    Table,
    declared,
    exact,
    measured,
    not_known,
    section,
    share,
)
from privacyhub.datasets.models import Column, Role, Version, VersionKind
from privacyhub.governance import statement
from privacyhub.governance.models import EntryKind, Grant

# HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i): what a column looks like -> its letter.
SAFE_HARBOR = {
    "person name": "A names",
    "user name": "R other unique characteristics",
    "street address": "B geography smaller than a State",
    "ZIP code": "B geography smaller than a State",
    "place": "B geography smaller than a State",
    "location": "B geography smaller than a State",
    "birth date": "C dates but for the year",
    "age": "C ages over 89",
    "phone": "D phone or E fax numbers",
    "email": "F e-mail addresses",
    "social security number": "G social security numbers",
    "record number": "H medical record or other numbers",
    "IBAN": "J account numbers",
    "credit card": "J account numbers",
    "URL": "N URLs",
    "IP address": "O IP addresses",
    "UUID": "R other unique numbers",
}
_DATES = frozenset({"date", "datetime"})


def lineage(version: Version) -> list[Version]:
    """The version and all that it descends from, parents first."""
    found: dict[Any, Version] = {}
    waiting = [version]
    while waiting:
        one = waiting.pop()
        if one.pk not in found:
            found[one.pk] = one
            waiting.extend(one.parents.all())
    return sorted(found.values(), key=lambda one: (one.created_at, one.number))


def lineage_in_words(version: Version) -> list[str]:
    """Each version of the lineage with its hashes."""
    return [
        f"{one}, {one.get_kind_display().lower()} {one.created_at:%Y-%m-%d %H:%M} UTC. "
        f"SHA-256 of the encrypted file: {one.sha256}. "
        f"Fingerprint of the rows: {one.fingerprint or 'none'}."
        for one in lineage(version)
    ]


def roots(version: Version) -> list[Version]:
    """The uploads that the version descends from."""
    return [one for one in lineage(version) if one.kind == VersionKind.UPLOADED]


def _columns_of_roots(version: Version) -> list[Column]:
    return [column for root in roots(version) for column in root.columns.all()]


def identifiers(version: Version, *, used: set[str]) -> list[str]:
    """Each identifier of the uploads, and what became of it. `used`: what is kept."""
    told = []
    for column in _columns_of_roots(version):
        if column.role != Role.IDENTIFIER:
            continue
        looks = f" (looks like: {column.looks_like})" if column.looks_like else ""
        done = "KEPT" if column.name in used else "dropped"
        told.append(f"{column.name}{looks}: {done}")
    return told or ["none was found or declared"]


def categories(version: Version) -> list[str]:
    """The columns by role: names only."""
    told = []
    columns = list(version.columns.all())
    for role in Role:
        names = [column.name for column in columns if column.role == role]
        if names:
            told.append(f"{role.label}: {', '.join(names)}")
    target = next((column.name for column in columns if column.is_target), None)
    return [*told, f"Target: {target}"] if target else told


def safe_harbor(version: Version, *, used: set[str]) -> list[str]:
    """Columns that fall under Safe Harbor's list, by what they look like."""
    told = []
    for column in _columns_of_roots(version):
        letter = SAFE_HARBOR.get(column.looks_like)
        if letter is None and column.kind in _DATES:
            letter = "C dates but for the year"
        if letter:
            done = "kept, perhaps generalized" if column.name in used else "dropped"
            told.append(f"{letter}: column {column.name}, {done}")
    return [
        *told,
        "The columns were found by their names and the shape of their values. Whether "
        "the rule is met is for the steward to attest; no attestation is recorded.",
    ]


def recipients(version: Version, *, by: Any, model: Any = None) -> list[str]:
    """Who holds a live grant on the data or the model, or was given a release."""
    live = Grant.objects.live().select_related("user", "group")
    found = [*live.filter(dataset=version.dataset), *live.filter(version=version)]
    if model is not None:
        found += live.filter(model=model)
    told = [
        f"{grant.user or grant.group} ({grant.get_right_display().lower()})"
        for grant in found
    ]
    for account in version.ledgers.all():
        lines = statement.entries(ledger=account, user=by)
        releases = lines.filter(kind=EntryKind.UNCOVERED).exclude(recipient="")
        names = releases.order_by("id").values_list("recipient", flat=True)
        told += [f"{name} (a release that is not covered)" for name in names]
    return list(dict.fromkeys(told)) or ["nobody but the data's stewards"]


def run_of(version: Version) -> AnonymizationRun | None:
    return AnonymizationRun.objects.filter(release=version).first()


def runs_of(versions: Sequence[Version]) -> list[AnonymizationRun]:
    """The runs that made these versions, in their order."""
    return [run for version in versions if (run := run_of(version))]


def models_in_words(run: AnonymizationRun) -> list[str]:
    """The privacy models that the search was asked for, with their parameters."""
    told: list[str] = []
    for model in policy_seals.without(run.policy.get("models", [])):
        name = str(model.get("name", "model")).replace("_", " ")
        values = ", ".join(
            f"{key} = {_in_words(value)}"
            for key, value in model.items()
            if key != "name"
        )
        told.append(f"{name}: {values}" if values else name)
    return told


def _in_words(value: Any) -> str:
    """A parameter; a subset by its column, since its value is the run's alone."""
    if not isinstance(value, dict):
        return str(value)
    if "column" in value:
        return f"rows chosen by {value['column']}"
    return ", ".join(f"{key} {told}" for key, told in value.items())


def risk_table(run: AnonymizationRun) -> Table:
    """Re-identification risk of the released table, as the run measured it."""
    risk = run.result.get("risk") or {}
    rows = [
        row
        for label, *path in (
            ("Smallest group", "smallest_class"),
            ("Rows alone in their group", "unique_rows"),
            ("Highest risk, prosecutor", "prosecutor", "highest"),
            ("Average risk, prosecutor", "prosecutor", "average"),
            ("Rows at risk, prosecutor", "prosecutor", "rows_at_risk"),
            ("Average risk, marketer", "marketer"),
        )
        if (row := _risk_row(label, path, risk)) is not None
    ]
    return Table(["Figure", "After"], rows)


def _risk_row(
    label: str, path: Sequence[str], risk: Mapping[str, Any]
) -> list[str] | None:
    """The figure of the released table; the one before is the stewards' own."""
    value: Any = risk.get("after")
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    told = share(value) if isinstance(value, float) else exact(value)
    return None if told is None else [label, told]


def reached(run: AnonymizationRun) -> str | None:
    """k as measured: the smallest group of the released table."""
    after = (run.result.get("risk") or {}).get("after") or {}
    return exact(after.get("smallest_class"))


def joint_k(run: AnonymizationRun) -> str | None:
    """The fewest rows that share their group in all releases of the family."""
    joint = run.result.get("joint") or run.result.get("joint_risk") or {}
    return exact(joint.get("smallest"))


def releases(version: Version) -> list[Version]:
    """The dataset's anonymized versions: each is on record as a release."""
    found = version.dataset.versions.filter(kind=VersionKind.ANONYMIZED)
    return list(found.order_by("created_at"))


def anonymity_fields(runs: Sequence[AnonymizationRun]) -> list[dict[str, Any]]:
    """k, l, t asked and reached, risk and joint k, of the releases that concern it."""
    if not runs:
        none = "none: the dataset has no anonymized version"
        return [
            measured("anonymity_asked", "k, l, t asked for", none),
            measured("anonymity_reached", "k reached", none),
            measured("reidentification_risk", "Re-identification risk", none),
            measured("joint_k", "Joint k of the family's releases", none),
        ]
    rows = [row for run in runs for row in _named(run, risk_table(run).rows)]
    return [
        declared(
            "anonymity_asked",
            "k, l, t asked for",
            [f"{run.release}: {'; '.join(models_in_words(run))}" for run in runs],
        ),
        measured(
            "anonymity_reached",
            "k reached",
            [f"{run.release}: k = {k}" for run in runs if (k := reached(run))],
        ),
        measured(
            "reidentification_risk",
            "Re-identification risk",
            Table(["Version", "Figure", "After"], rows),
        ),
        measured("joint_k", "Joint k of the family's releases", _joint_in_words(runs)),
    ]


def _joint_in_words(runs: Sequence[AnonymizationRun]) -> list[str]:
    told = [
        f"{run.release}, with all releases before it: {k}"
        for run in runs
        if (k := joint_k(run))
    ]
    if not told and len(runs) == 1 and (k := reached(runs[0])):
        told = [f"{runs[0].release} is the only release: {k}"]
    return told


def _named(run: AnonymizationRun, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[str(run.release), *row] for row in rows]


def data_section(
    version: Version,
    *,
    by: Any,
    used: set[str],
    runs: Sequence[AnonymizationRun],
    model: Any = None,
) -> dict[str, Any]:
    """Purpose, lineage, identifiers, and the anonymity of the releases."""
    dataset = version.dataset
    return section(
        "data",
        "Data",
        declared("legal_basis", "Legal basis", dataset.legal_basis),
        declared("purpose", "Purpose", dataset.purpose),
        declared("categories", "Columns by role", categories(version)),
        measured("recipients", "Recipients", recipients(version, by=by, model=model)),
        not_known("retention", "Retention"),
        measured("dataset_hash", "SHA-256 of the version's file", version.sha256),
        measured("lineage", "Lineage, oldest first", lineage_in_words(version)),
        measured(
            "identifiers",
            "Identifiers found and what was done",
            identifiers(version, used=used),
        ),
        *anonymity_fields(runs),
        measured(
            "safe_harbor",
            "HIPAA Safe Harbor, columns that it lists",
            safe_harbor(version, used=used),
        ),
    )
