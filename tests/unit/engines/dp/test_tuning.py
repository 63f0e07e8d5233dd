from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.dp.events import GaussianEvent, PoissonGaussianEvent, compose
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.dp.tuning import (
    SearchSpace,
    SearchState,
    begin_search,
    search,
    selection_event,
    tuned_noise_multiplier,
)

SPEC = TrainSpec(task="binary", units=1000, expected_batch=50, epochs=5)
SPACE = SearchSpace(choices={"learning_rate": [0.01, 0.1, 1.0], "hidden": [(), (8,)]})
SCORE = GaussianEvent(noise_multiplier=20.0)


def untrained(spec: TrainSpec) -> TrainedModel:
    return TrainedModel(
        architecture=spec.architecture(features=2), weights={}, spec=spec
    )


@pytest.mark.parametrize("trials", ["poisson", "geometric"])
def test_solved_noise_keeps_the_whole_search_within_its_target(trials) -> None:
    noise = tuned_noise_multiplier(
        target_epsilon=2.0,
        delta=1e-5,
        sampling_probability=SPEC.sampling_probability,
        steps=SPEC.steps,
        score_event=SCORE,
        mean_trials=5,
        trials=trials,
    )
    trial = compose(
        [
            PoissonGaussianEvent(
                sampling_probability=SPEC.sampling_probability,
                noise_multiplier=noise,
                steps=SPEC.steps,
            ),
            SCORE,
        ]
    )
    whole = epsilon(selection_event(trial, mean_trials=5, trials=trials), delta=1e-5)
    assert 1.9 < whole <= 2.0
    assert epsilon(trial, delta=1e-5) < 0.8 * whole


def test_best_score_wins() -> None:
    for _ in range(20):
        tried = []

        def score(model: TrainedModel, tried: list[float] = tried) -> float:
            tried.append(model.spec.learning_rate)
            return -model.spec.learning_rate

        best = search(
            spec=SPEC,
            space=SPACE,
            state=begin_search(mean_trials=4),
            train_one=untrained,
            score_one=score,
        )
        if best is None:
            assert not tried
        else:
            assert best.spec.learning_rate == min(tried)


@pytest.mark.parametrize(
    ("trials", "law"),
    [("poisson", stats.poisson(5)), ("geometric", stats.geom(1 / 5))],
)
def test_number_of_trials_follows_its_law(trials: Any, law: Any) -> None:
    drawn = [begin_search(mean_trials=5, trials=trials).drawn for _ in range(20_000)]
    edges = np.arange(12)
    counts = np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1)
    shares = np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    assert counts[shares == 0].sum() == 0
    counts, shares = counts[shares > 0], shares[shares > 0]
    assert stats.chisquare(counts, shares * len(drawn)).pvalue > 1e-6


def test_as_many_trials_run_as_were_drawn() -> None:
    scored: list[TrainedModel] = []
    search(
        spec=SPEC,
        space=SPACE,
        state=SearchState(drawn=7),
        train_one=untrained,
        score_one=lambda model: float(scored.append(model) or 0),
    )
    assert len(scored) == 7


def test_setting_that_changes_the_price_cannot_be_searched() -> None:
    with pytest.raises(ValueError, match="Cannot be searched: epochs"):
        SearchSpace(choices={"epochs": [1, 2]})


def test_drawn_setting_is_validated() -> None:
    space = SearchSpace(choices={"clip_norm": [-1.0]})
    with pytest.raises(ValueError, match="clip norm"):
        search(
            spec=replace(SPEC),
            space=space,
            state=SearchState(drawn=50),
            train_one=untrained,
            score_one=lambda model: 0.0,
        )


def test_trial_that_was_interrupted_counts_as_one_that_lost() -> None:
    kept: list[SearchState] = []

    def train_one(spec: TrainSpec) -> TrainedModel:
        if len(kept) == 3:
            raise RuntimeError("killed")
        return untrained(spec)

    with pytest.raises(RuntimeError, match="killed"):
        search(
            spec=SPEC,
            space=SPACE,
            state=SearchState(drawn=5),
            train_one=train_one,
            score_one=lambda model: float(len(kept)),
            keep=kept.append,
        )
    ran: list[int] = []
    best = search(
        spec=SPEC,
        space=SPACE,
        state=kept[-1],
        train_one=untrained,
        score_one=lambda model: float(ran.append(1) or 0),
    )
    assert len(ran) == 2  # two were done, one was lost, two are left
    assert kept[-1].best is not None
    assert best is kept[-1].best[1]


def test_statistics_beside_a_search_are_in_its_target() -> None:
    asked = {
        "target_epsilon": 2.0,
        "delta": 1e-5,
        "sampling_probability": SPEC.sampling_probability,
        "steps": SPEC.steps,
        "score_event": SCORE,
        "mean_trials": 5,
    }
    alone = tuned_noise_multiplier(**asked)
    beside = tuned_noise_multiplier(**asked, also=[GaussianEvent(noise_multiplier=8.0)])
    assert beside > alone
