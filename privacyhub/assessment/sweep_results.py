"""What the runs of a sweep reached, as far as a user may know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch

from jobs.models import Job
from privacyhub.assessment.models import Assessment
from privacyhub.training import services
from privacyhub.training.models import Model, ModelVersion, Privacy, Sweep, TrainingRun

# What the models of a task are compared by; a regression's error has its target's unit.
UTILITY = {"binary": "auc", "multiclass": "accuracy", "regression": "rmse"}

Interval = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A run of a sweep. epsilon: empty without privacy.

    released: {"value", "low", "high"} from the DP histogram, None until it is there.
    exact: the same for those who may see it, not covered by any guarantee.
    """

    run: TrainingRun
    epsilon: str
    noise_multiplier: float | None
    job: Job
    assess_job: Job | None
    version: ModelVersion | None
    released: Interval | None
    exact: Interval | None

    @property
    def is_open(self) -> bool:
        """Whether a job of the run is still to end."""
        return self.job.is_open or bool(self.assess_job and self.assess_job.is_open)

    @property
    def state(self) -> str:
        """Of the run's two jobs, the one that tells most."""
        if self.job.state == "succeeded" and self.assess_job is not None:
            return str(self.assess_job.state)
        return str(self.job.state)


def measure(sweep: Sweep) -> str:
    """The name of the figure that the sweep compares."""
    return UTILITY[sweep.model.task]


def may_see_exact(*, sweep: Sweep, user: Any) -> bool:
    """Exact figures of all its runs are shown by the rule of its model."""
    return services.may_see_exact(model_id=sweep.model_id, user=user)


def results(*, sweep: Sweep, user: Any) -> list[SweepResult]:
    """The runs whose model the user sees, by rising epsilon, without privacy last."""
    name = measure(sweep)
    exact = may_see_exact(sweep=sweep, user=user)
    assessed = Assessment.objects.order_by("-created_at")
    runs = (
        sweep.runs.filter(model__in=Model.objects.visible_to(user).values("pk"))
        .select_related("job", "assess_job", "model", "model_version__model")
        .prefetch_related(Prefetch("model_version__assessments", assessed))
    )
    found = [_result(run, name=name, exact=exact) for run in runs]
    return sorted(found, key=lambda one: (not one.epsilon, float(one.epsilon or 0)))


def _result(run: TrainingRun, *, name: str, exact: bool) -> SweepResult:
    version = getattr(run, "model_version", None)
    latest = next(iter(version.assessments.all()), None) if version else None
    private = run.privacy == Privacy.DP
    training = run.plan.get("training")
    return SweepResult(
        run=run,
        epsilon=run.plan["epsilon"] if private else "",
        noise_multiplier=training["noise_multiplier"] if training else None,
        job=run.job,
        assess_job=run.assess_job,
        version=version,
        released=_figure(latest.released, name) if latest else None,
        exact=_figure(latest.exact, name) if latest and exact else None,
    )


def _figure(told: dict[str, Any], name: str) -> Interval | None:
    found = told.get("metrics", {}).get(name)
    return found if found and found.get("value") is not None else None
