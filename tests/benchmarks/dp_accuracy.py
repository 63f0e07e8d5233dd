"""Utility of DP models on Adult with declared bounds and domains.

`python -m tests.benchmarks.dp_accuracy` writes var/bench/dp_accuracy.json. Held out are
the rows whose index modulo 5 is 0, then 1, then 2; figures are means of the three.
Delta is 1e-5; one setting serves every epsilon. `declared-by-dp` finds the columns by
charged statistics instead, inside the same total epsilon.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from privacyhub.engines.assess.metrics import binary_metrics  # noqa: E402
from privacyhub.engines.dp.accounting import noise_multiplier_for  # noqa: E402
from privacyhub.engines.dp.events import Event  # noqa: E402
from privacyhub.engines.dp.inference import predict_encoded  # noqa: E402
from privacyhub.engines.dp.spec import TrainSpec  # noqa: E402
from privacyhub.engines.dp.training import train  # noqa: E402
from privacyhub.engines.prepare.encoding import (  # noqa: E402
    ColumnSpec,
    Encoder,
    Kind,
    TargetSpec,
)
from privacyhub.engines.prepare.statistics import (  # noqa: E402
    dp_column_statistics,
    statistics_noise_multiplier,
)
from tests.benchmarks.results import ROOT, case, write  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "adult_uci" / "adult_train.csv"
DELTA = 1e-5
UNITS = 26_000
TARGET = TargetSpec(name="income", classes=("<=50K", ">50K"))
# Declared by common knowledge of the survey, not looked up in its rows.
BOUNDS = {
    "age": (17.0, 90.0),
    "education-num": (1.0, 16.0),
    "capital-gain": (0.0, 99_999.0),
    "capital-loss": (0.0, 4_500.0),
    "hours-per-week": (1.0, 99.0),
    "fnlwgt": (10_000.0, 1_500_000.0),
}
# Of the survey's public code book, without "?".
DOMAINS = {
    "workclass": (
        "Federal-gov",
        "Local-gov",
        "Never-worked",
        "Private",
        "Self-emp-inc",
        "Self-emp-not-inc",
        "State-gov",
        "Without-pay",
    ),
    "education": (
        "10th",
        "11th",
        "12th",
        "1st-4th",
        "5th-6th",
        "7th-8th",
        "9th",
        "Assoc-acdm",
        "Assoc-voc",
        "Bachelors",
        "Doctorate",
        "HS-grad",
        "Masters",
        "Preschool",
        "Prof-school",
        "Some-college",
    ),
    "marital-status": (
        "Divorced",
        "Married-AF-spouse",
        "Married-civ-spouse",
        "Married-spouse-absent",
        "Never-married",
        "Separated",
        "Widowed",
    ),
    "occupation": (
        "Adm-clerical",
        "Armed-Forces",
        "Craft-repair",
        "Exec-managerial",
        "Farming-fishing",
        "Handlers-cleaners",
        "Machine-op-inspct",
        "Other-service",
        "Priv-house-serv",
        "Prof-specialty",
        "Protective-serv",
        "Sales",
        "Tech-support",
        "Transport-moving",
    ),
    "relationship": (
        "Husband",
        "Not-in-family",
        "Other-relative",
        "Own-child",
        "Unmarried",
        "Wife",
    ),
    "race": (
        "Amer-Indian-Eskimo",
        "Asian-Pac-Islander",
        "Black",
        "Other",
        "White",
    ),
    "sex": (
        "Female",
        "Male",
    ),
    "native-country": (
        "Cambodia",
        "Canada",
        "China",
        "Columbia",
        "Cuba",
        "Dominican-Republic",
        "Ecuador",
        "El-Salvador",
        "England",
        "France",
        "Germany",
        "Greece",
        "Guatemala",
        "Haiti",
        "Holand-Netherlands",
        "Honduras",
        "Hong",
        "Hungary",
        "India",
        "Iran",
        "Ireland",
        "Italy",
        "Jamaica",
        "Japan",
        "Laos",
        "Mexico",
        "Nicaragua",
        "Outlying-US(Guam-USVI-etc)",
        "Peru",
        "Philippines",
        "Poland",
        "Portugal",
        "Puerto-Rico",
        "Scotland",
        "South",
        "Taiwan",
        "Thailand",
        "Trinadad&Tobago",
        "United-States",
        "Vietnam",
        "Yugoslavia",
    ),
}
# One setting for every epsilon.
SPEC = TrainSpec(
    task="binary",
    units=UNITS,
    expected_batch=2166,
    epochs=20,
    hidden=(),
    optimizer="sgd",
    momentum=0.9,
    learning_rate=2.0,
    schedule="linear",
    ema=0.9,
    clip_norm=1.0,
)
GOALS = {0.5: 0.891, 1.0: 0.895, 8.0: 0.899}
ACCURACY_GOAL, SECONDS_GOAL = 0.845, 10.0


def adult(path: Path = DATA) -> pl.DataFrame:
    frame = pl.read_csv(path)
    frame = frame.rename({name: name.strip() for name in frame.columns})
    return frame.with_columns(pl.col(pl.String).str.strip_chars())


def declared(names: Sequence[str]) -> list[ColumnSpec]:
    """The bounds and domains above, for the columns of these names but the target."""
    columns = []
    for name in names:
        if name in BOUNDS:
            lower, upper = BOUNDS[name]
            columns.append(
                ColumnSpec(name=name, kind="number", lower=lower, upper=upper)
            )
        elif name != TARGET.name:
            columns.append(
                ColumnSpec(name=name, kind="category", categories=DOMAINS[name])
            )
    return columns


def one_run(
    frame: pl.DataFrame, *, fold: int, epsilon: float, by_dp: bool
) -> dict[str, float]:
    held_out = np.arange(frame.height) % 5 == fold
    training = frame.filter(pl.Series(~held_out))
    testing = frame.filter(pl.Series(held_out))
    columns, also, delta = declared(frame.columns), list[Event](), DELTA
    if by_dp:
        kinds: dict[str, Kind] = {c.name: c.kind for c in columns}
        delta = 0.9 * DELTA
        found = dp_column_statistics(
            training,
            kinds,
            noise_multiplier=statistics_noise_multiplier(
                target_epsilon=epsilon, delta=delta, columns=len(kinds)
            ),
            delta_share=0.1 * DELTA,
        )
        columns = found.columns
        also = [] if found.event is None else [found.event]
    encoder = Encoder(columns, target=TARGET)
    noise = noise_multiplier_for(
        target_epsilon=epsilon,
        delta=delta,
        sampling_probability=SPEC.sampling_probability,
        steps=SPEC.steps,
        also=also,
    )
    encoded = encoder.encode(training)
    start = time.perf_counter()
    model = train(
        encoded,
        spec=SPEC,
        noise_multiplier=noise,
        on_block=lambda step, steps: None,
    )
    seconds = time.perf_counter() - start
    table = encoder.encode(testing)
    assert table.target is not None
    metrics = binary_metrics(predict_encoded(model, table), table.target, replicates=0)[
        "metrics"
    ]
    return {
        "auc": metrics["auc"]["value"],
        "accuracy": metrics["accuracy"]["value"],
        "seconds": seconds,
    }


def mean_run(
    frame: pl.DataFrame, *, epsilon: float, by_dp: bool = False
) -> dict[str, float]:
    runs = [
        one_run(frame, fold=fold, epsilon=epsilon, by_dp=by_dp) for fold in (0, 1, 2)
    ]
    means = {name: float(np.mean([r[name] for r in runs])) for name in runs[0]}
    return means | {"seconds": max(r["seconds"] for r in runs)}


def main() -> None:
    frame = adult()
    cases = []
    slowest = 0.0
    for epsilon, goal in GOALS.items():
        figures = mean_run(frame, epsilon=epsilon)
        slowest = max(slowest, figures["seconds"])
        cases.append(
            case(
                f"auc-eps-{epsilon:g}",
                value=round(figures["auc"], 4),
                unit="AUC",
                target=f"at least {goal}",
                met=figures["auc"] >= goal,
            )
        )
        if epsilon == 1:
            cases.append(
                case(
                    "accuracy-eps-1",
                    value=round(figures["accuracy"], 4),
                    unit="accuracy",
                    target=f"at least {ACCURACY_GOAL}",
                    met=figures["accuracy"] >= ACCURACY_GOAL,
                )
            )
    found = mean_run(frame, epsilon=1.0, by_dp=True)
    cases.append(
        case("auc-eps-1-declared-by-dp", value=round(found["auc"], 4), unit="AUC")
    )
    cases.append(
        case(
            "training-seconds",
            value=round(slowest, 1),
            unit="s",
            target=f"at most {SECONDS_GOAL:g} s",
            met=slowest <= SECONDS_GOAL,
        )
    )
    write("dp_accuracy", cases)


if __name__ == "__main__":
    main()
