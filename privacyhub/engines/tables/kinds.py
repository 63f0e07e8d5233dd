"""The kinds of column that a table can hold, and the one Arrow type of each."""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa


class Kind(StrEnum):
    """What a column's cells are."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"

    @property
    def is_numeric(self) -> bool:
        return self in (Kind.INTEGER, Kind.NUMBER)

    @property
    def is_temporal(self) -> bool:
        return self in (Kind.DATE, Kind.DATETIME)


ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATE: pa.date32(),
    Kind.DATETIME: pa.timestamp("us"),
    Kind.TEXT: pa.string(),
}


def kind_of(data_type: pa.DataType) -> Kind:
    """The kind of a stored column.

    >>> kind_of(pa.int64())
    <Kind.INTEGER: 'integer'>
    """
    if pa.types.is_boolean(data_type):
        return Kind.BOOLEAN
    if pa.types.is_integer(data_type):
        return Kind.INTEGER
    if pa.types.is_floating(data_type):
        return Kind.NUMBER
    if pa.types.is_date(data_type):
        return Kind.DATE
    if pa.types.is_timestamp(data_type):
        return Kind.DATETIME
    return Kind.TEXT
