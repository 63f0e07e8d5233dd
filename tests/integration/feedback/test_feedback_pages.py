"""Feedback over REST and in the browser, and who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from privacyhub.feedback import services
from privacyhub.feedback.models import Feedback
from privacyhub.governance import grants
from privacyhub.governance.models import Ledger
from tests.integration.feedback.test_feedback import ROW, corrected, give, predicted


@pytest.fixture
def shared(model_version: Any, steward: Any, analyst: Any) -> Any:
    grants.give(target=model_version.model, right="use", by=steward, user=analyst)
    return model_version


def test_rest_gives_prices_and_accepts(
    shared: Any, analyst: Any, steward: Any, api_for: Any
) -> None:
    (mine,) = predicted(shared, analyst, ROW)
    given = api_for(analyst).post(
        "/api/v1/feedback/",
        {
            "model_version": str(shared.pk),
            "rating": 2,
            "problem": "wrong",
            "corrections": [{"prediction": str(mine.pk), "label": "yes"}],
        },
    )
    assert given.status_code == 201, given.content
    where = f"/api/v1/feedback/{given.json()['id']}/"
    told = api_for(steward).get(f"{where}price/").json()
    assert (told["epsilon"], told["fits"], told["odds_of_100"]) == ("1", True, "73.1")
    assert float(told["left_after"]) < float(told["left"])
    taken = api_for(steward).post(f"{where}accept/")
    assert taken.status_code == 202, taken.content
    feedback = Feedback.objects.get()
    assert taken.json()["job"] == str(feedback.run.job_id)
    assert taken.json()["training"] == str(feedback.run_id)
    assert taken.json()["correct_job"] == str(feedback.run.job.depends_on_id)
    assert taken["Location"] == f"/api/v1/jobs/{feedback.run.job_id}/"
    mine = api_for(analyst).get(where).json()
    assert (mine["state"], mine["decided_by"]) == ("accepted", "steward")


def test_rest_over_the_cap_is_409(
    shared: Any, analyst: Any, steward: Any, api_for: Any
) -> None:
    feedback = give(shared, analyst)
    Ledger.objects.update(cap_vector=["1"] * 24)
    where = f"/api/v1/feedback/{feedback.pk}/"
    assert api_for(steward).get(f"{where}price/").json()["fits"] is False
    answer = api_for(steward).post(f"{where}accept/")
    assert (answer.status_code, answer.json()["code"]) == (409, "over_cap")
    assert api_for(steward).get(where).json()["state"] == "open"


def test_rest_declines_with_a_reason(
    shared: Any, analyst: Any, steward: Any, api_for: Any
) -> None:
    where = f"/api/v1/feedback/{give(shared, analyst).pk}/"
    assert api_for(steward).post(f"{where}decline/", {}).status_code == 400
    answer = api_for(steward).post(f"{where}decline/", {"reason": "Not now."})
    assert answer.json()["state"] == "declined"
    assert api_for(analyst).get(where).json()["reason"] == "Not now."
    listed = api_for(analyst).get("/api/v1/feedback/", {"state": "open"}).json()
    assert listed["results"] == []


def test_analyst_cannot_decide(
    shared: Any, analyst: Any, api_for: Any, client_for: Any
) -> None:
    feedback = give(shared, analyst)
    where = f"/api/v1/feedback/{feedback.pk}/"
    assert api_for(analyst).get(f"{where}price/").status_code == 403
    assert api_for(analyst).post(f"{where}accept/").status_code == 403
    assert api_for(analyst).post(f"{where}decline/", {"reason": "x"}).status_code == 403
    client = client_for(analyst)
    accept = reverse("web:feedback_accept", args=[feedback.pk])
    assert client.post(accept).status_code == 403
    page = client.get(reverse("web:feedback_detail", args=[feedback.pk]))
    assert "Accept and retrain" not in page.content.decode()


@pytest.mark.parametrize("who", ["other_steward", "admin"])
def test_foreign_feedback_is_not_found(
    shared: Any, analyst: Any, who: str, request: Any, api_for: Any, client_for: Any
) -> None:
    feedback = give(shared, analyst)
    user = request.getfixturevalue(who)
    api, client = api_for(user), client_for(user)
    where = f"/api/v1/feedback/{feedback.pk}/"
    assert api.get(where).status_code == 404
    assert api.get(f"{where}price/").status_code == 404
    assert api.post(f"{where}accept/").status_code == 404
    assert api.post(f"{where}decline/", {"reason": "x"}).status_code == 404
    for name in ("feedback_detail",):
        page = reverse(f"web:{name}", args=[feedback.pk])
        assert client.get(page).status_code == 404
    new = reverse("web:feedback_new", args=[shared.pk])
    assert client.get(new).status_code == 404


def test_form_offers_own_predictions(
    shared: Any, analyst: Any, steward: Any, client_for: Any
) -> None:
    (mine,) = predicted(shared, analyst, ROW)
    (theirs,) = predicted(shared, steward, ROW)
    where = reverse("web:feedback_new", args=[shared.pk])
    client = client_for(analyst)
    text = client.get(where).content.decode()
    assert f"correct_{mine.pk}" in text
    assert str(theirs.pk) not in text
    refused = client.post(where, {"problem": "wrong"})
    assert refused.status_code == 400
    form = {"rating": "2", "problem": "group", "group": "the old", "text": "Too low."}
    sent = client.post(where, {**form, f"correct_{mine.pk}": "yes"})
    feedback = Feedback.objects.get()
    assert sent.url == reverse("web:feedback_detail", args=[feedback.pk])
    assert feedback.corrections_count == 1


def test_steward_accepts_on_the_page(
    shared: Any, analyst: Any, steward: Any, client_for: Any
) -> None:
    feedback = corrected(shared, analyst, ROW)
    client = client_for(steward)
    inbox = client.get(reverse("web:feedback")).content.decode()
    assert "Predictions are wrong" in inbox
    where = reverse("web:feedback_detail", args=[feedback.pk])
    text = client.get(where).content.decode()
    assert "73.1 of 100" in text
    assert "Left after" in text
    sent = client.post(reverse("web:feedback_accept", args=[feedback.pk]))
    feedback.refresh_from_db()
    first = feedback.run.job.depends_on_id
    assert sent.url == reverse("web:job", args=[first])


def test_page_explains_a_refusal(
    shared: Any, analyst: Any, steward: Any, client_for: Any
) -> None:
    feedback = give(shared, analyst)
    Ledger.objects.update(cap_vector=["1"] * 24)
    client = client_for(steward)
    where = reverse("web:feedback_detail", args=[feedback.pk])
    text = client.get(where).content.decode()
    assert "The ledger refuses this." in text
    assert "Accept and retrain" not in text
    client.post(reverse("web:feedback_accept", args=[feedback.pk]))
    feedback.refresh_from_db()
    assert feedback.state == "open"


def test_page_declines_with_a_reason(
    shared: Any, analyst: Any, steward: Any, client_for: Any
) -> None:
    feedback = give(shared, analyst)
    client = client_for(steward)
    where = reverse("web:feedback_decline", args=[feedback.pk])
    assert client.post(where, {"reason": ""}).status_code == 400
    client.post(where, {"reason": "The model is right."})
    page = client_for(analyst).get(reverse("web:feedback_detail", args=[feedback.pk]))
    assert "The model is right." in page.content.decode()


def test_empty_inbox_says_what_to_do(steward: Any, client_for: Any) -> None:
    text = client_for(steward).get(reverse("web:feedback")).content.decode()
    assert "No feedback yet" in text


def test_price_reads_no_row(shared: Any, analyst: Any, steward: Any) -> None:
    feedback = give(shared, analyst)
    account = shared.run.version.ledgers.get()
    lines = account.entries.count()
    services.price(feedback=feedback, by=steward)
    assert account.entries.count() == lines
