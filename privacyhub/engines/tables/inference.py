"""From text cells to typed ones: what a column holds is decided over all its rows.

The kinds form a lattice with text at its top. Each batch votes, and votes are joined:
integer and number make number, date and datetime make datetime, anything else that
differs makes text. Only a pass over all rows may decide, or a late cell would not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from privacyhub.engines.tables.checks import Check
from privacyhub.engines.tables.kinds import ARROW_TYPES, Kind, kind_of
from privacyhub.engines.tables.structure import MISSING_TOKENS

_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_UTC = pa.timestamp("us", tz="UTC")
# Digits in front of which a zero stands are a code, not a quantity.
_LEADING_ZERO = r"^[+-]?0[0-9]"
_TOO_LONG_INTEGER = r"^[+-]?[0-9]{19,}$"
_NUMBER_LIKE = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_ZERO_STARTS = pa.array(["0", "+", "-"])
_MIXED_SHARE = 0.2
_SAMPLED_ROWS = 200_000
_PROBED_CELLS = 64


class _Vote(StrEnum):
    """A kind as a batch sees it; a zone tells two ways of writing a datetime apart."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    ZONED = "zoned"
    TEXT = "text"


_JOINS = {
    frozenset({_Vote.INTEGER, _Vote.NUMBER}): _Vote.NUMBER,
    frozenset({_Vote.DATE, _Vote.DATETIME}): _Vote.DATETIME,
}


def cleaned(column: pa.Array) -> pa.Array:
    """Text cells without surrounding blanks; the tokens for "not known" are null."""
    trimmed = pc.ascii_trim_whitespace(column)
    missing = pc.is_in(trimmed, value_set=pa.array(MISSING_TOKENS, trimmed.type))
    return pc.if_else(missing, pa.scalar(None, trimmed.type), trimmed)


@dataclass(kw_only=True)
class ColumnTyper:
    """Decides one text column's kind, batch by batch, then converts its batches."""

    name: str
    vote: _Vote | None = None
    rows: int = 0
    missing: int = 0
    non_finite: int = 0
    sampled: int = 0
    number_like: int = 0
    has_codes: bool = False
    long_integers: bool = False

    @property
    def kind(self) -> Kind:
        if self.vote is None:
            return Kind.TEXT
        return Kind.DATETIME if self.vote is _Vote.ZONED else Kind(self.vote.value)

    def see(self, column: pa.Array) -> None:
        """Counts a batch's cells in."""
        cells = cleaned(column).drop_null()
        self.rows += len(column)
        self.missing += len(column) - len(cells)
        if not len(cells):
            return
        vote = _Vote.TEXT if self.vote is _Vote.TEXT else self._guess(cells)
        if vote is not self.vote or self.rows <= _SAMPLED_ROWS:
            self.sampled += len(cells)
            self.number_like += _matches(cells, _NUMBER_LIKE)
        self.vote = _joined(self.vote, vote)

    def convert(self, column: pa.Array) -> pa.Array:
        """The batch in the column's Arrow type; what is not finite becomes null."""
        cells = cleaned(column)
        kind = self.kind
        if kind is Kind.TEXT:
            return cells.cast(pa.string())
        if kind is Kind.NUMBER:
            numbers = cells.cast(pa.float64())
            return _finite(numbers)
        if kind is Kind.BOOLEAN:
            truths = pc.is_in(cells, value_set=pa.array(_TRUE, cells.type))
            return pc.if_else(pc.is_null(cells), pa.scalar(None, pa.bool_()), truths)
        if self.vote is _Vote.ZONED:
            return cells.cast(_UTC).cast(ARROW_TYPES[kind])
        return cells.cast(ARROW_TYPES[kind])

    def checks(self) -> list[Check]:
        """Remarks that only the text tells."""
        found = []
        if self.non_finite and self.kind is Kind.NUMBER:
            found.append(non_finite_check(self.name, self.non_finite))
        if self.long_integers and self.kind is Kind.TEXT:
            found.append(
                Check(
                    code="long_integers",
                    column=self.name,
                    message="Whole numbers of 19 digits or more are kept as text.",
                )
            )
        if (
            self.kind is Kind.TEXT
            and not (self.has_codes or self.long_integers)
            and _MIXED_SHARE * self.sampled < self.number_like < self.sampled
        ):
            found.append(
                Check(
                    code="mixed_types",
                    column=self.name,
                    message="Numbers and text are mixed: the column is kept as text.",
                )
            )
        return found

    def _guess(self, cells: pa.Array) -> _Vote:
        vote = self._guess_number(cells)
        if vote is not None:
            return vote
        truths = pa.array(_TRUE + _FALSE, cells.type)
        if pc.all(pc.is_in(cells, value_set=truths)).as_py():
            return _Vote.BOOLEAN
        # A cast costs a pass; dates have a "-" in fifth place, most texts do not.
        if pc.utf8_slice_codeunits(cells[:1], 4, 5)[0].as_py() != "-":
            return _Vote.TEXT
        for vote, data_type in (
            (_Vote.DATE, pa.date32()),
            (_Vote.DATETIME, pa.timestamp("us")),
            (_Vote.ZONED, _UTC),
        ):
            if _cast(cells, data_type) is not None:
                return vote
        return _Vote.TEXT

    def _guess_number(self, cells: pa.Array) -> _Vote | None:
        # What the batches before were is tried first: casts and patterns cost a pass.
        if self.vote is not _Vote.NUMBER and _are_integers(cells):
            if self._sees_codes(cells):
                return _Vote.TEXT
            return _Vote.INTEGER
        numbers = _cast(cells, pa.float64())
        if numbers is None:
            return None
        if self._sees_codes(cells):
            return _Vote.TEXT
        if self.vote is _Vote.NUMBER and _are_integers(cells):
            return _Vote.INTEGER
        lengthy = cells.filter(pc.greater_equal(pc.binary_length(cells), 19))
        if _matches(lengthy, _TOO_LONG_INTEGER):
            self.long_integers = True
            return _Vote.TEXT
        self.non_finite += len(cells) - pc.sum(pc.is_finite(numbers)).as_py()
        return _Vote.NUMBER

    def _sees_codes(self, cells: pa.Array) -> bool:
        """If a zero leads digits somewhere: "007" is a code, not a quantity."""
        signs = pc.utf8_slice_codeunits(cells, 0, 1)
        suspects = cells.filter(pc.is_in(signs, value_set=_ZERO_STARTS))
        found = bool(_matches(suspects, _LEADING_ZERO))
        self.has_codes = self.has_codes or found
        return found


@dataclass(kw_only=True)
class NativeTyper:
    """Brings a Parquet column, which has a type already, to the type of its kind."""

    name: str
    kind: Kind
    rows: int = 0
    missing: int = 0
    non_finite: int = 0

    @classmethod
    def of(cls, field: pa.Field) -> NativeTyper:
        data_type = field.type
        if pa.types.is_dictionary(data_type):
            data_type = data_type.value_type
        if pa.types.is_decimal(data_type) or data_type == pa.uint64():
            return cls(name=field.name, kind=Kind.NUMBER)
        return cls(name=field.name, kind=kind_of(data_type))

    def see(self, column: pa.Array) -> None:
        converted = self.convert(column)
        self.rows += len(column)
        self.missing += converted.null_count
        if self.kind is Kind.NUMBER and pa.types.is_floating(column.type):
            self.non_finite += pc.sum(pc.is_inf(column)).as_py() or 0

    def convert(self, column: pa.Array) -> pa.Array:
        target = ARROW_TYPES[self.kind]
        if self.kind is Kind.TEXT:
            return cleaned(column.cast(pa.string())).cast(pa.string())
        if self.kind is Kind.NUMBER:
            # The decimal that a 32-bit number prints is the one that was meant.
            if column.type in (pa.float32(), pa.float16()):
                column = column.cast(pa.float32()).cast(pa.string())
            return _finite(column.cast(target, safe=False))
        if self.kind is Kind.DATETIME:
            return pc.cast(column, target, safe=False)
        return column.cast(target)

    def checks(self) -> list[Check]:
        if self.non_finite:
            return [non_finite_check(self.name, self.non_finite)]
        return []


def non_finite_check(column: str, count: int) -> Check:
    """The remark on infinite numbers."""
    cells = "1 number is" if count == 1 else f"{count:,} numbers are"
    return Check(
        code="non_finite",
        column=column,
        message=f"{cells} not finite and count as missing.",
    )


def _joined(one: _Vote | None, other: _Vote) -> _Vote:
    if one is None or one is other:
        return other
    return _JOINS.get(frozenset({one, other}), _Vote.TEXT)


def _cast(cells: pa.Array, data_type: pa.DataType) -> pa.Array | None:
    try:
        # Arrow words an error for every cell that does not fit: a few cells go first.
        cells[:_PROBED_CELLS].cast(data_type)
        return cells.cast(data_type)
    except pa.ArrowInvalid:
        return None


def _are_integers(cells: pa.Array) -> bool:
    """If all are whole decimal numbers of 64 bits; the cast alone takes "0x1f" too."""
    if _cast(cells, pa.int64()) is None:
        return False
    zeros = cells.filter(pc.equal(pc.utf8_slice_codeunits(cells, 0, 1), "0"))
    return not pc.any(pc.match_substring(zeros, "x", ignore_case=True)).as_py()


def _finite(numbers: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, numbers.type))


def _matches(cells: pa.Array, pattern: str) -> int:
    return pc.sum(pc.match_substring_regex(cells, pattern)).as_py() or 0
