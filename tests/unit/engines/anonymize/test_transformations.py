from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import run
from tests.unit.engines.anonymize import brute_force as bf


def test_local_recoding_is_k_anonymous_and_loses_no_row() -> None:
    rng = np.random.default_rng(3)
    frame, hierarchies = bf.random_table(rng, rows=200, heights=(2, 3, 2))
    frame = frame.with_columns(id=pl.int_range(pl.len()))
    result = an.recode_locally(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(4)],
        suppression_limit=0.05,
    )
    assert result.frame["id"].equals(frame["id"])
    assert result.suppressed <= 10
    assert sum(result.rows) + result.suppressed == 200
    after = an.risk.measure(result.frame, list(hierarchies))
    assert after.smallest_class >= 4
    assert after.suppressed == result.suppressed
    with pytest.raises(an.AnonymizeError, match="whole table"):
        an.recode_locally(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.DeltaDisclosure("s", 2)],
        )


def test_cell_suppression_shows_the_value_or_nothing() -> None:
    frame = pl.DataFrame({"a": ["x", "x", "x", "y"], "b": ["1", "1", "2", "2"]})
    result = an.suppress_cells(
        frame, columns=["a", "b"], models=[an.KAnonymity(2)], suppression_limit=1.0
    )
    for name in frame.columns:
        shown, original = result.frame[name], frame[name]
        assert ((shown == original) | (shown == "*")).all()
    assert an.risk.measure(result.frame, ["a", "b"]).smallest_class >= 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.0, 0.1, 1.0])
def test_search_of_large_lattices_finds_the_same_optimum(
    seed: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(300 + seed)
    frame, hierarchies = bf.random_table(rng, rows=60, heights=(2, 3, 2))
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(3), an.DistinctLDiversity("s", 2)],
        "suppression_limit": limit,
    }
    exact = an.anonymize(frame, **asked)
    monkeypatch.setattr(run, "MAX_NODES", 0)
    boxes = an.anonymize(frame, **asked)
    assert boxes.optimal
    assert boxes.score == pytest.approx(exact.score, rel=1e-9)
    early = an.anonymize(frame, **asked, time_limit=0.0)
    assert early.score * (1 - early.gap) <= exact.score * (1 + 1e-9)


def test_microaggregation_groups_at_least_k_rows() -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.normal(size=50), "y": rng.normal(size=50)})
    out = an.microaggregate(frame, ["x", "y"], k=4)
    sizes = out.group_by(["x", "y"]).len()["len"]
    assert sizes.min() >= 4
    assert out["x"].mean() == pytest.approx(frame["x"].mean())
    labels = an.microaggregate(frame, ["x"], k=25, aggregate="interval")["x"]
    assert labels.n_unique() == 2
    with pytest.raises(an.AnonymizeError, match="row 2"):
        an.microaggregate(pl.DataFrame({"x": [1.0, None]}), ["x"], k=1)


def test_changes_to_numbers() -> None:
    values = pl.Series("v", [1.0, 5.0, None, 99.0])
    assert an.code_extremes(values, bottom=2, top=50).to_list() == [2, 5, None, 50]
    assert an.round_to(values, step=5).to_list() == [0, 5, None, 100]
    rng = np.random.default_rng(0)
    noisy = an.add_noise(values, share=0.1, rng=rng)
    assert noisy.null_count() == 1
    assert (noisy != values).drop_nulls().all()
    ranks = pl.Series("r", range(100))
    swapped = an.swap_ranks(ranks, share=0.05, rng=rng)
    assert sorted(swapped.to_list()) == ranks.to_list()
    assert 0 < (swapped - ranks).abs().max() <= 5


def test_masks_and_zip_codes() -> None:
    phones = pl.Series("p", ["0171 555", "12", None])
    right = an.mask(phones, side="right", characters=3)
    assert right.to_list() == ["0171 ***", "**", None]
    assert an.mask(phones, side="left", characters=4).to_list() == [
        "****" + " 555",
        "**",
        None,
    ]
    assert an.pad_zip(pl.Series([2139, None, 90210])).to_list() == [
        "02139",
        None,
        "90210",
    ]
    frame = pl.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 3, 4]})
    told = {
        one.columns: one for one in an.distinction_and_separation(frame, ["a", "b"])
    }
    assert told[("b",)].distinction == 1.0
    assert told[("a",)].separation == pytest.approx(4 / 6)
    assert an.uniqueness.estimate(np.array([2, 3]), population=100) == 0.0


def test_pseudonyms_join_within_a_domain_only() -> None:
    key = bytes(range(32))
    a = an.pseudonymize(pl.Series(["p1", None, "p2"]), key=key, domain="patient")
    b = an.pseudonymize(pl.Series(["p2"]), key=key, domain="patient")
    assert a[2] == b[0]
    assert a[1] is None
    assert a[0] != a[2]
    other = an.pseudonymize(pl.Series(["p2"]), key=key, domain="doctor")
    assert other[0] != b[0]
    with pytest.raises(an.AnonymizeError, match="32 bytes"):
        an.pseudonymize(a, key=b"short", domain="patient")


def test_minimal_uniques_equal_brute_force() -> None:
    rng = np.random.default_rng(2)
    names = ["a", "b", "c", "d"]
    frame = pl.DataFrame({n: rng.integers(0, 4, 40) for n in names})
    rows = frame.rows()

    def alone(row: int, columns: tuple[int, ...]) -> bool:
        mine = [rows[row][c] for c in columns]
        return sum([r[c] for c in columns] == mine for r in rows) == 1

    expected: dict[tuple[str, ...], int] = {}
    for size in (1, 2, 3):
        for columns in combinations(range(4), size):
            count = sum(
                alone(row, columns)
                and not any(
                    alone(row, part)
                    for m in range(1, size)
                    for part in combinations(columns, m)
                )
                for row in range(40)
            )
            if count:
                expected[tuple(names[c] for c in columns)] = count
    found = an.minimal_uniques(frame, names, largest=3)
    assert dict(found.rows_by_set) == expected
    assert (found.scores >= 0).all()
    assert sum(found.rows_by_size.values()) == sum(expected.values())


def test_safe_harbor_finds_names_dates_and_zip_codes() -> None:
    frame = pl.DataFrame(
        {
            "patient_name": ["A", "B"],
            "admitted": ["2020-01-02", "2020-02-03"],
            "zip": ["02139", "036"],
            "age": [91, 50],
            "contact": ["a@b.org", "c@d.org"],
            "result": ["x", "y"],
        }
    )
    found = {(f.column, f.rule): f.rows for f in an.check_safe_harbor(frame)}
    assert found == {
        ("patient_name", "A"): 2,
        ("admitted", "C"): 2,
        ("zip", "B"): 2,
        ("age", "C"): 1,
        ("contact", "F"): 2,
    }


def test_utility_compares_columns_and_predictions() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, 400)
    frame = pl.DataFrame({"x": x.astype(str), "y": np.where(x > 1, "up", "down")})
    hidden = frame.with_columns(x=pl.lit("*"))
    kept, lost = (an.compare_columns(frame, t, ["x"])[0] for t in (frame, hidden))
    assert (kept.kept, kept.changed) == (pytest.approx(1.0), 0.0)
    assert (lost.kept, lost.hidden) == (pytest.approx(0.0), 1.0)
    found = an.accuracy(frame, hidden, target="y", features=["x"])
    assert found.original == 1.0
    assert found.anonymized == pytest.approx(found.baseline, abs=0.05)
