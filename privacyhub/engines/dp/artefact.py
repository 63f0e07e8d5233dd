"""Model files: weights, architecture, encoder, settings and guarantee in one zip.

Entries are stored, not compressed: `weights.safetensors`, four JSON documents, and
`manifest.json` with the SHA-256 and size of each, signed with Ed25519 when a key is
given. Reading a file runs no code: safetensors and JSON hold data alone, and every
value is validated. The same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.events import event_from_dict
from privacyhub.engines.dp.model import TrainedModel, known_losses
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.engines.prepare.encoding import Encoder

SCHEMA = 1
MAX_BYTES = 512 * 1024**2
_WEIGHTS = "weights.safetensors"
_MANIFEST = "manifest.json"
_SIGNATURE = "manifest.sig"
_ENTRIES = (
    _WEIGHTS,
    "architecture.json",
    "encoder.json",
    "training.json",
    "guarantee.json",
)
_FIXED_TIME = (2020, 1, 1, 0, 0, 0)


def save_model(
    model: TrainedModel,
    file: Path | IO[bytes],
    *,
    signing_key: bytes | None = None,
) -> str:
    """Write a model file and return the SHA-256 of its manifest.

    signing_key: 32 raw bytes of an Ed25519 private key.
    """
    entries = {
        _WEIGHTS: save_tensors(
            {name: np.ascontiguousarray(w) for name, w in model.weights.items()}
        ),
        "architecture.json": _json(model.architecture.to_dict()),
        "encoder.json": _json(
            None if model.encoder is None else model.encoder.to_dict()
        ),
        "training.json": _json(
            {
                "spec": model.spec.to_dict(),
                "event": None if model.event is None else model.event.to_dict(),
                "steps_run": model.steps_run,
                "losses": known_losses(model.losses),
            }
        ),
        "guarantee.json": _json(model.guarantee),
    }
    manifest = _json(
        {
            "schema": SCHEMA,
            "entries": {
                name: {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bytes": len(content),
                }
                for name, content in entries.items()
            },
        }
    )
    entries[_MANIFEST] = manifest
    if signing_key is not None:
        key = Ed25519PrivateKey.from_private_bytes(signing_key)
        entries[_SIGNATURE] = key.sign(manifest)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), content)
    return hashlib.sha256(manifest).hexdigest()


def load_model(
    file: Path | IO[bytes], *, public_key: bytes | None = None
) -> TrainedModel:
    """Read a model file, checking sizes, hashes and, given a key, the signature.

    Raises ValueError for a file that is damaged, altered or not signed by the key.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _read_entries(archive)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError("This is not a complete model file.") from error
    if public_key is not None:
        _require_signature(entries, public_key=public_key)
    manifest = json.loads(entries[_MANIFEST])
    if manifest.get("schema") != SCHEMA:
        raise ValueError("The model file is of an unknown schema.")
    for name in _ENTRIES:
        listed = manifest["entries"].get(name, {}).get("sha256")
        if hashlib.sha256(entries[name]).hexdigest() != listed:
            raise ValueError(f"The model file's {name} does not match its manifest.")
    return _model(entries)


def _read_entries(archive: zipfile.ZipFile) -> dict[str, bytes]:
    expected = {*_ENTRIES, _MANIFEST, _SIGNATURE}
    for info in archive.infolist():
        if info.filename not in expected:
            raise ValueError("The model file holds an entry that does not belong.")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > MAX_BYTES:
            raise ValueError("The model file holds an entry that is too large.")
    names = {*_ENTRIES, _MANIFEST} | ({_SIGNATURE} & set(archive.namelist()))
    return {name: archive.read(name) for name in names}


def _require_signature(entries: Mapping[str, bytes], *, public_key: bytes) -> None:
    signature = entries.get(_SIGNATURE)
    if signature is None:
        raise ValueError("The model file is not signed.")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            signature, entries[_MANIFEST]
        )
    except InvalidSignature as error:
        raise ValueError("The model file's signature is not of this key.") from error


def _model(entries: Mapping[str, bytes]) -> TrainedModel:
    architecture = Architecture.from_dict(json.loads(entries["architecture.json"]))
    stored_encoder = json.loads(entries["encoder.json"])
    training = json.loads(entries["training.json"])
    weights = load_tensors(entries[_WEIGHTS])
    if set(weights) != set(architecture.shapes):
        raise ValueError("The model file's weights are not its architecture's.")
    vector = architecture.pack(weights)
    event = training["event"]
    return TrainedModel(
        architecture=architecture,
        weights=architecture.unpack(vector),
        spec=TrainSpec.from_dict(training["spec"]),
        encoder=None if stored_encoder is None else Encoder.from_dict(stored_encoder),
        event=None if event is None else event_from_dict(event),
        steps_run=int(training["steps_run"]),
        losses=[
            math.nan if loss is None else float(loss) for loss in training["losses"]
        ],
        guarantee=json.loads(entries["guarantee.json"]),
    )


def _json(content: Any) -> bytes:
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
