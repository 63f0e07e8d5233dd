"""Many threads at one SQLite file, told as JSON; see `test_concurrency_sqlite`."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from unittest import mock

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from jobs import services  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.governance import audit, ledger  # noqa: E402
from privacyhub.governance.models import AuditEvent, Reservation  # noqa: E402
from privacyhub.governance.verification import verify  # noqa: E402

from .busy import (  # noqa: E402
    is_written_during_a_snapshot,
    problems_seen_in_use,
)
from .conftest import price, tenth_cap  # noqa: E402


def _all_at_once(work: Callable[[int], Any], *, threads: int) -> list[Any]:
    together = Barrier(threads)

    def one(number: int) -> Any:
        connection.ensure_connection()
        together.wait(timeout=60)
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def _reservations_won(by: User) -> int:
    row = ledger.open_ledger(name="ten fit", fingerprint=uuid.uuid4().hex)
    row = ledger.declare(
        ledger=row, by=by, declared_units=600, epsilon_cap="1", delta_cap="1e-5"
    )

    def reserve(_: int) -> bool:
        try:
            ledger.reserve(
                ledgers=[row],
                run_id=uuid.uuid4(),
                prices=[price(1)],
                recipient=by.username,
                by=by,
            )
        except ledger.BudgetRefused:
            return False
        return True

    return sum(_all_at_once(reserve, threads=64))


def _claims_won(by: User) -> int:
    with mock.patch("jobs.messages.send", return_value=True):
        job = services.submit(kind="nothing", title="One", owner=by, spec={})
    claimed = _all_at_once(
        lambda n: services.claim(job_id=job.pk, worker=f"worker {n}"), threads=20
    )
    return len([one for one in claimed if one])


def _problems_in_use(by: User) -> list[str]:
    row = ledger.open_ledger(name="in use", fingerprint=uuid.uuid4().hex)
    row = ledger.declare(
        ledger=row, by=by, declared_units=600, epsilon_cap="1", delta_cap="1e-5"
    )
    return problems_seen_in_use(row, by)


def main(var: Path) -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    assert connection.vendor == "sqlite"
    assert Path(connection.settings_dict["NAME"]).parent == var
    steward = User.objects.create_user("steward", password="x", role="steward")
    told: dict[str, Any] = {"won": _reservations_won(steward)}
    told["held"] = Reservation.objects.count()
    before = AuditEvent.objects.count()
    _all_at_once(
        lambda n: audit.record(actor=steward, action=f"thread.{n}"), threads=50
    )
    lines = AuditEvent.objects.order_by("sequence").values_list("sequence", flat=True)
    told["in_one_chain"] = list(lines) == list(range(1, before + 51))
    told["claimed"] = _claims_won(steward)
    told["problems_in_use"] = _problems_in_use(steward)
    told["written_during_a_snapshot"] = is_written_during_a_snapshot(steward)
    told["problems"] = list(verify().problems)
    return told


if __name__ == "__main__":
    # Outside of pytest: the cap is ten times the price at every order.
    with (
        mock.patch("privacyhub.governance.caps.cap_of", tenth_cap),
        mock.patch("privacyhub.governance.ledger_checks.cap_of", tenth_cap),
    ):
        print(json.dumps(main(Path(sys.argv[1]))))
