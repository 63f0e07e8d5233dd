"""Adult with ARX's hierarchies, through upload and jobs: k holds, ARX's number meets.

The expected score and transformation are ARX's own for this case
(TestAnonymizationBLikeness): basic beta-likeness 3 of occupation, 50% suppression.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from privacyhub.anonymization import hierarchies, services, solution_space
from privacyhub.datasets import intake, tables
from privacyhub.datasets.models import Role, Version
from privacyhub.datasets.services import set_columns

pytestmark = pytest.mark.django_db


@pytest.fixture
def adult(shared_data: Path, steward: Any, upload_file: Any, run_jobs: Any) -> Version:
    content = (shared_data / "adult_arx" / "adult.csv").read_bytes()
    upload = intake.receive(file=upload_file(content, "adult.csv"), by=steward)
    job = intake.submit(upload=upload, by=steward, name="Adult")
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    return Version.objects.get(pk=job.result["version"])


@pytest.fixture
def arx_hierarchies(adult: Version, shared_data: Path, steward: Any) -> dict[str, Any]:
    """For each column the policy's entry that names ARX's own hierarchy."""
    folder = shared_data / "adult_arx"
    entries = {}
    for name in adult.columns.values_list("name", flat=True):
        content = (folder / f"adult_hierarchy_{name}.csv").read_bytes()
        uploaded = hierarchies.upload(name=name, content=content, by=steward)
        entries[name] = {"hierarchy": str(uploaded.pk)}
    return entries


def test_adult_is_5_anonymous_and_meets_arx(
    adult: Version,
    arx_hierarchies: dict[str, Any],
    shared_data: Path,
    steward: Any,
    run_jobs: Any,
) -> None:
    quasi = {name: {"role": Role.QUASI_IDENTIFIER} for name in arx_hierarchies}
    set_columns(version=adult, changes=quasi, by=steward)
    run = services.submit(
        version=adult,
        policy={
            "quasi_identifiers": arx_hierarchies,
            "models": [{"name": "k_anonymity", "k": 5}],
            "suppression_limit": 0.02,
        },
        by=steward,
    )
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    names = list(arx_hierarchies)
    frame = tables.load(run.release, columns=names)
    shown = frame.filter(~pl.all_horizontal(pl.col(names) == "*"))
    assert frame.height == 30_162
    assert shown.group_by(names).len()["len"].min() >= 5
    assert 0 < frame.height - shown.height <= 0.02 * 30_162
    assert run.result["lattice_size"] == 12_960
    assert run.result["optimal"]
    assert len(solution_space.nodes(run.result)) == run.result["checked"]

    known = json.loads((shared_data / "adult_arx" / "known_answers.json").read_text())
    case = next(
        one
        for one in known["cases"]
        if one["source"] == "TestAnonymizationBLikeness"
        and one["privacy"]
        == [{"model": "BasicBLikeness", "args": ['"occupation"', "3"]}]
        and one["metric"] == "LossMetric"
        and one["suppression_limit"] == 0.5
    )
    set_columns(
        version=adult, changes={"occupation": {"role": Role.SENSITIVE}}, by=steward
    )
    others = {n: h for n, h in arx_hierarchies.items() if n != "occupation"}
    plan = services.submit(
        version=adult,
        policy={
            "quasi_identifiers": others,
            "models": [
                {"name": "basic_beta_likeness", "column": "occupation", "beta": 3}
            ],
            "suppression_limit": 0.5,
        },
        only_plan=True,
        by=steward,
    )
    run_jobs()
    plan.refresh_from_db()
    assert plan.job.state == "succeeded", plan.job.trace or plan.job.message
    assert plan.release is None
    assert plan.result["score"] == pytest.approx(float(case["expected_loss"]), rel=1e-9)
    levels = [plan.result["levels"][name] for name in others]
    assert levels == case["expected_transformation"]
    assert plan.result["joint"]["k"][-1] >= 1
