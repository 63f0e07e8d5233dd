"""Whatever the values are, an accepted run ends the same way."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privacyhub.datasets import intake, services, tables
from privacyhub.datasets.models import Version
from privacyhub.engines.tables import patient_register
from privacyhub.governance.models import Reservation
from privacyhub.training import artefacts, attempts, recipes
from privacyhub.training import services as training
from privacyhub.training.models import TrainingRun
from privacyhub.training.rows import read_side

RUN = Callable[[], None]
ROWS = 300
SPOILT = ("clean", "1e300", "inf", "NaN", "", "constant")


@pytest.fixture
def ended(
    steward: Any, upload_file: Callable[..., Any], run_jobs: RUN
) -> Callable[..., Any]:
    """Train on a CSV text; what anyone can see of the run's end."""

    def run(text: str, **asked: Any) -> tuple[Any, ...]:
        upload = intake.receive(file=upload_file(text.encode()), by=steward)
        job = intake.submit(upload=upload, by=steward, name="Register")
        run_jobs()
        job.refresh_from_db()
        assert job.state == "succeeded", job.trace or job.message
        version = Version.objects.get(pk=job.result["version"])
        services.declare_budget(
            version=version,
            by=steward,
            declared_units=ROWS,
            epsilon_cap="8",
            delta_cap="1e-5",
        )
        request = {"target": "readmitted", "classes": ["no", "yes"]} | asked
        recipe = recipes.build(version=version, request=request, by=version.created_by)
        made = training.submit(version=version, recipe=recipe, by=steward, name="P")
        run_jobs()
        made.job.refresh_from_db()
        made.assess_job.refresh_from_db()
        account = services.the_ledger(version)
        charged = attempts.charged(made.job)
        return (
            made.job.state,
            made.job.error_code,
            made.job.message,
            made.assess_job.state,
            made.assess_job.message,
            charged.steps,
            charged.additive_delta,
            account.spent_train,
            account.reserved_train,
            account.spent_heldout,
        )

    return run


def register(spoil: str) -> str:
    """A register whose `creatinine` is spoilt in one row, or constant.

    Each is of other people: the same rows again would share their ledger.
    """
    frame = patient_register(rows=ROWS, seed=SPOILT.index(spoil))
    lines = frame.write_csv().splitlines()
    place = frame.columns.index("creatinine")
    if spoil == "constant":
        spoilt, value = range(1, len(lines)), "1.0"
    else:
        spoilt, value = range(7, 8), spoil
    for line in spoilt if spoil != "clean" else ():
        cells = lines[line].split(",")
        cells[place] = value
        lines[line] = ",".join(cells)
    return "\n".join(lines)


def all_fall(*, held_out: bool) -> Callable[..., Any]:
    """A coin that puts every unit on one side, as a small table's may."""
    return lambda ids, **_: np.full(len(ids), held_out)


def test_poison_row_ends_like_a_clean_one(
    ended: Callable[..., Any], quick_engine: Any
) -> None:
    ends = {spoil: ended(register(spoil)) for spoil in SPOILT}
    assert ends["clean"][0] == ends["clean"][3] == "succeeded"
    for spoil, end in ends.items():
        assert end == ends["clean"], spoil


@pytest.mark.parametrize("implementation", ["engine", "dpsequential", "dpkeras"])
def test_training_side_without_a_unit_trains_on_noise(
    implementation: str,
    ended: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("privacyhub.training.rows.coins", all_fall(held_out=True))
    settings = {"implementation": implementation, "epochs": 1, "hidden": []}
    state, code, message, assessed, *_, steps, _, spent, reserved, _ = ended(
        register("1e300"), features=["creatinine", "sodium"], settings=settings
    )
    assert (state, code, message, assessed) == ("succeeded", "", "", "succeeded")
    run = TrainingRun.objects.get()
    assert steps == training.plan_of(run).spec.steps > 0
    assert spent == Reservation.objects.get(run_id=run.job_id).vector
    assert set(reserved) == {"0"}


@pytest.mark.parametrize("spoil", ["long key", "no key", "one unit"])
def test_poison_key_ends_like_a_clean_one(
    spoil: str, visits_of: Callable[..., Any], steward: Any, run_jobs: RUN
) -> None:
    people = [f"p{k % 60}" for k in range(ROWS)]
    if spoil == "one unit":
        people = ["p1"] * ROWS
    else:
        people[7] = {"long key": "x" * 100_000, "no key": ""}[spoil]
    rows = [f"{person},{k % 7},{'ab'[k % 2]}" for k, person in enumerate(people)]
    version = visits_of(rows, people=60, most_rows=4)
    asked = {"target": "y", "classes": ["a", "b"], "features": ["x"]}
    asked |= {"settings": {"hidden": [], "epochs": 1}}
    recipe = recipes.build(version=version, request=asked, by=steward)
    tracemalloc.start()
    try:
        for held_out in (False, True):
            read_side(version, columns=["x", "y"], holdout=0.2, held_out=held_out)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    made = training.submit(version=version, recipe=recipe, by=steward, name="P")
    run_jobs()
    made.job.refresh_from_db()
    made.assess_job.refresh_from_db()
    assert made.job.state == "succeeded", made.job.trace or made.job.message
    assert made.assess_job.state == "succeeded", made.assess_job.trace
    steps = attempts.charged(made.job).steps
    assert steps == training.plan_of(TrainingRun.objects.get()).spec.steps


def test_held_out_side_without_a_unit_is_assessed_alike(
    ended: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    quick_engine: Any,
) -> None:
    whole = ended(register("clean"))
    monkeypatch.setattr("privacyhub.training.rows.coins", all_fall(held_out=False))
    assert ended(register("1e300")) == whole


def test_a_spoilt_row_is_read_as_missing(
    ended: Callable[..., Any], quick_engine: Any
) -> None:
    ended(register("1e300"))
    version = Version.objects.latest("created_at")
    frame = tables.load(version, columns=["creatinine"])
    model = artefacts.load(version.training_runs.get().model_version)
    assert frame["creatinine"].max() == 1e300
    column = next(c for c in model.encoder.columns if c.name == "creatinine")
    assert column.upper < 1e12
