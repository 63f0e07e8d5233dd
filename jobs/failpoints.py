"""Named points between the durable steps, at which a fault test can strike.

Nothing happens at them unless a process starts with `PRIVACYHUB_FAILPOINT`, which
production refuses: one rule or several, parted by commas, each

    NAME[:PROBABILITY][@NTH][*TIMES][=ACTION]

At the NTH pass of a process and those after it (the first by default), with that
probability (1), at most TIMES over all processes of the hub (no limit), the process is
ended by SIGKILL (`kill`, the default), halted by SIGSTOP (`stop`), or told that the
disk is full (`full`, an OSError). Each strike leaves a file `NAME.1`, `NAME.2`, … in
`failpoints/` under PRIVACYHUB_VAR first, so that a test can count them.
`PRIVACYHUB_FAILPOINT_SEED` makes the coins of a process repeatable.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from django.conf import settings

VARIABLE = "PRIVACYHUB_FAILPOINT"

NAMES = (
    "submit.in_transaction",
    "reserve.in_transaction",
    "reserve.committed",
    "submit.committed",
    "publish.sent",
    "claim.in_transaction",
    "claim.committed",
    "run.starting",
    "run.returned",
    "beat.written",
    "checkpoint.opened",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.committed",
    "train.paying",
    "train.paid",
    "train.ran",
    "train.trial",
    "train.stored",
    "charge.in_transaction",
    "charge.committed",
    "finish.locked",
    "finish.published",
    "settle.starting",
    "settle.in_transaction",
    "end.in_transaction",
    "end.committed",
    "release.in_transaction",
    "cancel.in_transaction",
    "cancel.committed",
    "reap.locked",
    "reap.in_transaction",
    "reap.committed",
)
"""Every point, in the order of a job's life. A test holds that each is reached from
the code, and that no other name is."""

_ACTIONS = ("kill", "stop", "full")
_RULE = re.compile(
    r"(?P<name>[a-z_.]+)(:(?P<probability>[0-9.]+))?(@(?P<nth>\d+))?"
    r"(\*(?P<times>\d+))?(=(?P<action>[a-z]+))?"
)


@dataclass
class Rule:
    """When to strike at one point, and how."""

    name: str
    probability: float = 1.0
    nth: int = 1
    times: int | None = None
    action: str = "kill"
    passes: int = field(default=0, compare=False)


def parse(text: str) -> dict[str, Rule]:
    """The rules by name. Raises ValueError, which names what is wrong."""
    rules: dict[str, Rule] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _RULE.fullmatch(part)
        if found is None:
            raise ValueError(f"{VARIABLE}: {part!r} is no rule")
        if found["name"] not in NAMES:
            raise ValueError(f"{VARIABLE}: there is no point {found['name']!r}")
        action = found["action"] or "kill"
        if action not in _ACTIONS:
            raise ValueError(f"{VARIABLE}: an action is one of {', '.join(_ACTIONS)}")
        rules[found["name"]] = Rule(
            name=found["name"],
            probability=float(found["probability"] or 1),
            nth=int(found["nth"] or 1),
            times=int(found["times"]) if found["times"] else None,
            action=action,
        )
    return rules


def reach(name: str) -> None:
    """The process has come to the point `name`: where a rule says so, strike."""
    if _rules is not None:
        _strike(name)


def _strike(name: str) -> None:
    rule = (_rules or {}).get(name)
    if rule is None:
        return
    rule.passes += 1
    if rule.passes < rule.nth or _coins().random() >= rule.probability:
        return
    if not _left_a_mark(rule):
        return
    if rule.action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    number = signal.SIGSTOP if rule.action == "stop" else signal.SIGKILL
    os.kill(os.getpid(), number)


def _left_a_mark(rule: Rule) -> bool:
    """Make the next file of this point's strikes; False when its times are over."""
    folder = Path(settings.VAR_DIR) / "failpoints"
    folder.mkdir(parents=True, exist_ok=True)
    numbers: Iterable[int] = count(1)
    if rule.times is not None:
        numbers = range(1, rule.times + 1)
    for number in numbers:
        try:
            (folder / f"{rule.name}.{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return True
    return False


def _coins() -> random.Random:
    """One generator a process: forked children must not throw the same coins."""
    global _generator
    pid = os.getpid()
    if _generator is None or _generator[0] != pid:
        seed = os.environ.get(f"{VARIABLE}_SEED")
        made = random.Random(f"{seed}:{pid}" if seed else None)  # noqa: S311 - no secret
        _generator = (pid, made)
    return _generator[1]


_generator: tuple[int, random.Random] | None = None
_rules = parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
