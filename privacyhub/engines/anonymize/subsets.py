"""Which rows of a table are meant: truth values, row numbers, or a table of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import AnonymizeError
from .hierarchies import as_text
from .keys import Bools

Subset = pl.DataFrame | pl.Series | Sequence[bool] | Sequence[int] | NDArray[np.generic]


def rows_of(subset: Subset, *, frame: pl.DataFrame) -> Bools:
    """The rows as a mask, shape (rows,).

    A table of rows is matched on the columns that both have; rows that occur several
    times are taken from the first on, as often as the subset holds them.
    """
    if isinstance(subset, pl.DataFrame):
        return _matching(subset, frame=frame)
    chosen = np.asarray(subset)
    if chosen.dtype == np.bool_:
        if len(chosen) != frame.height:
            raise AnonymizeError(
                f"The subset has {len(chosen)} truth values, the table "
                f"{frame.height} rows."
            )
        return chosen
    mask = np.zeros(frame.height, dtype=bool)
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < frame.height):
        raise AnonymizeError("The subset names a row that the table does not have.")
    mask[chosen.astype(np.int64)] = True
    return mask


def _matching(subset: pl.DataFrame, *, frame: pl.DataFrame) -> Bools:
    columns = [name for name in subset.columns if name in frame.columns]
    if not columns:
        raise AnonymizeError("The subset has no column of the table.")

    def numbered(table: pl.DataFrame) -> pl.DataFrame:
        text = pl.DataFrame({name: as_text(table[name]) for name in columns})
        return text.with_columns(
            __copy=pl.int_range(pl.len()).over(columns),
        )

    wanted = numbered(subset).with_columns(__wanted=True)
    found = numbered(frame).join(
        wanted, on=[*columns, "__copy"], how="left", maintain_order="left"
    )
    mask = found["__wanted"].is_not_null().to_numpy()
    if mask.sum() != subset.height:
        raise AnonymizeError("The subset holds rows that the table does not have.")
    return mask
