"""Predictions: ids, refusals that name row and column, files, sealed inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from django.urls import reverse
from django.utils import timezone

from jobs import registry
from privacyhub.api.models import KeptAnswer
from privacyhub.deployments import services
from privacyhub.deployments.models import Prediction, PredictionBatch
from privacyhub.governance import keys
from privacyhub.governance.models import AuditEvent
from privacyhub.training import services as training

ROW = {"sex": "female", "creatinine": 1.1, "prior_admissions": 2}


@pytest.fixture
def asked(model_version: Any) -> str:
    return reverse("api:predict", args=[model_version.pk])


def test_prediction_has_an_id_and_a_sealed_input(
    asked: str, model_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    answer = api_for(steward).post(asked, {"rows": [ROW, {}]})
    told = answer.json()["predictions"]
    assert answer.status_code == 200
    assert len({one["id"] for one in told}) == 2
    output = told[0]["output"]
    assert output["label"] in {"no", "yes"}
    assert sum(output["probabilities"].values()) == pytest.approx(1)
    kept = Prediction.objects.get(pk=told[0]["id"])
    assert b"female" not in bytes(kept.sealed_input)
    assert services.input_of(kept)["sex"] == "female"
    assert kept.output == output
    row = Prediction.objects.filter(pk=kept.pk).values().get()
    for value in row.values():
        stored = bytes(value) if isinstance(value, bytes | memoryview) else str(value)
        assert b"probabilit" not in (
            stored if isinstance(stored, bytes) else stored.encode()
        )
    assert AuditEvent.objects.get(action="model_version.predict").detail == {"rows": 2}


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ({"creatinine": "secret-text"}, "wrong_type", "creatinine"),
        ({"creatinine": True}, "wrong_type", "creatinine"),
        ({"creatinine": [1]}, "wrong_type", "creatinine"),
        ({"birth_date": "secret-text"}, "wrong_type", "birth_date"),
        ({"sex": {"secret-text": 1}}, "wrong_type", "sex"),
        ({"email": "secret-text"}, "unknown_column", "email"),
    ],
)
def test_bad_row_is_named_without_its_value(
    row: dict[str, Any],
    code: str,
    column: str,
    asked: str,
    steward: Any,
    api_for: Callable[[Any], Any],
) -> None:
    answer = api_for(steward).post(asked, {"rows": [ROW, row]})
    told = answer.json()
    assert answer.status_code == 400
    assert (told["code"], told["row"], told["column"]) == (code, 2, column)
    assert "secret-text" not in answer.content.decode()
    assert not Prediction.objects.exists()


def test_answers_cannot_be_read_after_an_erasure(
    asked: str,
    model_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
    client_for: Callable[[Any], Any],
) -> None:
    api = api_for(steward)
    made = api.post(asked, {"rows": [ROW]}).json()["predictions"][0]
    listed = reverse("api:predictions")
    assert api.get(listed).json()["results"][0]["output"] == made["output"]
    keys.destroy(model_version.key)
    assert Prediction.objects.get().output == {}
    assert api.get(listed).json()["results"][0]["output"] == {}


def test_kept_answer_is_sealed_and_goes_after_its_time(
    asked: str, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    api, headers = api_for(steward), {"HTTP_IDEMPOTENCY_KEY": "once"}
    body = {"rows": [ROW]}
    first = api.post(asked, body, **headers)
    assert api.post(asked, body, **headers).json() == first.json()
    assert Prediction.objects.count() == 1
    kept = KeptAnswer.objects.get()
    assert b"probabilit" not in bytes(kept.sealed_body)
    plain = hashlib.sha256()
    for name, value in body.items():
        plain.update(f"{name}=".encode())
        plain.update(json.dumps(value, sort_keys=True).encode() + b"\0")
    assert kept.body_digest != plain.hexdigest()  # whoever guesses the row cannot tell
    registry.run_tidying_hooks()
    assert KeptAnswer.objects.exists()
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    registry.run_tidying_hooks()
    assert not KeptAnswer.objects.exists()


def test_no_rows_are_refused(
    asked: str, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    assert api_for(steward).post(asked, {"rows": []}).json()["code"] == "no_rows"
    assert api_for(steward).post(asked, {"rows": [1]}).status_code == 400


def test_predictions_are_the_askers_and_the_managers(
    asked: str,
    model_version: Any,
    steward: Any,
    analyst: Any,
    other_steward: Any,
    api_for: Callable[[Any], Any],
) -> None:
    training.share(model=model_version.model, user=analyst, right="use", by=steward)
    made = api_for(analyst).post(asked, {"rows": [ROW]}).json()["predictions"][0]["id"]
    api_for(steward).post(asked, {"rows": [ROW]})
    url = reverse("api:prediction", args=[made])
    assert api_for(analyst).get(url).status_code == 200
    assert api_for(steward).get(url).status_code == 200
    assert api_for(other_steward).get(url).status_code == 404
    listed = reverse("api:predictions")
    assert api_for(analyst).get(listed).data["count"] == 1
    assert api_for(steward).get(listed).data["count"] == 2


def upload(api: Any, version: Any, content: bytes, name: str = "rows.csv") -> Any:
    from django.core.files.uploadedfile import SimpleUploadedFile

    return api.post(
        reverse("api:predict_file", args=[version.pk]),
        {"file": SimpleUploadedFile(name, content)},
        format="multipart",
    )


def test_file_is_answered_row_by_row(
    model_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
    run_jobs: Callable[[], None],
) -> None:
    api = api_for(steward)
    content = b"sex,creatinine,remark\nfemale,1.1,=cmd\nmale,,x\n,2.0,y\n"
    answer = upload(api, model_version, content)
    assert answer.status_code == 202, answer.content
    batch = PredictionBatch.objects.get(pk=answer.json()["batch"])
    early = api.get(reverse("api:prediction_batch_file", args=[batch.pk]))
    assert early.json()["code"] == "not_ready"
    run_jobs()
    told = api.get(reverse("api:prediction_batch", args=[batch.pk])).json()
    assert (told["state"], told["rows"]) == ("succeeded", 3)
    file = api.get(reverse("api:prediction_batch_file", args=[batch.pk]))
    table = pl.read_csv(b"".join(file.streaming_content))
    assert table.columns[:3] == ["prediction_id", "label", "probability"]
    ids = {str(pk) for pk in batch.predictions.values_list("pk", flat=True)}
    assert set(table["prediction_id"]) == ids
    assert AuditEvent.objects.filter(action="prediction_batch.download").exists()
    batch.upload.key.refresh_from_db()
    assert batch.upload.key.wrapped is None  # the upload is forgotten


def test_file_with_a_bad_cell_fails_by_row_and_column(
    model_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
    run_jobs: Callable[[], None],
) -> None:
    content = b"sex,creatinine\nfemale,1.1\nmale,secret-text\n"
    answer = upload(api_for(steward), model_version, content)
    run_jobs()
    batch = PredictionBatch.objects.get(pk=answer.json()["batch"])
    batch.job.refresh_from_db()
    assert (batch.job.state, batch.job.error_code) == ("failed", "wrong_type")
    assert "Row 2" in batch.job.message
    assert "creatinine" in batch.job.message
    assert "secret-text" not in batch.job.message + batch.job.trace
    assert not Prediction.objects.exists()


def test_batches_are_their_askers_alone(
    model_version: Any,
    steward: Any,
    analyst: Any,
    api_for: Callable[[Any], Any],
    client_for: Callable[[Any], Any],
) -> None:
    training.share(model=model_version.model, user=analyst, right="use", by=steward)
    answer = upload(api_for(steward), model_version, b"sex\nfemale\n")
    pk = answer.json()["batch"]
    for url in (
        reverse("api:prediction_batch", args=[pk]),
        reverse("api:prediction_batch_file", args=[pk]),
    ):
        assert api_for(analyst).get(url).status_code == 404
    page = reverse("web:prediction_batch_file", args=[pk])
    assert client_for(analyst).get(page).status_code == 404


def test_page_asks_for_the_models_inputs_and_answers(
    model_version: Any, steward: Any, client_for: Callable[[Any], Any]
) -> None:
    url = reverse("web:predict", args=[model_version.pk])
    client = client_for(steward)
    page = client.get(url).content.decode()
    names = [column["name"] for column in model_version.summary["inputs"]]
    assert all(name in page for name in names)
    place = names.index("creatinine")
    answer = client.post(url, {f"input_{place}": "1.2"}).content.decode()
    made = Prediction.objects.get()
    assert str(made.pk) in answer
    assert f"{len(names) - 1} of the {len(names)} inputs were left empty" in answer
    assert services.input_of(made)["creatinine"] == 1.2
    wrong = client.post(url, {f"input_{place}": "secret-text"})
    assert wrong.status_code == 400
    assert Prediction.objects.count() == 1
