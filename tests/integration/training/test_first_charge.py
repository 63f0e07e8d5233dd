"""The first charge comes before the first private row: no end of a run is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.states import JobCancelled
from privacyhub.datasets import services as datasets
from privacyhub.engines.dp.events import PoissonGaussianEvent, event_from_dict
from privacyhub.engines.dp.rdp import rdp_vector
from privacyhub.governance.models import EntryKind, LedgerEntry, Reservation
from privacyhub.training import services as training

SEARCH = {"space": {"learning_rate": [0.01, 0.3]}}
DECLARED = {"features": ["creatinine"]}


@pytest.fixture
def declared(register_version: Any, steward: Any) -> None:
    """A column that no statistics need to be found of."""
    datasets.set_columns(
        version=register_version,
        changes={"creatinine": {"lower": 0, "upper": 20}},
        by=steward,
    )


def first_of(plan: Any) -> Any:
    """The event that a run of this plan is charged first."""
    if plan.statistics is not None:
        return plan.statistics
    if plan.selection is not None:
        return plan.selection
    return PoissonGaussianEvent(
        sampling_probability=plan.training.sampling_probability,
        noise_multiplier=plan.training.noise_multiplier,
        steps=plan.spec.block,
    )


@pytest.mark.parametrize(
    "asked",
    [{}, DECLARED, DECLARED | {"tuning": SEARCH}],
    ids=["statistics", "steps", "search"],
)
@pytest.mark.parametrize("stop", [MemoryError, JobCancelled, ValueError])
def test_run_that_ends_while_it_reads_keeps_its_first_charge(
    asked: dict[str, Any],
    stop: type[Exception],
    declared: None,
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise stop

    monkeypatch.setattr("jobs.tasks.train.read_side", broken)
    run = submit(**asked)
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state in {"failed", "cancelled"}
    held = Reservation.objects.get(run_id=run.job_id)
    first = [str(value) for value in rdp_vector(first_of(training.plan_of(run)))]
    assert held.state == "settled"
    if stop is MemoryError:  # each attempt that the hub gave it pays
        assert all(int(a) >= int(b) for a, b in zip(held.charged, first, strict=True))
    else:
        assert held.charged == first


def test_steps_that_were_paid_before_the_read_are_not_charged_again(
    declared: None,
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
) -> None:
    run = submit(**DECLARED)
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    plan = training.plan_of(run)
    lines = LedgerEntry.objects.filter(run_id=run.job_id, kind=EntryKind.CHARGE)
    steps = [event_from_dict(line.event).steps for line in lines.order_by("id")]
    assert steps[0] == plan.spec.block
    assert sum(steps) == plan.spec.steps == quick_engine.steps_run
    held = Reservation.objects.get(run_id=run.job_id)
    assert held.charged == held.vector
    assert run.model_version.guarantee["steps"] == plan.spec.steps


@pytest.mark.parametrize("asked", [{}, {"tuning": SEARCH}], ids=["steps", "search"])
@pytest.mark.parametrize("field", ["sampling_probability", "noise_multiplier", "steps"])
def test_training_that_is_not_what_was_priced_is_charged_nothing(
    field: str,
    asked: dict[str, Any],
    submit: Callable[..., Any],
    run_jobs: Callable[[], None],
    quick_engine: Any,
) -> None:
    run = submit(**asked)
    plan = run.plan
    if field == "noise_multiplier":
        plan["training"][field] /= 2
    elif field == "steps":
        plan["spec"]["epochs"] *= 2
    else:
        plan["spec"]["expected_batch"] *= 2
        plan["spec"]["epochs"] *= 2  # the steps stay the same
    run.plan = plan
    run.save(update_fields=["plan"])
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "not_as_priced")
    assert "Nothing was charged" in run.job.message
    assert not LedgerEntry.objects.filter(kind=EntryKind.CHARGE).exists()
    assert quick_engine.steps_run == 0
