"""Characters of a value hidden or put back."""

from __future__ import annotations

import polars as pl

ZIP_DIGITS = 5


def mask(series: pl.Series, *, side: str, characters: int) -> pl.Series:
    """So many characters from one side become `*`; a shorter value is all hidden.

    >>> mask(pl.Series(["0171 555", "12"]), side="right", characters=3).to_list()
    ['0171 ***', '**']
    """
    text = series.cast(pl.String)
    length = text.str.len_chars()
    hidden = pl.Series("hidden", [characters] * len(text), dtype=pl.UInt32)
    stars = pl.select(
        pl.lit("*").repeat_by(pl.min_horizontal(length, hidden)).list.join("")
    ).to_series()
    kept = (length.cast(pl.Int64) - characters).clip(lower_bound=0)
    if side == "right":
        return (text.str.slice(0, kept) + stars).alias(series.name)
    rest = text.str.slice(pl.select(pl.min_horizontal(length, hidden)).to_series())
    return (stars + rest).alias(series.name)


def pad_zip(series: pl.Series) -> pl.Series:
    """Whole numbers as ZIP codes of five digits.

    >>> pad_zip(pl.Series([2139, 90210])).to_list()
    ['02139', '90210']
    """
    return series.cast(pl.String).str.zfill(ZIP_DIGITS)
