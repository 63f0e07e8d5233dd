"""Identifiers: which columns point at people, alone or together."""

from __future__ import annotations

from privacyhub.engines.identifiers.combinations import (
    Distinctness,
    Uniqueness,
    distinction_and_separation,
    uniqueness,
)
from privacyhub.engines.identifiers.detect import (
    SAMPLE_ROWS,
    RoleSuggestion,
    suggest_roles,
)

__all__ = [
    "SAMPLE_ROWS",
    "Distinctness",
    "RoleSuggestion",
    "Uniqueness",
    "distinction_and_separation",
    "suggest_roles",
    "uniqueness",
]
