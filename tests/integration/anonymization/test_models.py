"""Every model, metric, method and treatment that is offered, through the real job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from django.urls import reverse

from privacyhub.anonymization import (
    hierarchies,
    narration,
    policies,
    pseudonyms,
    services,
)
from privacyhub.anonymization.models import AnonymizationRun, PseudonymDomain
from privacyhub.anonymization.vocabulary import METRICS, MODELS, TREATMENTS
from privacyhub.datasets import tables
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Dataset
from privacyhub.engines.anonymize import KAnonymity, anonymize
from privacyhub.engines.tables import ROW_ID

pytestmark = pytest.mark.django_db
Anonymized = Callable[..., AnonymizationRun]

SUBSET = {"column": "sex", "is": "equals", "value": "female"}
K4 = {"name": "k_anonymity", "k": 4}
# What an entry needs besides its defaults; the models that are not here need nothing.
GIVEN: dict[str, dict[str, Any]] = {
    "k_map": {"population": {"people": 100_000}},
    "delta_presence": {"subset": SUBSET, "upper": 0.9},
    "inclusion": {"subset": SUBSET},
    "epsilon_delta_dp": {"delta": 0.01},
    "delta_disclosure": {"delta": 8},
    "recursive_cl_diversity": {"c": 10},
    "basic_beta_likeness": {"beta": 9},
    "enhanced_beta_likeness": {"beta": 9},
}


@pytest.fixture
def anonymized(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> Anonymized:
    """Run the register's policy with changes, through the real job."""

    def run(**changes: Any) -> AnonymizationRun:
        found = services.submit(
            version=register_version, policy=policy | changes, by=steward
        )
        run_jobs()
        found.refresh_from_db()
        return found

    return run


def entry(name: str) -> dict[str, Any]:
    told = {"name": name} | GIVEN.get(name, {})
    return told | ({"column": "diagnosis"} if MODELS[name].sensitive else {})


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_runs(anonymized: Anonymized, name: str) -> None:
    models = [K4, entry(name)] if name != "k_anonymity" else [K4]
    run = anonymized(models=models, suppression_limit=1.0)
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.release is not None
    assert len(run.result["models"]) == len(models)


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_runs(anonymized: Anonymized, name: str) -> None:
    metric = {"name": name}
    if name == "classification_accuracy":
        metric["target"] = "diagnosis"
    run = anonymized(models=[K4], metric=metric)
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.result["score_unit"] == METRICS[name].unit


def test_subset_alone_is_released(anonymized: Anonymized) -> None:
    run = anonymized(models=[K4, entry("inclusion")], suppression_limit=1.0)
    before, after = tables.load(run.version), tables.load(run.release)
    wanted = before.filter(pl.col("sex") == "female")
    assert 0 < wanted.height < before.height
    assert after[ROW_ID].to_list() == wanted[ROW_ID].to_list()


def test_another_version_is_the_subset_and_the_population(
    anonymized: Anonymized, register_version: Any, steward: Any, run_jobs: Any
) -> None:
    women = anonymized(models=[K4, entry("inclusion")], suppression_limit=1.0).release
    policy = AnonymizationRun.objects.get(release=women).policy
    subset = {"name": "inclusion", "subset": {"version": str(women.pk)}}
    run = services.submit(
        version=register_version,
        policy=policy | {"models": [K4, subset]},
        confirm_joint=True,
        by=steward,
    )
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.release.rows == women.rows
    population = {"name": "k_map", "k": 4}
    population["population"] = {"version": str(register_version.pk)}
    run = services.submit(
        version=register_version,
        policy=policy | {"models": [population]},
        confirm_joint=True,
        by=steward,
    )
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.result["risk"]["after"]["smallest_class"] >= 4


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ({"name": "k_map"}, "no_population"),
        ({"name": "k_map", "population": {"people": 10}}, "population_too_small"),
        ({"name": "k_map", "population": {"version": "x"}}, "no_version"),
        ({"name": "inclusion"}, "no_subset"),
        ({"name": "inclusion", "subset": {**SUBSET, "column": "name"}}, "no_column"),
        ({"name": "inclusion", "subset": {**SUBSET, "is": "like"}}, "policy"),
        ({"name": "profitability", "attacker": "journalist"}, "no_population"),
        ({"name": "hierarchical_t_closeness", "hierarchy": "x"}, "no_hierarchy"),
    ],
)
def test_missing_input_of_a_model_is_refused(
    register_version: Any, policy: Any, steward: Any, model: Any, code: str
) -> None:
    if MODELS[model["name"]].sensitive:
        model = model | {"column": "diagnosis"}
    with pytest.raises(DataError) as refused:
        services.submit(
            version=register_version, policy=policy | {"models": [model]}, by=steward
        )
    assert refused.value.code == code


def test_population_of_another_steward_is_not_there(
    register_version: Any, policy: Any, steward: Any, other_steward: Any
) -> None:
    model = {"name": "k_map", "population": {"version": str(register_version.pk)}}
    Dataset.objects.filter(pk=register_version.dataset_id).update(owner=other_steward)
    with pytest.raises(DataError, match="no such version"):
        policies.frozen(
            version=register_version, policy=policy | {"models": [model]}, by=steward
        )


@pytest.mark.parametrize("method", ["local_recoding", "cell_suppression"])
def test_local_methods_keep_k(anonymized: Anonymized, method: str) -> None:
    run = anonymized(method=method, models=[K4])
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    names = list(run.policy["quasi_identifiers"])
    frame = tables.load(run.release)
    sizes = frame.group_by(names).len()
    shown = sizes.filter(~pl.all_horizontal(pl.col(names) == "*"))
    assert shown["len"].min() >= 4
    assert run.result["rounds"]
    assert sum(one["rows"] for one in run.result["rounds"]) == (
        frame.height - run.result["suppressed"]
    )
    if method == "cell_suppression":
        before = tables.load(run.version)
        for name in names:
            same = frame[name].cast(pl.String).eq_missing(before[name].cast(pl.String))
            assert (same | (frame[name] == "*")).all()


def test_local_recoding_refuses_models_of_the_whole_table(
    register_version: Any, policy: Any, steward: Any
) -> None:
    change = {"method": "local_recoding", "models": [entry("delta_disclosure")]}
    with pytest.raises(DataError, match="whole table"):
        services.submit(version=register_version, policy=policy | change, by=steward)


@pytest.mark.parametrize("name", sorted(policies._LOCAL_MODELS))
def test_local_recoding_keeps_the_models_that_it_can(
    anonymized: Anonymized, name: str
) -> None:
    models = [K4, entry(name)] if name != "k_anonymity" else [K4]
    run = anonymized(method="local_recoding", models=models, suppression_limit=1.0)
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert len(run.result["models"]) == len(models)


def test_treatments_change_the_columns(anonymized: Anonymized) -> None:
    run = anonymized(
        models=[K4],
        treatments={
            "email": {"name": "pseudonym", "domain": "patient"},
            "name": {"name": "mask", "side": "right", "characters": 3},
            "sodium": {"name": "round_to", "step": 5},
            "readmitted": {"name": "drop"},
        },
    )
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    before, after = tables.load(run.version), tables.load(run.release)
    assert "readmitted" not in after.columns
    assert all(value % 5 == 0 for value in after["sodium"].drop_nulls())
    assert after["name"].drop_nulls().str.ends_with("***").all()
    assert after["email"].drop_nulls().str.len_chars().eq(16).all()
    assert after["email"].n_unique() == before["email"].n_unique()
    kept = {one["column"] for one in run.result["utility"]["columns"]}
    assert {"sodium", "name", "zip"} <= kept


def test_pseudonyms_join_until_the_key_is_destroyed(
    anonymized: Anonymized, register_version: Any, steward: Any, run_jobs: Any
) -> None:
    treatments = {"email": {"name": "pseudonym", "domain": "patient"}}
    first = anonymized(models=[K4], treatments=treatments)

    def again() -> pl.Series:
        run = services.submit(
            version=register_version,
            policy=first.policy,
            confirm_joint=True,
            by=steward,
        )
        living = PseudonymDomain.objects.get(destroyed_at=None)
        with pytest.raises(Conflict, match="queued or running"):
            pseudonyms.destroy(domain=living, by=steward)
        run_jobs()
        run.refresh_from_db()
        return tables.load(run.release)["email"]

    domain = PseudonymDomain.objects.get()
    shown = tables.load(first.release)["email"]
    assert again().equals(shown)
    pseudonyms.destroy(domain=domain, by=steward)
    domain.refresh_from_db()
    assert domain.key.wrapped is None
    assert not again().equals(shown)


@pytest.mark.parametrize(
    ("treatments", "says"),
    [
        ({"zip": {"name": "add_noise"}}, "does not fit"),
        ({"name": {"name": "round_to"}}, "does not fit"),
        ({"sodium": {"name": "magic"}}, "one of drop"),
        ({"sodium": {"name": "round_to", "step": 0}}, "at least"),
        ({"sodium": {"name": "code_extremes"}}, "lower bound"),
        ({"sodium": {"name": "code_extremes", "bottom": 2, "top": 1}}, "above"),
        ({"gone": {"name": "drop"}}, "no column"),
        ({"diagnosis": {"name": "drop"}}, "needs it"),
    ],
)
def test_bad_treatment_is_refused(
    register_version: Any, policy: Any, steward: Any, treatments: Any, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        services.submit(
            version=register_version,
            policy=policy | {"treatments": treatments},
            by=steward,
        )


def test_vocabulary_is_told_to_scripts(steward: Any, api_for: Any) -> None:
    told = api_for(steward).get("/api/v1/anonymizations/vocabulary/").data
    assert [one["name"] for one in told["models"]] == list(MODELS)
    assert [one["name"] for one in told["treatments"]] == list(TREATMENTS)
    assert all(one["says"] and one["protects"] for one in told["models"])


def test_differential_privacy_lets_no_other_levels_be_applied(
    anonymized: Anonymized, steward: Any, run_jobs: Any, client_for: Any
) -> None:
    run = anonymized(models=[entry("epsilon_delta_dp")])
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.result["fixed"]
    assert all("reason" in one for one in run.result["what_if"])
    assert run.result["checked"] == 1
    assert run.result["limit"] == run.result["rows"]
    lines = " ".join(narration.explain(run.result))
    assert "limit does not hold under differential privacy" in lines
    where = reverse("web:anonymization", args=[run.pk])
    assert "limit does not hold" in client_for(steward).get(where).content.decode()
    assert run.release.rows < run.version.rows
    other = {name: 0 for name in run.result["levels"]}
    with pytest.raises(Conflict, match="must not choose"):
        services.apply(run=run, levels=other, by=steward)
    held = anonymized(models=[entry("epsilon_delta_dp")])
    assert held.result["held"]
    services.apply(run=held, confirm_joint=True, by=steward)
    run_jobs()
    fresh = AnonymizationRun.objects.latest("created_at")
    assert fresh.release is not None, fresh.job.trace or fresh.job.message


def test_utility_compares_the_accuracies(anonymized: Anonymized) -> None:
    run = anonymized(models=[K4], utility_target="diagnosis")
    told = run.result["utility"]
    assert told["accuracy"]["target"] == "diagnosis"
    assert 0 < told["accuracy"]["baseline"] <= 1
    assert 0 < told["accuracy"]["anonymized"] <= 1
    assert 0 <= told["kept"] <= 1


def test_engine_and_job_find_the_same(anonymized: Anonymized) -> None:
    run = anonymized(models=[K4])
    frame = tables.load(run.version)
    found = anonymize(
        frame,
        quasi_identifiers={
            name: hierarchies.automatic(values=frame[name], column=name)
            for name in run.policy["quasi_identifiers"]
        },
        models=[KAnonymity(4)],
        suppression_limit=0.05,
    )
    assert run.result["score"] == found.score
