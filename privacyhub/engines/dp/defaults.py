"""Settings by rule, from the declared number of units and the columns alone.

Nothing here sees a row, so the choice costs no privacy.
"""

from __future__ import annotations

from privacyhub.engines.dp.architecture import Task
from privacyhub.engines.dp.spec import TrainSpec

_EPOCHS = 20
_MIN_STEPS, _MAX_STEPS = 100, 2_000
_MAX_BATCH = 8192


def default_spec(
    *, task: Task, units: int, classes: int = 2, max_rows_per_unit: int = 1
) -> TrainSpec:
    """A setting that does well at epsilon 0.5 to 8 on tables of 2,000 rows or more.

    With a piecewise-linear encoding a linear model is hard to beat under noise: it has
    few weights, and noise grows with their number. Batches of about a twelfth of the
    units keep the noise low against the signal at little cost in epsilon.
    """
    batch = max(1, min(_MAX_BATCH, units // 12))
    steps = min(max(_EPOCHS * units / batch, _MIN_STEPS), _MAX_STEPS)
    return TrainSpec(
        task=task,
        units=units,
        classes=classes,
        expected_batch=batch,
        epochs=steps * batch / units,
        hidden=(),
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.5 if task == "regression" else 2.0,
        schedule="linear",
        ema=0.9,
        clip_norm=1.0,
        max_rows_per_unit=max_rows_per_unit,
    )
