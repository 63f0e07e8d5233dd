"""What holds of the budget of a training that could not run."""

from __future__ import annotations

from typing import Any

from privacyhub.governance.models import Reservation
from privacyhub.training.models import TrainingRun


def require_nothing_held(account: Any) -> None:
    """Neither side has paid or reserved anything."""
    account.refresh_from_db()
    for sums in (
        account.spent_train,
        account.spent_heldout,
        account.reserved_train,
        account.reserved_heldout,
    ):
        assert set(sums) == {"0"}


def require_ended_for_free(run: TrainingRun, *, code: str) -> None:
    """The training failed with this code, and what it had reserved is free."""
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", code), run.job.trace
    assert (run.assess_job.state, run.assess_job.error_code) == ("failed", "dependency")
    held = Reservation.objects.filter(run_id__in=[run.job_id, run.assess_job_id])
    assert [one.state for one in held] == ["released", "released"]
    require_nothing_held(held[0].ledger)
