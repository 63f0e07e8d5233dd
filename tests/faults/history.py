"""What happened, read from the database by plain SQL and from the witness file.

Nothing of the hub's own code takes part, so an error in it cannot hide itself. Ids are
32 hexadecimal digits whatever the database; times are seconds since 1970.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
PATIENCE = 60.0  # for a database that is being restarted


@dataclass(frozen=True)
class JobRow:
    """One job; `pid` is the process that has or had it."""

    id: str
    kind: str
    state: str
    attempt: int
    pid: int
    error_code: str
    result: Mapping[str, Any]
    spec: Mapping[str, Any]
    started_at: float | None
    finished_at: float | None
    cancel_requested_at: float | None

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL


@dataclass(frozen=True)
class Charge:
    """A charge line of a ledger, in the order of `id`."""

    id: int
    job: str
    attempt: int  # 0 where the line does not say
    steps: int


@dataclass(frozen=True)
class Event:
    """A line of the witness, in the order of the file."""

    job: str
    attempt: int
    name: str
    value: str


@dataclass(frozen=True)
class Account:
    """A ledger's stored sums, and what its own lines and reservations add up to."""

    name: str
    cap: Sequence[int]
    spent: Mapping[str, Sequence[int]]
    reserved: Mapping[str, Sequence[int]]
    replayed_spent: Mapping[str, Sequence[int]]
    replayed_reserved: Mapping[str, Sequence[int]]
    overdrawn: Sequence[str] = ()  # runs charged above their reservation


@dataclass(frozen=True)
class AuditLine:
    sequence: int
    canonical: str
    previous: str
    hash: str


@dataclass
class Facts:
    """Everything that the invariants look at, of one moment."""

    jobs: Mapping[str, JobRow] = field(default_factory=dict)
    results: Mapping[str, int] = field(default_factory=dict)  # published, by job
    charges: Sequence[Charge] = ()
    events: Sequence[Event] = ()
    accounts: Sequence[Account] = ()
    audit: Sequence[AuditLine] = ()


class History:
    """Reads; it never writes. `database` is a URL or the path of an SQLite file."""

    def __init__(self, *, database: str, witness: Path) -> None:
        self._database = database
        self._witness = witness
        self._connection: Any = None
        self._events: list[Event] = []
        self._read_to = 0  # of the witness; its lines are ASCII, each written whole

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def jobs(self) -> dict[str, JobRow]:
        rows = self._rows(
            "SELECT id, kind, state, attempt, worker, error_code, result, spec, "
            "started_at, finished_at, cancel_requested_at FROM jobs_job"
        )
        return {job.id: job for job in map(_job, rows)}

    def open_jobs(self) -> dict[str, JobRow]:
        return {pk: job for pk, job in self.jobs().items() if not job.ended}

    def workers(self) -> set[str]:
        return {row[0] for row in self._rows("SELECT name FROM jobs_worker")}

    def events(self) -> Sequence[Event]:
        """All lines of the witness so far; only what is new is read."""
        if self._witness.exists():
            with self._witness.open() as stream:
                stream.seek(self._read_to)
                for line in stream:
                    if not line.endswith("\n"):
                        break  # it is being written
                    job, attempt, name, value = line.rstrip("\n").split(" ", 3)
                    self._events.append(Event(job, int(attempt), name, value))
                    self._read_to += len(line)
        return self._events

    def facts(self) -> Facts:
        """All of one moment: what goes on meanwhile is seen whole or not at all."""
        self.jobs()  # a database that is away is waited for here
        sqlite = isinstance(self._connected(), sqlite3.Connection)
        how = "" if sqlite else "ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self._connected().execute(f"BEGIN {how}")
        try:
            return Facts(
                jobs=self.jobs(),
                results=self._results(),
                charges=self._charges(),
                events=tuple(self.events()),
                accounts=self._accounts(),
                audit=self._audit(),
            )
        finally:
            self.close()

    def _results(self) -> dict[str, int]:
        rows = self._rows(
            "SELECT job_id FROM faults_result UNION ALL "
            "SELECT run.job_id FROM training_modelversion version "
            "JOIN training_trainingrun run ON run.id = version.run_id"
        )
        counted: dict[str, int] = defaultdict(int)
        for (job,) in rows:
            counted[_hex(job)] += 1
        return dict(counted)

    def _charges(self) -> list[Charge]:
        rows = self._rows(
            "SELECT id, run_id, event, note FROM governance_ledgerentry "
            "WHERE kind = 'charge' ORDER BY id"
        )
        return [
            Charge(pk, _hex(run), _attempt_of(note), _steps_of(_json(event), note))
            for pk, run, event, note in rows
        ]

    def _accounts(self) -> list[Account]:
        ledgers = self._rows(
            "SELECT id, name, cap_vector, spent_train, spent_heldout, "
            "reserved_train, reserved_heldout FROM governance_ledger"
        )
        lines = self._rows(
            "SELECT ledger_id, part, vector FROM governance_ledgerentry "
            "WHERE kind = 'charge'"
        )
        holds = self._rows(
            "SELECT ledger_id, part, state, vector, charged, run_id "
            "FROM governance_reservation"
        )
        return [_account(row, lines, holds) for row in ledgers]

    def _audit(self) -> list[AuditLine]:
        rows = self._rows(
            "SELECT sequence, canonical, previous_hash, hash "
            "FROM governance_auditevent ORDER BY sequence"
        )
        return [AuditLine(*row) for row in rows]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows, asked again while the database is away."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._connected().execute(sql).fetchall()
            except (psycopg.OperationalError, sqlite3.OperationalError):
                self.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = (
                psycopg.connect(self._database, autocommit=True, connect_timeout=5)
                if "://" in self._database
                else sqlite3.connect(
                    f"file:{self._database}?mode=ro",
                    uri=True,
                    timeout=30,
                    isolation_level=None,
                )
            )
        return self._connection


def _job(row: Sequence[Any]) -> JobRow:
    pk, kind, state, attempt, worker, code, result, spec, *times = row
    return JobRow(
        _hex(pk),
        kind,
        state,
        attempt,
        int(str(worker).rpartition(":")[2] or 0),
        code,
        _json(result),
        _json(spec),
        *(_seconds(moment) for moment in times),
    )


def _account(row: Sequence[Any], lines: Sequence[Any], holds: Sequence[Any]) -> Account:
    pk, name, cap, *sums = row
    stored = [_vector(value) for value in sums]
    spent = {side: [0] * len(stored[0]) for side in ("train", "heldout")}
    reserved = {side: [0] * len(stored[0]) for side in ("train", "heldout")}
    for ledger, part, vector in lines:
        if ledger == pk:
            _add(spent, part, _vector(vector))
    overdrawn = []
    for ledger, part, state, vector, charged, run in holds:
        if ledger != pk:
            continue
        left = [h - c for h, c in zip(_vector(vector), _vector(charged), strict=True)]
        if min(left) < 0:
            overdrawn.append(_hex(run))
        if state in {"reserved", "active"}:
            _add(reserved, part, left)
    return Account(
        name=name,
        cap=_vector(cap),
        spent={"train": stored[0], "heldout": stored[1]},
        reserved={"train": stored[2], "heldout": stored[3]},
        replayed_spent=spent,
        replayed_reserved=reserved,
        overdrawn=overdrawn,
    )


def _add(sums: dict[str, list[int]], part: str, vector: Sequence[int]) -> None:
    for side in sums if part == "all" else (part,):
        sums[side] = [a + b for a, b in zip(sums[side], vector, strict=True)]


def _attempt_of(note: str) -> int:
    words = note.split()
    return int(words[1]) if words[:1] == ["attempt"] else 0


def _steps_of(event: Mapping[str, Any], note: str) -> int:
    """Steps of a training, real or not; the statistics that go before it are none."""
    if event["kind"] == "poisson_gaussian":
        return int(event["steps"])
    return int(event["count"]) if _attempt_of(note) else 0


def _hex(value: Any) -> str:
    return UUID(str(value)).hex


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _vector(value: Any) -> list[int]:
    return [int(part) for part in _json(value)]


def _seconds(moment: Any) -> float | None:
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return float(moment.timestamp())
