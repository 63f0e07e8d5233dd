"""A model version in another program's format, checked to predict the same."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from jobs.execution import Attempt
from jobs.registry import Publish
from jobs.states import JobFailed
from privacyhub.engines.dp import onnx_export
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.training import artefacts, exports
from privacyhub.training.models import ExportFormat, ModelVersion

STEPS = 3
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_FIXED_TIME = (2020, 1, 1, 0, 0, 0)


def run(attempt: Attempt) -> Publish:
    """Spec: dataset, model_version, format."""
    version = ModelVersion.objects.select_related("key", "model").get(
        pk=attempt.spec["model_version"]
    )
    if version.erased_at is not None:
        raise JobFailed("This model was erased.", code="erased")
    attempt.report("opening the model", 0, STEPS)
    model = artefacts.load(version)
    attempt.report("converting and comparing", 1, STEPS)
    form = attempt.spec["format"]
    convert = _saved_model if form == ExportFormat.SAVED_MODEL else _onnx
    # TensorFlow writes to a folder: in memory where there is one, so that the weights
    # of a model without privacy do not touch the disk in the clear.
    place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="export-", dir=place) as folder:
        try:
            content, difference = convert(model, Path(folder))
        except ValueError as error:
            raise JobFailed(str(error), code="export_differs") from error
    attempt.report("saving", 2, STEPS)
    stored = exports.store(
        model_version=version, content=content, difference=difference
    )

    def publish() -> dict[str, Any]:
        made = exports.publish(model_version=version, form=form, stored=stored)
        return {"model_version": str(version.pk), "export": str(made.pk)}

    return publish


def _saved_model(model: TrainedModel, folder: Path) -> tuple[bytes, float]:
    """A zip: `saved_model/`, and beside it what encodes its input."""
    difference = _engine().export_saved_model(model, folder / "saved_model")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                entry = zipfile.ZipInfo(name, _FIXED_TIME)
                archive.writestr(entry, path.read_bytes())
        for name, told in _beside(model).items():
            entry = zipfile.ZipInfo(f"{name}.json", _FIXED_TIME)
            archive.writestr(entry, json.dumps(told, sort_keys=True))
    return buffer.getvalue(), difference


def _onnx(model: TrainedModel, folder: Path) -> tuple[bytes, float]:
    """An ONNX file whose metadata holds what encodes its input."""
    path = folder / "model.onnx"
    beside = _beside(model).items()
    told = {name: json.dumps(one, sort_keys=True) for name, one in beside}
    difference = onnx_export.export_onnx(model, path, metadata=told)
    return path.read_bytes(), difference


def _beside(model: TrainedModel) -> dict[str, Any]:
    """What a reader needs besides the network."""
    encoder = model.encoder
    return {
        "encoder": encoder.to_dict() if encoder else None,
        "features": encoder.feature_names if encoder else [],
        "guarantee": model.guarantee,
    }


def _engine() -> Any:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    from privacyhub.engines.dp import export  # TensorFlow, in this child alone

    return export
