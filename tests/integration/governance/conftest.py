"""A declared ledger, and prices that are easy to reason about."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger, Part
from privacyhub.governance.sums import store


def gaussian(count: int, *, noise: float = 40.0) -> GaussianEvent:
    return GaussianEvent(noise_multiplier=noise, count=count)


def price(
    count: int, *, purpose: str = "training", part: Part = Part.ALL, **more: Any
) -> ledger.Price:
    """`count` Gaussian mechanisms; the printed epsilon does not matter here."""
    return ledger.Price(
        purpose=purpose,
        event=gaussian(count),
        part=part,
        epsilon="0.5",
        delta="1e-5",
        **more,
    )


def reserve(account: Ledger, by: Any, run: uuid.UUID, *prices: ledger.Price) -> None:
    """For the recipient "steward"."""
    ledger.reserve(
        ledgers=[account], run_id=run, prices=prices, recipient="steward", by=by
    )


def tenth_cap(*, epsilon: Decimal, delta: Decimal) -> list[str]:
    """A cap that ten of `price(1)` fill at every order, in the place of `cap_of`."""
    return store([10 * units for units in rdp_vector(gaussian(1))])


@pytest.fixture(autouse=True)
def second_place(settings: Any, tmp_path: Path) -> Path:
    """Exported heads in a folder of the test's own: each test is another database."""
    settings.AUDIT_HEADS_DIR = tmp_path / "heads"
    return tmp_path / "heads"


@pytest.fixture
def open_ledger(steward: Any) -> Callable[..., Ledger]:
    """Opens a ledger with a cap of 1 at delta 1e-5, or another."""

    def make(name: str = "register", *, cap: str = "1") -> Ledger:
        row = ledger.open_ledger(name=name, fingerprint=name.ljust(64, "0"))
        return ledger.declare(
            ledger=row,
            by=steward,
            declared_units=600,
            epsilon_cap=cap,
            delta_cap="1e-5",
        )

    return make


@pytest.fixture
def account(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()


@pytest.fixture
def own_database() -> Iterator[Callable[[], str]]:
    """A fresh PostgreSQL database beside the one of the tests."""
    import psycopg

    name = f"backup_{uuid.uuid4().hex[:12]}"
    base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield lambda: f"{base}/{name}"
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
