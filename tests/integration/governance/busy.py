"""A hub in use while its record is verified, on a database that takes both at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any
from unittest import mock

from django.db import connection

from privacyhub.governance import audit, ledger
from privacyhub.governance.models import AuditEvent, Ledger, Part
from privacyhub.governance.snapshots import snapshot
from privacyhub.governance.verification import verify

from .conftest import gaussian

NOISE = 4000.0  # a charge costs next to nothing: the writer is never refused
SECONDS = 2.5


def problems_seen_in_use(row: Ledger, by: Any) -> list[str]:
    """What `verify` told, again and again, while a thread reserved and charged."""
    _run_once(row, by)  # what is slow at the first time only
    found: list[str] = []
    with _used(row, by), mock.patch.object(audit, "_is_intact", _slowly):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            found += verify().problems
    return found


_is_intact = audit._is_intact


def _slowly(*given: Any, **more: Any) -> bool:
    """As long as a long trail takes, so that much is written meanwhile."""
    time.sleep(0.0005)
    return _is_intact(*given, **more)


def is_written_during_a_snapshot(by: Any) -> bool:
    """Whether another connection commits meanwhile, which the snapshot does not see."""
    with ThreadPoolExecutor(1) as pool, snapshot():
        before = _lines()
        pool.submit(_record, by).result(timeout=20)
        same = _lines() == before
    return same and _lines() == before + 1


def _lines() -> int:
    return AuditEvent.objects.count()


def _record(by: Any) -> None:
    try:
        audit.record(actor=by, action="written.meanwhile")
    finally:
        connection.close()


@contextmanager
def _used(row: Ledger, by: Any) -> Iterator[None]:
    ended = Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(_use, row, by, ended)
        try:
            yield
        finally:
            ended.set()
        work.result()


def _use(row: Ledger, by: Any, ended: Event) -> None:
    try:
        while not ended.is_set():
            _run_once(row, by)
            audit.record(actor=by, action="used")
    finally:
        connection.close()


def _run_once(row: Ledger, by: Any) -> None:
    run, event = uuid.uuid4(), gaussian(1, noise=NOISE)
    price = ledger.Price(
        purpose="training", event=event, part=Part.ALL, epsilon="0.01", delta="1e-5"
    )
    ledger.reserve(
        ledgers=[row], run_id=run, prices=[price], recipient=by.username, by=by
    )
    ledger.charge(run_id=run, purpose="training", event=event)
    ledger.settle(run_id=run)
