"""ARX's own tests, as far as their models and metrics are among ours."""

from __future__ import annotations

import json
import math
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from privacyhub.engines import anonymize as an
from tests.unit.engines.anonymize.java_random import JavaRandom

DATA = Path(__file__).parents[5] / "shared" / "data" / "adult_arx"
ANSWERS = DATA / "known_answers.json"
CASES: list[dict[str, Any]] = (
    json.loads(ANSWERS.read_text(encoding="utf-8"))["cases"] if ANSWERS.exists() else []
)
# ARX's other metrics are not part of the engine.
LEFT_OUT = {"PublisherPayoutMetric", "EntropyBasedInformationLossMetric"}
COSTS = {  # benefit, loss, gain, cost of ARX's test configurations
    "getConfig1()": (1200, 300, 1200, 2),
    "getConfig2()": (1200, 3000, 120, 20),
    "getConfig4()": (120, 3000, 1000, 20),
}
DEGREES = {"LOW_MED": 0.4, "MEDIUM": 0.5}


def require_data() -> None:
    """Skip without the tables; in CI that is a failure."""
    if not ANSWERS.exists():
        message = "the Adult table with its known answers is not here"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(autouse=True)
def _data() -> None:
    require_data()


@cache
def adult(name: str = "adult") -> pl.DataFrame:
    return pl.read_csv(DATA / f"{name}.csv", separator=";", infer_schema=False)


@cache
def hierarchy(column: str) -> an.Hierarchy:
    return an.Hierarchy.read_csv(DATA / f"adult_hierarchy_{column}.csv")


def _name(case: dict[str, Any]) -> str:
    models = "+".join(
        re.sub(r"\W+", "", p["model"].replace("PopulationUniquenessModel", ""))
        for p in case["privacy"]
    )
    return (
        f"{case['source'][17:]}-{models}-{case['suppression_limit']}-{case['metric']}"
    )


def _metric(case: dict[str, Any]) -> an.Metric:
    name, args = case["metric"], case.get("metric_args", "")
    monotonic = args.endswith("true")
    if name in ("LossMetric", "PrecomputedLossMetric"):
        return an.Loss()
    if name == "PrecomputedEntropyMetric":
        return an.NonUniformEntropy(monotonic=monotonic)
    if name == "DiscernabilityMetric":
        return an.Discernibility(monotonic=monotonic)
    assert name == "AECSMetric"
    return an.AverageClassSize()


def _random_rows(size: int) -> list[int]:
    draw = JavaRandom(0xDEADBEEF)
    return sorted({draw.next_int(size) for _ in range(size)})


def _sampling(args: list[str]) -> an.EpsilonDeltaDP:
    epsilon = math.log(3) if args[0] == "LN3" else float(args[0].rstrip("d"))
    degree = next(d for name, d in DEGREES.items() if name in args[2])
    model = an.EpsilonDeltaDP(epsilon, float(args[1].rstrip("d")), degree)
    draw = JavaRandom(0xDEADBEEF)
    sample = [draw.next_double() < model.beta for _ in range(adult().height)]
    return an.EpsilonDeltaDP(epsilon, model.delta, degree, sample)


def _models(case: dict[str, Any]) -> tuple[pl.DataFrame, list[an.Model]]:
    """The table that is anonymized and the models."""
    frame, models = adult(), []
    for entry in case["privacy"]:
        name, args = entry["model"], [a.strip('"') for a in entry["args"]]
        numbers = [a.rstrip("d") for a in args]
        if name == "KAnonymity":
            models.append(an.KAnonymity(int(args[0])))
        elif name == "KMap" and "PopulationModel" in "".join(args):
            models.append(
                an.KMap(
                    int(args[0]),
                    317_238_626,
                    significance=float(numbers[1]),
                    estimator="truncated_poisson",
                )
            )
        elif name == "KMap":
            frame = adult("adult_subset")
            models.append(an.KMap(int(args[0]), adult()))
        elif name == "BasicBLikeness":
            models.append(an.BasicBetaLikeness(args[0], float(args[1])))
        elif name == "EnhancedBLikeness":
            models.append(an.EnhancedBetaLikeness(args[0], float(args[1])))
        elif name == "DPresence":
            subset = adult("adult_subset")
            models.append(an.DeltaPresence(float(args[0]), float(args[1]), subset))
        elif name == "Inclusion":
            size = int(re.findall(r"\d+", args[0])[0])
            models.append(an.Inclusion(_random_rows(size)))
        elif name == "HierarchicalDistanceTCloseness":
            t = float(numbers[1])
            models.append(an.HierarchicalTCloseness(args[0], t, hierarchy(args[0])))
        elif name == "EqualDistanceTCloseness":
            models.append(an.EqualTCloseness(args[0], float(numbers[1])))
        elif name == "OrderedDistanceTCloseness":
            models.append(an.OrderedTCloseness(args[0], float(numbers[1])))
        elif name == "RecursiveCLDiversity":
            models.append(
                an.RecursiveCLDiversity(args[0], float(args[1]), int(args[2]))
            )
        elif name == "EntropyLDiversity":
            kind = "grassberger" if "GRASS" in "".join(args) else "shannon"
            models.append(an.EntropyLDiversity(args[0], float(args[1]), kind))
        elif name == "AverageReidentificationRisk":
            models.append(an.AverageRisk(float(numbers[0])))
        elif name == "SampleUniqueness":
            models.append(an.SampleUniqueness(float(numbers[0])))
        elif name.startswith("getPopulationUniqueness"):
            kind = name.rsplit(".", 1)[1].rstrip(")").lower()
            models.append(an.PopulationUniqueness(0.0001, kind))
        elif name == "EDDifferentialPrivacy":
            models.append(_sampling(args))
        else:
            assert name.startswith("Profitability"), name
            costs = next(
                v for k, v in COSTS.items() if k in "".join(case.get("settings", []))
            )
            population = None
            if "Journalist" in name:
                frame, population = adult("adult_subset"), adult()
            models.append(
                an.Profitability(
                    *costs, no_attack="NoAttack" in name, population=population
                )
            )
    if "TCloseness" in case["source"] and all(
        isinstance(m, an.KAnonymity) for m in models
    ):
        # ARX's test adds t-closeness where a case of this class names none.
        occupation = hierarchy("occupation")
        models.append(an.HierarchicalTCloseness("occupation", 0.2, occupation))
    return frame, models


def _columns(case: dict[str, Any]) -> dict[str, an.Hierarchy]:
    return {c: hierarchy(c) for c in adult().columns if c != case.get("sensitive")}


CHECKED = [case for case in CASES if case["metric"] not in LEFT_OUT]


def test_left_out_cases_are_two() -> None:
    assert len(CHECKED) == len(CASES) - 2


@pytest.mark.parametrize("case", CHECKED, ids=_name)
def test_known_answer(case: dict[str, Any]) -> None:
    frame, models = _models(case)
    result = an.anonymize(
        frame,
        quasi_identifiers=_columns(case),
        models=models,
        suppression_limit=case["suppression_limit"],
        metric=_metric(case),
    )
    assert result.optimal
    expected = float(case["expected_loss"])
    levels = dict(zip(result.levels, case["expected_transformation"], strict=True))
    approximate = case.get("assume_practical_monotonicity") or any(
        kind in case["source"] for kind in ("Genetic", "Heuristic")
    )
    if approximate:
        # ARX did not look for the optimum there: its node has its score, and no
        # better one than ours.
        assert result.apply(levels).score == pytest.approx(expected, rel=1e-9)
        assert result.score <= expected * (1 + 1e-9)
        return
    assert result.score == pytest.approx(expected, rel=1e-9)
    if dict(result.levels) != levels:
        assert result.apply(levels).score == pytest.approx(result.score, rel=1e-9)
    if "expected_suppressed" in case:
        assert result.suppressed == case["expected_suppressed"]
