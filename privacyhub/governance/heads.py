"""Signed heads: how far the trail and each ledger have come, kept in a second place.

A hash chain shows that a line was changed, and not that its end was cut off. So the
heads are signed and written to the folder AUDIT_HEADS_DIR, which should lie on another
disk than the database:

    HUB/audit.jsonl        every exported head of the audit trail, one a line
    HUB/ledger-ID.json     the last line of a ledger, what was spent by then, and caps
    HUB/erased.jsonl       data keys that were destroyed (see `erasures`)

HUB names the database and lives in its backups. A ledger's head is written after each
commit that adds a line, the trail's after AUDIT_EXPORT_LINES lines or
AUDIT_EXPORT_EVERY. The signing key (Ed25519) comes from the secret of the key file,
which lies apart from the database and from this folder; the public key is for anyone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from privacyhub.governance import head_files, keys
from privacyhub.governance.models import (
    AuditEvent,
    AuditHead,
    Ledger,
    LedgerEntry,
    LedgerGap,
)

logger = logging.getLogger(__name__)

FORMAT = 1
DECLARED = (
    *("unit", "unit_key", "most_rows_per_unit", "declared_units"),
    *("epsilon_cap", "delta_cap"),
)
"""Fields of a ledger that its head repeats."""
TRAIL = "audit.jsonl"
GONE = "gone"
"""The kind of what stands for an exported head that is in the folder no more."""
_AT_ONCE = 100  # heads of ledgers a query looks for
_TAIL = 16_384  # bytes; a head has some 400


class Signed(TypedDict):
    """A statement with its Ed25519 signature over the canonical JSON, both base64."""

    statement: dict[str, Any]
    signature: str
    public_key: str


def public_key() -> str:
    """The raw 32-byte public key, base64."""
    return base64.b64encode(_private_key().public_key().public_bytes_raw()).decode()


def fingerprint() -> str:
    """The public key's SHA-256, which two people can compare aloud."""
    return hashlib.sha256(base64.b64decode(public_key())).hexdigest()


def _private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keys.identity_key("signed heads"))


def sign(statement: dict[str, Any]) -> Signed:
    signature = _private_key().sign(head_files.canonical(statement))
    return {
        "statement": statement,
        "signature": base64.b64encode(signature).decode(),
        "public_key": public_key(),
    }


def is_genuine(head: Any) -> bool:
    """Whether this hub signed it. False for anything that is no signed head."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key()))
        signature = base64.b64decode(head["signature"])
        key.verify(signature, head_files.canonical(head["statement"]))
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return True


def hub() -> AuditHead:
    return AuditHead.objects.get_or_create(pk=1)[0]


def folder(head: AuditHead | None = None) -> Path:
    return Path(settings.AUDIT_HEADS_DIR) / str((head or hub()).hub)


def can_be_written() -> bool:
    """Whether the second place takes heads now. Makes no row of the hub's."""
    known = AuditHead.objects.filter(pk=1).first()
    place = folder(known) if known else Path(settings.AUDIT_HEADS_DIR)
    return head_files.takes_a_file(place)


# What is said now


def audit_head() -> Signed:
    """The trail's end as it stands, signed; whoever keeps it can hold us to it."""
    return sign(_of_trail(hub()))


def _of_trail(head: AuditHead) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "audit",
        "hub": str(head.hub),
        "sequence": head.sequence,
        "hash": head.hash,
        "at": timezone.now().isoformat(timespec="microseconds"),
    }


def _of_ledger(row: Ledger, last: LedgerEntry, head: AuditHead) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "ledger",
        "hub": str(head.hub),
        "ledger": str(row.pk),
        "sequence": last.number,
        "hash": last.hash,
        "spent_train": row.spent_train,
        "spent_heldout": row.spent_heldout,
        "spent_delta": row.spent_delta,
        "fingerprint": row.fingerprint,
        "declared": _declared(row),
        "uncovered_at": _at(row.uncovered_release_at),
        "recipients": {
            cap.recipient: {
                "cap": cap.epsilon_cap,
                "spent_train": cap.spent_train,
                "spent_heldout": cap.spent_heldout,
            }
            for cap in row.recipient_caps.all()
        },
        "at": timezone.now().isoformat(timespec="microseconds"),
    }


def _declared(row: Ledger) -> dict[str, Any] | None:
    if not row.is_declared:
        return None
    told: dict[str, Any] = {field: getattr(row, field) for field in DECLARED}
    return told | {"fixed_at": _at(row.fixed_at)}


def _at(moment: datetime | None) -> str:
    return moment.isoformat(timespec="microseconds") if moment else ""


# What was said before


def exported_trail(place: Path) -> Iterator[Any]:
    """Every exported head of the trail, oldest first; what cannot be read is None."""
    yield from map(_parsed, head_files.whole_lines(place / TRAIL))


def last_of_trail(place: Path | None = None) -> dict[str, Any] | None:
    """The statement of the last head of the trail that is genuine."""
    last = head_files.lines((place or folder()) / TRAIL, most_bytes=_TAIL)
    for line in reversed(last):
        if statement := statement_of(line):
            return statement
    return None


def last_of_ledger(pk: Any, place: Path | None = None) -> dict[str, Any] | None:
    """The statement of a ledger's exported head, where there is a genuine one."""
    return _statement_in(_ledger_file(place or folder(), pk))


def last_of_ledgers(place: Path | None = None) -> Iterator[dict[str, Any]]:
    """The statement of each ledger's exported head."""
    for path in sorted((place or folder()).glob("ledger-*.json")):
        if statement := _statement_in(path):
            yield statement


def unreadable(place: Path) -> list[str]:
    """Names of files that hold no head of ours, or were put aside for that."""
    broken = [
        path for path in place.glob("ledger-*.json") if _statement_in(path) is None
    ]
    return sorted(path.name for path in [*broken, *place.glob("*.unreadable")])


def of_other_hubs(hub_id: UUID) -> list[str]:
    """Folders beside this hub's with heads that our key signed, by name.

    They are of a database that was here before, or of this one under another id.
    """
    place = Path(settings.AUDIT_HEADS_DIR)
    folders = sorted(place.iterdir()) if place.is_dir() else []
    return [
        one.name
        for one in folders
        if one.is_dir() and one.name != str(hub_id) and _has_heads(one)
    ]


def _has_heads(place: Path) -> bool:
    files = place.glob("ledger-*.json")
    return last_of_trail(place) is not None or any(map(_statement_in, files))


def _ledger_file(place: Path, pk: Any) -> Path:
    return place / f"ledger-{pk}.json"


def _statement_in(path: Path) -> dict[str, Any] | None:
    try:
        return statement_of(path.read_bytes())
    except OSError:
        return None


@lru_cache(maxsize=256)
def statement_of(text: bytes) -> dict[str, Any] | None:
    """What a head says, if we signed it. Asked again at every charge, hence kept."""
    head = _parsed(text)
    return head["statement"] if is_genuine(head) else None


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_reached(statement: dict[str, Any]) -> bool:
    """Whether the database holds the line that a statement of ours names."""
    return bool(reached([statement]))


def reached(statements: Iterable[dict[str, Any]]) -> set[str]:
    """The hashes of those heads whose lines the database holds, by few queries."""
    said = list(statements)
    found = {one["hash"] for one in said if one["sequence"] == 0}
    trail = [one["sequence"] for one in said if one["kind"] == "audit"]
    events = AuditEvent.objects.filter(pk__in=trail).values_list("pk", "hash")
    known: dict[Any, str] = dict(events) if trail else {}
    of_ledgers = [one for one in said if one["kind"] == "ledger"]
    for start in range(0, len(of_ledgers), _AT_ONCE):
        lines = Q()
        for one in of_ledgers[start : start + _AT_ONCE]:
            lines |= Q(ledger=one["ledger"], number=one["sequence"])
        rows = LedgerEntry.objects.filter(lines)
        for ledger, number, told in rows.values_list("ledger", "number", "hash"):
            known[str(ledger), number] = told
    for one in said:
        of_trail = one["kind"] == "audit"
        key = one["sequence"] if of_trail else (one["ledger"], one["sequence"])
        if known.get(key) == one["hash"]:
            found.add(one["hash"])
    return found


def is_acknowledged(statement: dict[str, Any]) -> bool:
    """Whether two people know that the database no longer reaches this head."""
    for gap in LedgerGap.objects.exclude(second_at=None):
        for head in gap.heads:
            if (head["kind"], head.get("ledger")) != (
                statement["kind"],
                statement.get("ledger"),
            ):
                continue
            lost = range(head["kept"] + 1, head["sequence"] + 1)
            if statement["sequence"] in lost and statement["at"] <= head["at"]:
                return True
    return False


def gone(rows: Iterable[Ledger], head: AuditHead | None = None) -> list[dict[str, Any]]:
    """What stands for heads that were exported and of which the folder holds none.

    Of the trail and of these ledgers, as far as no two people have acknowledged it.
    `at`, when a head was first or last exported, tells one loss from another.
    """
    known = head or hub()
    place = folder(known)
    missed = []
    if known.exported_sequence and _holds_none(place / TRAIL, last_of_trail(place)):
        missed.append(_gone(known.exported_at, sequence=known.exported_sequence))
    for row in rows:
        path = _ledger_file(place, row.pk)
        if row.head_exported_at and _holds_none(path, _statement_in(path)):
            missed.append(_gone(row.head_exported_at, ledger=str(row.pk)))
    if not missed:
        return []
    closed = LedgerGap.objects.exclude(second_at=None).values_list("heads", flat=True)
    acknowledged = {one["hash"] for said in closed for one in said}
    return [one for one in missed if one["hash"] not in acknowledged]


def _holds_none(path: Path, told: dict[str, Any] | None) -> bool:
    """Whether a file is not there or holds no head of ours; not that a disk failed."""
    if told is not None:
        return False
    try:
        path.read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _gone(
    at: datetime | None, *, ledger: str = "", sequence: int = 0
) -> dict[str, Any]:
    told = {"kind": GONE, "ledger": ledger, "sequence": sequence, "kept": 0}
    return told | {"at": _at(at), "hash": f"{GONE} {ledger} {sequence} {_at(at)}"}


# Exporting


def export_audit_head() -> Signed:
    """Append the trail's head to what was exported. Raises OSError.

    Nothing is added where the last exported head is not in the trail, or there is none
    of those that were exported: it must not be hidden by a later one.
    """
    place = folder()
    with head_files.alone(place):
        head = hub()
        signed = sign(_of_trail(head))
        told = last_of_trail(place)
        if told is None and gone((), head):
            logger.error("the exported heads are gone from %s", place)
            return signed
        if told is not None:
            if (told["sequence"], told["hash"]) == (head.sequence, head.hash):
                return signed
            if not is_reached(told) and not is_acknowledged(told):
                logger.error("the exported head %s is not in the trail", told)
                return signed
        head_files.append(place / TRAIL, signed)
    AuditHead.objects.filter(pk=1, exported_sequence__lt=head.sequence).update(
        exported_sequence=head.sequence, exported_at=timezone.now()
    )
    return signed


def is_due(head: AuditHead) -> bool:
    """Whether the trail's head is to be exported after this line."""
    if head.exported_at is None:
        return True
    waited = timezone.now() - head.exported_at
    behind = head.sequence - head.exported_sequence
    return behind >= settings.AUDIT_EXPORT_LINES or (
        behind > 0 and waited >= settings.AUDIT_EXPORT_EVERY
    )


def export_if_due() -> None:
    """For a worker's keeper: a quiet hub exports its last lines too.

    So does one that a crash, or a full disk, kept from writing a ledger's head after a
    commit.
    """
    if is_due(hub()):
        export_all()


def export_all() -> None:
    """Write every head that is behind what it tells of."""
    export_audit_head()
    for pk in _ledgers_behind():
        export_ledger_head(pk)


def _ledgers_behind() -> list[UUID]:
    """Ledgers whose last line is not the one that their exported head names."""
    place = folder()
    lines = LedgerEntry.objects.filter(ledger=OuterRef("pk")).order_by("-number")
    rows = Ledger.objects.annotate(last=Subquery(lines.values("hash")[:1]))
    return [
        pk
        for pk, last, exported_at in rows.exclude(last=None).values_list(
            "pk", "last", "head_exported_at"
        )
        if exported_at is None or (last_of_ledger(pk, place) or {}).get("hash") != last
    ]


def export_ledger_head(pk: UUID) -> None:
    """Write a ledger's head over its last one, unless that would hide a gap."""
    place = folder()
    with head_files.alone(place):
        # The line first: what was spent is then at least what was spent by this line.
        last = LedgerEntry.objects.filter(ledger=pk).order_by("-number").first()
        if last is None:
            return
        row, path = Ledger.objects.get(pk=pk), _ledger_file(place, pk)
        told = _statement_in(path)
        if told is None and gone([row]):
            logger.error("the exported head of ledger %s is gone", pk)
            return
        if told is None and path.exists():
            path.rename(path.with_suffix(f".{last.number}.unreadable"))
        elif told is not None:
            if told["hash"] == last.hash:
                if row.head_exported_at is None:  # exported by an earlier release
                    _note_export(pk)
                return
            if not is_reached(told) and not is_acknowledged(told):
                logger.error("the exported head of ledger %s is not in it", pk)
                return
        head_files.replace(path, sign(_of_ledger(row, last, hub())))
    if told is None or row.head_exported_at is None:
        _note_export(pk)


def _note_export(pk: UUID) -> None:
    Ledger.objects.filter(pk=pk).update(head_exported_at=timezone.now())
