"""F6, F7, F8, F9: messages that come twice or never, and kills between two writes."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Sequence

import requests

from jobs.failpoints import NAMES
from privacyhub.api.client import Refused
from tests.faults.campaign import Fault, Trial

STARTS_WITHIN = 60.0  # seconds, F8
VISIBILITY = 5  # seconds, F6
RARE = ("submit.", "reserve.", "release.", "cancel.", "reap.")  # passed less often
# In the short list too: that a charge is neither lost nor made twice hangs on these.
ALWAYS = ("charge.in_transaction", "charge.committed", "settle.in_transaction")
SELDOM = ("cancel.", "release.", "end.")  # by jobs that are cancelled or give up
# F9: that a process dies at a point that it passes; at the others, every second time.
# Less at the start of a job and where it passes several times, for it to come further,
# and where the reapers of keepers and web pass, on which all that died waits.
CHANCES = {
    "publish.": 0.1,
    "reap.": 0.1,
    "claim.": 0.1,
    "run.starting": 0.1,
    "train.trial": 0.1,
    "train.pa": 0.04,
    "train.ran": 0.04,
    "beat.": 0.04,
    "charge.": 0.04,
    "checkpoint.": 0.04,
}


def redeliver(trial: Trial) -> None:
    """F6: a job far longer than the broker's visibility timeout runs once.

    Messages are acknowledged late here, so that the broker does deliver again while
    the job runs. A folder has no such timeout: there the message is put back by hand.
    The lease is long: a slow machine must not take the job away for another reason.
    """
    redelivers = {
        "FAULTS_VISIBILITY": str(VISIBILITY),
        "FAULTS_ACKS_LATE": "1",
        "PRIVACYHUB_JOB_LEASE": "60",
    }
    trial.stack.require(workers=trial.size(2, 1), workers_with=redelivers)
    seconds = trial.size(60, 12)
    steps = seconds * 5
    jobs = trial.submit(trial.size(8, 1), steps=steps, pause=0.2, block=15, interval=30)
    until = time.monotonic() + seconds
    while trial.stack.embedded and time.monotonic() < until:
        time.sleep(VISIBILITY)
        for job in jobs:
            trial.stack.send(job, times=1)
    trial.wait()
    trial.count += len(jobs)
    _require_one_run(trial, jobs)


def repeat_messages(trial: Trial) -> None:
    """F7: ten messages of each job, and ten more once it has ended."""
    jobs = trial.submit(trial.size(20, 2))
    for job in jobs:
        trial.stack.send(job, times=10)
        trial.count += 1
    trial.wait()
    for job in jobs:
        trial.stack.send(job, times=10)
    time.sleep(1)
    _require_one_run(trial, jobs)


def _require_one_run(trial: Trial, jobs: list[str]) -> None:
    """The first attempt did it all, and no other began."""
    for job in jobs:
        began = [
            event.attempt
            for event in trial.stack.history.events()
            if event.job == job and event.name == "began"
        ]
        if began != [1]:
            trial.broke(job, f"attempts {began} began")


def kill_before_publish(trial: Trial) -> None:
    """F8: the web process dies after the commit that accepted, before the message."""
    kills = trial.size(50, 2)
    strikes = {"PRIVACYHUB_FAILPOINT": f"submit.committed*{kills}"}
    shutil.rmtree(trial.stack.folder / "failpoints", ignore_errors=True)
    trial.stack.require(web_with=strikes)
    accepted_at = {}
    for _ in range(kills):
        tag = uuid.uuid4().hex
        try:
            trial.submit(tag=tag, steps=3)
            trial.broke(tag, "the web process was not killed")
        except (requests.RequestException, Refused):
            accepted_at[_committed(trial, tag)] = time.monotonic()
            trial.count += 1
    for job, since in accepted_at.items():
        left = STARTS_WITHIN - (time.monotonic() - since)
        if not trial.wait_for([job], lambda row: row.state != "queued", within=left):
            trial.broke(job, f"it did not start within {STARTS_WITHIN:.0f} s")


def _committed(trial: Trial, tag: str) -> str:
    """The job whose acceptance was committed and never answered."""
    rows = trial.stack.history.jobs().values()
    job = next((row.id for row in rows if row.spec.get("tag") == tag), None)
    if job is None:
        trial.broke(tag, "the commit before the kill is not there")
        return tag
    trial.adopt([job])
    return job


def kill_at_failpoints(trial: Trial) -> None:
    """F9: web, workers and their keepers die at each named point; in short at some.

    What still lacks kills decides what is asked of the hub; see CHANCES too.
    """
    names = _some_points(trial) if trial.campaign.short else NAMES
    times = trial.size(20, 1)
    rules = (f"{name}:{_chance(trial, name)}*{times}" for name in names)
    struck = {
        "PRIVACYHUB_FAILPOINT": ",".join(rules),
        "PRIVACYHUB_FAILPOINT_SEED": str(trial.campaign.seed),
    }
    shutil.rmtree(trial.stack.folder / "failpoints", ignore_errors=True)
    workers = trial.size(3, 2)
    trial.stack.require(workers=workers, web_with=struck, workers_with=struck)
    until = time.monotonic() + trial.size(900, 180)
    busy = trial.size(40, 3)
    while time.monotonic() < until and (left := _left(trial, names, times)):
        waiting = [job for job in trial.jobs().values() if not job.ended]
        if len(waiting) < busy:
            _submit_and_perhaps_cancel(trial, left=left)
        else:
            time.sleep(0.2)
    trial.count += len(_marks(trial))
    for name in _left(trial, names, times):
        told = f"{_marks(trial).count(name)} kills at this point of {times}"
        trial.broke(name, told)


def _some_points(trial: Trial) -> list[str]:
    """Four that any job passes, drawn by the seed, and those of the ledger."""
    common = [name for name in NAMES if not name.startswith(RARE)]
    drawn = trial.coins.sample(common, 4)
    return [*ALWAYS, *(name for name in drawn if name not in ALWAYS)]


def _chance(trial: Trial, name: str) -> float:
    if trial.campaign.short:
        return 1.0
    return next((p for start, p in CHANCES.items() if name.startswith(start)), 0.5)


def _submit_and_perhaps_cancel(trial: Trial, *, left: Sequence[str]) -> None:
    """What was committed counts as accepted, though its answer may not come.

    left: the points that still lack kills. Of those only some jobs pass, more jobs are
    made to, when they are all that is left.
    """
    seldom = all(name.startswith(SELDOM) for name in left)
    tag = uuid.uuid4().hex
    try:
        short = trial.coins.random() < (0.5 if seldom else 0.2)
        body = {"steps": 9, "interval": 3, "pause": 0.15, "short_of_memory": short}
        job = trial.submit(tag=tag, **body)[0]
        if trial.coins.random() < (0.8 if seldom else 0.3):
            time.sleep(trial.coins.uniform(0, 0.5))
            trial.stack.client.post(f"jobs/{uuid.UUID(job)}/cancel/")
    except (requests.RequestException, Refused):
        time.sleep(0.2)
        rows = trial.stack.history.jobs().values()
        trial.adopt(row.id for row in rows if row.spec.get("tag") == tag)


def _marks(trial: Trial) -> list[str]:
    folder = trial.stack.folder / "failpoints"
    return [path.stem for path in folder.glob("*")] if folder.is_dir() else []


def _left(trial: Trial, names: Sequence[str], times: int) -> list[str]:
    """Points at which fewer than so many processes have died."""
    marks = _marks(trial)
    return [name for name in names if marks.count(name) < times]


FAULTS = (
    Fault(
        "F6",
        "visibility timeout of 5 s, jobs of 60 s",
        redeliver,
        on_plain_stack=False,
    ),
    Fault("F7", "the same message 10 times", repeat_messages),
    Fault(
        "F8",
        "kill between commit and publish",
        kill_before_publish,
        on_plain_stack=False,
    ),
    Fault(
        "F9",
        "kill at each named failpoint",
        kill_at_failpoints,
        ends=frozenset({"succeeded", "cancelled", "poison"}),
        on_plain_stack=False,
    ),
)
