"""Domains of keyed pseudonyms, and the keys that make them.

A domain ("patient") belongs to a steward. Columns that were given pseudonyms of one
domain join across tables; without the key nobody can compute or undo a pseudonym.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from jobs.models import Job
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization.models import AnonymizationRun, PseudonymDomain
from privacyhub.datasets.errors import Conflict
from privacyhub.governance import audit, keys

PSEUDONYM = "pseudonym"


def domains_of(policy: dict[str, Any]) -> dict[str, str]:
    """The domain of each column that gets pseudonyms."""
    return {
        column: entry["domain"]
        for column, entry in policy.get("treatments", {}).items()
        if entry["name"] == PSEUDONYM
    }


@transaction.atomic
def ensure(*, names: Iterable[str], by: Any) -> None:
    """Make a key for each domain that the user does not have yet."""
    for name in sorted(set(names)):
        living = PseudonymDomain.objects.filter(owner=by, name=name, destroyed_at=None)
        if living.exists():
            continue
        key, _ = keys.create(purpose="pseudonyms")
        domain = PseudonymDomain.objects.create(name=name, owner=by, key=key)
        audit.record(actor=by, action="pseudonyms.create", target=domain, name=name)


def key_of(*, name: str, owner: Any) -> bytes:
    """The key of a domain, or Conflict where it was destroyed."""
    living = PseudonymDomain.objects.filter(owner=owner, name=name, destroyed_at=None)
    domain = living.select_related("key").first()
    if domain is None:
        raise Conflict(
            f"The key of the pseudonyms of “{name}” was destroyed.",
            code="no_pseudonym_key",
        )
    return keys.unwrap(domain.key)


@transaction.atomic
def destroy(*, domain: PseudonymDomain, by: Any) -> None:
    """Cut the link for good: the same value gets another pseudonym from now on."""
    row = PseudonymDomain.objects.select_for_update().get(pk=domain.pk)
    if row.owner_id != by.pk:
        raise NotAllowed("Only its owner can destroy a key.")
    if row.destroyed_at is not None:
        raise Conflict("The key is destroyed already.", code="destroyed")
    if _is_waited_for(row):
        raise Conflict("A job that uses this key is queued or running.", code="busy")
    row.destroyed_at = timezone.now()
    row.save(update_fields=["destroyed_at"])
    keys.destroy(row.key)
    audit.record(actor=by, action="pseudonyms.destroy", target=row, name=row.name)


def _is_waited_for(domain: PseudonymDomain) -> bool:
    open_jobs = Job.objects.open().filter(kind="anonymize")
    waiting = AnonymizationRun.objects.filter(
        job__in=open_jobs.values("pk"), owner=domain.owner
    )
    return any(domain.name in domains_of(run.policy).values() for run in waiting)
