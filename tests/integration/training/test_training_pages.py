"""The wizard, step by step, and its price without a read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job
from privacyhub.datasets import services, tables
from privacyhub.governance.models import Right
from privacyhub.training.models import TrainingDraft, TrainingRun


@pytest.fixture
def address(register_version: Any) -> Callable[[int], str]:
    base = reverse("web:train", args=[register_version.pk])
    return lambda step: f"{base}?step={step}"


FEATURES = ["sex", "occupation", "creatinine", "prior_admissions"]
TARGET = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
PRIVACY = {"privacy": "dp", "epsilon": "1", "metrics_epsilon": "0.5"}


def test_wizard_leads_to_a_queued_training(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    first = client.get(address(1)).content.decode()
    assert "readmitted" in first
    assert 'value="readmitted"' not in first  # the target is no input
    assert 'value="email"' not in first
    answer = client.post(address(1), {"features": FEATURES})
    assert answer.url == address(2)
    second = client.get(address(2)).content.decode()
    assert "no\nyes" in second
    assert client.post(address(2), TARGET).url == address(3)
    assert client.get(address(3)).status_code == 200
    assert client.post(address(3), PRIVACY).url == address(4)
    review = client.get(address(4)).content.decode()
    assert "Noise multiplier" in review
    answer = client.post(address(4))
    run = TrainingRun.objects.get()
    assert answer.url == reverse("web:job", args=[run.job_id])
    assert run.model.name == "Readmission"
    names = [column["name"] for column in run.recipe.spec["columns"]]
    assert names == ["sex", "occupation", "creatinine", "prior_admissions"]
    assert not TrainingDraft.objects.exists()


def test_draft_survives_a_closed_tab(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client_for(steward).post(address(1), {"features": FEATURES[2:]})
    page = client_for(steward).get(address(1)).content.decode()
    assert page.count(" checked") == 2
    # A later step that was never reached leads to the first open one.
    assert "What to predict" in client_for(steward).get(address(4)).content.decode()


def test_bad_settings_are_told_at_their_field(
    steward: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
    register_version: Any,
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    mixing = '[{"type": "batch_normalization"}]'
    for name, value, words in (
        ("epsilon", "2,5", "follow a point"),
        ("learning_rate", "0,5", "follow a point"),
        ("expected_batch", "100000", "larger than the declared"),
        ("delta", "0.5", "below 1/N"),
        ("hidden", mixing, "mixes the rows"),
        ("hidden", '[{"type": "lambda"}]', "only dense layers"),
        ("hidden", "[64", "not JSON"),
        ("class_weights", "1 2 3", "one weight a class"),
        ("class_weights", "1 x", "separated by blanks"),
        ("ema", "1", r"\[0, 1\)"),
        ("clip_norm", "-1", "lies between"),
        ("clip_quantile", "2", "between 0 and 1"),
        ("clip_quantile", "0,5", "follow a point"),
        ("search_learning_rate", "-1", "cannot be"),
        ("metrics_epsilon", "0", "above 0"),
    ):
        answer = client.post(address(3), PRIVACY | {name: value})
        assert answer.status_code == 200, name
        errors = " ".join(answer.context["form"].errors.get(name, []))
        assert re.search(words, errors), (name, answer.context["form"].errors)
    for fragment in ("train_price", "train_curve"):
        url = reverse(f"web:{fragment}", args=[register_version.pk])
        answer = client.post(url, PRIVACY | {"class_weights": "1 x"})
        assert answer.status_code == 200, fragment
    reason = client.post(address(3), PRIVACY | {"privacy": "none", "reason": "why"})
    assert reason.url == address(4)
    assert not Job.objects.filter(kind="train").exists()


def test_declared_architecture_and_settings_reach_the_plan(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    layers = '[{"type": "dense", "units": 16, "activation": "relu"}, 8]'
    client.post(
        address(3),
        PRIVACY
        | {
            "hidden": layers,
            "class_weights": "1 4",
            "optimizer": "adam",
            "schedule": "cosine",
            "ema": "0",
            "learning_rate": "0.01",
            "clip_quantile": "0.5",
        },
    )
    client.post(address(4))
    spec = TrainingRun.objects.get().plan["spec"]
    assert (spec["hidden"], spec["activation"]) == ([16, 8], "relu")
    assert spec["class_weights"] == [1, 4]
    assert (spec["optimizer"], spec["schedule"], spec["ema"]) == ("adam", "cosine", 0)
    assert spec["clip_quantile"] == 0.5


def test_reference_optimizer_is_chosen_on_the_page(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": ["creatinine", "sodium"]})
    client.post(address(2), TARGET)
    page = client.get(address(3)).content.decode()
    assert "DP Keras optimizer" in page
    adaptive = {"implementation": "dpkeras", "clip_quantile": "0.5"}
    refused = client.post(address(3), PRIVACY | adaptive)
    assert "fixed norm" in refused.context["form"].errors["clip_quantile"][0]
    client.post(address(3), PRIVACY | {"implementation": "dpkeras"})
    client.post(address(4))
    assert TrainingRun.objects.get().plan["spec"]["implementation"] == "dpkeras"


def test_search_over_settings_is_priced_before_it_starts(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    asked = PRIVACY | {"search_learning_rate": "0.5 1 2", "mean_trials": "3"}
    assert client.post(address(3), asked).url == address(4)
    review = client.get(address(4))
    assert "3 trials on average" in review.content.decode()
    client.post(address(4))
    run = TrainingRun.objects.get()
    assert run.recipe.spec["tuning"]["space"] == {"learning_rate": [0.5, 1, 2]}
    assert run.plan["selection"]


def test_curve_is_simulated_and_says_what_it_is_made_from(
    steward: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
    register_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)

    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("the private table was opened")

    monkeypatch.setattr(tables, "load", touched)
    url = reverse("web:train_curve", args=[register_version.pk])
    told = client.post(url, PRIVACY)
    page = told.content.decode()
    assert "never from the table" in page
    assert "made-up training rows" in page
    points = told.context["curve"].points
    epsilons = [point.epsilon for point in points]
    assert epsilons == sorted(epsilons)
    chosen = next(point for point in points if point.chosen)
    assert 0.99 < chosen.epsilon <= 1
    without = client.post(url, PRIVACY | {"privacy": "none"}).content.decode()
    assert "no curve" in without


@pytest.fixture
def price(
    steward: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
    register_version: Any,
) -> Callable[..., str]:
    """The price card of a form with some entries changed."""
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    url = reverse("web:train_price", args=[register_version.pk])
    return lambda **changed: client.post(url, PRIVACY | changed).content.decode()


def test_price_fragment_tells_odds_and_refusals(price: Callable[..., str]) -> None:
    told = price()
    assert "73.1 of 100" in told
    assert "Noise multiplier" in told
    assert "would be passed" in price(epsilon="30")
    assert "number above 0" in price(epsilon="0")
    assert not Job.objects.filter(kind="train").exists()


def test_price_of_another_share_says_that_both_sides_add_up(
    price: Callable[..., str],
) -> None:
    usual = price()
    assert "each side pays for itself" in usual
    other = price(holdout="0.4", metrics_epsilon="0.5")
    assert "each side pays for itself" not in other
    assert "add up: the held-out share is not the usual 20%" in other
    # One unit may pay for the model and for its metrics: 1 / (1 + exp(-1.5)).
    assert "81.8 of 100" in other


def test_price_of_cheap_models_gives_the_odds_of_dearer_metrics(
    price: Callable[..., str],
) -> None:
    assert "73.1 of 100" in price(epsilon="0.5", metrics_epsilon="1")


def test_review_over_the_cap_charges_nothing(
    steward: Any, client_for: Callable[[Any], Any], address: Callable[[int], str]
) -> None:
    client = client_for(steward)
    client.post(address(1), {"features": FEATURES})
    client.post(address(2), TARGET)
    client.post(address(3), PRIVACY | {"epsilon": "30"})
    answer = client.post(address(4))
    assert answer.status_code == 409
    assert "cap" in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_submission_of_another_user_leads_to_a_run_of_ones_own(
    steward: Any,
    other_steward: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
    register_version: Any,
) -> None:
    services.share(
        target=register_version.dataset,
        user=other_steward,
        right=Right.MANAGE,
        by=steward,
    )
    sent = {"submission": str(uuid4())}
    for user in (steward, other_steward):
        client = client_for(user)
        client.post(address(1), {"features": FEATURES})
        client.post(address(2), TARGET)
        client.post(address(3), PRIVACY)
        first = client.post(address(4), sent)
        run = TrainingRun.objects.get(owner=user)
        assert first.url == reverse("web:job", args=[run.job_id])
        assert client.post(address(4), sent).url == first.url
    assert TrainingRun.objects.count() == 2


def test_wizard_is_for_those_who_manage_the_data(
    analyst: Any,
    other_steward: Any,
    auditor: Any,
    client_for: Callable[[Any], Any],
    address: Callable[[int], str],
) -> None:
    assert client_for(analyst).get(address(1)).status_code == 404
    assert client_for(other_steward).get(address(1)).status_code == 404
    assert client_for(auditor).get(address(1)).status_code == 403


def test_wizard_of_an_erased_version_leads_back(
    register_version: Any, steward: Any, client_for: Any
) -> None:
    register_version.erased_at = timezone.now()
    register_version.save(update_fields=["erased_at"])
    url = reverse("web:train", args=[register_version.pk])
    answer = client_for(steward).get(url, follow=True)
    assert answer.redirect_chain
    assert "was erased" in answer.content.decode()
