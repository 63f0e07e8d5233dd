"""Bad input: said at once, with row and column and no value, and nothing half-made."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from jobs.models import Job
from privacyhub.anonymization import (
    hierarchies,
    policy_templates,
    services,
    solution_space,
)
from privacyhub.anonymization.models import AnonymizationRun, Hierarchy
from privacyhub.assessment.report_data import models_in_words
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.engines import anonymize as an
from privacyhub.governance.models import DataKey

pytestmark = pytest.mark.django_db

K4 = {"name": "k_anonymity", "k": 4}


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"models": [{"name": "k_anonymity", "k": 601}]}, "k_too_large", "600 rows"),
        ({"models": [{"name": "k_anonymity", "k": 1}]}, "out_of_range", "at least 2"),
        ({"models": [{"name": "k_anonymity", "k": 2.5}]}, "model", "whole number"),
        ({"models": [{"name": "k_anonymity", "k": True}]}, "model", "whole number"),
        ({"models": []}, "no_model", "at least one"),
        ({"models": [{"name": "magic"}]}, "unknown_model", "k_anonymity"),
        ({"models": [K4, K4]}, "model", "twice"),
        (
            {"models": [{"name": "distinct_l_diversity", "column": "sex", "l": 2}]},
            "not_sensitive",
            "sex",
        ),
        (
            {
                "models": [
                    {"name": "distinct_l_diversity", "column": "diagnosis", "l": 99}
                ]
            },
            "l_too_large",
            "99",
        ),
        (
            {"models": [{"name": "distinct_l_diversity", "column": "gone", "l": 2}]},
            "no_column",
            "gone",
        ),
        ({"suppression_limit": 1.01}, "out_of_range", "from 0 to 1"),
        ({"suppression_limit": -0.1}, "out_of_range", "from 0 to 1"),
        ({"suppression_limit": float("nan")}, "out_of_range", "from 0 to 1"),
        ({"suppression_limit": "0.1"}, "out_of_range", "from 0 to 1"),
        ({"quasi_identifiers": {}}, "no_quasi_identifier", "at least one"),
        ({"quasi_identifiers": {"gone": {}}}, "no_column", "gone"),
        ({"quasi_identifiers": {"sodium": {}}}, "not_quasi_identifier", "sodium"),
        ({"quasi_identifiers": {"zip": {}}}, "quasi_identifier_left_out", "as it is"),
        (
            {"quasi_identifiers": {"zip": {"hierarchy": "../../etc"}}},
            "no_hierarchy",
            "zip",
        ),
        ({"metric": {"aggregate": "median"}}, "metric", "aggregate"),
        ({"metric": {"weights": {"sodium": 1}}}, "policy", "quasi-identifier"),
        ({"surprise": 1}, "policy", "surprise"),
        ({"schema": 2}, "schema", "schema 1"),
    ],
)
def test_policy_is_refused_before_it_is_queued(
    register_version: Any, policy: Any, steward: Any, change: Any, code: str, says: str
) -> None:
    jobs = Job.objects.count()
    with pytest.raises(DataError) as refused:
        services.submit(version=register_version, policy=policy | change, by=steward)
    assert refused.value.code == code
    assert says in refused.value.message
    assert refused.value.status in {400, 409}
    assert Job.objects.count() == jobs
    assert not AnonymizationRun.objects.exists()


def test_policy_is_frozen_in_full(
    register_version: Any, policy: Any, steward: Any
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    assert run.policy["schema"] == 1
    assert list(run.policy["quasi_identifiers"]) == [
        "birth_date",
        "zip",
        "sex",
        "occupation",
    ]
    assert run.policy["metric"]["aggregate"] == "geometric_mean"


@pytest.fixture
def lacking(register_version: Any, policy: Any, steward: Any) -> list[str]:
    """The three values that the ZIP hierarchy of the policy does not place."""
    column = tables.load(register_version, columns=["zip"])["zip"].cast(pl.String)
    values = column.unique().sort().to_list()
    text = an.Hierarchy.masking(values[3:]).to_csv()
    hierarchy = hierarchies.upload(name="ZIP", content=text.encode(), by=steward)
    policy["quasi_identifiers"]["zip"] = {"hierarchy": str(hierarchy.pk)}
    return values[:3]


def test_hierarchy_that_lacks_values_counts_rows_and_names_none(
    register_version: Any, policy: Any, steward: Any, lacking: list[str]
) -> None:
    column = tables.load(register_version, columns=["zip"])["zip"].cast(pl.String)
    with pytest.raises(DataError) as refused:
        services.submit(version=register_version, policy=policy, by=steward)
    rows = int(column.is_in(lacking).sum())
    assert f"3 values in {rows:,} rows" in refused.value.message
    assert refused.value.column == "zip"
    assert refused.value.row == int(column.is_in(lacking).arg_max() or 0) + 1
    assert not [value for value in lacking if value in refused.value.message]


def test_in_a_long_table_the_job_finds_that_a_hierarchy_lacks_values(
    register_version: Any,
    policy: Any,
    steward: Any,
    run_jobs: Any,
    lacking: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hierarchies, "CHECKED_AT_ONCE", register_version.rows - 1)
    run = services.submit(version=register_version, policy=policy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "hierarchy_lacks_values")
    assert "has no place for 3 values" in run.job.message


def test_uploaded_hierarchy_is_used_sealed_and_given_back(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    column = tables.load(register_version, columns=["sex"])["sex"]
    text = an.Hierarchy.suppress(column.to_list()).to_csv()
    hierarchy = hierarchies.upload(name="Sex", content=text.encode(), by=steward)
    assert b"female" not in bytes(hierarchy.sealed_csv)
    assert hierarchies.download(hierarchy=hierarchy, by=steward) == text
    policy["quasi_identifiers"]["sex"] = {"hierarchy": str(hierarchy.pk)}
    run = services.submit(version=register_version, policy=policy, by=steward)
    with pytest.raises(DataError, match="queued or running"):
        hierarchies.delete(hierarchy=hierarchy, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded"
    key = hierarchy.key_id
    hierarchies.delete(hierarchy=hierarchy, by=steward)
    assert not Hierarchy.objects.exists()
    assert DataKey.objects.get(pk=key).wrapped is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"/etc/hostname", "levels"),
        (b"a;x;*\nb;x", "Row 2"),
        (b"a;x;*\na;y;*\n", "same value"),
        (b"a;*\nb;+\n", "one label"),
        (b"a;x;1;*\nb;x;2;*\n", "another label"),
    ],
)
def test_bad_hierarchy_is_refused(steward: Any, content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        hierarchies.upload(name="bad", content=content, by=steward)
    assert not Hierarchy.objects.exists()


def test_levels_are_checked_before_they_are_applied(
    released: Any, steward: Any
) -> None:
    levels = dict(released.result["levels"])
    over = next(n for n in solution_space.nodes(released.result) if not n["anonymous"])
    for wrong, code in (
        ({**levels, "zip": 99}, "levels"),
        ({**levels, "zip": "1"}, "levels"),
        ({"zip": 1}, "levels"),
        (
            dict(zip(released.result["columns"], over["levels"], strict=True)),
            "over_limit",
        ),
    ):
        with pytest.raises(DataError) as refused:
            services.apply(run=released, levels=wrong, by=steward)
        assert refused.value.code == code


def test_the_value_of_a_subset_is_sealed_with_the_version(
    register_version: Any, policy: dict[str, Any], steward: Any, client: Any
) -> None:
    subset = {"column": "diagnosis", "is": "equals", "value": "CANARY-77"}
    models = [*policy["models"], {"name": "inclusion", "subset": subset}]
    run = services.submit(
        version=register_version, policy=policy | {"models": models}, by=steward
    )
    run.refresh_from_db()
    kept = run.policy["models"][-1]["subset"]
    assert set(kept) == {"column", "is", "sealed"}
    assert "CANARY-77" not in json.dumps(run.policy)
    plan = services.begin(job=run.job)
    assert plan.policy["models"][-1]["subset"] == subset
    again = services.submit(version=register_version, policy=run.policy, by=steward)
    assert services.begin(job=again.job).policy == plan.policy
    template = policy_templates.save(name="t", policy=run.policy, by=steward)
    assert template.policy["models"][-1]["subset"] == {
        "column": "diagnosis",
        "is": "equals",
    }
    told = "; ".join(models_in_words(run))
    assert "rows chosen by diagnosis" in told
    assert "CANARY-77" not in told
    client.force_login(steward)
    shown = client.get(f"/anonymizations/{run.pk}/policy.json").content.decode()
    assert "diagnosis" in shown
    assert "CANARY-77" not in shown
    assert kept["sealed"] not in shown
    form = f"/versions/{register_version.pk}/anonymize/?from={run.pk}"
    assert "CANARY-77" in client.get(form).content.decode()


def test_a_sealed_value_of_another_version_is_refused(
    register_version: Any, policy: dict[str, Any], steward: Any
) -> None:
    subset = {"column": "diagnosis", "is": "equals", "sealed": "AAAA" * 20}
    models = [*policy["models"], {"name": "inclusion", "subset": subset}]
    with pytest.raises(DataError, match="Type it anew"):
        services.submit(
            version=register_version, policy=policy | {"models": models}, by=steward
        )
