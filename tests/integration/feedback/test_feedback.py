"""Feedback from the form to the retrain, and what the ledger says to it."""

from __future__ import annotations

import uuid
from typing import Any

import polars as pl
import pytest

from jobs import services as jobs
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets import tables as stored
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.deployments import services as deployments
from privacyhub.deployments.models import Prediction
from privacyhub.engines import tables
from privacyhub.feedback import services
from privacyhub.feedback.models import Feedback
from privacyhub.governance import grants, keys, ledger
from privacyhub.governance.ledger import BudgetRefused
from privacyhub.governance.models import AuditEvent, Ledger, LedgerEntry, Reservation
from privacyhub.training.models import TrainingRun
from tests.integration.published_model import publish_model

ROW = {
    "prior_admissions": 2.0,
    "sex": "female",
    "birth_date": "1950-03-04",
    "diagnosis": "I50 Heart failure",
    "length_of_stay": 6.0,
    "hba1c": 7.5,
}


@pytest.fixture
def shared(model_version: Any, steward: Any, analyst: Any) -> Any:
    grants.give(target=model_version.model, right="use", by=steward, user=analyst)
    return model_version


def predicted(model_version: Any, by: Any, *rows: dict[str, Any]) -> list[Prediction]:
    """Predictions as the endpoint keeps them, whatever the answer was."""
    return deployments.keep(
        model_version=model_version,
        frame=pl.DataFrame(rows),
        outputs=[{"label": "no", "probability": 0.8}] * len(rows),
        by=by,
        batch=None,
    )


def give(
    model_version: Any, author: Any, corrections: Any = (), **more: Any
) -> Feedback:
    form = {"rating": 2, "problem": "wrong", "corrections": corrections} | more
    return services.submit(model_version=model_version, author=author, **form)


def corrected(model_version: Any, author: Any, *rows: dict[str, Any]) -> Feedback:
    made = predicted(model_version, author, *rows)
    return give(
        model_version, author, [{"prediction": one.pk, "label": "yes"} for one in made]
    )


def run_correction(feedback: Feedback) -> Any:
    """Do the correct job alone: training needs TensorFlow and minutes."""
    from jobs import execution

    job = feedback.run.job.depends_on
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    feedback.refresh_from_db()
    return job


def test_feedback_is_sealed_and_on_record(shared: Any, analyst: Any) -> None:
    feedback = corrected(shared, analyst, ROW)
    assert feedback.state == "open"
    assert b'"yes"' not in bytes(feedback.sealed_corrections)
    (told,) = services.corrections_of(feedback)
    assert told["label"] == "yes"
    assert AuditEvent.objects.filter(action="feedback.submit").count() == 1


def test_feedback_needs_the_right_to_use(
    model_version: Any, steward: Any, analyst: Any, auditor: Any, other_steward: Any
) -> None:
    for user in (analyst, auditor, other_steward):
        with pytest.raises(NotAllowed):
            give(model_version, user)
    grants.give(target=model_version.model, right="view", by=steward, user=analyst)
    with pytest.raises(NotAllowed):
        give(model_version, analyst)
    assert give(model_version, steward).author == steward


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": True}, "rating"),
        ({"rating": "5"}, "rating"),
        ({"problem": "other"}, "problem"),
        ({"group": "x" * 201}, "invalid"),
    ],
)
def test_wrong_form_is_refused(
    shared: Any, analyst: Any, form: dict[str, Any], code: str
) -> None:
    with pytest.raises(DataError) as refused:
        give(shared, analyst, **form)
    assert refused.value.code == code
    assert not Feedback.objects.exists()


def test_corrections_name_own_predictions_of_this_model(
    shared: Any, analyst: Any, steward: Any, register_version: Any
) -> None:
    (mine,) = predicted(shared, analyst, ROW)
    (theirs,) = predicted(shared, steward, ROW)
    other = publish_model(version=register_version, by=steward)
    (elsewhere,) = predicted(other, analyst, ROW)
    for pk in (theirs.pk, elsewhere.pk, uuid.uuid4(), "nonsense"):
        with pytest.raises(DataError) as refused:
            give(
                shared,
                analyst,
                [
                    {"prediction": mine.pk, "label": "yes"},
                    {"prediction": pk, "label": "yes"},
                ],
            )
        assert (refused.value.code, refused.value.row) == ("no_prediction", 2)


def test_one_correction_a_prediction(shared: Any, analyst: Any) -> None:
    (mine,) = predicted(shared, analyst, ROW)
    twice = [{"prediction": mine.pk, "label": label} for label in ("yes", "no")]
    with pytest.raises(DataError) as refused:
        give(shared, analyst, twice)
    assert refused.value.code == "corrected_twice"


def test_label_must_be_a_class_and_is_not_repeated(shared: Any, analyst: Any) -> None:
    (mine,) = predicted(shared, analyst, ROW)
    for label in ("perhaps", None, 1):
        with pytest.raises(DataError) as refused:
            give(shared, analyst, [{"prediction": mine.pk, "label": label}])
        assert refused.value.code == "unknown_label"
        assert "perhaps" not in refused.value.message


def test_accepting_reserves_and_queues(shared: Any, analyst: Any, steward: Any) -> None:
    feedback = give(shared, analyst)
    quote = services.price(feedback=feedback, by=steward)
    account = shared.run.version.ledgers.get()
    before = ledger.balance(account)
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    account.refresh_from_db()
    assert feedback.state == "accepted"
    assert feedback.run.retrain_of == shared.run
    assert feedback.run.recipe == shared.run.recipe
    assert feedback.run.version == shared.run.version
    assert feedback.run.job.state == "queued"
    assert Reservation.objects.filter(run_id=feedback.run.job_id).exists()
    used = before.left - ledger.balance(account).left
    assert used == quote.uses > 0
    event = AuditEvent.objects.get(action="feedback.accept")
    assert event.detail["run"] == str(feedback.run.pk)
    with pytest.raises(Conflict):
        services.accept(feedback=feedback, by=steward)


def test_over_the_cap_leaves_it_open(shared: Any, analyst: Any, steward: Any) -> None:
    feedback = corrected(shared, analyst, ROW)
    account = shared.run.version.ledgers.get()
    Ledger.objects.filter(pk=account.pk).update(cap_vector=["1"] * 24)
    runs, spent = TrainingRun.objects.count(), ledger.balance(account).spent
    assert not services.price(feedback=feedback, by=steward).fits
    with pytest.raises(BudgetRefused):
        services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    account.refresh_from_db()
    assert (feedback.state, feedback.run) == ("open", None)
    assert TrainingRun.objects.count() == runs
    assert not jobs.Job.objects.filter(kind="correct").exists()
    assert ledger.balance(account).spent == spent
    assert LedgerEntry.objects.filter(ledger=account, kind="refused").count() == 1


def test_declining_needs_a_reason(shared: Any, analyst: Any, steward: Any) -> None:
    feedback = give(shared, analyst)
    with pytest.raises(DataError):
        services.decline(feedback=feedback, by=steward, reason="  ")
    services.decline(feedback=feedback, by=steward, reason="It is as we want it.")
    feedback.refresh_from_db()
    assert (feedback.state, feedback.decided_by) == ("declined", steward)
    with pytest.raises(Conflict):
        services.accept(feedback=feedback, by=steward)


def test_only_stewards_of_the_data_decide(
    shared: Any, analyst: Any, auditor: Any, other_steward: Any
) -> None:
    feedback = corrected(shared, analyst, ROW)
    for user in (analyst, auditor, other_steward):
        with pytest.raises(NotAllowed):
            services.accept(feedback=feedback, by=user)
        with pytest.raises(NotAllowed):
            services.decline(feedback=feedback, by=user, reason="no")
        with pytest.raises(NotAllowed):
            services.price(feedback=feedback, by=user)
    for user in (auditor, other_steward):
        with pytest.raises(NotAllowed):
            services.corrections_for(feedback=feedback, by=user)


def test_corrections_become_rows_of_a_child(
    shared: Any, analyst: Any, steward: Any
) -> None:
    feedback = corrected(
        shared, analyst, ROW, {**ROW, "prior_admissions": 2.5, "sex": None}
    )
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    assert feedback.run.version is None
    job = run_correction(feedback)
    parent, child = shared.run.version, feedback.version
    assert job.result == {
        "feedback": str(feedback.pk),
        "version": str(child.pk),
        "dataset": str(parent.dataset_id),
    }
    assert (child.kind, list(child.parents.all())) == ("corrected", [parent])
    assert list(child.ledgers.all()) == list(parent.ledgers.all())
    assert child.target.name == "readmitted"
    assert feedback.run.version == child
    old, new = stored.load(parent), stored.load(child)
    assert new.head(old.height).equals(old)
    added = new.tail(2)
    assert added["readmitted"].to_list() == ["yes", "yes"]
    assert added["diagnosis"].to_list() == ["I50 Heart failure"] * 2
    assert added["length_of_stay"].to_list() == [6, 6]
    assert added["prior_admissions"].to_list() == [2, None]  # whole numbers alone fit
    assert added["sex"].to_list() == ["female", None]
    assert str(added["birth_date"][0]) == "1950-03-04"
    for column in parent.columns.filter(role="identifier"):
        assert added[column.name].null_count() == 2
    assert added["systolic_bp"].null_count() == 2


def test_rows_have_ids_and_provenance(shared: Any, analyst: Any, steward: Any) -> None:
    feedback = corrected(shared, analyst, ROW, ROW)  # the same row twice
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    run_correction(feedback)
    child = feedback.version
    frame = stored.load(child)
    assert not frame[tables.ROW_ID].is_duplicated().any()
    named = [one["prediction"] for one in services.corrections_of(feedback)]
    assert child.origin["feedback"] == str(feedback.pk)
    assert [one["prediction"] for one in child.origin["rows"]] == named
    assert [int(one["row"]) for one in child.origin["rows"]] == frame[
        tables.ROW_ID
    ].tail(2).to_list()
    secret = keys.identity_key("table")
    found = tables.RowIds(key=secret, fingerprint_key=secret)
    found.ids(frame.drop(tables.ROW_ID).sample(fraction=1, shuffle=True, seed=1))
    assert child.fingerprint == found.fingerprint.hexdigest()
    assert child.fingerprint != shared.run.version.fingerprint


def test_corrections_hold_no_value_in_the_clear(
    shared: Any, analyst: Any, steward: Any
) -> None:
    feedback = corrected(shared, analyst, {**ROW, "diagnosis": "Zebra fever"})
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    job = run_correction(feedback)
    for told in (job.spec, job.result, feedback.version.origin, job.message):
        assert "Zebra" not in str(told)
    assert not AuditEvent.objects.filter(canonical__contains="Zebra").exists()


def test_failed_retrain_can_be_queued_again(
    shared: Any, analyst: Any, steward: Any
) -> None:
    feedback = corrected(shared, analyst, ROW)
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    first = feedback.run
    run_correction(feedback)
    jobs.request_cancel(job=first.job, by=steward)
    feedback.refresh_from_db()
    assert services.may_retry(feedback)
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    assert feedback.run != first
    assert feedback.run.version == feedback.version
    assert feedback.run.job.depends_on is None


def test_failed_correction_is_run_again(
    shared: Any, analyst: Any, steward: Any
) -> None:
    feedback = corrected(shared, analyst, ROW)
    services.accept(feedback=feedback, by=steward)
    feedback.refresh_from_db()
    job = feedback.run.job.depends_on
    jobs.request_cancel(job=job, by=steward)
    job.refresh_from_db()
    account = shared.run.version.ledgers.get()
    assert ledger.balance(account).reserved == 0
    fresh = jobs.run_again(job=job, by=steward)
    assert fresh.kind == "correct"
    feedback.refresh_from_db()
    run_correction(feedback)
    assert feedback.version is not None


def test_corrections_of_an_erased_model_are_gone(
    shared: Any, analyst: Any, steward: Any
) -> None:
    feedback = corrected(shared, analyst, ROW)
    services.accept(feedback=feedback, by=steward)
    keys.destroy(shared.key)
    feedback.refresh_from_db()
    from jobs import execution

    job = feedback.run.job.depends_on
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "erased")
    feedback.run.job.refresh_from_db()
    assert feedback.run.job.state == "failed"
