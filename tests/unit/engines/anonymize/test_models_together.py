"""Models that one another's suppression, or empty classes, must not mislead."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf


def one_column(values: list[str], *, groups: dict[str, str] | None = None) -> object:
    labels = groups or {}
    rows = [[v, labels.get(v, "all"), "*"] for v in dict.fromkeys(values)]
    return an.Hierarchy.from_rows(rows)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("turned", [False, True])
def test_models_of_the_table_all_hold_in_whichever_order(
    seed: int, turned: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=96, heights=(3, 3))
    models = [
        an.PopulationUniqueness(0.01, "snb", population=192),
        an.AverageRisk(0.295),
        an.SampleUniqueness(0.02),
    ]
    result = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=models[::-1] if turned else models,
        suppression_limit=0.2,
    )
    if result.check is None:
        return
    sizes = result.check.classes.size[~result.check.suppressed]
    assert all(test.holds(sizes) for test in result.checker.table_tests)


def test_a_class_without_anyone_of_the_subset_closes_nothing() -> None:
    """At the top 5 of 100 rows are of the subset: below the lower bound. Level 0 parts
    them into a class that holds, and one of which nobody is in the subset."""
    values = ["a"] * 10 + ["b"] * 90
    result = an.anonymize(
        pl.DataFrame({"q": values}),
        quasi_identifiers={"q": one_column(values)},
        models=[
            an.KAnonymity(2),
            an.DeltaPresence(0.1, 0.6, subset=[True] * 5 + [False] * 95),
        ],
    )
    assert result.levels == {"q": 0}
    assert result.suppressed == 0


@pytest.mark.parametrize(
    "model",
    [
        an.DistinctLDiversity("s", 2),
        an.EntropyLDiversity("s", 2),
        an.EntropyLDiversity("s", 2, "grassberger"),
        an.RecursiveCLDiversity("s", 3, 2),
        an.KMap(2, 1_000),
        an.Profitability(10, 300, 4, 2, no_attack=True),
    ],
)
def test_models_that_imply_a_least_class_take_an_empty_one(model: an.Model) -> None:
    """The same without k-anonymity: each of these models asks for rows too, as in ARX.

    Of presence alone the class without anybody is asked, and it closes level 0.
    """
    values = ["a"] * 10 + ["b"] * 90
    frame = pl.DataFrame({"q": values, "s": ["x", "y"] * 50})
    presence = an.DeltaPresence(0.1, 0.6, subset=[True] * 6 + [False] * 94)
    asked: dict[str, Any] = {"quasi_identifiers": {"q": one_column(values)}}
    result = an.anonymize(frame, models=[model, presence], **asked)
    assert result.levels == {"q": 0}
    assert result.suppressed == 0
    with pytest.raises(an.AnonymizeError, match="No transformation"):
        an.anonymize(frame, models=[presence], **asked)


def test_a_node_that_is_ruled_out_tells_how_many_rows_would_go() -> None:
    values = [str(n) for n in range(40)]
    result = an.anonymize(
        pl.DataFrame({"q": values}),
        quasi_identifiers={"q": one_column(values)},
        models=[an.AverageRisk(0.05)],
    )
    check = result.checker.check((0,))
    assert check.hopeless
    assert check.rows == check.surely > 0


@pytest.mark.parametrize("missing", ["", "*", None])
def test_numbers_are_in_order_of_size_though_a_cell_is_missing(missing: object) -> None:
    """By the alphabet 2 comes after 11, and far values seem near."""
    low = [str(n) for n in range(1, 10)]
    high = [str(10 * n + 1) for n in range(1, 10)]
    values = ["a"] * 9 + ["b"] * 9
    plain = pl.DataFrame({"q": values, "s": low + high})
    asked = {
        "quasi_identifiers": {"q": one_column(values)},
        "models": [an.OrderedTCloseness("s", 0.2)],
    }
    assert an.anonymize(plain, **asked).levels == {"q": 1}
    spoiled = pl.concat([plain, pl.DataFrame({"q": ["a"], "s": [missing]})])
    assert an.anonymize(spoiled, **asked).levels == {"q": 1}


def test_an_order_must_name_each_value_but_not_what_is_missing() -> None:
    frame = pl.DataFrame({"q": ["a"] * 4, "s": ["low", "high", None, "*"]})
    asked: dict[str, Any] = {"quasi_identifiers": {"q": one_column(["a"] * 4)}}
    model = an.OrderedTCloseness("s", 0.2, ["low", "middle", "high"])
    assert an.anonymize(frame, models=[model], **asked).suppressed == 0
    model = an.OrderedTCloseness("s", 0.2, ["low", "middle"])
    with pytest.raises(an.AnonymizeError, match="lacks a value"):
        an.anonymize(frame, models=[model], **asked)


def test_levels_that_are_fixed_know_no_limit_and_are_not_chosen_by_the_data() -> None:
    values = ["a"] * 90 + [str(n) for n in range(10)]
    drawn = an.EpsilonDeltaDP(1.0, 1e-3, {"q": 0}, sample=[True] * 100)
    asked: dict[str, Any] = {
        "quasi_identifiers": {"q": one_column(values)},
        "models": [drawn],
        "suppression_limit": 0.02,
    }
    frame = pl.DataFrame({"q": values})
    for result in (
        an.anonymize(frame, **asked),
        an.transform(frame, levels={"q": 0}, **asked),
    ):
        told = an.explain(result)
        assert (told.suppressed, told.limit) == (10, 100)
        assert result.apply({"q": 0}).suppressed == 10
        with pytest.raises(an.AnonymizeError, match="fix other levels"):
            result.apply({"q": 1})


@pytest.mark.parametrize("epsilon", [8.0, 12.0, 40.0])
def test_an_epsilon_whose_k_would_take_hours_is_refused(epsilon: float) -> None:
    with pytest.raises(an.AnonymizeError, match="smaller"):
        an.EpsilonDeltaDP(epsilon, 1e-6).k  # noqa: B018


@pytest.mark.parametrize(
    "values",
    [[True, False, True, True], [1e16, 2.5, 1e16, 2.5], [None, "x", "x", None]],
)
def test_single_cells_of_any_kind_of_column_can_be_hidden(values: list[object]) -> None:
    frame = pl.DataFrame({"q": values, "r": ["a", "a", "b", "b"]}, strict=False)
    result = an.suppress_cells(
        frame, columns=["q", "r"], models=[an.KAnonymity(2)], suppression_limit=1.0
    )
    assert result.frame.height == 4
