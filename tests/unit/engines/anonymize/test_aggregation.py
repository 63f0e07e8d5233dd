"""Microaggregation: one value a class, which stays as large as it was."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import aggregation, rows
from tests.unit.engines.anonymize import brute_force as bf

FUNCTIONS = ("mean", "geometric_mean", "median", "interval", "mode")


def table(seed: int, *, missing: float = 0.2) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Three columns to generalize, and x: numbers, some of them missing."""
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=120, heights=(2, 2, 1), values=6)
    x = rng.integers(0, 30, frame.height) / rng.choice([1, 4])
    lacking = rng.random(frame.height) < missing
    return frame.with_columns(
        x=pl.Series([None if gone else v for v, gone in zip(x, lacking, strict=True)])
    ), hierarchies


def made(values: list[float], function: str) -> str | None:
    """What a class of these values shows, in plain Python."""
    if not values:
        return None
    if function == "interval":
        return f"[{min(values):.15g}, {max(values):.15g}]"
    if function == "mode":
        counts = Counter(values)
        most = max(counts.values())
        return f"{min(v for v, count in counts.items() if count == most):.15g}"
    number = {
        "mean": lambda: math.fsum(values) / len(values),
        "median": lambda: statistics.median(values),
        "geometric_mean": lambda: (
            math.prod(v + 1 for v in values) ** (1 / len(values)) - 1
        ),
    }[function]()
    return f"{number:.15g}"


def same(shown: str | None, expected: str | None) -> bool:
    if shown is None or expected is None or "[" in expected:
        return shown == expected
    return float(shown) == pytest.approx(float(expected))


def check_rows(
    frame: pl.DataFrame, out: pl.DataFrame, hidden: pl.Series, function: str, k: int
) -> None:
    """Rows that look the same but for x show what is made of their values of x."""
    names = [name for name in out.columns if name.startswith("q")]
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, labels in enumerate(out.select(names).rows()):
        if hidden[row]:
            assert (*labels, out["x"][row]) == ("*",) * (len(names) + 1)
        else:
            groups[labels].append(row)
    for members in groups.values():
        values = [float(frame["x"][r]) for r in members if frame["x"][r] is not None]
        expected = made(values, function)
        assert all(same(out["x"][row], expected) for row in members)
        assert len(members) >= k
    known = [*names, "x"]
    assert an.risk.measure(out, known).smallest_class >= k


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    function=st.sampled_from(FUNCTIONS),
    k=st.integers(2, 12),
    slice_rows=st.sampled_from([7, 50, 1_000_000]),
)
def test_a_class_shows_one_value_and_stays_k_anonymous(
    seed: int, function: str, k: int, slice_rows: int
) -> None:
    frame, hierarchies = table(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "SLICE_ROWS", slice_rows)
        found = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.KAnonymity(k), an.DistinctLDiversity("s", 2)],
            suppression_limit=0.2,
            aggregates={"x": function},
        )
        out = found.frame
    check_rows(frame, out, found.suppressed_rows, function, k)
    without = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(k), an.DistinctLDiversity("s", 2)],
        suppression_limit=0.2,
    )
    assert (found.levels, found.score) == (without.levels, without.score)
    assert out.drop("x").equals(without.frame.drop("x"))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    function=st.sampled_from(FUNCTIONS),
    k=st.integers(2, 8),
)
def test_every_round_of_local_recoding_aggregates_its_own_classes(
    seed: int, function: str, k: int
) -> None:
    frame, hierarchies = table(seed)
    found = an.recode_locally(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(k)],
        suppression_limit=0.1,
        aggregates={"x": function},
    )
    hidden = found.suppressed_rows
    names = list(hierarchies)
    assert an.risk.measure(found.frame, [*names, "x"]).smallest_class >= k
    seen = np.zeros(frame.height, dtype=bool)
    for one in found.shown:
        part = pl.Series(np.isin(np.arange(frame.height), one.rows))
        check_rows(
            frame.filter(part),
            found.frame.filter(part),
            pl.Series([False] * len(one.rows)),
            function,
            k,
        )
        seen |= part.to_numpy()
    assert (~seen).tolist() == hidden.to_list()
    assert found.frame.filter(hidden).select([*names, "x"]).unique().height <= 1


def test_a_missing_cell_shows_what_its_class_shows() -> None:
    frame = pl.DataFrame({"q": list("aaabb"), "x": [1, None, 4, None, None]})
    found = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["a", "b"])},
        models=[an.KAnonymity(2)],
        aggregates={"x": "mean"},
    )
    assert found.frame["x"].to_list() == ["2.5", "2.5", "2.5", None, None]
    nothing = frame.with_columns(x=pl.Series([np.nan, np.inf, 4.0, 1e20, 1e-7]))
    assert an.what_if(found, suppression_limit=0.1).frame.equals(found.frame)
    found = an.anonymize(
        nothing,
        quasi_identifiers=found.request.quasi_identifiers,
        models=[an.KAnonymity(2)],
        aggregates={"x": "interval"},
    )
    assert found.frame["x"].unique().sort().to_list() == ["[1e-07, 1e+20]", "[4, 4]"]


def test_only_the_mode_is_taken_of_text() -> None:
    frame = pl.DataFrame({"q": ["a"] * 5, "x": ["u", "v", None, "v", "u"]})
    asked: dict[str, Any] = {
        "quasi_identifiers": {"q": an.Hierarchy.suppress(["a"])},
        "models": [an.KAnonymity(2)],
    }
    found = an.anonymize(frame, **asked, aggregates={"x": "mode"})
    assert found.frame["x"].to_list() == ["u"] * 5
    assert found.spread_lost == {"x": None}
    with pytest.raises(an.AnonymizeError, match="Column x does not hold numbers"):
        an.anonymize(frame, **asked, aggregates={"x": "mean"})
    with pytest.raises(an.AnonymizeError, match="must be one of"):
        an.anonymize(frame, **asked, aggregates={"x": "sum"})
    with pytest.raises(an.AnonymizeError, match="Column y is missing"):
        an.anonymize(frame, **asked, aggregates={"y": "mode"})
    with pytest.raises(an.AnonymizeError, match="generalized and aggregated"):
        an.anonymize(frame, **asked, aggregates={"q": "mode"})
    low = frame.with_columns(x=pl.Series([-1, 2, 3, -7, 1]))
    with pytest.raises(an.AnonymizeError, match=r"above -1 \(2 rows have others\)"):
        an.anonymize(low, **asked, aggregates={"x": "geometric_mean"})


def test_the_part_of_the_variance_that_lies_within_classes_is_lost() -> None:
    frame, hierarchies = table(3)
    found = an.anonymize(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(5)],
        suppression_limit=0.1,
        aggregates={"x": "median"},
    )
    local = an.recode_locally(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(5)],
        suppression_limit=0.1,
        aggregates={"x": "median"},
    )
    assert len(local.rounds) > 1
    for one, rounds in (
        (found, [np.flatnonzero(~found.suppressed_rows.to_numpy())]),
        (local, [part.rows for part in local.shown]),
    ):
        groups: dict[Any, list[float]] = defaultdict(list)
        for number, members in enumerate(rounds):
            for row in members.tolist():
                key = (number, *one.frame.select(list(hierarchies)).row(row))
                if frame["x"][row] is not None:
                    groups[key].append(frame["x"][row])
        every = [value for values in groups.values() for value in values]
        within = sum(statistics.pvariance(v) * len(v) for v in groups.values())
        whole = statistics.pvariance(every) * len(every)
        assert one.spread_lost["x"] == pytest.approx(within / whole)
    constant = pl.Series("x", [2.0, 2.0])
    assert aggregation.spread_lost(constant, groups=np.array([0, 1])) == 0.0


def test_the_risk_before_is_of_all_that_the_attacker_knows() -> None:
    frame, hierarchies = table(4, missing=0.0)
    inside = np.arange(frame.height) % 3 > 0
    for models, rows_before in (
        ([an.KAnonymity(3)], frame),
        ([an.KAnonymity(3), an.Inclusion(inside)], frame.filter(pl.Series(inside))),
    ):
        found = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=models,
            suppression_limit=0.5,
            aggregates={"x": "mean"},
        )
        known = [*hierarchies, "x"]
        alone = an.risk.measure(rows_before, known).unique_rows
        assert found.risk.before.unique_rows == alone
        assert alone > an.risk.measure(rows_before, list(hierarchies)).unique_rows
        shown = found.frame.filter(~found.suppressed_rows)
        assert found.risk.after.classes == shown.select(known).unique().height


def test_rows_outside_of_a_subset_count_nowhere() -> None:
    frame = pl.DataFrame({"q": list("aaaabb"), "x": [1, 3, 100, 100, 5, 7]})
    found = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["a", "b"])},
        models=[an.KAnonymity(2), an.Inclusion([0, 1, 4, 5])],
        aggregates={"x": "mean"},
    )
    assert found.frame["x"].to_list() == ["2", "2", "*", "*", "6", "6"]
    assert found.spread_lost["x"] == pytest.approx(4 / 20)


def test_a_suppressed_row_of_another_release_stays_so() -> None:
    frame = pl.DataFrame({"q": ["a", "a", "*", "b", "b"], "x": [1, 3, 900, 5, 7]})
    asked: dict[str, Any] = {
        "quasi_identifiers": {"q": an.Hierarchy([["a", "*"], ["b", "*"]])},
        "models": [an.KAnonymity(2)],
        "aggregates": {"x": "mean"},
    }
    for found in (an.anonymize(frame, **asked), an.recode_locally(frame, **asked)):
        assert found.frame["x"].to_list() == ["2", "2", "*", "6", "6"]
        assert found.spread_lost["x"] == pytest.approx(4 / 20)


@pytest.mark.parametrize(
    "model",
    [
        an.DeltaPresence(0, 0.9, [0, 1, 2, 3]),
        an.KMap(2, pl.DataFrame({"q": list("aaabbb")})),
        an.EpsilonDeltaDP(1.0, 0.1),
    ],
)
def test_models_that_compare_with_rows_not_shown_are_refused(model: an.Model) -> None:
    frame = pl.DataFrame({"q": list("aaabbb"), "x": range(6)})
    with pytest.raises(an.AnonymizeError, match="beside microaggregation"):
        an.anonymize(
            frame,
            quasi_identifiers={"q": an.Hierarchy.suppress(["a", "b"])},
            models=[model],
            suppression_limit=1.0,
            aggregates={"x": "interval"},
        )
    estimated = an.KMap(2, 60)
    found = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["a", "b"])},
        models=[estimated],
        aggregates={"x": "interval"},
    )
    assert found.frame["x"].to_list() == ["[0, 2]"] * 3 + ["[3, 5]"] * 3
