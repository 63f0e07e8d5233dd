"""Local recoding: its figures are of the whole table, and say what was proved."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from privacyhub.engines.anonymize import local_recoding, local_scores, search
from tests.unit.engines.anonymize import brute_force as bf

ROWS = 150
NAMES = ["q0", "q1", "q2"]


def table(seed: int) -> tuple[pl.DataFrame, dict[str, an.Hierarchy]]:
    return bf.random_table(
        np.random.default_rng(seed), rows=ROWS, heights=(2, 3, 2), values=8
    )


def recoded(seed: int, metric: an.Metric | None = None) -> an.LocalResult:
    frame, hierarchies = table(seed)
    found = an.recode_locally(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(5)],
        suppression_limit=0.1,
        metric=metric,
    )
    assert len(found.rounds) > 1
    return found


def level_of(found: an.LocalResult, row: int) -> dict[str, int] | None:
    for one, levels in zip(found.shown, found.rounds, strict=True):
        if row in one.rows:
            return dict(levels)
    return None


@pytest.mark.parametrize("seed", range(4))
def test_loss_is_that_of_the_final_table(seed: int) -> None:
    found = recoded(seed)
    frame, hierarchies = table(seed)
    product = 1.0
    for name, hierarchy in hierarchies.items():
        leaves, total = len(hierarchy.levels), 0.0
        for row in range(ROWS):
            levels = level_of(found, row)
            if levels is None:
                total += 1
                continue
            label = hierarchy.generalize(frame[name][row], level=levels[name])
            under = [path[levels[name]] for path in hierarchy.levels].count(label)
            total += under / leaves
        loss = (total - ROWS / leaves) / (ROWS - ROWS / leaves)
        assert found.column_loss[name] == pytest.approx(loss)
        product *= loss + 1
    assert found.score == pytest.approx(product ** (1 / 3) - 1)


def test_precision_and_entropy_are_summed_over_the_rounds() -> None:
    found = recoded(1, an.Precision())
    frame, hierarchies = table(1)
    for name, hierarchy in hierarchies.items():
        levels = [level_of(found, row) for row in range(ROWS)]
        parts = [1.0 if one is None else one[name] / hierarchy.height for one in levels]
        assert found.column_loss[name] == pytest.approx(np.mean(parts))
    assert found.score == pytest.approx(np.mean(list(found.column_loss.values())))

    found = recoded(1, an.NonUniformEntropy())
    for name, hierarchy in hierarchies.items():
        bits = 0.0
        for row, value in enumerate(frame[name]):
            level = (level_of(found, row) or {}).get(name, hierarchy.height)
            labels = [hierarchy.generalize(v, level=level) for v in frame[name]]
            same = labels.count(hierarchy.generalize(value, level=level))
            bits += math.log2(same / frame[name].to_list().count(value))
        assert found.column_loss[name] == pytest.approx(bits)


def test_metrics_of_classes_score_the_final_classes() -> None:
    found = recoded(1)
    frame, hierarchies = table(1)

    def score(metric: an.Metric) -> float:
        first = an.anonymize(
            frame,
            quasi_identifiers=hierarchies,
            models=[an.KAnonymity(5)],
            suppression_limit=1.0,
            metric=metric,
        )
        return local_scores.score(first, found.shown)

    rows = found.frame.select(NAMES).rows()
    hidden = found.suppressed_rows.to_list()
    groups = Counter(row for row, gone in zip(rows, hidden, strict=True) if not gone)
    cost = sum(size * size for size in groups.values()) + sum(hidden) * ROWS
    assert score(an.Discernibility()) == cost
    assert score(an.AverageClassSize()) == ROWS / (len(groups) + any(hidden))

    rows = found.frame.select([*NAMES, "s"]).rows()
    lost = 0.0
    for row, gone in zip(rows, found.suppressed_rows, strict=True):
        if gone:
            lost += 0.5
            continue
        here = Counter(other[3] for other in rows if other[:3] == row[:3])
        most = max(here.values())
        alone = list(here.values()).count(most) == 1
        lost += not (alone and here[row[3]] == most)
    assert score(an.ClassificationAccuracy("s")) == pytest.approx(lost / ROWS)


def test_divergence_of_one_round_is_that_of_full_domain() -> None:
    frame, hierarchies = table(2)
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(2)],
        "suppression_limit": 1.0,
    }
    for metric in (an.KLDivergence(), an.AverageClassSize(), an.Loss()):
        full = an.anonymize(frame, **asked, metric=metric)
        found = an.recode_locally(frame, **asked, metric=metric)
        one = local_scores.score(full, found.shown[:1])
        assert one == pytest.approx(full.score)


def test_one_deadline_holds_for_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by a second each time that it is looked at."""
    whole = recoded(1)
    assert whole.optimal
    assert whole.proved == (True,) * len(whole.rounds)
    ticks = itertools.count(time.monotonic())
    clock = SimpleNamespace(monotonic=lambda: next(ticks))
    monkeypatch.setattr(search, "time", clock)
    monkeypatch.setattr(local_recoding, "time", clock)
    frame, hierarchies = table(1)
    asked = {
        "quasi_identifiers": hierarchies,
        "models": [an.KAnonymity(5)],
        "suppression_limit": 1.0,
    }
    began = next(ticks)
    found = an.recode_locally(frame, **asked, time_limit=12)
    assert next(ticks) - began < 12 + 12
    assert not found.optimal
    assert found.rounds
    assert an.risk.measure(found.frame, NAMES).smallest_class >= 5


def test_rounds_share_the_time_and_tell_what_was_not_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []
    whole = local_recoding.anonymize

    def unproved(*args: Any, time_limit: float, **asked: Any) -> an.Result:
        given.append(time_limit)
        found = whole(*args, **asked)
        return replace(found, optimal=len(given) != 2, gap=0.0)

    monkeypatch.setattr(local_recoding, "anonymize", unproved)
    frame, hierarchies = table(1)
    found = an.recode_locally(
        frame,
        quasi_identifiers=hierarchies,
        models=[an.KAnonymity(5)],
        suppression_limit=1.0,
        time_limit=1000.0,
    )
    assert len(given) > 1
    assert given[0] <= 900
    assert all(later < earlier for earlier, later in itertools.pairwise(given))
    assert not found.optimal
    assert found.proved[1] is False
    assert found.proved[0] is True


def test_progress_and_cancel_reach_the_rounds() -> None:
    frame, _ = table(1)
    seen: list[tuple[int, int]] = []
    asked = {"columns": NAMES, "models": [an.KAnonymity(5)], "suppression_limit": 0.5}
    an.suppress_cells(
        frame, **asked, progress=lambda done, total: seen.append((done, total))
    )
    assert seen
    assert {total for _, total in seen} == {8}
    with pytest.raises(an.AnonymizeCancelled):
        an.suppress_cells(frame, **asked, cancelled=lambda: True)
    found = an.suppress_cells(frame, **asked, time_limit=0.0)
    assert not found.optimal
