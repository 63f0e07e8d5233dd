"""What models take besides the table: filters of rows, and listed populations."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from privacyhub.anonymization import hierarchies, inputs, policy_models, services
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.engines import anonymize as an

DAYS = [dt.date(1976, 5, 1), dt.date(2015, 1, 1), dt.date(2020, 2, 2), None]


@pytest.mark.parametrize("kind", [pl.Date, pl.Datetime("us"), pl.Datetime("ms", "UTC")])
@pytest.mark.parametrize(
    ("comparison", "kept"),
    [
        ("at_least", [False, True, True, False]),
        ("at_most", [True, True, False, False]),
    ],
)
def test_dates_are_compared_as_dates(
    kind: Any, comparison: str, kept: list[bool]
) -> None:
    days = pl.Series("d", DAYS, dtype=pl.Date)
    series = days.cast(pl.Datetime("us")) if kind != pl.Date else days
    series = series.dt.replace_time_zone("UTC") if "UTC" in str(kind) else series
    found = inputs.compared(series, comparison=comparison, value="2015-01-01")
    assert found.tolist() == kept


@pytest.mark.parametrize("value", ["2015", "soon", "1"])
def test_a_bound_that_is_no_date_is_refused(value: str) -> None:
    days = pl.Series("d", DAYS, dtype=pl.Date)
    with pytest.raises(DataError, match="must be a date"):
        inputs.compared(days, comparison="at_least", value=value)


@pytest.mark.parametrize("given", [None, "automatic", "uploaded"])
def test_the_order_of_values_is_that_of_an_uploaded_hierarchy(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any, given: str | None
) -> None:
    values = tables.load(register_version, columns=["diagnosis"])["diagnosis"]
    order = sorted(values.unique().to_list(), key=lambda value: value[::-1])
    model = {"name": "ordered_t_closeness", "column": "diagnosis", "t": 0.6}
    if given == "uploaded":
        content = "".join(f"{value};*\n" for value in order).encode()
        row = hierarchies.upload(name="Grades", content=content, by=steward)
        given = str(row.pk)
    if given:
        model["hierarchy"] = given
    asked = policy | {"models": [model]}
    run = services.submit(version=register_version, policy=asked, by=steward)
    assert run.policy["models"][0]["hierarchy"] == (given or "automatic")
    frame = tables.load(register_version)
    found = inputs.load(frame, policy=run.policy, columns=["zip"], owner=steward)
    built = policy_models.built(run.policy["models"][0], inputs=found.get(0, {}))
    assert isinstance(built, an.OrderedTCloseness)
    named = given not in (None, "automatic")
    assert built.order == (tuple(order) if named else None)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message


def test_a_listed_population_is_treated_as_the_table_is(
    register_version: Any, policy: Any, steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 and 27 round to 30: of the people with 36, none is in their group."""
    people = pl.DataFrame({"sodium": [26, 27] + [36] * 8})
    monkeypatch.setattr(tables, "load", lambda version, columns: people)
    asked = policy | {
        "models": [
            {"name": "k_map", "population": {"version": str(register_version.pk)}}
        ],
        "treatments": {
            "sodium": {"name": "round_to", "step": 10},
            "name": {"name": "pseudonym", "domain": "elsewhere"},
        },
    }
    found = inputs.load(people, policy=asked, columns=["sodium"], owner=steward)
    population = inputs.population_of(found)
    assert population is not None
    assert population["sodium"].to_list() == [30, 30] + [40] * 8
