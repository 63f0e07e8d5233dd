"""A shared model and its later versions: who gets one without privacy is on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.services import the_ledger
from privacyhub.governance import grants
from privacyhub.governance.models import EntryKind
from privacyhub.training import services
from privacyhub.training.models import Privacy, TrainingRun

REASON = "To see what privacy costs."


def noted(version: Any) -> list[tuple[str, str]]:
    """Recipient and note of each uncovered release that sharing made, in order."""
    lines = the_ledger(version).entries.filter(
        kind=EntryKind.UNCOVERED, purpose="share model"
    )
    return list(lines.order_by("number").values_list("recipient", "note"))


@pytest.fixture
def bare_run(
    quick_engine: Any, submit: Callable[..., Any], run_jobs: Callable[[], None]
) -> Any:
    """A run without privacy that published the first version of its model."""
    run = submit(privacy="none", reason=REASON)
    run_jobs()
    return run


def test_later_version_without_privacy_is_noted_for_each_who_holds_a_right(
    bare_run: Any,
    register_version: Any,
    steward: Any,
    other_steward: Any,
    analyst: Any,
    run_jobs: Callable[[], None],
) -> None:
    model = bare_run.model
    for right in ("view", "use"):
        services.share(model=model, user=analyst, right=right, by=steward)
    gone = services.share(model=model, user=other_steward, right="use", by=steward)
    grants.revoke(grant=gone, by=steward)
    before = noted(register_version)
    fresh = services.retrain(run=bare_run, by=steward, version=register_version)
    assert noted(register_version) == before
    run_jobs()
    (line,) = noted(register_version)[len(before) :]
    assert line == (
        "analyst",
        f"{fresh.model_version} was trained without privacy and shared",
    )
    assert line[1].startswith("Readmission v2 ")


def test_group_that_holds_a_right_is_noted(
    quick_engine: Any,
    submit: Callable[..., Any],
    register_version: Any,
    steward: Any,
    run_jobs: Callable[[], None],
) -> None:
    from django.contrib.auth.models import Group

    run = submit(privacy="none", reason=REASON)
    group = Group.objects.create(name="Ward 3")
    grants.give(target=run.model, right="use", by=steward, group=group)
    run_jobs()
    assert [recipient for recipient, _ in noted(register_version)] == ["Ward 3"]


def test_later_version_with_privacy_is_covered(
    model_version: Any,
    register_version: Any,
    steward: Any,
    analyst: Any,
    run_jobs: Callable[[], None],
) -> None:
    services.share(model=model_version.model, user=analyst, right="use", by=steward)
    fresh = services.retrain(
        run=model_version.run, by=steward, version=register_version
    )
    run_jobs()
    assert fresh.model_version.number == 2
    assert noted(register_version) == []
    assert the_ledger(register_version).uncovered_release_at is None


def test_private_model_gets_no_version_without_privacy(
    model_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    body = {
        "version": str(model_version.run.version_id),
        "model": str(model_version.model_id),
        "target": model_version.model.target,
        "classes": ["no", "yes"],
        "privacy": "none",
        "reason": REASON,
    }
    answer = api_for(steward).post(reverse("api:trainings"), body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "another_privacy")
    assert TrainingRun.objects.get() == model_version.run


def test_model_without_privacy_gets_no_private_version(
    model_version: Any, bare_run: Any, register_version: Any, steward: Any
) -> None:
    with pytest.raises(Conflict) as refused:
        services.submit(
            version=register_version,
            recipe=services.recipe_of(model_version.run),
            by=steward,
            name="",
            model=bare_run.model,
        )
    assert refused.value.code == "another_privacy"


def test_model_that_has_both_kinds_is_retrained(
    model_version: Any, bare_run: Any, register_version: Any, steward: Any
) -> None:
    TrainingRun.objects.filter(pk=bare_run.pk).update(model=model_version.model)
    for run in TrainingRun.objects.all():
        fresh = services.retrain(run=run, by=steward, version=register_version)
        assert fresh.model == model_version.model
    kinds = model_version.model.runs.values_list("privacy", flat=True)
    assert sorted(kinds) == [Privacy.DP, Privacy.DP, Privacy.NONE, Privacy.NONE]
