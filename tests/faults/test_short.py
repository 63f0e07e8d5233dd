"""The short fault list, with real processes on the stack that the environment names.

Embedded it is SQLite and a folder. With DATABASE_URL and REDIS_URL it is a database of
its own beside the first, and queues of its own on the second. `make faults` is the
whole list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import SERVICES
from tests.faults import deliveries, workers
from tests.faults.campaign import Campaign, Fault
from tests.faults.stack import running

SEED = 1
SHORT = ("F1", "F2", "F5", "F7", "F6", "F8", "F9")
FAULTS = {fault.id: fault for fault in (*workers.FAULTS, *deliveries.FAULTS)}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    database, broker = (os.environ.get(name, "") for name in SERVICES)
    services = bool(database and broker)
    with running(
        folder=tmp_path_factory.mktemp("faults"),
        services=services,
        database_url=database if services else "",
        redis_url=broker if services else "",
    ) as stack:
        yield Campaign(stack, seed=SEED, short=True)


@pytest.mark.parametrize("fault", [FAULTS[name] for name in SHORT], ids=SHORT)
def test_fault_breaks_no_promise(campaign: Campaign, fault: Fault) -> None:
    row = campaign.run(fault)
    assert row.trials > 0
    assert not row.violations, "\n".join(map(str, row.violations))
