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


def graded(steward: Any, values: list[str]) -> str:
    content = "".join(f"{value};*\n" for value in values).encode()
    return str(hierarchies.upload(name="Grades", content=content, by=steward).pk)


def test_a_missing_cell_needs_no_place_in_an_order(
    register_version: Any, policy: Any, steward: Any
) -> None:
    known = tables.load(register_version, columns=["diagnosis"])["diagnosis"]
    order = [value for value in known.unique().to_list() if value]
    model = {"column": "diagnosis", "t": 0.6, "hierarchy": graded(steward, order)}
    frame = pl.DataFrame({"diagnosis": [*order, None, "", "*"]})

    def loaded(name: str) -> Any:
        asked = policy | {"models": [model | {"name": name}]}
        return inputs.load(frame, policy=asked, columns=["zip"], owner=steward)

    (needs,) = loaded("ordered_t_closeness").values()
    assert len(needs) == 1
    with pytest.raises(DataError, match="no place for 1 value in 2 rows"):
        loaded("hierarchical_t_closeness")


@pytest.mark.parametrize("name", ["ordered_t_closeness", "hierarchical_t_closeness"])
def test_a_hierarchy_of_a_model_that_lacks_values_is_refused_at_once(
    register_version: Any, policy: Any, steward: Any, name: str
) -> None:
    lacking = graded(steward, ["one", "two"])
    model = {"name": name, "column": "diagnosis", "t": 0.6, "hierarchy": lacking}
    with pytest.raises(DataError, match="no place") as caught:
        services.submit(
            version=register_version, policy=policy | {"models": [model]}, by=steward
        )
    assert caught.value.code == "hierarchy_lacks_values"


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
