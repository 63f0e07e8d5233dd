"""Privacy reports: made, shared, signed. What was written once is never changed."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.assessment import report_model, report_version
from privacyhub.assessment.models import Report
from privacyhub.assessment.report_figures import readings
from privacyhub.assessment.report_ledgers import audit_head, ledger_heads
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import require_open
from privacyhub.governance import audit, grants, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import Grant, Right
from privacyhub.training.models import Model, ModelVersion

SCHEMA = 1


@transaction.atomic
def create(
    *,
    by: Any,
    model_version: ModelVersion | None = None,
    version: Version | None = None,
) -> Report:
    """Freeze what is known now of a model version, or of a version.

    Reads figures that were measured before, no row. Raises NotAllowed for those who
    do not manage the data, Conflict for what was erased.
    """
    if (model_version is None) == (version is None):
        raise DataError("A report is of one model version or of one version.")
    if model_version is not None:
        _require_manager(Model.objects.managed_by(by), model_version.model_id)
        if model_version.erased_at is not None:
            raise Conflict("This model was erased.", code="erased")
        told, kind = report_model.content(model_version, by=by), "model"
        subject: ModelVersion | Version = model_version
        source = model_version.run.version
    else:
        assert version is not None  # noqa: S101 - one of the two is given
        _require_manager(Version.objects.managed_by(by), version.pk)
        require_open(version)
        told, kind = report_version.content(version, by=by), "version"
        subject, source = version, version
    title = f"Privacy report of {subject}"
    content = {
        "schema": SCHEMA,
        "title": title,
        "kind": kind,
        "subject": str(subject.pk),
        "version": str(source.pk) if source else None,
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "made_by": by.username,
        "ledger_heads": ledger_heads(list(source.ledgers.order_by("created_at")))
        if source
        else [],
        "audit_head": audit_head(),
        **told,
    }
    report = Report.objects.create(
        title=title[:250],
        model_version=model_version,
        version=version,
        content=content,
        sha256=sha256(content),
        created_by=by,
    )
    audit.record(
        actor=by,
        action="report.create",
        target=report,
        of=kind,
        subject=str(subject.pk),
        sha256=report.sha256,
    )
    return report


def canonical(content: dict[str, Any]) -> bytes:
    """The bytes that are hashed and downloaded: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def is_intact(report: Report) -> bool:
    """Whether the content is still the one that was hashed."""
    return sha256(report.content) == report.sha256


@transaction.atomic
def sign(*, report: Report, by: Any) -> Report:
    """Sign a report as an auditor: once, and only while its hash holds."""
    if not by.may(Permission.SIGN_REPORTS):
        raise NotAllowed("Only an auditor signs reports.")
    row = Report.objects.select_for_update().get(pk=report.pk)
    if row.signed_at is not None:
        raise Conflict("This report was signed already.", code="signed")
    if row.created_by_id == by.pk:
        raise NotAllowed("Nobody signs their own report.")
    if not is_intact(row):
        raise Conflict("The report differs from its hash.", code="not_intact")
    row.signed_by, row.signed_at = by, timezone.now()
    row.save(update_fields=["signed_by", "signed_at"])
    audit.record(actor=by, action="report.sign", target=row, sha256=row.sha256)
    return row


def share(
    *, report: Report, user: Any, by: Any, expires_at: datetime | None = None
) -> Grant:
    """Let somebody read a report. It gives nothing on its model or data.

    The metrics that it tells count for the user: raises RecipientCapRefused, which is
    put on record, where the user's own cap does not hold them; then nothing is given.
    """
    try:
        return _share(report=report, user=user, by=by, expires_at=expires_at)
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise


@transaction.atomic
def _share(*, report: Report, user: Any, by: Any, expires_at: datetime | None) -> Grant:
    require_manager(report=report, by=by)
    if user == by:
        raise DataError("You can read this report already.", code="own")
    if user.is_admin:
        raise DataError("Administrators see no reports.", code="admin")
    ledger.deliver(run_ids=_told_by(report), recipient=user.username, by=by)
    return grants.give(
        target=report, right=Right.VIEW, by=by, user=user, expires_at=expires_at
    )


def _told_by(report: Report) -> list[UUID]:
    """The jobs whose released metrics the report may tell."""
    if report.model_version is None:
        return []
    return [
        one.job_id
        for one in readings(report.model_version)
        if one.job_id and one.created_at <= report.created_at
    ]


@transaction.atomic
def unshare(*, report: Report, grant: Grant, by: Any) -> None:
    require_manager(report=report, by=by)
    grants.revoke(grant=grant, by=by)


@transaction.atomic
def note_download(*, report: Report, by: Any, form: str) -> None:
    """Put a download on the trail."""
    audit.record(actor=by, action="report.download", target=report, form=form)


def may_manage(*, report: Report, by: Any) -> bool:
    """Whether the user manages what the report is of."""
    if report.model_version is not None:
        managed: Any = Model.objects.managed_by(by)
        return managed.filter(pk=report.model_version.model_id).exists()
    assert report.version is not None  # noqa: S101 - a report is of one of the two
    return Version.objects.managed_by(by).filter(pk=report.version.pk).exists()


def require_manager(*, report: Report, by: Any) -> None:
    if not may_manage(report=report, by=by):
        raise NotAllowed("Only a steward of the data can do this.")


def _require_manager(managed: Any, pk: Any) -> None:
    if not managed.filter(pk=pk).exists():
        raise NotAllowed("Only a steward of the data can make a report.")
