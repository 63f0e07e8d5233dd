"""A quasi-identifier that groups show one value of, from the form to the report."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from django.urls import reverse

from privacyhub.anonymization import services
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.assessment import report_version
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role
from privacyhub.datasets.services import set_columns
from privacyhub.engines import anonymize as an
from privacyhub.engines.tables import ROW_ID

pytestmark = pytest.mark.django_db
MEAN = {"sodium": {"name": "aggregate", "aggregate": "mean"}}
GENERALIZED = ("birth_date", "zip", "sex", "occupation")


@pytest.fixture
def aggregating(register_version: Any, policy: Any, steward: Any) -> dict[str, Any]:
    """The policy of the register, with the mean of sodium as a quasi-identifier."""
    roles = {"sodium": {"role": Role.QUASI_IDENTIFIER}}
    set_columns(version=register_version, changes=roles, by=steward)
    known = policy["quasi_identifiers"] | {"sodium": {}}
    return policy | {"quasi_identifiers": known, "treatments": MEAN}


def done(run: AnonymizationRun, run_jobs: Any) -> AnonymizationRun:
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    return run


def shown(run: AnonymizationRun) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The release without its suppressed rows, and the rows they were made of."""
    after = tables.load(run.release).filter(pl.col("sodium") != "*")
    before = tables.load(run.version)
    return after, after.select(ROW_ID).join(
        before, on=ROW_ID, how="left", maintain_order="left"
    )


@pytest.mark.parametrize("method", ["full_domain", "local_recoding"])
def test_every_group_shows_the_mean_of_its_rows(
    register_version: Any,
    aggregating: Any,
    steward: Any,
    api_for: Any,
    run_jobs: Any,
    method: str,
) -> None:
    asked = aggregating | {"method": method}
    answer = api_for(steward).post(
        "/api/v1/anonymizations/",
        {"version": str(register_version.pk), "policy": asked},
        format="json",
    )
    assert answer.status_code == 202, answer.data
    run = done(AnonymizationRun.objects.get(pk=answer.data["run"]), run_jobs)
    after, before = shown(run)
    known = [*GENERALIZED, "sodium"]
    assert an.risk.measure(tables.load(run.release), known).smallest_class >= 4
    assert run.result["risk"]["after"]["smallest_class"] >= 4
    alone = an.risk.measure(tables.load(run.version), known).unique_rows
    assert run.result["risk"]["before"]["unique_rows"] == alone
    rows = after.select(known).with_columns(value=before["sodium"])
    groups = rows.group_by(known).agg(pl.col("value").mean()).drop_nulls()
    assert groups.height > 1
    for made, mean in groups.select(pl.col("sodium").cast(float), "value").rows():
        assert made == pytest.approx(mean)
    assert before["sodium"].null_count() > 0
    assert after["sodium"].null_count() == 0
    told = api_for(steward).get(f"/api/v1/anonymizations/{run.pk}/").data
    assert sorted(told["result"]["columns"]) == sorted(GENERALIZED)
    [one] = told["result"]["aggregated"]
    assert (one["column"], one["function"]) == ("sodium", "mean")
    value = pl.col("value")
    within, whole = rows.select(
        (value - value.mean().over(known)).pow(2).sum(),
        (value - value.mean()).pow(2).sum().alias("whole"),
    ).row(0)
    assert one["spread_lost"] == pytest.approx(within / whole)
    [line] = [line for line in told["explanation"] if "sodium" in line]
    left = f"{1 - one['spread_lost']:.1%}"
    assert f"shows the mean of its values, and {left} of its variance is left" in line
    kept = {one["column"]: one for one in told["result"]["utility"]["columns"]}
    assert 0 < kept["sodium"]["kept"] < 1


def test_another_node_aggregates_its_own_groups(
    register_version: Any, aggregating: Any, steward: Any, run_jobs: Any
) -> None:
    run = services.submit(version=register_version, policy=aggregating, by=steward)
    done(run, run_jobs)
    top = dict(run.result["heights"])
    again = services.apply(run=run, levels=top, confirm_joint=True, by=steward)
    done(again, run_jobs)
    after, before = shown(again)
    assert after.height == register_version.rows
    assert after["sodium"].n_unique() == 1
    mean = before["sodium"].mean()
    assert float(after["sodium"][0]) == pytest.approx(mean)
    fields = report_version._implementation(again.release)["fields"]
    [levels] = [one for one in fields if one["key"] == "levels"]
    assert (
        "sodium: not generalized; every group shows the mean of its values"
        in (levels["value"])
    )


def test_the_form_takes_an_aggregate_in_place_of_a_hierarchy(
    register_version: Any, aggregating: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    columns = {c.name: c.pk for c in register_version.columns.all()}
    sodium, age = columns["sodium"], columns["zip"]
    fields = {
        "model-0-name": "k_anonymity",
        "model-0-k": "4",
        "suppression": "5",
        "metric": "loss",
        f"weight-{sodium}": "3",
        f"treatment-{sodium}": "aggregate",
        f"treatment-{sodium}-aggregate": "interval",
    }
    where = reverse("web:anonymize_columns", args=[register_version.pk])
    page = client.post(where, fields).content.decode()
    assert "All rows of a group show one value" in page
    assert f'name="hierarchy-{age}"' in page
    assert f'name="hierarchy-{sodium}"' not in page
    where = reverse("web:anonymize", args=[register_version.pk])
    answer = client.post(where, fields)
    assert answer.status_code == 302, answer.content.decode()
    run = AnonymizationRun.objects.get()
    assert run.policy["treatments"] == {
        "sodium": {"name": "aggregate", "aggregate": "interval"}
    }
    assert run.policy["metric"]["weights"] == {}
    page = client.get(f"{where}?from={run.pk}").content.decode()
    assert '<option value="interval" selected>' in page


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"treatments": {"zip": MEAN["sodium"]}}, "only its mode"),
        ({"treatments": {"glucose": MEAN["sodium"]}}, "no column"),
        ({"treatments": {"diagnosis": MEAN["sodium"]}}, "does not fit"),
        (
            {
                "treatments": {
                    name: {"name": "aggregate", "aggregate": "mode"}
                    for name in (*GENERALIZED, "sodium")
                }
            },
            "at least one quasi-identifier",
        ),
        ({"metric": {"name": "loss", "weights": {"sodium": 2}}}, "not generalized"),
        (
            {"models": [{"name": "epsilon_delta_dp", "delta": 0.01}]},
            "beside microaggregation",
        ),
        (
            {
                "models": [
                    {
                        "name": "delta_presence",
                        "upper": 0.9,
                        "subset": {"column": "sex", "is": "equals", "value": "female"},
                    }
                ]
            },
            "beside microaggregation",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    register_version: Any, aggregating: Any, steward: Any, changes: Any, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        services.submit(
            version=register_version, policy=aggregating | changes, by=steward
        )
    estimated = {"name": "k_map", "population": {"people": 100_000}}
    services.submit(
        version=register_version,
        policy=aggregating | {"models": [estimated]},
        by=steward,
    )


def test_a_listed_population_is_refused(
    register_version: Any, aggregating: Any, steward: Any
) -> None:
    listed = {"population": {"version": str(register_version.pk)}}
    with pytest.raises(DataError, match="beside microaggregation|population"):
        services.submit(
            version=register_version,
            policy=aggregating | {"models": [{"name": "k_map"} | listed]},
            by=steward,
        )
