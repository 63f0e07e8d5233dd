"""A hub whose lines were written before they had a unit; see `test_lines_terms`."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any
from unittest import mock

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, transaction  # noqa: E402

from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.governance import entries, gaps, ledger  # noqa: E402
from privacyhub.governance.models import Ledger, LedgerEntry, Unit  # noqa: E402
from privacyhub.governance.verification import verify  # noqa: E402

from .conftest import gaussian, price  # noqa: E402

BEFORE = "0004_heads_gaps_recipients"


def _charge(row: Ledger, by: User) -> None:
    run = uuid.uuid4()
    ledger.reserve(
        ledgers=[row], run_id=run, prices=[price(1)], recipient=by.username, by=by
    )
    ledger.charge(run_id=run, purpose="training", event=gaussian(1))


def _hashes() -> list[str]:
    return list(LedgerEntry.objects.order_by("id").values_list("hash", flat=True))


def _is_refused(statement: str) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError:
        return True
    return False


def main() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    steward = User.objects.create_user("steward", password="x", role="steward")
    row = ledger.open_ledger(name="Register", fingerprint="f" * 64)
    row = ledger.declare(
        ledger=row,
        by=steward,
        declared_units=600,
        epsilon_cap="8",
        delta_cap="1e-5",
        unit=Unit.KEY,
        unit_key="household",
        most_rows_per_unit=4,
    )
    sealed_as_then = partial(entries.chained, terms=False)
    with mock.patch("privacyhub.governance.entries.chained", sealed_as_then):
        _charge(row, steward)
    before = _hashes()
    call_command("migrate", "governance", BEFORE, verbosity=0)
    call_command("migrate", verbosity=0)
    told: dict[str, Any] = {"hashes_stay": _hashes() == before}
    _charge(row, steward)
    told["terms"] = sorted(set(LedgerEntry.objects.values_list("unit", "relation")))
    told["refused"] = [
        _is_refused(f"{statement} governance_ledgerentry {rest}")
        for statement, rest in (("UPDATE", "SET actor = 'nobody'"), ("DELETE FROM", ""))
    ]
    told["gap"] = gaps.find() is not None
    told["problems"] = list(verify().problems)
    return told


if __name__ == "__main__":
    print(json.dumps(main()))
