"""How a ledger's lines word a cap, so that a line can be held to what it set.

>>> caps_of([cap_note("2", "1e-5"), raised_note("3")])
('3', '1e-5')
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_RAISED = "cap raised to "
_DECLARED = "cap "
_AT_DELTA = " at delta "


def cap_note(epsilon: Any, delta: Any) -> str:
    return f"{_DECLARED}{epsilon}{_AT_DELTA}{delta}"


def raised_note(epsilon: Any) -> str:
    return f"{_RAISED}{epsilon}"


def recipient_note(epsilon: Any, recipient: str) -> str:
    return f"cap {epsilon} for {recipient}"


def caps_of(notes: Iterable[str]) -> tuple[str, str]:
    """(epsilon, delta) of a ledger's own cap after these notes; empty before one."""
    epsilon = delta = ""
    for note in notes:
        if note.startswith(_RAISED):
            epsilon = note.removeprefix(_RAISED)
        else:
            epsilon, _, delta = note.removeprefix(_DECLARED).partition(_AT_DELTA)
    return epsilon, delta
