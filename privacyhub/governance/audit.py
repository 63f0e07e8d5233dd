"""The audit trail: who did what to which object, in one hash-chained line.

`record` runs inside the transaction of the write it describes, so neither can be
there without the other. The head row's lock puts concurrent writers in order;
record late in a transaction to hold it briefly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.utils import timezone

from privacyhub.governance.models import AuditEvent, AuditHead


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
    with transaction.atomic():
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
        head.save()
    return event


def _chain(previous: str, canonical: str) -> str:
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()


def first_bad_row() -> int | None:
    """The sequence number of the first line that does not fit; None if all do."""
    expected, previous = 1, "0" * 64
    for event in _in_order():
        told = json.loads(event.canonical)
        intact = (
            event.sequence == expected == told["sequence"]
            and event.previous_hash == previous
            and event.hash == _chain(previous, event.canonical)
            and event.detail == told["detail"]
            and (event.actor, event.action) == (told["actor"], told["action"])
            and (event.object_type, event.object_id)
            == (told["object_type"], told["object_id"])
            and event.at.isoformat(timespec="microseconds") == told["at"]
        )
        if not intact:
            return expected
        expected, previous = expected + 1, event.hash
    head = AuditHead.objects.filter(pk=1).first()
    if head and (head.sequence, head.hash) != (expected - 1, previous):
        return expected
    return None


def _in_order() -> Iterator[AuditEvent]:
    return AuditEvent.objects.order_by("sequence").iterator(chunk_size=2000)
