"""The default recipe on Adult: everything found and trained at a total epsilon of 1."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("tensorflow")

from privacyhub.engines.assess.histogram import (  # noqa: E402
    metrics_noise_multiplier,
    noisy_score_histogram,
    released_metrics,
)
from privacyhub.engines.assess.metrics import binary_metrics  # noqa: E402
from privacyhub.engines.dp.accounting import noise_multiplier_for  # noqa: E402
from privacyhub.engines.dp.defaults import default_spec  # noqa: E402
from privacyhub.engines.dp.guarantee import guarantee_of  # noqa: E402
from privacyhub.engines.dp.inference import predict_encoded  # noqa: E402
from privacyhub.engines.dp.splitting import coins  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402
from privacyhub.engines.prepare.encoding import Encoder, TargetSpec  # noqa: E402
from privacyhub.engines.prepare.statistics import (  # noqa: E402
    dp_column_statistics,
    statistics_noise_multiplier,
)

ADULT = Path(__file__).resolve().parents[5] / "shared/data/adult_uci/adult_train.csv"
DELTA = 3e-6


def adult() -> pl.DataFrame:
    if not ADULT.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("The Adult table is missing.")
        pytest.skip("The Adult table is not here.")
    frame = pl.read_csv(ADULT)
    return frame.rename({name: name.strip() for name in frame.columns})


def test_default_recipe_reaches_its_auc_at_a_total_epsilon_of_1() -> None:
    frame = adult()
    held_out = coins(np.arange(frame.height), key=bytes(32))
    training = frame.filter(pl.Series(~held_out))
    kinds = {
        name: "number" if frame[name].dtype.is_numeric() else "category"
        for name in frame.columns
        if name != "income"
    }
    noise = statistics_noise_multiplier(
        target_epsilon=1.0, delta=0.9 * DELTA, columns=len(kinds)
    )
    found = dp_column_statistics(
        training, kinds, noise_multiplier=noise, delta_share=0.1 * DELTA
    )
    assert found.event is not None
    encoder = Encoder(
        found.columns, target=TargetSpec(name="income", classes=("<=50K", ">50K"))
    )
    spec = default_spec(task="binary", units=26_000)
    model = train(
        encoder.encode(training),
        spec=spec,
        noise_multiplier=noise_multiplier_for(
            target_epsilon=1.0,
            delta=0.9 * DELTA,
            sampling_probability=spec.sampling_probability,
            steps=spec.steps,
            also=[found.event],
        ),
        on_block=lambda start, steps: None,
    )
    guarantee = guarantee_of(
        spec=spec,
        training=model.event,
        delta=DELTA,
        also=[found.event],
        additive_delta=found.additive_delta,
    )
    assert 0.98 < guarantee.epsilon <= 1.0
    table = encoder.encode(frame.filter(pl.Series(held_out)))
    scores = predict_encoded(model, table)
    exact = binary_metrics(scores, table.target, replicates=0)["metrics"]
    assert exact["auc"]["value"] >= 0.895
    assert exact["accuracy"]["value"] >= 0.845
    released = released_metrics(
        noisy_score_histogram(
            scores,
            table.target,
            noise_multiplier=metrics_noise_multiplier(epsilon=0.5),
        )
    )["metrics"]
    assert abs(released["auc"]["value"] - exact["auc"]["value"]) < 0.02
