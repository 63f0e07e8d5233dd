"""Model files: signed, verified before each use, exported by a job that compares."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from jobs.models import Job
from privacyhub.datasets import services as datasets
from privacyhub.datasets import storage
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.inference import predict_encoded
from privacyhub.engines.prepare.encoding import Encoder
from privacyhub.governance import keys
from privacyhub.governance.models import AuditEvent, EntryKind, Right
from privacyhub.training import artefacts, exports

RUN = Callable[[], None]


def published(content: bytes, model_version: Any) -> None:
    """Put another plain file in the place of a version's."""
    file, sha256 = artefacts.seal_bytes(content, key=keys.unwrap(model_version.key))
    model_version.file, model_version.sha256 = file, sha256
    model_version.save()


def test_model_file_is_signed_by_the_key_that_the_api_tells(
    model_version: Any, steward: Any, api_for: Callable[[Any], Any]
) -> None:
    address = f"/api/v1/model-versions/{model_version.pk}/"
    api = api_for(steward)
    told = api.get(address).json()
    content = b"".join(api.get(f"{address}file/").streaming_content)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(told["public_key"]))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        key.verify(archive.read("manifest.sig"), archive.read("manifest.json"))
    assert AuditEvent.objects.filter(action="model_version.download").count() == 1


@pytest.mark.parametrize("place", [0.05, 0.5, 0.95])
def test_flipped_byte_is_refused_with_a_clear_error(
    place: float,
    model_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
) -> None:
    path = storage.path_of(model_version.file)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    artefacts.forget_loaded()
    with pytest.raises(Conflict, match="altered or damaged"):
        artefacts.load(model_version)
    answer = api_for(steward).get(f"/api/v1/model-versions/{model_version.pk}/file/")
    assert answer.status_code == 409
    assert answer.json()["code"] == "model_damaged"
    assert not AuditEvent.objects.filter(action="model_version.download").exists()


@pytest.mark.parametrize("signed", [False, True])
def test_file_that_another_key_signed_is_refused(
    signed: bool, model_version: Any
) -> None:
    model = artefacts.load(model_version)
    other = Ed25519PrivateKey.generate().private_bytes_raw()
    buffer = io.BytesIO()
    save_model(model, buffer, signing_key=other if signed else None)
    published(buffer.getvalue(), model_version)
    with pytest.raises(Conflict, match="sign"):
        artefacts.load(model_version)


def test_older_file_of_this_hub_is_not_handed_out_as_this_version(
    model_version: Any, steward: Any
) -> None:
    model = artefacts.load(model_version)
    buffer = io.BytesIO()
    model.weights["dense_0/bias"] = model.weights["dense_0/bias"] + 1
    signing = keys.signing_key(artefacts.SIGNING).private_bytes_raw()
    save_model(model, buffer, signing_key=signing)
    published(buffer.getvalue(), model_version)
    with pytest.raises(Conflict, match="not the file that was published"):
        exports.download(model_version=model_version, by=steward)


def made(api: Any, address: str, form: str, run_jobs: RUN) -> Any:
    """Ask for an export, have it made, and return its bytes."""
    answer = api.post(address, {"format": form}, format="json")
    assert answer.status_code == 202
    again = api.post(address, {"format": form}, format="json")
    assert again.json()["job"] == answer.json()["job"]
    run_jobs()
    job = Job.objects.get(pk=answer.json()["job"])
    assert job.state == "succeeded", job.trace or job.message
    offer = next(one for one in api.get(address).json() if one["format"] == form)
    assert offer["made"]
    assert 0 <= offer["difference"] <= 1e-5
    answer = api.get(offer["url"])
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content)
    assert len(content) == offer["size"]
    assert api.post(address, {"format": form}, format="json").status_code == 200
    return content


def test_saved_model_predicts_what_the_model_predicts(
    model_version: Any,
    steward: Any,
    api_for: Callable[[Any], Any],
    run_jobs: RUN,
    tmp_path: Any,
) -> None:
    import tensorflow as tf

    address = f"/api/v1/model-versions/{model_version.pk}/exports/"
    content = made(api_for(steward), address, "saved_model", run_jobs)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(tmp_path)  # noqa: S202 - our own file
        encoder = Encoder.from_dict(json.loads(archive.read("encoder.json")))
        guarantee = json.loads(archive.read("guarantee.json"))
    assert guarantee == model_version.guarantee
    model = artefacts.load(model_version)
    rows = _rows(model)
    assert encoder.feature_names == model.encoder.feature_names
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    told = served.signatures["serving_default"](
        features=tf.constant(rows.features), ids=tf.constant(rows.ids)
    )
    assert np.abs(told["scores"].numpy() - predict_encoded(model, rows)).max() <= 1e-5
    downloads = AuditEvent.objects.filter(action="model_version.download")
    assert [event.detail["format"] for event in downloads] == ["saved_model"]


def test_onnx_file_predicts_what_the_model_predicts(
    model_version: Any, steward: Any, api_for: Callable[[Any], Any], run_jobs: RUN
) -> None:
    address = f"/api/v1/model-versions/{model_version.pk}/exports/"
    content = made(api_for(steward), address, "onnx", run_jobs)
    model = artefacts.load(model_version)
    rows = _rows(model)
    session = onnxruntime.InferenceSession(content)
    (served,) = session.run(["scores"], {"features": rows.features, "ids": rows.ids})
    assert np.abs(served - predict_encoded(model, rows)).max() <= 1e-5
    beside = session.get_modelmeta().custom_metadata_map
    assert json.loads(beside["guarantee"]) == model_version.guarantee
    assert json.loads(beside["features"]) == model.encoder.feature_names


def _rows(model: Any) -> Any:
    from privacyhub.engines.tables import patient_register

    return model.encoder.encode(patient_register(rows=50, seed=9))


def test_export_that_differs_is_not_offered(
    model_version: Any,
    steward: Any,
    run_jobs: RUN,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Differs:
        def export_saved_model(self, *_: Any) -> float:
            raise ValueError("The exported model does not predict what it should.")

    monkeypatch.setattr("jobs.tasks.export._engine", Differs)
    exports.request(model_version=model_version, form="saved_model", by=steward)
    run_jobs()
    job = Job.objects.get(kind="export")
    assert (job.state, job.error_code) == ("failed", "export_differs")
    assert not model_version.exports.exists()
    assert all(offer.made is None for offer in exports.offers(model_version))


def test_view_right_takes_no_file_and_use_right_does(
    model_version: Any, steward: Any, analyst: Any, api_for: Callable[[Any], Any]
) -> None:
    address = f"/api/v1/model-versions/{model_version.pk}/exports/"
    api = api_for(analyst)
    assert api.post(address, {"format": "onnx"}, format="json").status_code == 404
    grant = {"target": model_version.model, "user": analyst, "by": steward}
    datasets.share(right=Right.VIEW, **grant)
    assert api.post(address, {"format": "onnx"}, format="json").status_code == 403
    assert api.get(f"{address}onnx/").status_code == 404
    datasets.share(right=Right.USE, **grant)
    assert api.post(address, {"format": "onnx"}, format="json").status_code == 202
    assert api.post(address, {"format": "h5"}, format="json").status_code == 400


def test_file_of_a_model_without_privacy_is_an_uncovered_release(
    submit: Callable[..., Any],
    run_jobs: RUN,
    quick_engine: Any,
    steward: Any,
    register_version: Any,
) -> None:
    run = submit(privacy="none", reason="To see what privacy costs.")
    run_jobs()
    account = the_ledger(register_version)
    noted = account.entries.filter(kind=EntryKind.UNCOVERED)
    before = noted.count()
    list(exports.download(model_version=run.model_version, by=steward))
    assert noted.count() == before + 1


def test_model_file_reads_back_as_it_was(model_version: Any, steward: Any) -> None:
    content = b"".join(exports.download(model_version=model_version, by=steward))
    kept = load_model(io.BytesIO(content), public_key=artefacts.public_key())
    assert kept.guarantee == model_version.guarantee
