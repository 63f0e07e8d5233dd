"""The points at which a fault test may strike are those that the code comes to."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from jobs import failpoints

REPOSITORY = Path(__file__).resolve().parents[3]


def _reached() -> Counter[str]:
    """How often each name stands in a call beside `failpoints.reach`."""
    return Counter(
        name
        for package in ("jobs", "privacyhub")
        for path in (REPOSITORY / package).rglob("*.py")
        for name in _names(path.read_text())
    )


def _names(source: str) -> list[str]:
    """Of `reach(name)` and of `partial(reach, name)`."""
    if "failpoints.reach" not in source:
        return []
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        parts = [call.func, *call.args]
        if any(ast.unparse(part) == "failpoints.reach" for part in parts):
            found.append(ast.literal_eval(call.args[-1]))
    return found


def test_every_point_is_reached_and_no_other_is_named() -> None:
    assert set(_reached()) == set(failpoints.NAMES)
    assert len(set(failpoints.NAMES)) == len(failpoints.NAMES)


def test_a_rule_is_read() -> None:
    rules = failpoints.parse("claim.committed:0.5@3*2=stop, reap.locked")
    assert rules["claim.committed"] == failpoints.Rule(
        name="claim.committed", probability=0.5, nth=3, times=2, action="stop"
    )
    assert rules["reap.locked"] == failpoints.Rule(name="reap.locked")


@pytest.mark.parametrize("text", ["no.such", "claim.committed=sing", "claim committed"])
def test_a_wrong_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=failpoints.VARIABLE):
        failpoints.parse(text)
