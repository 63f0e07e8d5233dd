"""The real job on the register: what is released, and what is on the record."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from jobs import services as jobs
from jobs.models import Job
from privacyhub.anonymization import services, solution_space
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import tables
from privacyhub.datasets.models import Column, Role, Version
from privacyhub.engines.tables import ROW_ID
from privacyhub.governance import grants
from privacyhub.governance.models import EntryKind, LedgerEntry

pytestmark = pytest.mark.django_db


def test_release_is_k_anonymous_and_diverse(released: Any) -> None:
    frame = tables.load(released.release)
    names = list(released.policy["quasi_identifiers"])
    shown = frame.filter(~pl.all_horizontal(pl.col(names) == "*"))
    groups = shown.group_by(names).agg(
        pl.len().alias("rows"), pl.col("diagnosis").n_unique().alias("values")
    )
    assert frame.height == released.version.rows
    assert groups["rows"].min() >= 4
    assert groups["values"].min() >= 2
    assert frame.height - shown.height == released.result["suppressed"]
    assert released.result["suppressed"] <= 0.05 * frame.height


def test_release_drops_identifiers_and_keeps_order_and_other_columns(
    released: Any,
) -> None:
    before, after = tables.load(released.version), tables.load(released.release)
    roles = dict(released.version.columns.values_list("name", "role"))
    dropped = {name for name, role in roles.items() if role == Role.IDENTIFIER}
    assert dropped
    assert not dropped & set(after.columns)
    kept = [
        name
        for name in after.columns
        if name not in released.policy["quasi_identifiers"]
    ]
    assert ROW_ID in kept
    assert after.select(kept).equals(before.select(kept))
    told = dict(released.release.columns.values_list("name", "role"))
    assert told == {name: role for name, role in roles.items() if name not in dropped}


def test_release_has_lineage_ledger_and_trail(released: Any, steward: Any) -> None:
    release = released.release
    assert release.kind == "anonymized"
    assert list(release.parents.all()) == [released.version]
    assert release.origin == {"run": str(released.pk)}
    assert set(release.ledgers.all()) == set(released.version.ledgers.all())
    assert released.job.result == {
        "run": str(released.pk),
        "version": str(release.pk),
        "dataset": str(release.dataset_id),
    }
    lines = LedgerEntry.objects.filter(run_id=released.job_id)
    kinds = [(line.kind, line.purpose) for line in lines.order_by("id")]
    assert kinds[0] == (EntryKind.STEWARD_READ, "anonymize")
    uncovered = lines.get(kind=EntryKind.UNCOVERED)
    assert uncovered.recipient == steward.username
    assert release.ledgers.get().uncovered_release_at is not None


def test_result_tells_risk_and_explanation(released: Any) -> None:
    told = released.result
    frame = tables.load(released.version)
    names = list(released.policy["quasi_identifiers"])
    unique = frame.group_by(names).len().filter(pl.col("len") == 1).height
    assert told["risk"]["before"]["unique_rows"] == unique
    assert told["risk"]["after"]["prosecutor"]["highest"] <= 1 / 4
    assert sum(b["rows"] for b in told["risk"]["after"]["sizes"]) == (
        told["rows"] - told["suppressed"]
    )
    assert set(told["column_loss"]) == set(names)
    assert told["optimal"]
    assert told["levels"] in [
        dict(zip(told["columns"], node["levels"], strict=True))
        for node in solution_space.nodes(told)
    ]
    assert {next(iter(a["change"])) for a in told["what_if"]} == {
        "k",
        "suppression_limit",
    }
    assert told["joint"] is None


def test_role_changed_after_queueing_fails_the_job(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    Column.objects.filter(version=register_version, name="sodium").update(
        role=Role.QUASI_IDENTIFIER
    )
    run_jobs()
    run.refresh_from_db()
    assert (run.job.state, run.job.error_code) == (
        "failed",
        "quasi_identifier_left_out",
    )
    assert Version.objects.count() == 1


def test_no_solution_is_an_expected_failure(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    # One group of all 600 rows has an average risk of 1 in 600, and none has less.
    models = [{"name": "average_risk", "threshold": 0.001}]
    policy = policy | {"models": models, "suppression_limit": 0.0}
    run = services.submit(version=register_version, policy=policy, by=steward)
    run_jobs()
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "no_solution")
    assert "No transformation" in run.job.message
    assert not Version.objects.filter(kind="anonymized").exists()


def test_failed_publication_leaves_no_release(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)

    def broken(**_: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("privacyhub.governance.ledger.note_uncovered_release", broken)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "failed"
    assert run.result == {}
    assert not Version.objects.filter(kind="anonymized").exists()
    assert not LedgerEntry.objects.filter(kind=EntryKind.UNCOVERED).exists()


def test_failed_run_can_run_again(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    sodium = Column.objects.filter(version=register_version, name="sodium")
    sodium.update(role=Role.QUASI_IDENTIFIER)
    run_jobs()
    sodium.update(role=Role.INSENSITIVE)
    run.job.refresh_from_db()
    again = jobs.run_again(job=run.job, by=steward)
    run_jobs()
    fresh = AnonymizationRun.objects.get(job=again)
    assert fresh.job.state == "succeeded"
    assert fresh.policy == run.policy
    assert fresh.release is not None


def test_apply_releases_another_node(
    released: Any, steward: Any, run_jobs: Any
) -> None:
    told = released.result
    node = next(
        n
        for n in solution_space.nodes(told)
        if n["anonymous"] and n["levels"] != list(told["levels"].values())
    )
    levels = dict(zip(told["columns"], node["levels"], strict=True))
    run = services.apply(run=released, levels=levels, by=steward, confirm_joint=True)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.result["levels"] == levels
    assert run.result["optimum"]["levels"] == told["levels"]
    assert run.release.parents.get() == released.version


def test_cancelled_run_releases_nothing(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    jobs.request_cancel(job=run.job, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "cancelled"
    assert run.release is None


def test_cancel_while_searching_stops_the_search(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    monkeypatch.setattr("jobs.execution.Attempt.cancelled", lambda _: True)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "cancelled"
    assert not Version.objects.filter(kind="anonymized").exists()


def test_spec_and_rows_hold_no_values(released: Any) -> None:
    text = f"{Job.objects.get(pk=released.job_id).spec}{released.result}"
    frame = tables.load(released.version)
    for name in ("name", "email", "zip", "occupation"):
        values = [v for v in frame[name].cast(pl.String).drop_nulls().unique() if v]
        assert not [v for v in values if f"'{v}'" in text]
    assert AnonymizationRun.objects.count() == 1


@pytest.mark.parametrize("withdrawn", [True, False])
def test_withdrawn_right_on_the_data_stops_a_queued_run(
    withdrawn: bool,
    register_version: Any,
    policy: dict[str, Any],
    steward: Any,
    other_steward: Any,
    run_jobs: Any,
) -> None:
    grant = grants.give(
        target=register_version.dataset, right="manage", by=steward, user=other_steward
    )
    run = services.submit(version=register_version, policy=policy, by=other_steward)
    lines = LedgerEntry.objects.count()
    if withdrawn:
        grants.revoke(grant=grant, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.error_code == ("not_allowed" if withdrawn else "")
    assert (LedgerEntry.objects.count() == lines) == withdrawn
    assert (run.release is None) == withdrawn
