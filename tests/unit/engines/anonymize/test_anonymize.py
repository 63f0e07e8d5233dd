from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize import brute_force as bf

FRAME = pl.DataFrame(
    {
        "id": [10, 11, 12, 13, 14, 15],
        "age": [31, 32, 33, 34, None, 70],
        "job": ["a", "a", "b", "b", "a", "b"],
        "illness": ["x", "y", "x", "y", "x", "x"],
    }
)
AGES = an.Hierarchy.intervals(FRAME["age"], widths=[5, 10, 50])
JOBS = an.Hierarchy.suppress(FRAME["job"])
ROLES = {"age": AGES, "job": JOBS}


def test_anonymize_keeps_order_and_other_columns() -> None:
    result = an.anonymize(
        FRAME,
        quasi_identifiers=ROLES,
        models=[an.KAnonymity(2)],
        suppression_limit=0.5,
        metric=an.Loss(suppression_factor=0.1),
    )
    assert result.frame.columns == FRAME.columns
    assert result.frame["id"].equals(FRAME["id"])
    assert result.frame["illness"].equals(FRAME["illness"])
    hidden = result.suppressed_rows
    assert hidden.sum() == result.suppressed > 0
    for name in ROLES:
        assert (result.frame[name].filter(hidden) == "*").all()
    assert result.risk.after.smallest_class >= 2
    assert result.risk.before.unique_rows == 6


def test_anonymize_leaves_missing_values_missing_at_level_zero() -> None:
    frame = pl.DataFrame({"q": ["a", "a", None, None]})
    result = an.anonymize(
        frame,
        quasi_identifiers={"q": an.Hierarchy.suppress(["a", None])},
        models=[an.KAnonymity(2)],
    )
    assert result.levels == {"q": 0}
    assert result.frame["q"].to_list() == ["a", "a", None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": [an.KAnonymity(7)]}, "only 6 rows"),
        ({"models": []}, "at least one privacy model"),
        ({"suppression_limit": 1.5}, "from 0 to 1"),
        ({"quasi_identifiers": {}}, "at least one quasi-identifier"),
        ({"quasi_identifiers": {"no": AGES}}, "Column no is missing"),
        ({"models": [an.DistinctLDiversity("job", 2)]}, "quasi-identifier too"),
        ({"models": [an.DistinctLDiversity("illness", 3)]}, "only 2 values"),
        ({"quasi_identifiers": {"age": JOBS}}, "Column age, row 1"),
    ],
)
def test_anonymize_rejects(change: dict, message: str) -> None:
    asked = {"quasi_identifiers": ROLES, "models": [an.KAnonymity(2)], **change}
    with pytest.raises(an.AnonymizeError, match=message):
        an.anonymize(FRAME, **asked)


def test_anonymize_without_solution_says_so() -> None:
    frame = pl.DataFrame({"q": ["a", "a"], "s": ["x", "x"], "t": ["1", "2"]})
    with pytest.raises(an.AnonymizeError, match="No transformation"):
        an.anonymize(
            frame,
            quasi_identifiers={"q": an.Hierarchy.suppress(["a"])},
            models=[an.EntropyLDiversity("s", 1.5)],
        )


def test_progress_cancel_and_time_limit() -> None:
    calls: list[tuple[int, int]] = []
    asked = {"quasi_identifiers": ROLES, "models": [an.KAnonymity(2)]}
    an.anonymize(FRAME, **asked, progress=lambda *at: calls.append(at))
    assert calls[-1] == (10, 10)
    with pytest.raises(an.AnonymizeCancelled):
        an.anonymize(FRAME, **asked, cancelled=lambda: True)
    result = an.anonymize(FRAME, **asked, time_limit=0.0, suppression_limit=0.4)
    assert not result.optimal
    assert 0 < result.gap <= 1


def test_apply_another_node_and_what_if() -> None:
    result = an.anonymize(
        FRAME,
        quasi_identifiers=ROLES,
        models=[an.KAnonymity(2)],
        suppression_limit=0.4,
    )
    top = result.apply({"age": 4, "job": 1})
    assert set(top.frame["age"]) == {"*"}
    assert not top.optimal
    assert top.gap == pytest.approx(1 - result.score / top.score)
    with pytest.raises(an.AnonymizeError, match="suppresses 6 rows"):
        result.apply({"age": 0, "job": 0})
    looser = an.what_if(result, suppression_limit=1.0)
    assert looser.score <= result.score
    explained = an.explain(result)
    assert explained.most_costly == max(result.column_loss, key=result.column_loss.get)
    assert [c.column for c in explained.columns] == ["age", "job"]


def _tests(frame: pl.DataFrame) -> list[tuple[list[an.Model], list[bf.Holds]]]:
    s = frame["s"].to_list()
    return [
        ([an.KAnonymity(3)], [bf.k_anonymous(3)]),
        (
            [an.KAnonymity(2), an.DistinctLDiversity("s", 2)],
            [bf.k_anonymous(2), bf.distinct(s, 2)],
        ),
        ([an.EntropyLDiversity("s", 1.8)], [bf.entropy(s, 1.8)]),
        ([an.EqualTCloseness("s", 0.25)], [bf.equal_closeness(s, 0.25)]),
    ]


@pytest.mark.parametrize("limit", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_optimum_equals_exhaustive_search(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    frame, hierarchies = bf.random_table(rng, rows=40, heights=(2, 3, 1))
    for models, holds in _tests(frame):
        expected = bf.best(frame, hierarchies, holds, int(limit * 40 + 1e-9))
        result = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=models,
            suppression_limit=limit,
        )
        assert result.optimal
        assert result.score == pytest.approx(expected, rel=1e-9)
        shown = list(zip(*(result.frame[n] for n in hierarchies), strict=True))
        kept = [i for i, hidden in enumerate(result.suppressed_rows) if not hidden]
        for members in bf.classes([shown[i] for i in kept]):
            assert all(test([kept[i] for i in members]) for test in holds)
