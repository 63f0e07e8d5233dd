"""F3, F4: the broker or the database goes away in the middle of the work."""

from __future__ import annotations

import time

from tests.faults.campaign import Fault, Trial
from tests.faults.servers import Postgres

HEALED_WITHIN = 60.0  # seconds after an outage until jobs move again
SEEN_WITHIN = 20.0  # seconds, for a transaction to be open while jobs work
MOST_LOOKS = 10  # in a row that see none, before the hub is said to stand still


def restart_redis(trial: Trial) -> None:
    """F3: Redis loses everything 20 times by a restart, 5 times by FLUSHALL."""
    redis = trial.stack.redis
    assert redis is not None
    restarts, flushes = trial.size(20, 2), trial.size(5, 1)
    for number in range(restarts + flushes):
        trial.submit(6)
        time.sleep(trial.coins.uniform(0, 1.5))
        if number < restarts:
            redis.stop()
            trial.submit_if_it_answers()
            time.sleep(trial.coins.uniform(0, 1))
            redis.start()
        else:
            redis.flush()
        trial.count += 1
        _require_progress(trial)


def crash_postgres(trial: Trial) -> None:
    """F4: PostgreSQL is cut off 20 times while transactions that wrote are open."""
    postgres = trial.stack.postgres
    assert postgres is not None
    looked = 0
    while trial.count < trial.size(20, 2):
        trial.submit(6, pause=0.02, steps=60)
        time.sleep(trial.coins.uniform(0.3, 1.5))
        if not _is_in_mid_transaction(postgres):
            looked += 1
            if looked == MOST_LOOKS:
                trial.broke("F4", "no open transaction was seen to cut off")
                return
            continue  # no trial: with more jobs it looks again
        looked = 0
        postgres.crash()
        trial.submit_if_it_answers()
        time.sleep(trial.coins.uniform(0, 1))
        postgres.start()
        trial.count += 1
        _require_progress(trial)


def _is_in_mid_transaction(postgres: Postgres) -> bool:
    until = time.monotonic() + SEEN_WITHIN
    while time.monotonic() < until:
        if postgres.transactions():
            return True
    return False


def _require_progress(trial: Trial) -> None:
    """J7: without an operator a new job is accepted, and done."""
    until = time.monotonic() + HEALED_WITHIN
    before = len(trial.accepted)
    while len(trial.accepted) == before and time.monotonic() < until:
        trial.submit_if_it_answers(steps=3)
    job = trial.accepted[-1]
    healed = trial.wait_for([job], lambda row: row.ended, within=HEALED_WITHIN)
    if not healed:
        trial.broke(job, f"not done within {HEALED_WITHIN:.0f} s of an outage")


FAULTS = (
    Fault(
        "F3",
        "Redis restarted without its data, and FLUSHALL",
        restart_redis,
        needs_services=True,
    ),
    Fault(
        "F4",
        "PostgreSQL cut off in mid-transaction",
        crash_postgres,
        needs_services=True,
    ),
)
