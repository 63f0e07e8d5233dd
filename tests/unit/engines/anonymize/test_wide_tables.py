"""Tables whose columns have more combinations than 64 bits hold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import classes, encoding, halves, joint, keys, rows
from tests.unit.engines.anonymize import brute_force as bf


def wide(columns: int, *, size: int) -> tuple[pl.DataFrame, dict[str, an.Hierarchy]]:
    rng = np.random.default_rng(1)
    names = [f"c{j}" for j in range(columns)]
    base = rng.integers(0, size, (30, columns))  # thirty people, repeated
    cells = base[rng.integers(0, 30, 1000)]
    cells[:size] = np.arange(size)[:, None]  # every value occurs
    frame = pl.DataFrame({name: cells[:, j] for j, name in enumerate(names)})
    return frame, {n: an.Hierarchy.suppress(range(size)) for n in names}


@pytest.mark.parametrize(("columns", "size"), [(10, 100), (40, 4)])
def test_many_or_wide_columns_are_anonymized(columns: int, size: int) -> None:
    frame, hierarchies = wide(columns, size=size)
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(5)],
        suppression_limit=0.2,
        time_limit=60.0,  # for a tenth of a second's work
    )
    assert 0 < result.suppressed <= 200
    names = list(hierarchies)
    after = an.risk.measure(result.frame, names)
    assert after.smallest_class >= 5
    assert after.suppressed == result.suppressed
    kept = ~result.suppressed_rows
    for name, level in result.levels.items():
        if level == 0:
            shown = result.frame[name].filter(kept)
            assert shown.to_list() == frame[name].filter(kept).cast(str).to_list()


def test_keys_past_64_bits_do_not_meet() -> None:
    """2**24 times 2**40 would wrap around to 0."""
    codes = [np.array([0, 2**24, 0, 2**24]), np.array([0, 0, 1, 1])]
    found = keys.dense_keys(codes, sizes=[2**40, 2**40])
    assert len(set(found.tolist())) == 4
    assert (np.argsort(found) == [0, 2, 1, 3]).all()


@pytest.mark.parametrize("seed", range(3))
def test_wide_keys_give_the_same_result(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of a few bits only: every node takes the wide path."""
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=90, heights=(2, 3, 2))
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(3), an.EqualTCloseness("s", 0.5)],
        "suppression_limit": 0.3,
    }
    inside = (rng.random(90) < 0.7).tolist()
    part = asked | {"models": [an.KAnonymity(2), an.Inclusion(inside)]}
    both = [an.anonymize(frame, **one) for one in (asked, part)]
    for module in (keys, rows):
        monkeypatch.setattr(module, "WIDE", 50)
    monkeypatch.setattr(halves, "WIDE", 2)
    for module in (keys, classes, encoding):
        monkeypatch.setattr(module, "DENSE_CELLS", 0)
    monkeypatch.setattr(classes, "COUNTED_CELLS", 0)
    monkeypatch.setattr(encoding, "KEPT_CELLS", 0)
    monkeypatch.setattr(joint, "JOINT_CELLS", 10)
    for one, narrow in zip((asked, part), both, strict=True):
        found = an.anonymize(frame, **one)
        assert found.score == pytest.approx(narrow.score, rel=1e-12)
        assert found.levels == narrow.levels
        assert found.frame.equals(narrow.frame)
        assert found.risk == narrow.risk
