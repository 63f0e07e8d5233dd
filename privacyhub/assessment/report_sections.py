"""Sections that reports of models and of versions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from privacyhub.assessment.report_fields import (
    assumed,
    declared,
    measured,
    not_known,
    section,
)
from privacyhub.assessment.report_ledgers import audit_head, ledger_heads
from privacyhub.datasets.models import Dataset
from privacyhub.governance.models import Ledger


def basic_section(*, name: str, dataset: Dataset, product_type: str) -> dict[str, Any]:
    return section(
        "basic",
        "Basic",
        measured("name", "Name", name),
        measured("curators", "Curators", str(dataset.owner)),
        declared("intended_use", "Intended use", dataset.purpose),
        measured("product_type", "Product type", product_type),
        not_known("region", "Region"),
        not_known("sector", "Sector"),
        declared("description", "Description", dataset.description),
        measured(
            "publication_date", "Date of this report", f"{timezone.now():%Y-%m-%d}"
        ),
    )


def deployment_section(*, release_type: str) -> dict[str, Any]:
    """Actors, trust and access, with the items of NIST SP 800-226."""
    return section(
        "deployment",
        "Deployment model",
        assumed(
            "model",
            "Central or federated",
            "Central: the hub holds the rows and adds the noise.",
        ),
        assumed(
            "actors",
            "Actors and trust",
            "The hub, its operators and the data's stewards are trusted with the rows. "
            "Analysts and everybody else are not: they see releases alone.",
        ),
        measured("release_type", "Release type", release_type),
        measured(
            "access_type",
            "Access type",
            "By grant: each object is shared with named people or groups, and each "
            "grant is on the audit trail.",
        ),
        assumed(
            "access_control",
            "Access control",
            "Rows are encrypted at rest, each version under a key of its own. The keys "
            "are wrapped by one that is not in the database.",
        ),
    )


def attacks_section() -> dict[str, Any]:
    """Attacks that were tried, and the tests of WP216."""
    return section(
        "attacks",
        "Attacks",
        not_known("membership_inference", "Membership inference"),
        not_known("audited_epsilon", "Audited lower bound on epsilon"),
        not_known("audited_confidence", "Confidence of the audited bound"),
        not_known("singling_out", "Singling out"),
        not_known("linkability", "Linkability"),
        not_known("inference", "Inference"),
    )


def attestation_section(
    *, limits: dict[str, Any], accounts: Sequence[Ledger]
) -> dict[str, Any]:
    heads = ledger_heads(accounts)
    trail = audit_head()
    return section(
        "attestation",
        "Limits and attestation",
        limits,
        not_known("attestation", "Attestation of the steward"),
        assumed(
            "approver",
            "Approver",
            "The auditor who signs this report; the signature is kept beside it.",
        ),
        not_known("expiry", "Expiry"),
        measured(
            "report_hash",
            "Hash of this report",
            "SHA-256 of its canonical JSON, printed beside it; the download of the "
            "JSON has this hash.",
        ),
        measured(
            "ledger_head",
            "Ledger head when the report was made",
            [
                f"line {head['last_line']} of {head['lines']}: {head['sha256']}"
                for head in heads
            ],
        ),
        measured(
            "audit_head",
            "Audit head when the report was made",
            f"line {trail['sequence']}: {trail['hash']}",
        ),
    )
