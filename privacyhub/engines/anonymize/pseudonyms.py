"""Keyed pseudonyms: the same value and key give the same pseudonym in every table.

Without the key (32 random bytes from the key store) a pseudonym cannot be computed
from a guessed value, as it could from a plain hash. With it, all can be: destroying the
key cuts the link.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import polars as pl

from .errors import AnonymizeError
from .hierarchies import as_text

KEY_BYTES = 32
# 80 bits: among a billion values two collide with a chance of about 1 in 2 million.
PSEUDONYM_BYTES = 10


def pseudonymize(series: pl.Series, *, key: bytes, domain: str) -> pl.Series:
    """Pseudonyms of a column: 16 letters and digits; missing values stay missing.

    `domain` names what the values are ("patient"): columns of one domain can be joined
    across tables, those of different domains cannot. HMAC-SHA-256 (RFC 2104).
    """
    if len(key) < KEY_BYTES:
        raise AnonymizeError(f"The key must have at least {KEY_BYTES} bytes.")
    text = as_text(series)
    unique = text.unique()
    prefix = domain.encode() + b"\x00"
    names = {
        value: _pseudonym(key, prefix + value.encode())
        for value in unique.to_list()
        if value != ""
    }
    return text.replace_strict(
        list(names), list(names.values()), default=None, return_dtype=pl.String
    ).alias(series.name)


def _pseudonym(key: bytes, message: bytes) -> str:
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return base64.b32encode(digest[:PSEUDONYM_BYTES]).decode().lower()
