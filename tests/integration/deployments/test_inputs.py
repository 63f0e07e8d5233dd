"""Rows to predict are typed as the model learnt them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from privacyhub.datasets.errors import DataError
from privacyhub.deployments.inputs import frame_of, frame_of_table
from privacyhub.engines.prepare.encoding import ColumnSpec, Encoder

COLUMNS = (
    ColumnSpec(name="code", kind="category", categories=("1", "2.5")),
    ColumnSpec(name="smoker", kind="boolean"),
)


@dataclass
class Model:
    encoder: Encoder


MODEL: Any = Model(Encoder(COLUMNS))


def test_whole_floats_are_the_category_that_integers_are() -> None:
    rows = frame_of(model=MODEL, rows=[{"code": 1.0}, {"code": 1}, {"code": 2.5}])
    assert rows["code"].to_list() == ["1", "1", "2.5"]
    file = pl.DataFrame(
        {"code": [1.0, 2.5, None, math.nan], "smoker": [1.0, 0.0, None, math.nan]}
    )
    table = frame_of_table(model=MODEL, table=file)
    assert table["code"].to_list() == ["1", "2.5", None, None]
    assert table["smoker"].to_list() == [True, False, None, None]
    with pytest.raises(DataError, match="true or false is expected"):
        frame_of_table(model=MODEL, table=pl.DataFrame({"smoker": [0.5]}))
