"""A right on the data is withdrawn while a job waits: it reads and pays nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs import execution
from jobs import services as jobs
from privacyhub.datasets import services as datasets
from privacyhub.governance import grants, ledger
from privacyhub.governance.models import EntryKind
from privacyhub.training import recipes, services

RUN = Callable[[], None]


@pytest.fixture
def grant(register_version: Any, steward: Any, other_steward: Any) -> Any:
    """The other steward may manage the register."""
    return grants.give(
        target=register_version.dataset, right="manage", by=steward, user=other_steward
    )


@pytest.fixture
def waiting(grant: Any, register_version: Any, other_steward: Any) -> Any:
    """A training that the other steward queued."""
    recipe = recipes.build(
        version=register_version, request={"epsilon": "1"}, by=other_steward
    )
    return services.submit(
        version=register_version, recipe=recipe, by=other_steward, name="Readmission"
    )


def test_training_is_stopped_before_it_reads_or_pays(
    quick_engine: Any,
    waiting: Any,
    grant: Any,
    register_version: Any,
    steward: Any,
    run_jobs: RUN,
) -> None:
    grants.revoke(grant=grant, by=steward)
    run_jobs()
    waiting.job.refresh_from_db()
    assert (waiting.job.state, waiting.job.error_code) == ("failed", "not_allowed")
    account = datasets.the_ledger(register_version)
    assert not account.entries.filter(kind=EntryKind.CHARGE).exists()
    assert ledger.balance(account).reserved == 0
    assert quick_engine.steps_run == 0


def test_training_of_one_who_still_manages_the_data_runs(
    quick_engine: Any, waiting: Any, run_jobs: RUN
) -> None:
    run_jobs()
    waiting.job.refresh_from_db()
    waiting.assess_job.refresh_from_db()
    assert (waiting.job.state, waiting.assess_job.state) == ("succeeded", "succeeded")


def test_kinds_that_are_open_to_all_need_no_right_on_the_data(
    register_version: Any, analyst: Any
) -> None:
    job = jobs.submit(
        kind="nothing",
        title="Wait",
        owner=analyst,
        spec={"schema": 1, "dataset": str(register_version.dataset_id)},
    )
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
