"""The rows of a version, split by the family's stored coin.

One coin a unit: the same unit is on the same side in every version of the family, so
what the two sides pay composes in parallel. Where units have a key, a row without one
is a training row. At most m rows of a unit take part, chosen without looking at values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from privacyhub.datasets import tables
from privacyhub.datasets.models import Version
from privacyhub.datasets.services import the_ledger
from privacyhub.engines.dp.sampling import rows_of_units
from privacyhub.engines.dp.splitting import coins
from privacyhub.engines.prepare.encoding import EncodedTable
from privacyhub.engines.tables import ROW_ID
from privacyhub.governance import keys
from privacyhub.governance.models import Unit


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one side of the coin.

    units: int64 a row, equal for rows of one unit and -1 without a key; None where
    each row is a unit.
    """

    frame: pl.DataFrame
    units: NDArray[np.int64] | None


def read_side(
    version: Version, *, columns: Sequence[str], holdout: float, held_out: bool
) -> Side:
    """The training rows, or the held-out ones, with these columns alone.

    The caller has noted the read's class in the ledger. Identifiers are not among
    `columns`; the unit key is read for the coin and dropped.
    """
    account = the_ledger(version)
    key = account.unit_key if account.unit == Unit.KEY else None
    needed = list(dict.fromkeys([ROW_ID, *columns, *([key] if key else [])]))
    frame = tables.load(version, columns=needed)
    ids = _unit_ids(frame, key=key)
    distinct = ids.unique()
    places = _places(ids, among=distinct)
    tossed = coins(distinct, key=keys.unwrap(account.split_key), holdout=holdout)
    tossed = tossed[places]
    if key is not None:
        # A row without a key has no name that lasts: its id follows its content, so a
        # refresh that edits it would toss anew, and it would pay on both sides while
        # each side's sum counts one. It is therefore never held out.
        tossed &= frame[key].is_not_null().to_numpy()
    chosen = tossed == held_out
    units = None
    if key is not None:
        units = np.where(frame[key].is_null().to_numpy(), -1, places)[chosen]
    side = frame.filter(pl.Series(chosen)).select(columns)
    if units is None or not len(units):
        return Side(frame=side, units=units)
    rows = rows_of_units(units, max_rows=account.most_rows_per_unit)
    return Side(frame=side[rows], units=units[rows])


def never_empty(table: EncodedTable) -> EncodedTable:
    """The table, or one spoiled row where no unit fell on the training side.

    A row that is not finite has weight 0, so the run trains on noise alone and ends
    like any other: whether the side is empty must not show.
    """
    if table.rows:
        return table
    return replace(
        table,
        features=np.full((1, table.features.shape[1]), np.nan, dtype=np.float32),
        ids=np.zeros((1, table.ids.shape[1]), dtype=np.int32),
        target=np.full(1, np.nan, dtype=np.float32),
        units=None if table.units is None else np.full(1, -1, dtype=np.int64),
    )


def _unit_ids(frame: pl.DataFrame, *, key: str | None) -> pl.Series:
    """The id a row's coin is drawn for: its unit's, or its own without a key."""
    own = pl.lit("row:") + pl.col(ROW_ID).cast(pl.String)
    if key is None:
        return frame.select(own.alias("id"))["id"]
    unit = pl.lit("unit:") + _key_text(frame, key)
    return frame.select(pl.coalesce(unit, own).alias("id"))["id"]


def _places(ids: pl.Series, *, among: pl.Series) -> NDArray[np.int64]:
    """Each row's place among the distinct ids: int64 [rows].

    One text for each would be as wide in NumPy as the longest is.
    """
    table = among.to_frame().with_row_index("place")
    joined = ids.to_frame().join(table, on=ids.name, how="left", maintain_order="left")
    return joined["place"].cast(pl.Int64).to_numpy()


def _key_text(frame: pl.DataFrame, key: str) -> pl.Expr:
    """A key as text, the same whether it came as 5, 5.0 or "5"."""
    column = pl.col(key)
    if frame.schema[key].is_float():
        whole = (column == column.floor()) & (column.abs() < 2.0**53)
        as_integer = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(as_integer).otherwise(column.cast(pl.String))
    return column.cast(pl.String).str.strip_chars()
