"""Training and assessment as jobs: what runs is what was charged, in that order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from jobs.models import Job
from jobs.states import JobCancelled
from privacyhub.datasets import services, tables
from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp.artefact import load_model
from privacyhub.engines.dp.events import event_from_dict
from privacyhub.engines.dp.rdp import add_vectors, rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import EntryKind, Part, Reservation
from privacyhub.training import artefacts
from privacyhub.training import services as training
from privacyhub.training.models import Model, TrainingRun

RUN = Callable[[], None]


def charged(account: Any, job: Job) -> tuple[int, ...]:
    """The sum of the prices of the events that the job was charged."""
    entries = account.entries.filter(run_id=job.pk, kind=EntryKind.CHARGE)
    total: tuple[int, ...] = (0,) * 24
    for entry in entries:
        total = add_vectors(total, rdp_vector(event_from_dict(entry.event)))
    return total


def test_training_by_the_engine_costs_what_was_planned(
    submit: Callable[..., Any], run_jobs: RUN, register_version: Any
) -> None:
    run = submit()
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert 0.9 < float(run.job.epsilon_spent) <= 1
    account = services.the_ledger(register_version)
    held = Reservation.objects.get(run_id=run.job_id)
    assert (held.state, held.part) == ("settled", Part.TRAIN)
    assert [int(v) for v in held.vector] == list(charged(account, run.job))
    assert account.spent_train == [str(v) for v in charged(account, run.job)]
    assert account.spent_heldout == [str(v) for v in charged(account, run.assess_job)]
    told = run.model_version.guarantee
    assert (told["epsilon"], told["covered"]) == ("1", True)
    assert told["epsilon_accounted"] <= 1
    assert told["steps"] == training.plan_of(run).spec.steps
    with artefacts.open_file(run.model_version) as source:
        kept = load_model(source)
    assert kept.guarantee == told
    assert kept.losses == []
    assert not {"name", "email", "phone", "record_number"} & {
        column.name for column in kept.encoder.columns
    }
    assessment = run.model_version.assessments.get()
    assert assessment.epsilon == "0.5"
    assert 0 <= assessment.exact["metrics"]["auc"]["value"] <= 1
    assert assessment.released["noise_deviation"] > 0


@pytest.mark.parametrize(
    ("chosen", "key", "told_as"),
    [
        ({"implementation": "dpsequential"}, "loop", "DPSequential"),
        ({"implementation": "dpkeras"}, "loop", "DP Keras"),
        (
            {"clip_quantile": 0.5, "clip_norm": 0.2},
            "clipping",
            "adaptive, quantile 0.5, from 0.2",
        ),
    ],
)
def test_other_ways_to_train_cost_what_was_planned(
    submit: Callable[..., Any],
    run_jobs: RUN,
    register_version: Any,
    chosen: dict[str, Any],
    key: str,
    told_as: str,
) -> None:
    run = submit(features=["creatinine", "sodium"], settings={**chosen, "epochs": 2})
    run_jobs()
    run.job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    account = services.the_ledger(register_version)
    held = Reservation.objects.get(run_id=run.job_id)
    assert [int(v) for v in held.vector] == list(charged(account, run.job))
    told = run.model_version.guarantee
    assert told_as in told[key]
    assert told["epsilon_accounted"] <= 1


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"implementation": "dpsequential"}, "DPSequential"),
        ({"implementation": "dpkeras"}, "DP Keras"),
        ({"clip_quantile": 0.5}, "nothing is clipped"),
    ],
)
def test_what_needs_privacy_is_refused_without(
    submit: Callable[..., Any], chosen: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        submit(privacy="none", reason="to compare with privacy", settings=chosen)


def test_refused_charge_runs_no_step(
    submit: Callable[..., Any], run_jobs: RUN, monkeypatch: pytest.MonkeyPatch
) -> None:
    from privacyhub.engines.dp import training as engine

    calls: list[int] = []
    monkeypatch.setattr(engine._Loop, "_call", lambda *_: calls.append(1))
    paid = ledger.charge

    def refuse(**asked: Any) -> None:
        if asked["event"].kind == "poisson_gaussian":
            raise ledger.LedgerError("The reservation does not cover this charge.")
        paid(**asked)

    monkeypatch.setattr(ledger, "charge", refuse)
    run = submit()
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "ledger")
    assert calls == []


def test_run_over_the_cap_is_refused_before_any_file_is_opened(
    submit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, register_version: Any
) -> None:
    def no_reading(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was opened")

    for name in ("load", "batches"):
        monkeypatch.setattr(tables, name, no_reading)
    with pytest.raises(BudgetRefused):
        submit(epsilon="40")
    assert not TrainingRun.objects.exists()
    assert not Model.objects.exists()
    assert not Reservation.objects.exists()
    assert not Job.objects.filter(kind__in=["train", "assess"]).exists()
    account = services.the_ledger(register_version)
    assert account.entries.first().kind == EntryKind.REFUSED


def test_cancelled_run_keeps_what_was_charged_and_returns_the_rest(
    submit: Callable[..., Any], run_jobs: RUN, quick_engine: Any, register_version: Any
) -> None:
    def stop(done: int) -> None:
        if done > 20:
            raise JobCancelled

    quick_engine.after_block = stop
    run = submit()
    run_jobs()
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert run.job.state == "cancelled"
    assert run.assess_job.state == "failed"
    account = services.the_ledger(register_version)
    spent = charged(account, run.job)
    held = Reservation.objects.get(run_id=run.job_id)
    assert 0 < spent[0] < int(held.vector[0])
    assert account.spent_train == [str(value) for value in spent]
    assert set(account.reserved_train) == {"0"}
    assert set(account.spent_heldout) == {"0"}
    assert not hasattr(run, "model_version")


def test_run_without_privacy_is_noted_and_labelled(
    submit: Callable[..., Any], run_jobs: RUN, quick_engine: Any, register_version: Any
) -> None:
    run = submit(privacy="none", reason="To see what privacy costs.")
    run_jobs()
    account = services.the_ledger(register_version)
    assert account.uncovered_release_at is not None
    assert set(account.spent_train) == {"0"}
    version = run.model_version
    assert version.guarantee["covered"] is False
    assert version.guarantee["reason"] == "To see what privacy costs."
    assert version.loss_curve == [0.7, 0.6]
    sources = {column["source"] for column in version.summary["inputs"]}
    assert sources == {"not covered"}


def test_run_without_privacy_that_diverges_ends_with_a_model(
    submit: Callable[..., Any],
    run_jobs: RUN,
    steward: Any,
    client_for: Callable[[Any], Any],
) -> None:
    run = submit(
        privacy="none",
        reason="To see it diverge.",
        target="hba1c",
        classes=[],
        features=["creatinine", "sodium"],
        settings={"optimizer": "sgd", "learning_rate": 1000, "ema": 0, "epochs": 5},
    )
    run_jobs()
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.assess_job.state == "succeeded", run.assess_job.trace
    curve = run.model_version.loss_curve
    assert curve[0] > 0
    assert curve[-1] is None
    page = client_for(steward).get(
        reverse("web:model_version", args=[run.model_version.pk])
    )
    text = page.content.decode()
    assert 'id="loss"' in text
    assert "grew beyond all numbers" in text
    assert "Infinity" not in text
    assert not re.search(r"[\s:,\[>]-?NaN", text)  # as a token of a form may hold it


@pytest.mark.parametrize(
    ("target", "task"), [("hba1c", "regression"), ("diagnosis", "multiclass")]
)
def test_other_tasks_are_trained_and_assessed(
    target: str,
    task: str,
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
) -> None:
    run = submit(target=target, classes=[])
    run_jobs()
    run.assess_job.refresh_from_db()
    assert run.assess_job.state == "succeeded", run.assess_job.trace
    assert run.model.task == task
    assessment = run.model_version.assessments.get()
    assert assessment.released["metrics"]
    assert "scatter" not in assessment.exact
    told = " ".join(run.model_version.guarantee["not_covered"])
    assert ("target's classes" in told) == (task == "multiclass")


def test_failed_training_runs_again_at_a_new_price(
    submit: Callable[..., Any], run_jobs: RUN, quick_engine: Any, steward: Any
) -> None:
    quick_engine.after_block = lambda done: (_ for _ in ()).throw(JobCancelled())
    run = submit()
    run_jobs()
    quick_engine.after_block = lambda done: None
    quick_engine.steps_run = 0
    run.job.refresh_from_db()
    fresh = training.again(job=run.job, by=steward)
    run_jobs()
    fresh.refresh_from_db()
    assert fresh.state == "succeeded", fresh.trace or fresh.message
    assert run.model.versions.count() == 1
    assert run.model.runs.count() == 2


def test_retrain_waits_for_its_version_and_costs_the_same(
    model_version: Any, steward: Any, register_version: Any
) -> None:
    from jobs import services as jobs

    run = model_version.run
    before = jobs.submit(
        kind="nothing", title="Correct", owner=steward, spec={"schema": 1}
    )
    fresh = training.retrain(run=run, by=steward, depends_on=before)
    assert fresh.version is None
    assert fresh.job.depends_on == before
    assert fresh.plan == run.plan
    assert fresh.recipe == run.recipe
    assert fresh.retrain_of == run
    assert Reservation.objects.filter(run_id=fresh.job_id).exists()


def test_units_stay_together_on_one_side(visits_of: Callable[..., Any]) -> None:
    from privacyhub.training.rows import read_side

    rows = [f"p{k % 40},{k},{'ab'[k % 2]}" for k in range(400)]
    version = visits_of(rows, people=40, most_rows=3)
    sides = [
        read_side(version, columns=["x", "person"], holdout=0.3, held_out=held_out)
        for held_out in (False, True)
    ]
    people = [set(side.frame["person"].to_list()) for side in sides]
    assert people[0].isdisjoint(people[1])
    assert len(people[0] | people[1]) == 40
    for side in sides:
        counts = side.frame["person"].value_counts()["count"]
        assert counts.max() == 3
        assert side.units is not None
        assert len(set(side.units.tolist())) == side.frame["person"].n_unique()
