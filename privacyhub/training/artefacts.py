"""Model files in the store: signed, sealed under a key of their own, read back checked.

The signature is Ed25519 by a key of this hub over the file's manifest, which lists the
SHA-256 of every entry.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO
from uuid import UUID

from privacyhub.datasets import storage
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.uploads import open_sealed
from privacyhub.engines.dp.artefact import load_model, save_model
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.tables import SealedWriter
from privacyhub.governance import keys
from privacyhub.governance.models import DataKey
from privacyhub.training.models import ModelVersion

SIGNING = "model-signing"
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
    signing = keys.signing_key(SIGNING).private_bytes_raw()
    save_model(model, buffer, signing_key=signing)
    content = buffer.getvalue()
    key, plain = keys.create(purpose="model")
    name, sha256 = seal_bytes(content, key=plain)
    return StoredModel(
        file=name,
        key=key,
        size=len(content),
        sha256=sha256,
        artefact_sha256=hashlib.sha256(content).hexdigest(),
    )


def seal_bytes(content: bytes, *, key: bytes) -> tuple[str, str]:
    """A new file in the store; its name and the SHA-256 of what lies there."""
    name = storage.new_name("models", "sealed")
    with storage.writing(name) as raw:
        writer = SealedWriter(raw, key=key, context=name.encode())
        writer.write(content)
        writer.close()
    return name, writer.sha256


def public_key() -> bytes:
    """The raw 32-byte Ed25519 key that this hub's model files are verified with."""
    return keys.signing_key(SIGNING).public_key().public_bytes_raw()


def discard(stored: StoredModel) -> None:
    """Undo `store` when its model version was not published."""
    storage.remove(stored.file)
    keys.destroy(stored.key)


def open_file(model_version: ModelVersion) -> BinaryIO:
    """The plain bytes of the model file. Raises KeyDestroyed after an erasure."""
    return open_sealed(model_version.file, key=keys.unwrap(model_version.key))


def verified(model_version: ModelVersion) -> bytes:
    """The model file, checked as `load` checks it. Raises Conflict, KeyDestroyed."""
    key = keys.unwrap(model_version.key)
    content, _ = _opened(model_version.file, key)
    if hashlib.sha256(content).hexdigest() != model_version.artefact_sha256:
        raise _damaged("It is not the file that was published.")
    return content


def load(model_version: ModelVersion) -> TrainedModel:
    """The model, ready to predict with numpy; kept in memory by version.

    Manifest and signature are verified when the file is read. The key is unwrapped on
    each call, so that an erased model stops at once. Raises Conflict where the file
    was altered or is not signed by this hub.
    """
    plain = keys.unwrap(model_version.key)
    return _loaded(model_version.pk, model_version.file, plain)


@lru_cache(maxsize=CACHED_MODELS)
def _loaded(pk: UUID, file: str, key: bytes) -> TrainedModel:
    return _opened(file, key)[1]


def forget_loaded() -> None:
    """Read every model again when it is next asked for."""
    _loaded.cache_clear()


def _opened(file: str, key: bytes) -> tuple[bytes, TrainedModel]:
    try:
        with open_sealed(file, key=key) as source:
            content = source.read()
        return content, load_model(io.BytesIO(content), public_key=public_key())
    except (ValueError, zipfile.BadZipFile) as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> Conflict:
    return Conflict(
        f"The model file was altered or damaged, and is not used. {why}",
        code="model_damaged",
    )
