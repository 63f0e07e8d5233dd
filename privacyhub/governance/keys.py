"""Keys: each file has its own, wrapped under a key that lies outside the database.

The key file (setting KEY_FILE) holds key-encryption keys by name and the secret for
the instance's keyed hashes. Whoever has the database alone, or a copy of `var/`
without that file, has nothing that can be read.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from privacyhub.engines.tables.sealed import seal, unseal
from privacyhub.governance.models import DataKey

logger = logging.getLogger(__name__)


class KeyDestroyed(Exception):
    """What the key protected was erased."""


@dataclass(frozen=True)
class KeyFile:
    current: str
    keys: dict[str, bytes]
    identity: bytes  # for keyed hashes; does not rotate


def _load(path: Path) -> KeyFile:
    if not path.exists():
        _create(path)
    content = json.loads(path.read_text())
    return KeyFile(
        current=content["current"],
        keys={name: base64.b64decode(key) for name, key in content["keys"].items()},
        identity=base64.b64decode(content["identity"]),
    )


def _create(path: Path) -> None:
    """Make the file once, for its owner only; a second process waits and reads it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        fresh = {
            "current": "kek-1",
            "keys": {"kek-1": base64.b64encode(secrets.token_bytes(32)).decode()},
            "identity": base64.b64encode(secrets.token_bytes(32)).decode(),
        }
        temporary = path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as stream:
            json.dump(fresh, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    finally:
        os.close(lock)


@lru_cache(maxsize=1)
def _key_file(path: Path) -> KeyFile:
    return _load(path)


def create(*, purpose: str, plain: bytes | None = None) -> tuple[DataKey, bytes]:
    """A fresh 32-byte key (or `plain`), and the row that holds it wrapped."""
    file = _key_file(settings.KEY_FILE)
    plain = plain or secrets.token_bytes(32)
    row = DataKey(purpose=purpose, kek=file.current)
    row.wrapped = _wrap(file.keys[file.current], plain, row)
    row.save()
    return row, plain


def unwrap(key: DataKey) -> bytes:
    """The key itself. Raises KeyDestroyed after an erasure."""
    if key.wrapped is None:
        raise KeyDestroyed
    file = _key_file(settings.KEY_FILE)
    sealed = bytes(key.wrapped)
    return AESGCM(file.keys[key.kek]).decrypt(sealed[:12], sealed[12:], _context(key))


def _wrap(kek: bytes, plain: bytes, row: DataKey) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(kek).encrypt(nonce, plain, _context(row))


def _context(row: DataKey) -> bytes:
    return f"{row.id}:{row.purpose}".encode()


@transaction.atomic
def destroy(key: DataKey) -> None:
    """Erase what the key protects, in every copy. There is no way back.

    Not by a backup either: `when_destroyed` hears of it after the commit.
    """
    row = DataKey.objects.select_for_update().get(pk=key.pk)
    if row.destroyed_at is None:
        row.wrapped = None
        row.destroyed_at = timezone.now()
        row.save()
        transaction.on_commit(lambda: _tell_destroyed(row))


_destroyed_hooks: list[Callable[[DataKey], None]] = []


def _tell_destroyed(row: DataKey) -> None:
    """The key is gone, whatever a hook meets."""
    for hook in _destroyed_hooks:
        try:
            hook(row)
        except Exception:
            logger.exception("a key was destroyed, and not all was told")


def when_destroyed(hook: Callable[[DataKey], None]) -> None:
    """Call `hook` after each destruction is committed."""
    _destroyed_hooks.append(hook)


def seal_json(content: Any, *, key: DataKey, context: str) -> bytes:
    """JSON under a data key; `context` (an id) must be the same when it is read."""
    data = json.dumps(content, default=str).encode()
    return seal(data, key=unwrap(key), context=context.encode())


def unseal_json(sealed: bytes, *, key: DataKey, context: str) -> Any:
    """What `seal_json` sealed. Raises KeyDestroyed after an erasure."""
    data = unseal(bytes(sealed), key=unwrap(key), context=context.encode())
    return json.loads(data)


def identity_key(purpose: str) -> bytes:
    """A 32-byte key of the instance for keyed hashes of one purpose."""
    secret = _key_file(settings.KEY_FILE).identity
    return HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(secret)


def signing_key(purpose: str) -> Ed25519PrivateKey:
    """The instance's Ed25519 key for signatures of one purpose.

    It comes from the secret of the key file, which lies apart from what is signed.
    """
    return Ed25519PrivateKey.from_private_bytes(identity_key(purpose))
