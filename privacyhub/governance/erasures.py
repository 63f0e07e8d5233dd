"""Notes of destroyed keys, signed and beside the heads: no restore brings them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from privacyhub.governance import head_files, heads
from privacyhub.governance.models import DataKey

NOTES = "erased.jsonl"


def note(key: DataKey) -> None:
    """Say that a key was destroyed, after the commit of the erasure."""
    _note([str(key.pk)])


def note_missed() -> None:
    """Write the notes that a crash, or a full disk, kept from being written."""
    destroyed = DataKey.objects.exclude(destroyed_at=None).order_by("destroyed_at")
    found = [str(pk) for pk in destroyed.values_list("pk", flat=True)]
    known = set(noted()) if found else set()
    if missed := [key for key in found if key not in known]:
        _note(missed)


def _note(erased: Iterable[str]) -> None:
    said = [{"format": heads.FORMAT, "kind": "erased", "key": key} for key in erased]
    signed = [heads.sign(statement) for statement in said]
    place = heads.folder()
    with head_files.alone(place):
        head_files.append(place / NOTES, *signed)


def noted() -> Iterator[str]:
    """Ids of the data keys that were destroyed, as far as we signed them."""
    for line in head_files.lines(heads.folder() / NOTES):
        statement = heads.statement_of(line)
        if statement is not None and statement["kind"] == "erased":
            yield statement["key"]
