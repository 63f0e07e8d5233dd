"""The releases of a family, and what they give away together.

Each release may be k-anonymous and two of them single a person out: 5 people of one
table can meet 5 of the other in 1. Row ids are the same in every version of a family,
so the classes of all releases meet row by row.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.anonymization.sizes import binned
from privacyhub.datasets import tables
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.engines import anonymize as an
from privacyhub.engines.tables import ROW_ID


def releases(version: Version) -> list[Version]:
    """The anonymized versions of the family, erased ones included, oldest first.

    A family is what shares a ledger: the versions of another owner's dataset too, if
    it holds the same table.
    """
    return list(
        Version.objects.filter(
            kind=VersionKind.ANONYMIZED, ledgers__in=version.ledgers.all()
        )
        .distinct()
        .select_related("dataset")
        .order_by("created_at")
    )


def readable(version: Version) -> list[Version]:
    """The releases of the family that were not erased."""
    return [release for release in releases(version) if release.erased_at is None]


def quasi_identifiers(release: Version) -> list[str]:
    """The columns by which people may be found in a release."""
    run = AnonymizationRun.objects.filter(release=release).first()
    if run is not None:
        return list(run.policy["quasi_identifiers"])
    chosen = release.columns.filter(role=Role.QUASI_IDENTIFIER)
    return list(chosen.values_list("name", flat=True))


def joint_risk(
    *, earlier: list[Version], planned: pl.DataFrame, columns: list[str]
) -> dict[str, Any] | None:
    """The joint risk of the earlier releases and the planned one; None if alone.

    What one release takes for a quasi-identifier the attacker knows, so it counts in
    each release that shows it. The last of `k` and `rows_below` is the planned one's.
    """
    readable = [release for release in earlier if release.erased_at is None]
    if not readable:
        return None if not earlier else _unknown(earlier)
    known = set(columns).union(*(quasi_identifiers(release) for release in readable))
    frames = [
        an.compact(tables.batches(release, [ROW_ID, *_shown(release, known)]))
        for release in readable
    ]
    mine = [name for name in planned.columns if name in known]
    frames.append(planned.select([ROW_ID, *mine]))
    found = asdict(an.risk.joint_k(frames, row=ROW_ID))
    found["histogram"] = binned(found["histogram"])
    found["unreadable"] = len(earlier) - len(readable)
    found["releases"] = [str(release.pk) for release in readable]
    return found


def _shown(release: Version, known: set[str]) -> list[str]:
    names = release.columns.order_by("position").values_list("name", flat=True)
    return [name for name in names if name in known]


def _unknown(earlier: list[Version]) -> dict[str, Any]:
    """All earlier releases were erased here; copies of them may be anywhere."""
    return {
        "rows": 0,
        "smallest": None,
        "classes": 0,
        "k": [],
        "rows_below": [],
        "suppressed_in_all": 0,
        "histogram": [],
        "unreadable": len(earlier),
        "releases": [],
    }
