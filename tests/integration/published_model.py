"""A model version whose training is on the ledger, made without TensorFlow.

Everything but the weights is real: the run is priced, reserved, charged and settled
through the services, and its guarantee is computed from what was charged. The noise of
its released metrics has a seed: no figure shows an exact one's digits by chance.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np

from jobs import services as jobs
from privacyhub.assessment.models import Assessment
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.assess.histogram import (
    metrics_noise_multiplier,
    noisy_score_histogram,
    released_metrics,
)
from privacyhub.governance import keys, ledger
from privacyhub.training import attempts, guarantee, recipes, services
from privacyhub.training.models import ModelVersion
from tests.unit.engines.dp.noises import seeded_laplace

EXACT_AUC = 0.8765432198
INPUTS = ("age", "sex", "diagnosis", "length_of_stay")


def publish_model(
    *, version: Version, by: Any, privacy: str = "dp", epsilon: str = "1"
) -> ModelVersion:
    """Submit a run on the version and publish what its jobs would."""
    recipe = recipes.build(
        version=version,
        request={"privacy": privacy, "epsilon": epsilon},
        by=version.created_by,
    )
    run = services.submit(
        version=version,
        recipe=recipe,
        by=by,
        name="Readmission",
        reason="to compare it with a private one" if privacy == "none" else "",
    )
    plan = services.plan_of(run)
    if plan.training_price is not None:
        purpose = plan.training_price.purpose
        if plan.statistics is not None:
            ledger.charge(
                run_id=run.job.pk,
                purpose=purpose,
                event=plan.statistics,
                delta_units=plan.delta_units,
            )
        ledger.charge(run_id=run.job.pk, purpose=purpose, event=plan.training)
        attempts.begin(run=run, job=run.job, step=0, charged=0)
        told = guarantee.private(
            recipe=recipe,
            plan=plan,
            account=the_ledger(version),
            source=version,
            executed=plan.training,
            charged=attempts.charged(run.job),
            attempts=run.attempts,
            spec=plan.spec,
            steps_in_model=plan.spec.steps,
            column_sources={column.name: column.found for column in recipe.columns},
        )
    else:
        told = guarantee.absent(recipe=recipe, plan=plan, reason=run.reason)
    made: list[ModelVersion] = []

    def publish() -> dict[str, Any]:
        key, _ = keys.create(purpose="model")
        number = run.model.versions.count() + 1
        made.append(
            ModelVersion.objects.create(
                model=run.model,
                number=number,
                run=run,
                file="models/none.sealed",
                size=1,
                sha256="0" * 64,
                artefact_sha256="1" * 64,
                key=key,
                guarantee=told,
                summary={
                    "classes": list(recipe.classes),
                    "inputs": [
                        {
                            "name": column.name,
                            "kind": column.kind,
                            "lower": column.lower or 0.0,
                            "upper": column.upper or 100.0,
                            "categories": list(column.categories),
                        }
                        for column in recipe.columns
                    ],
                    "parameters": 321,
                    "task": recipe.task,
                },
            )
        )
        return {"model_version": str(made[0].pk)}

    jobs.finish(job=jobs.claim(job_id=run.job_id, worker="test"), publish=publish)
    _assess(made[0], plan)
    return made[0]


def _assess(model_version: ModelVersion, plan: Any) -> None:
    run = model_version.run
    price = plan.metrics_price
    ledger.charge(run_id=run.assess_job_id, purpose=price.purpose, event=price.event)
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, 4000)
    scores = np.clip(generator.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    noise = metrics_noise_multiplier(epsilon=float(plan.metrics_epsilon))
    where = "privacyhub.engines.assess.histogram.laplace_counts"
    with mock.patch(where, seeded_laplace(5)):
        found = noisy_score_histogram(scores, labels, noise_multiplier=noise)
    exact = {"metrics": {"auc": {"value": EXACT_AUC, "low": 0.8, "high": 0.9}}}

    def publish() -> dict[str, Any]:
        Assessment.objects.create(
            model_version=model_version,
            job_id=run.assess_job_id,
            released=released_metrics(found),
            exact=exact,
            epsilon=plan.metrics_epsilon,
        )
        return {"model_version": str(model_version.pk)}

    jobs.finish(
        job=jobs.claim(job_id=run.assess_job_id, worker="test"), publish=publish
    )
