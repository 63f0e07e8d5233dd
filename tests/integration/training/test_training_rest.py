"""Training over REST: price, submit, problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import reverse

from privacyhub.governance.models import Reservation
from privacyhub.training.models import TrainingRun


def body(version: Any, **more: Any) -> dict[str, Any]:
    return {"version": str(version.pk), "classes": ["no", "yes"], **more}


def test_price_then_training_then_model(
    register_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
    quick_engine: Any,
    run_jobs: Callable[[], None],
) -> None:
    api = api_for(steward)
    price = api.post(reverse("api:training_price"), body(register_version)).json()
    assert price["epsilon"] == "1"
    assert price["fits"] is True
    assert {one["part"] for one in price["prices"]} == {"train", "heldout"}
    answer = api.post(reverse("api:trainings"), body(register_version))
    assert answer.status_code == 202
    told = answer.json()
    assert answer.headers["Location"] == reverse("api:job", args=[told["job"]])
    run_jobs()
    run = api.get(reverse("api:training", args=[told["training"]])).json()
    assert run["state"] == "succeeded"
    assert run["assess_job"] == told["assess_job"]
    version = api.get(reverse("api:model_version", args=[run["model_version"]])).json()
    assert version["guarantee"]["epsilon"] == "1"
    assert version["summary"]["classes"] == ["no", "yes"]
    again = api.post(
        reverse("api:trainings"), body(register_version, model=told["model"])
    )
    assert again.status_code == 202
    run_jobs()
    assert (
        TrainingRun.objects.get(pk=again.json()["training"]).model_version.number == 2
    )


def test_ways_to_train_reach_the_plan_at_the_same_price(
    register_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    api = api_for(steward)
    prices = []
    for settings in (
        {},
        {"clip_quantile": 0.25, "clip_norm": 2},
        {"implementation": "dpkeras"},
    ):
        features = {"features": ["creatinine", "sodium"], "settings": settings}
        asked = body(register_version, epsilon="0.5", **features)
        answer = api.post(reverse("api:training_price"), asked)
        prices.append(answer.json()["prices"])
        made = api.post(reverse("api:trainings"), asked).json()
        spec = TrainingRun.objects.get(pk=made["training"]).plan["spec"]
        assert settings.items() <= spec.items()
    assert prices[0] == prices[1] == prices[2]


def test_same_idempotency_key_reserves_once(
    register_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    api = api_for(steward)
    headers = {"HTTP_IDEMPOTENCY_KEY": "once"}
    asked = body(register_version)
    first = api.post(reverse("api:trainings"), asked, **headers).json()
    second = api.post(reverse("api:trainings"), asked, **headers).json()
    assert first == second
    assert Reservation.objects.count() == 2  # training and metrics


def test_refusals_are_problems(
    register_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    api = api_for(steward)
    for more, status, code in (
        ({"epsilon": "50"}, 409, "over_cap"),
        ({"epsilon": "0"}, 400, "epsilon"),
        ({"delta": "0.01"}, 400, "delta"),
        ({"target": "gone"}, 409, "no_column"),
        ({"privacy": "none"}, 400, "no_reason"),
        ({"settings": {"expected_batch": 1000}}, 400, "settings"),
        ({"settings": {"clip_quantile": 0}}, 400, "settings"),
    ):
        answer = api.post(reverse("api:trainings"), body(register_version, **more))
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (status, code), more
    assert not Reservation.objects.exists()
    assert not TrainingRun.objects.exists()
