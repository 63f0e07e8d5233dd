"""Which ledgers a table that comes in belongs to: its dataset's, and its rows'."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from privacyhub.datasets.models import Dataset, Version
from privacyhub.datasets.services import RELEASABLE
from privacyhub.datasets.tables import Written
from privacyhub.engines import tables
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger

# A table that shares as many rows with another as this shares its ledgers too. Fewer
# may meet by chance, above all where columns are few.
FEWEST_SHARED = 20
SMALLEST_SHARE = 0.1
_LOOKING_UP = 0x6C696E65  # any number that no other lock of the database has


def wait_for_others() -> None:
    """Two tables of the same rows that come in at once must not both find nobody.

    Until the transaction ends no other one passes here; call it before the look-up and
    before anything is locked. SQLite has one writer at a time as it is.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOOKING_UP])


def ledgers_of(
    dataset: Dataset, written: Written, alike: dict[Any, tables.Shared]
) -> list[Ledger]:
    """The dataset's ledgers, and those of every root that held the same rows.

    A table that comes in a second time, under whatever owner, has no fresh budget; nor
    has one that holds a part of another's rows.
    """
    fingerprint = written.fingerprint
    mine = Q(versions__dataset=dataset)
    same = (
        Q(fingerprint=fingerprint)
        | Q(versions__fingerprint=fingerprint)
        | Q(versions__csv_fingerprint=fingerprint)
    )
    near = Q(versions__in=list(alike))
    accounts = list(Ledger.objects.filter(mine | same | near).distinct())
    if accounts:
        return accounts
    try:
        with transaction.atomic():
            opened = ledger.open_ledger(name=dataset.name, fingerprint=fingerprint)
            return [opened]
    except IntegrityError:  # another job has just opened it
        return [Ledger.objects.get(fingerprint=fingerprint)]


def with_the_same_rows(dataset: Dataset, written: Written) -> dict[Any, tables.Shared]:
    """Other datasets' versions that share enough rows with this table, by id.

    A table of a few repeated rows meets releases by chance: it is held to other
    uploads alone.
    """
    others = Version.objects.exclude(dataset=dataset)
    if written.repeats > tables.MOST_REPEATED:
        others = others.exclude(kind__in=RELEASABLE)
    found = {}
    for sketch in ("sketch", "csv_sketch"):
        known = others.exclude(**{sketch: b""}).values_list("pk", sketch)
        for pk, kept in known.iterator(chunk_size=100):
            shared = tables.shared_rows(written.sketch, bytes(kept))
            if shared.seen >= FEWEST_SHARED and shared.share >= SMALLEST_SHARE:
                found[pk] = shared
    return found


def with_remark(
    profile: tables.TableProfile, alike: dict[Any, tables.Shared]
) -> tables.TableProfile:
    """Tell the steward why the table spends from a ledger that was there before."""
    if not alike:
        return profile
    rows = max(found.rows for found in alike.values())
    remark = tables.Check(
        code="known_rows",
        column=None,
        message=f"About {rows:,.0f} of its rows came in before, with another table. "
        "Both spend from the same ledger.",
    )
    return replace(profile, checks=[*profile.checks, remark])
