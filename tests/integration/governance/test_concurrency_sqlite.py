"""Many at once on the embedded database: the cap holds there too."""

from __future__ import annotations

from pathlib import Path

from .plays import play


def test_many_threads_at_one_file(tmp_path: Path) -> None:
    told = play("sqlite_play", tmp_path / "var")
    assert told == {
        "won": 10,
        "held": 10,
        "in_one_chain": True,
        "claimed": 1,
        "problems_in_use": [],
        "written_during_a_snapshot": True,
        "problems": [],
    }
