from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import results


def test_file_names_the_machine_and_each_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    cases = [results.case("quick", value=2.0, unit="s", ratio=0.5, to="slow")]
    path = results.write("some", cases)
    assert path == tmp_path / "var" / "bench" / "some.json"
    found = json.loads(path.read_text())
    assert set(found["machine"]) == {"cores", "memory_gb", "python", "commit"}
    assert found["machine"]["commit"] is None  # not a repository
    assert found["cases"] == [
        {
            "case": "quick",
            "value": 2.0,
            "unit": "s",
            "ratio": 0.5,
            "to": "slow",
            "target": "",
            "met": None,
        }
    ]
