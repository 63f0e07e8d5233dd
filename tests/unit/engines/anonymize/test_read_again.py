"""A table that was anonymized before: its suppressed cells are no values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf

NAMES = ["q0", "q1", "q2"]


def released(seed: int = 5) -> tuple[pl.DataFrame, int]:
    """A release with suppressed rows, and how many these are."""
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=80, heights=(2, 2, 1))
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(4)],
        suppression_limit=0.2,
    )
    assert result.suppressed > 0
    return result.frame, result.suppressed


def test_suppressed_rows_are_no_class_under_automatic_hierarchies() -> None:
    frame, before = released()
    hierarchies = {n: an.Hierarchy.automatic(frame[n], name=n) for n in NAMES}
    again = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(before + 1)],
        suppression_limit=1.0,
    )
    assert again.checker.problem.total == frame.height - before
    hidden = pl.Series([set(row) == {"*"} for row in frame.select(NAMES).rows()])
    assert (again.suppressed_rows & hidden).sum() == before
    # They hold nothing back: they do not count against the limit either.
    exact = an.anonymize(
        frame, quasi_identifiers=hierarchies, models=[an.KAnonymity(4)]
    )
    assert (set(exact.levels.values()), exact.suppressed) == ({0}, 0)


def test_a_column_that_says_nothing_does_not_hide_that_rows_were_suppressed() -> None:
    frame = pl.DataFrame({"a": ["x", "x", "*", "*"], "b": ["*"] * 4})
    named = {n: an.Hierarchy.automatic(frame[n], name=n) for n in frame.columns}
    found = an.anonymize(frame, quasi_identifiers=named, models=[an.KAnonymity(2)])
    assert found.checker.problem.total == 2
    only = an.anonymize(
        frame, quasi_identifiers={"b": named["b"]}, models=[an.KAnonymity(4)]
    )
    assert only.checker.problem.total == 4


@pytest.mark.parametrize(
    "build",
    [
        an.Hierarchy.suppress,
        lambda v: an.Hierarchy.intervals(v, widths=[2, 4]),
        lambda v: an.Hierarchy.masking(v),
        lambda v: an.Hierarchy.ordered_groups(v, sizes=[2]),
        lambda v: an.Hierarchy.by_frequency(v, levels=2),
        lambda v: an.Hierarchy.automatic(pl.Series(v), name="x"),
        lambda v: an.Hierarchy.tree({"all": v}),
    ],
)
def test_no_builder_makes_a_value_of_a_suppressed_cell(build) -> None:
    values = ["1", "2", "*", "3", "4", "*", "15"]
    assert "*" not in build(values if build is not an.Hierarchy.tree else values).values


def test_an_uploaded_row_for_the_root_is_no_leaf() -> None:
    with_root = an.Hierarchy.from_csv("1;1-2;*\n2;1-2;*\n3;3;*\n*;*;*\n")
    without = an.Hierarchy.from_csv("1;1-2;*\n2;1-2;*\n3;3;*\n")
    frame = pl.DataFrame({"x": ["1", "1", "2", "3", "3", "*", "*"]})
    scores = []
    for hierarchy in (with_root, without):
        found = an.anonymize(
            frame, quasi_identifiers={"x": hierarchy}, models=[an.KAnonymity(2)]
        )
        assert found.checker.problem.total == 5
        assert found.frame["x"].to_list()[-2:] == ["*", "*"]
        scores.append(found.score)
    assert scores[0] == scores[1]


def test_a_suppressed_sensitive_cell_has_no_path_of_another_value() -> None:
    """`*` is as far from every value as the tree is high, not equal to the first."""
    tree = an.Hierarchy.from_csv("a;ab;*\nb;ab;*\nc;c;*\n")
    frame = pl.DataFrame({"x": ["1"] * 4 + ["2"] * 4, "s": ["a"] * 4 + ["*"] * 4})
    quasi = {"x": an.Hierarchy.suppress(["1", "2"])}

    def levels(t: float) -> dict[str, int]:
        models = [an.HierarchicalTCloseness("s", t, tree)]
        return dict(an.anonymize(frame, quasi_identifiers=quasi, models=models).levels)

    assert levels(0.5) == {"x": 0}
    assert levels(0.49) == {"x": 1}


def test_a_distance_must_be_written() -> None:
    from privacyhub.engines.anonymize import models_closeness

    with pytest.raises(TypeError, match="abstract"):
        models_closeness.ClosenessTest(column="s", t=0.1, problem=None)  # type: ignore[abstract, arg-type]


def test_local_recoding_leaves_rows_that_were_suppressed_before() -> None:
    frame, before = released()
    frame = frame.with_columns(id=pl.int_range(pl.len()))
    hierarchies = {n: an.Hierarchy.automatic(frame[n], name=n) for n in NAMES}
    asked = {"quasi_identifiers": hierarchies, "models": [an.KAnonymity(8)]}
    found = an.recode_locally(frame, **asked, suppression_limit=0.1)
    assert found.limit == int(0.1 * (80 - before) + 1e-9)
    assert found.suppressed <= found.limit
    assert sum(found.rows) + found.suppressed + before == 80
    assert found.suppressed_rows.sum() == found.suppressed + before
    assert found.frame["id"].equals(frame["id"])
    after = an.risk.measure(found.frame, NAMES)
    assert after.smallest_class >= 8
    assert after.suppressed >= found.suppressed + before
    assert an.recode_locally(frame, **asked, suppression_limit=0.0).suppressed == 0
    cells = an.suppress_cells(frame, columns=NAMES, models=[an.KAnonymity(4)])
    assert cells.suppressed == 0
    hidden = pl.all_horizontal(pl.col(NAMES) == "*")
    assert cells.frame.select(hidden.sum()).item() >= before


ANY = an.Hierarchy.from_csv("1;1-2;Any\n2;1-2;Any\n3;3;Any\n")
SIDE = an.Hierarchy.from_csv("a;Any\nb;Any\n")


@pytest.mark.parametrize("shown", ["*", "Any"])
def test_a_root_of_another_name_reads_what_was_suppressed(shown: str) -> None:
    """Suppressed rows show `*`, whatever the root of their hierarchies is called."""
    frame = pl.DataFrame({"x": ["1", "1", "2", "3"], "y": ["a", "a", "b", "b"]})
    quasi = {"x": ANY, "y": SIDE}
    asked = {"quasi_identifiers": quasi, "models": [an.KAnonymity(2)]}
    exact = {"levels": {"x": 0, "y": 0}, "suppression_limit": 0.5}
    release = an.transform(frame, **exact, **asked)
    assert release.suppressed == 2
    again = release.frame.with_columns(pl.col("x", "y").replace("*", shown))
    assert not any(quasi[name].check(again[name]) for name in quasi)
    found = an.anonymize(again, **asked)
    assert found.checker.problem.total == 2
    assert set(found.levels.values()) == {0}
    assert found.frame["x"].to_list() == ["1", "1", "*", "*"]
    assert an.recode_locally(again, **asked).suppressed == 0


def test_both_marks_of_a_suppressed_cell_are_one_value() -> None:
    frame = pl.DataFrame({"x": ["*", "Any", "1", "1"], "y": ["a", "a", "b", "b"]})
    found = an.anonymize(
        frame, quasi_identifiers={"x": ANY, "y": SIDE}, models=[an.KAnonymity(2)]
    )
    assert found.levels == {"x": 0, "y": 0}
    assert found.frame["x"].to_list() == ["Any", "Any", "1", "1"]
    assert found.checker.problem.columns[0].shares[0].tolist() == [1 / 3, 1.0]


def test_a_row_for_the_mark_is_no_leaf_of_another_root() -> None:
    named = an.Hierarchy.from_csv("1;Any\n2;Any\n*;Any\n")
    assert [path[0] for path in named.leaves] == ["1", "2"]
    assert named.path("*") == ("Any", "Any")
    assert named.with_missing_values(["*", "3"]).values == ("1", "2", "*", "3")


def test_a_suppressed_cell_makes_no_row_unique() -> None:
    frame = pl.DataFrame(
        {"a": ["x", "x", "x", "y", "y", "*"], "b": ["1", "1", "*", "2", "3", "*"]}
    )
    found = an.minimal_uniques(frame, ["a", "b"])
    assert dict(found.rows_by_set) == {("b",): 2}
    assert found.special_rows == 2
