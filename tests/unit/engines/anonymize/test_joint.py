"""Columns are counted together in few groups, and nothing depends on which."""

from __future__ import annotations

import math

import numpy as np
import pytest

from privacyhub.engines.anonymize import joint
from privacyhub.engines.anonymize.joint import JOINT_CELLS, JointCounts

ADULT = (2, 72, 5, 7, 16, 41, 7, 14, 2)


def cells(sizes: tuple[int, ...]) -> list[int]:
    groups = joint._in_groups(sizes)
    assert sorted(j for group in groups for j in group) == list(range(len(sizes)))
    return [math.prod(sizes[j] for j in group) for group in groups]


def test_a_wide_table_takes_few_passes() -> None:
    assert sorted(cells(ADULT)) == [574, 1008, 1120]


@pytest.mark.parametrize(
    ("sizes", "passes"),
    [
        ((5,), 1),
        ((1, 1, 1), 1),
        ((64, 64), 1),
        ((64, 65), 2),
        ((100_000, 3, 4), 2),
        ((100_000, 100_000, 2, 3), 3),
    ],
)
def test_no_group_passes_the_limit_but_a_column_alone(
    sizes: tuple[int, ...], passes: int
) -> None:
    assert len(cells(sizes)) == passes
    for group in joint._in_groups(sizes):
        together = math.prod(sizes[j] for j in group)
        assert together <= JOINT_CELLS or len(group) == 1


@pytest.mark.parametrize("limit", [1, 12, 60, JOINT_CELLS])
def test_sums_are_those_of_each_column_alone(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "JOINT_CELLS", limit)
    rng = np.random.default_rng(1)
    sizes, levels = (3, 11, 4, 2), (2, 5, 3, 4)
    codes = [rng.integers(0, size, 200) for size in sizes]
    tables = [rng.random((n, size)) for n, size in zip(levels, sizes, strict=True)]
    weights = rng.integers(1, 9, 200).astype(float)
    counts = JointCounts(codes=codes, share_tables=tables, weights=weights)
    chosen = np.flatnonzero(rng.random(200) < 0.3)
    found = counts.of(chosen)
    for leaves, own, size in zip(counts.leaves(found), codes, sizes, strict=True):
        expected = np.bincount(own[chosen], weights=weights[chosen], minlength=size)
        np.testing.assert_array_equal(leaves, expected)
    expected = np.concatenate(
        [
            table[:, own[chosen]] @ weights[chosen]
            for table, own in zip(tables, codes, strict=True)
        ]
    )
    assert counts.shares(found) == pytest.approx(expected, rel=1e-12)
