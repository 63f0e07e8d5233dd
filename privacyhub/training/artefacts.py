"""Model files in the store: sealed under a key of their own, read back checked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO
from uuid import UUID

from privacyhub.datasets import storage
from privacyhub.datasets.uploads import open_sealed
from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.tables import SealedWriter
from privacyhub.governance import keys
from privacyhub.governance.models import DataKey
from privacyhub.training.models import ModelVersion

CHUNK = 2**20
CACHED_MODELS = 8


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A sealed model file that no model version names yet."""

    file: str
    key: DataKey
    size: int
    sha256: str
    artefact_sha256: str


def store(model: TrainedModel) -> StoredModel:
    """Sign and seal a model; its plain bytes stay in memory."""
    buffer = io.BytesIO()
    save_model(model, buffer, signing_key=keys.identity_key("model-signing"))
    content = buffer.getvalue()
    name = storage.new_name("models", "sealed")
    key, plain = keys.create(purpose="model")
    with storage.path_of(name).open("wb") as raw:
        writer = SealedWriter(raw, key=plain, context=name.encode())
        writer.write(content)
        writer.close()
    return StoredModel(
        file=name,
        key=key,
        size=len(content),
        sha256=writer.sha256,
        artefact_sha256=hashlib.sha256(content).hexdigest(),
    )


def discard(stored: StoredModel) -> None:
    """Undo `store` when its model version was not published."""
    storage.remove(stored.file)
    keys.destroy(stored.key)


def open_file(model_version: ModelVersion) -> BinaryIO:
    """The plain bytes of the model file. Raises KeyDestroyed after an erasure."""
    return open_sealed(model_version.file, key=keys.unwrap(model_version.key))


def chunks(model_version: ModelVersion) -> Iterator[bytes]:
    """The model file in pieces, for a download; it is opened by this call."""
    return _pieces(open_file(model_version))


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    with source:
        while block := source.read(CHUNK):
            yield block


def load(model_version: ModelVersion) -> TrainedModel:
    """The model, ready to predict with numpy; kept in memory by version.

    The key is unwrapped on each call, so that an erased model stops at once.
    """
    plain = keys.unwrap(model_version.key)
    return _loaded(model_version.pk, model_version.file, plain)


@lru_cache(maxsize=CACHED_MODELS)
def _loaded(pk: UUID, file: str, key: bytes) -> TrainedModel:
    with open_sealed(file, key=key) as source:
        return load_model(source)
