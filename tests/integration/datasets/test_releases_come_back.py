"""A release that comes back as a file spends from the ledger that it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from jobs import services as jobs
from privacyhub.datasets import intake, tables
from privacyhub.datasets.models import Version, VersionKind
from privacyhub.engines.tables import profile, to_csv, to_parquet

Release = Callable[[Version, pl.DataFrame], Version]


@pytest.fixture
def release(steward: Any) -> Release:
    """Publishes a frame as an anonymized version, as the job does."""

    def make(source: Version, frame: pl.DataFrame) -> Version:
        job = jobs.submit(kind="nothing", title="anonymize", owner=steward, spec={})
        return intake.publish_version(
            dataset=source.dataset,
            kind=VersionKind.ANONYMIZED,
            written=tables.write_frame(frame),
            profile=profile(
                tables.frame_batches(frame), schema=tables.frame_schema(frame)
            ),
            by=steward,
            job=job,
            ledgers=list(source.ledgers.all()),
            parents=[source],
        )

    return make


@pytest.fixture
def fine(taken_in: Callable[..., Version], steward: Any, release: Release) -> Version:
    """Rows that differ; every kind of cell that a file may give back as another."""
    source = taken_in(steward)
    rows = pl.int_range(pl.len())
    frame = tables.load(source).select(
        "__row_id",
        (rows.cast(pl.String) + ".50").alias("=dose"),  # text of numbers
        ("00" + rows.cast(pl.String)).alias("code"),
        ("-" + rows.cast(pl.String)).alias("formula"),
        pl.when(rows % 7 == 0).then(None).otherwise(rows / 3).alias("level"),
        pl.when(rows % 5 == 0).then(pl.lit("")).otherwise(pl.lit("TRUE")).alias("flag"),
        (pl.date(2020, 1, 1) + pl.duration(days=rows)).alias("day"),
        pl.datetime(2020, 1, 1).dt.offset_by("1h").alias("hour"),
        pl.lit("*").alias("suppressed"),
        pl.col("sick").cast(pl.Categorical),
        (pl.col("age") > 30).alias("older"),
    )
    return release(source, frame)


def _file(version: Version, kind: str, *, rows: int | None = None) -> bytes:
    frame = tables.load(version).head(rows) if rows else tables.load(version)
    return b"".join(to_csv(frame)) if kind == "csv" else to_parquet(frame)


@pytest.mark.parametrize("rows", [None, 40])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_release_brought_back_has_no_fresh_budget(
    fine: Version,
    taken_in: Callable[..., Version],
    other_steward: Any,
    kind: str,
    rows: int | None,
) -> None:
    back = taken_in(other_steward, _file(fine, kind, rows=rows), name=f"back.{kind}")
    assert back.dataset_id != fine.dataset_id
    assert list(back.ledgers.all()) == list(fine.ledgers.all())
    if rows is None:
        expected = fine.csv_fingerprint if kind == "csv" else fine.fingerprint
        assert back.fingerprint == expected


def _coarse(source: Version, *, seed: int) -> pl.DataFrame:
    """Some 600 rows of 30 groups, as any other source has them."""
    own = tables.load(source).select("__row_id")
    groups = pl.Series("age", range(own.height)).sample(
        own.height, with_replacement=True, seed=seed
    )
    return own.with_columns(age=(groups % 10).cast(pl.String) + "0s", region=groups % 3)


def _register(rows: int = 600) -> bytes:
    cells = b"".join(b"A %d,%d\n" % (n, n * 7) for n in range(rows))
    return b"name,number\n" + cells


def test_unrelated_releases_over_the_same_groups_do_not_meet(
    taken_in: Callable[..., Version],
    steward: Any,
    other_steward: Any,
    release: Release,
) -> None:
    source = taken_in(steward, _register())
    ours = release(source, _coarse(source, seed=1))
    assert ours.fingerprint
    assert not bytes(ours.sketch)
    theirs = _coarse(source, seed=2)
    stranger = taken_in(other_steward, b"".join(to_csv(theirs)))
    assert not set(stranger.ledgers.all()) & set(source.ledgers.all())
    again = taken_in(other_steward, _file(ours, "csv"), name="again.csv")
    assert set(source.ledgers.all()) <= set(again.ledgers.all())


def test_a_large_table_of_few_groups_does_not_meet_a_small_release(
    taken_in: Callable[..., Version],
    steward: Any,
    other_steward: Any,
    release: Release,
) -> None:
    source = taken_in(steward, _register(rows=40))
    small = (
        tables.load(source)
        .select("__row_id")
        .with_columns(age=pl.int_range(pl.len()), region=pl.lit("north"))
    )
    assert bytes(release(source, small).sketch)
    every = b"age,region\n" + b"".join(b"%d,north\n" % (n % 90) for n in range(900))
    stranger = taken_in(other_steward, every)
    assert not set(stranger.ledgers.all()) & set(source.ledgers.all())


def test_a_release_of_a_few_groups_is_known_by_nothing(
    taken_in: Callable[..., Version], steward: Any, release: Release
) -> None:
    source = taken_in(steward)
    hidden = tables.load(source).select("__row_id").with_columns(age=pl.lit("*"))
    version = release(source, hidden)
    assert (version.fingerprint, bytes(version.sketch)) == ("", b"")
