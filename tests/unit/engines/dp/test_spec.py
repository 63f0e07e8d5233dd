"""The settings of a run: checked when they are made, kept as JSON."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from privacyhub.engines.dp.spec import TrainSpec

SPEC = TrainSpec(task="binary", units=2000, expected_batch=200, epochs=4, hidden=(8,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expected_batch": 2001}, "larger than the declared"),
        ({"epochs": 0}, "epochs"),
        ({"clip_norm": math.nan}, "clip norm"),
        ({"clip_norm": 1e-25}, "clip norm lies between 1e-06 and 1,000,000"),
        ({"clip_norm": 0.99e-6}, "clip norm lies between"),
        ({"clip_norm": 1.01e6}, "clip norm lies between"),
        ({"embedding_width": 8.0}, "“embedding_width” must be a whole number"),
        ({"hidden": (8.0,)}, "hidden layers must be whole numbers"),
        ({"class_weights": (1.0,)}, "one weight a class"),
        ({"task": "multiclass", "classes": 1}, "2 classes"),
    ],
)
def test_spec_refuses_what_cannot_work(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **changes)


def test_layer_that_mixes_rows_is_refused() -> None:
    stored = SPEC.to_dict() | {
        "hidden": [{"type": "dense", "units": 8}, {"type": "batch_normalization"}]
    }
    with pytest.raises(ValueError, match="Layer 2: batch normalization mixes"):
        TrainSpec.from_dict(stored)


def test_spec_survives_json() -> None:
    assert TrainSpec.from_dict(SPEC.to_dict()) == SPEC


def test_learning_rate_follows_its_schedule() -> None:
    rates = {
        schedule: [
            replace(SPEC, schedule=schedule, learning_rate=2.0).learning_rate_at(step)
            for step in (0, SPEC.steps // 4, SPEC.steps // 2, SPEC.steps)
        ]
        for schedule in ("constant", "linear", "cosine")
    }
    assert SPEC.steps % 4 == 0
    assert rates["constant"] == [2.0] * 4
    assert rates["linear"] == pytest.approx([2.0, 1.525, 1.05, 0.1])
    quarter = 2 * (0.05 + 0.95 * (1 + 0.5**0.5) / 2)
    assert rates["cosine"] == pytest.approx([2.0, quarter, 1.05, 0.1])
