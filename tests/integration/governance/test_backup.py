"""Backup and restore, as processes do it: on a folder, or a database, of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .plays import play


def _holds(told: dict[str, Any]) -> None:
    assert told["spent_at_backup"] < told["spent_at_end"]
    assert told["refused_not_empty"].startswith("This hub is not empty")
    assert told["refused_damaged"].startswith("The backup is damaged: store/")
    assert told["refused_worker"].startswith("A worker is running")
    assert told["spent_after_refusals"] == told["spent_at_end"]
    assert told["no_key_in_backup"]
    assert told["refused_keys_within"].startswith("Keys do not go into a backup")
    assert told["file_restored"] == "sealed bytes"
    assert told["file_made_later_is_gone"]
    assert told["spent_after_restore"] == told["spent_at_backup"]
    assert told["gap_lines"] == 3
    assert "behind its exported head" in told["refused_reserve"]
    assert told["erased_key_stays_erased"]
    assert told["sessions"] == 0
    assert told["spent_after_two_people"] == told["spent_at_end"]
    assert told["verified"] == []


def test_backup_and_restore_embedded(tmp_path: Path) -> None:
    _holds(play("backup_play", tmp_path / "var"))


@pytest.mark.service
def test_backup_and_restore_postgresql(
    tmp_path: Path, own_database: Callable[[], str]
) -> None:
    missing = [name for name in ("pg_dump", "psql") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not on this machine")
    _holds(play("backup_play", tmp_path / "var", url=own_database()))
