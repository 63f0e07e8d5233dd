"""How a model of a report was made: preprocessing, tuning, mechanism, library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.assessment.report_fields import (
    assumed,
    exact,
    measured,
    section,
    significant,
)
from privacyhub.assessment.report_figures import is_private
from privacyhub.training.models import ModelVersion

NO_GUARANTEE = "None: the model was trained without differential privacy."
_ADAPTIVE = (
    " Beside each sum a count of the gradients within the clip norm is released, with "
    "noise of its own; the clip norm of the next step follows it. Both noises are set "
    "so that the two together cost what one sum of this noise multiplier costs."
)


def implementation_section(model_version: ModelVersion) -> dict[str, Any]:
    guarantee, summary = model_version.guarantee, model_version.summary
    private = is_private(model_version)
    versions = guarantee.get("versions") or {}
    statistics = guarantee.get("statistics")
    adaptive = bool(guarantee.get("clip_quantile"))
    return section(
        "implementation",
        "Implementation",
        measured(
            "preprocessing_cost",
            "Cost of preprocessing",
            (
                f"{_event_in_words(statistics)}; part of the training units' epsilon."
                if statistics
                else "None: no bound or category was searched in the rows."
            )
            if private
            else None,
        ),
        measured("tuning_cost", "Cost of tuning", _tuning(model_version)),
        measured(
            "mechanism",
            "Mechanism",
            "DP-SGD: each unit's gradient is clipped, Gaussian noise is added to the "
            "sum, and the sum is divided by the expected batch." + _ADAPTIVE * adaptive
            if private
            else NO_GUARANTEE,
        ),
        measured(
            "clip_norm",
            "Clip norm",
            guarantee["clipping"] if adaptive else exact(guarantee.get("clip_norm")),
        ),
        measured(
            "noise_multiplier",
            "Noise multiplier",
            significant(guarantee.get("noise_multiplier")),
        ),
        measured(
            "sampling_probability",
            "Sampling probability of a step",
            significant(guarantee.get("sampling_probability")),
        ),
        measured(
            "expected_batch", "Expected batch", exact(guarantee.get("expected_batch"))
        ),
        measured("steps", "Steps", exact(guarantee.get("steps"))),
        measured("architecture", "Parameters", exact(summary.get("parameters"))),
        measured(
            "library_versions",
            "Library versions",
            [f"{name} {number}" for name, number in versions.items()],
        ),
        assumed("floating_point", "Floating point", guarantee.get("floating_point")),
        assumed(
            "timing",
            "Timing and side channels",
            "Training runs in a worker whose progress shows steps and epsilon alone. "
            "How long a step or a prediction takes is not protected.",
        ),
        assumed("random_generator", "Random generator", guarantee.get("randomness")),
        measured(
            "model_hash", "SHA-256 of the model file", model_version.artefact_sha256
        ),
    )


def _event_in_words(event: Mapping[str, Any]) -> str:
    count, noise = exact(event.get("count")), significant(event.get("noise_multiplier"))
    return f"{count} DP statistics with noise multiplier {noise}"


def _tuning(model_version: ModelVersion) -> list[str]:
    runs = model_version.model.runs.count()
    alone = (
        f"The model has {runs} training run{'' if runs == 1 else 's'} in all; each is "
        "charged on its own."
    )
    search = model_version.guarantee.get("search")
    if not search:
        return [f"No search over settings was run. {alone}"]
    return [
        "A search over settings was run. It was paid as a whole before its first "
        "trial, and is part of the training units' epsilon.",
        *(
            f"Searched, {name}: {', '.join(exact(one) or str(one) for one in values)}"
            for name, values in search["space"].items()
        ),
        f"The number of trials: {search['trials']}, {exact(search['mean_trials'])} on "
        "average. How many ran stays secret.",
        "The best trial is kept by a score with noise multiplier "
        f"{significant(search['score_noise_multiplier'])}.",
        "Noise multiplier, sampling probability and steps are those of one trial.",
        alone,
    ]
