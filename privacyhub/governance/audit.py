"""The audit trail: who did what to which object, in one hash-chained line.

`record` runs inside the transaction of the write it describes, so neither can be
there without the other. The head row's lock puts concurrent writers in order;
record late in a transaction to hold it briefly.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from privacyhub.accounts.roles import NotAllowed, Permission
from privacyhub.engines.tables import escape_cell
from privacyhub.governance import heads
from privacyhub.governance.models import AuditEvent, AuditHead
from privacyhub.governance.snapshots import snapshot

CSV_COLUMNS = (
    "sequence",
    "at",
    "actor",
    "action",
    "object_type",
    "object_id",
    "detail",
    "hash",
)


_recorded_hooks: list[Callable[[], None]] = []


def when_recorded(hook: Callable[[], None]) -> Callable[[], None]:
    """Call `hook` in each transaction that adds to the trail; it may refuse it."""
    _recorded_hooks.append(hook)
    return hook


def record(
    *,
    actor: Any,
    action: str,
    target: Any = None,
    object_type: str = "",
    object_id: Any = "",
    **detail: Any,
) -> AuditEvent:
    """Append a line. `actor` is a user, or a word such as "system".

    `target` is a model instance; else name the object by type and id. `detail` must
    be JSON and hold no cell values.
    """
    if target is not None:
        object_type, object_id = target._meta.model_name, target.pk
    with transaction.atomic(savepoint=False):
        head, _ = AuditHead.objects.select_for_update().get_or_create(pk=1)
        line = {
            "sequence": head.sequence + 1,
            "at": timezone.now().isoformat(timespec="microseconds"),
            "actor_id": str(getattr(actor, "pk", "") or ""),
            "actor": str(getattr(actor, "username", actor) or "system"),
            "action": action,
            "object_type": object_type,
            "object_id": str(object_id),
            "detail": json.loads(json.dumps(detail, default=str)),
        }
        canonical = json.dumps(line, sort_keys=True, separators=(",", ":"))
        event = AuditEvent.objects.create(
            **{**line, "at": line["at"]},
            canonical=canonical,
            previous_hash=head.hash,
            hash=_chain(head.hash, canonical),
        )
        head.sequence, head.hash = event.sequence, event.hash
        head.save(update_fields=["sequence", "hash"])
        for hook in _recorded_hooks:
            hook()
        if heads.is_due(head):
            transaction.on_commit(heads.export_audit_head, robust=True)
    return event


def select(
    *,
    actor: str = "",
    action: str = "",
    object_type: str = "",
    object_id: str = "",
    since: date | None = None,
    until: date | None = None,
) -> QuerySet[AuditEvent]:
    """Lines that fit every given filter, newest first. Days are UTC and inclusive.

    `action` also finds the actions below it: "job" finds "job.submit".
    """
    lines = AuditEvent.objects.all()
    if actor:
        lines = lines.filter(actor=actor)
    if action:
        lines = lines.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if object_type:
        lines = lines.filter(object_type=object_type)
    if object_id:
        lines = lines.filter(object_id=object_id)
    if since:
        lines = lines.filter(at__gte=_midnight(since))
    if until:
        lines = lines.filter(at__lt=_midnight(until) + timedelta(days=1))
    return lines


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def require_reader(user: Any) -> None:
    """Auditors and administrators read the trail; NotAllowed for others."""
    if not user.may(Permission.READ_AUDIT):
        raise NotAllowed


def to_csv(lines: QuerySet[AuditEvent]) -> Iterator[str]:
    """The lines as CSV, piece by piece; no cell runs as a formula."""
    yield _csv_row(CSV_COLUMNS)
    for event in lines.iterator(chunk_size=2000):
        yield _csv_row(
            [
                event.sequence,
                event.at.isoformat(timespec="microseconds"),
                event.actor,
                event.action,
                event.object_type,
                event.object_id,
                json.dumps(event.detail, sort_keys=True),
                event.hash,
            ]
        )


def _csv_row(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([escape_cell(str(cell)) for cell in cells])
    return buffer.getvalue()


def _chain(previous: str, canonical: str) -> str:
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()


def first_bad_row() -> int | None:
    """The sequence number of the first line that does not fit; None if all do."""
    with snapshot():  # lines and head of one moment
        return _first_bad_row()


def _first_bad_row() -> int | None:
    expected, previous = 1, "0" * 64
    try:
        for event in AuditEvent.objects.order_by("sequence").iterator(chunk_size=2000):
            if not _is_intact(event, expected=expected, previous=previous):
                return expected
            expected, previous = expected + 1, event.hash
    except _UNREADABLE:  # a column that no longer holds what its type says
        return expected
    head = AuditHead.objects.filter(pk=1).first() or AuditHead()
    if (head.sequence, head.hash) != (expected - 1, previous):
        return expected
    return None


_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


def _is_intact(event: AuditEvent, *, expected: int, previous: str) -> bool:
    try:
        told = json.loads(event.canonical)
        return (
            event.sequence == expected == told["sequence"]
            and event.previous_hash == previous
            and event.hash == _chain(previous, event.canonical)
            and event.detail == told["detail"]
            and (event.actor_id, event.actor) == (told["actor_id"], told["actor"])
            and event.action == told["action"]
            and (event.object_type, event.object_id)
            == (told["object_type"], told["object_id"])
            and event.at.isoformat(timespec="microseconds") == told["at"]
        )
    except _UNREADABLE:
        return False
