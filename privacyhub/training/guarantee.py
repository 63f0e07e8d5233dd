"""The guarantee of a trained model, as its file, its page and its reports tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from privacyhub.datasets.models import Version, VersionKind
from privacyhub.engines.dp.events import (
    Event,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
)
from privacyhub.engines.dp.guarantee import TRAINED_ON_ANONYMIZED, guarantee_of
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.engines.dp.spec import REFERENCES, TrainSpec
from privacyhub.governance.models import Ledger
from privacyhub.governance.sums import in_epsilons
from privacyhub.training.attempts import Charged
from privacyhub.training.attempts import told as attempt_rows
from privacyhub.training.plans import Plan, unit_in_words
from privacyhub.training.recipes import RecipeSpec
from privacyhub.training.tuning import score_noise

RANDOMNESS = (
    "Batches and noise come from a cryptographic generator (AES-256 in counter mode) "
    "whose key the operating system draws for each run, never from a user's seed; "
    "the key is not kept."
)
LOOPS = {
    "engine": "the hub's own, norms held to TensorFlow Privacy's registry by tests",
    **{
        name: f"{words}, fed the same Poisson batches and the same kind of noise"
        for name, words in REFERENCES.items()
    },
}
FLOATING_POINT = (
    "Training noise is normal noise in 32-bit floating point; the guarantee holds for "
    "the ideal mechanism and leaves attacks on floating point aside. DP statistics and "
    "metrics take their noise from OpenDP, whose samplers are exact."
)
_ALWAYS_OUTSIDE = (
    "The choice of columns, target and settings, as far as it was made after looking "
    "at the data.",
    "The declared number of units, as far as it was taken from a count of the rows.",
    "Exact metrics, which stay with stewards.",
)
_PACKAGES = ("dp-accounting", "tensorflow", "tensorflow-privacy", "opendp", "numpy")


def private(
    *,
    recipe: RecipeSpec,
    plan: Plan,
    account: Ledger,
    source: Version,
    executed: PoissonGaussianEvent,
    charged: Charged,
    attempts: Sequence[Mapping[str, Any]],
    spec: TrainSpec,
    steps_in_model: int,
    column_sources: Mapping[str, str],
) -> dict[str, Any]:
    """Of a run with privacy.

    executed: every step that was charged, over all attempts; of a search the steps of
    one trial. charged: what was paid besides, and how much delta.
    """
    selection = charged.selection
    told = guarantee_of(
        spec=spec,
        training=executed,
        selection=selection,
        delta=float(plan.delta),
        also=charged.also,
        additive_delta=charged.additive_delta,
        unit=account.unit,
        column_sources=column_sources,
        not_covered=_not_covered(recipe, source),
    ).to_dict()
    return told | {
        "covered": True,
        "unit_in_words": unit_in_words(account),
        "epsilon": _printed(plan.epsilon, accounted=told["epsilon"]),
        "epsilon_accounted": told["epsilon"],
        "filter_epsilon": _of_the_cap(account, [selection or executed, *charged.also]),
        "steps_in_model": steps_in_model,
        "steps_planned": plan.spec.steps,
        "steps_replayed": executed.steps - steps_in_model,
        "search": selection and search_told(recipe, selection),
        "attempts": attempt_rows(attempts, charged=charged.steps),
        "delta": plan.delta,
        "sampler_used": "Poisson",
        "sampler_assumed": "Poisson",
        "expected_batch": plan.spec.expected_batch,
        "declared_units": plan.declared_units,
        "training_units": plan.spec.units,
        "holdout": recipe.holdout,
        "statistics": plan.statistics and plan.statistics.to_dict(),
        "readings_of_statistics": len(charged.also),
        "classes_declared": recipe.classes_declared,
        "loop": LOOPS[plan.spec.implementation],
        "randomness": RANDOMNESS,
        "floating_point": FLOATING_POINT,
        "versions": versions(),
    }


def _of_the_cap(account: Ledger, events: Sequence[Event]) -> float:
    """What the events alone use of the cap: the figure of the price and the report."""
    return float(in_epsilons(account, rdp_vector(compose(list(events)))))


def _printed(target: str, *, accounted: float) -> str:
    """The epsilon that was asked for, or what was charged where that is more."""
    if accounted <= float(target):
        return target
    return f"{math.ceil(accounted * 10_000) / 10_000:.4f}"


def search_told(recipe: RecipeSpec, selection: SelectionEvent) -> dict[str, Any]:
    """What a search tried, and how its price was found; not how often it tried."""
    told = recipe.tuning or {}
    return {
        "space": told.get("space", {}),
        "trials": told.get("trials"),
        "mean_trials": selection.mean_trials,
        "score_noise_multiplier": score_noise(selection),
    }


def absent(*, recipe: RecipeSpec, plan: Plan, reason: str) -> dict[str, Any]:
    """Of a run without privacy: it says that there is none, and why."""
    return {
        "schema": 1,
        "covered": False,
        "statement": (
            "This model was trained without differential privacy. It may reveal "
            "single rows of its training data, and no epsilon covers it."
        ),
        "reason": reason,
        "declared_units": plan.declared_units,
        "holdout": recipe.holdout,
        "not_covered": ["The model and everything that is predicted with it."],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of what computed the guarantee."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not known"
    return found


def _not_covered(recipe: RecipeSpec, source: Version) -> list[str]:
    told = list(_ALWAYS_OUTSIDE)
    if recipe.tuning:
        told.append(
            "How long the search over settings took, which hints at its secret number "
            "of trials: stewards alone see it."
        )
    if source.kind == VersionKind.ANONYMIZED:
        told.insert(0, TRAINED_ON_ANONYMIZED)
    if source.kind == VersionKind.CORRECTED:
        told.append(
            "A corrected row counts as a unit of its own, apart from the record that "
            "was behind the prediction."
        )
    if not recipe.classes_declared:
        told.insert(
            0,
            "The names of the target's classes: they were taken from the data and "
            "not declared by a steward.",
        )
    return told
