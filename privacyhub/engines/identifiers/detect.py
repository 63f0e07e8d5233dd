"""Suggests a role for each column, from its name, its values and its profile.

A suggestion is a starting point for a steward, never a decision. Two errors weigh
differently: an identifier that is missed would be trained on, a measure that is called
an identifier would only be left out. So values speak first (an e-mail address is one
whatever its column is called), then names, then uniqueness; but a number with many
values is a measure unless it looks like a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

from privacyhub.engines.identifiers import patterns
from privacyhub.engines.tables.kinds import Kind
from privacyhub.engines.tables.profiling import ColumnProfile, TableProfile
from privacyhub.engines.tables.rowids import ROW_ID

SAMPLE_ROWS = 2_000

RoleName = Literal["identifier", "quasi_identifier", "sensitive", "insensitive"]

_UNIQUE = 0.95
_FEW_VALUES = 50
# Kinds that cannot spell out a person: "has_email", "mail_share".
_MEASURES = (Kind.BOOLEAN, Kind.NUMBER, Kind.DATE, Kind.DATETIME)
# A run of n whole numbers fills most of its range; a measure leaves it mostly empty.
_DENSE = 0.5


@dataclass(frozen=True, kw_only=True)
class RoleSuggestion:
    """A suggested role; `reason` is for people and holds no cell value."""

    column: str
    role: RoleName
    confidence: float
    reason: str
    kind: str | None = None


def suggest_roles(
    frame_sample: pl.DataFrame, profile: TableProfile
) -> list[RoleSuggestion]:
    """One suggestion a column of the profile, in its order.

    `frame_sample` holds some rows of the same table; at most `SAMPLE_ROWS` are looked
    at.
    """
    sample = frame_sample.head(SAMPLE_ROWS)
    return [
        _suggest(sample[column.name], column, rows=profile.rows)
        for column in profile.columns
        if column.name != ROW_ID
    ]


def _suggest(values: pl.Series, column: ColumnProfile, *, rows: int) -> RoleSuggestion:
    words = _words(column.name)
    present = values.drop_nulls()
    return (
        _by_values(present, column)
        or _by_name(column, words=words)
        or _by_shape(present, column, words=words)
        or _by_uniqueness(column, words=words, rows=rows)
        or _by_default(column)
    )


def _by_values(values: pl.Series, column: ColumnProfile) -> RoleSuggestion | None:
    if not len(values) or column.kind not in (Kind.TEXT, Kind.INTEGER):
        return None
    # Short whole numbers fit no pattern; long ones may be card numbers.
    found = patterns.matching_kind(values.cast(pl.String))
    if found is None:
        return None
    kind, share = found
    if kind == "URL" and column.unique_share < 0.5:
        return None
    return RoleSuggestion(
        column=column.name,
        role="identifier",
        confidence=round(0.9 * share + 0.09, 2),
        reason=f"{share:.0%} of the sampled values look like {_PLURALS[kind]}.",
        kind=kind,
    )


def _by_name(column: ColumnProfile, *, words: str) -> RoleSuggestion | None:
    for rule in patterns.NAME_RULES:
        if not rule.pattern.search(words):
            continue
        if rule.role == patterns.IDENTIFIER and (
            column.kind in _MEASURES or patterns.DESCRIBING_WORD.search(words)
        ):
            continue
        if rule.kind == "birth date" and not _may_be_birth(column):
            continue
        return RoleSuggestion(
            column=column.name,
            role=rule.role,  # type: ignore[arg-type]
            confidence=0.9,
            reason=_NAME_REASONS[rule.role].format(
                kind=rule.kind.removeprefix("person ")
            ),
            kind=rule.kind,
        )
    return None


_NAME_REASONS = {
    patterns.IDENTIFIER: "Named after a person's {kind}, which points at them alone.",
    patterns.QUASI: "Named after a person's {kind}, which others may know.",
    patterns.SENSITIVE: "Named after a person's {kind}, which is kept confidential.",
}
_PLURALS = {
    "email": "e-mail addresses",
    "URL": "web addresses",
    "IP address": "IP addresses",
    "social security number": "social security numbers",
    "UUID": "UUIDs",
    "IBAN": "IBANs",
    "credit card": "card numbers",
    "phone": "phone numbers",
}


def _by_shape(
    values: pl.Series, column: ColumnProfile, *, words: str
) -> RoleSuggestion | None:
    """Person names and postcodes, which only shape and context together give away."""
    if column.kind != Kind.TEXT or not len(values):
        return None
    called_name = bool(patterns.PLAIN_NAME.search(words))
    share = patterns.share_matching(values, patterns.PERSON_NAME)
    if share >= 0.6 and (called_name or column.unique_share >= 0.5):
        return RoleSuggestion(
            column=column.name,
            role="identifier",
            confidence=0.95 if called_name else 0.7,
            reason=f"{share:.0%} of the sampled values look like people's names.",
            kind="person name",
        )
    if called_name and column.unique_share >= 0.5:
        return RoleSuggestion(
            column=column.name,
            role="identifier",
            confidence=0.75,
            reason="The column holds names, and most rows have their own.",
            kind="person name",
        )
    zip_share = patterns.share_matching(values, patterns.ZIP_CODE)
    if zip_share >= 0.95 and column.unique_share < 0.5:
        return RoleSuggestion(
            column=column.name,
            role="quasi_identifier",
            confidence=0.7,
            reason="The values are five-digit codes, as ZIP codes are.",
            kind="ZIP code",
        )
    return None


def _by_uniqueness(
    column: ColumnProfile, *, words: str, rows: int
) -> RoleSuggestion | None:
    """Keys: text that never repeats, and whole numbers that count rows."""
    present = rows - column.missing
    if present < 20 or column.unique_share < _UNIQUE:
        return None
    called_key = bool(patterns.IDENTIFIER_WORD.search(words))
    if column.kind == Kind.TEXT:
        lengths = column.text_lengths or {}
        if lengths.get("mean", 0.0) > 60:
            return RoleSuggestion(
                column=column.name,
                role="identifier",
                confidence=0.6,
                reason="Almost every row has its own free text, which may name people.",
                kind="free text",
            )
        return RoleSuggestion(
            column=column.name,
            role="identifier",
            confidence=0.95 if called_key else 0.8,
            reason="Almost every row has its own value.",
            kind="record number",
        )
    if column.kind == Kind.INTEGER and (called_key or _is_dense(column)):
        return RoleSuggestion(
            column=column.name,
            role="identifier",
            confidence=0.9 if called_key else 0.75,
            reason="Almost every row has its own whole number, as record numbers do.",
            kind="record number",
        )
    return None


def _by_default(column: ColumnProfile) -> RoleSuggestion:
    if column.kind in (Kind.INTEGER, Kind.NUMBER):
        reason = "A measure: nothing in name or values points at a person."
    elif column.kind in (Kind.DATE, Kind.DATETIME):
        return RoleSuggestion(
            column=column.name,
            role="quasi_identifier",
            confidence=0.6,
            reason="A date of an event, which others may know of a person.",
            kind="date",
        )
    elif column.distinct > _FEW_VALUES:
        return RoleSuggestion(
            column=column.name,
            role="quasi_identifier",
            confidence=0.5,
            reason="Text with many values, which combined may tell people apart.",
        )
    else:
        reason = "Nothing in name or values points at a person."
    return RoleSuggestion(
        column=column.name, role="insensitive", confidence=0.5, reason=reason
    )


def _words(name: str) -> str:
    """`birthDate`, `Birth date` and `birth-date` all become `birth_date`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _is_dense(column: ColumnProfile) -> bool:
    """Whole numbers that fill their range: a counter."""
    if column.minimum is None or column.maximum is None:
        return False
    width = column.maximum - column.minimum + 1
    return bool(column.distinct >= _DENSE * width)


def _may_be_birth(column: ColumnProfile) -> bool:
    """A birth weight is a number with a fraction; a birth year or date is not."""
    return column.kind != Kind.NUMBER
