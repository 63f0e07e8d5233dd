"""The main job as a script does it: over REST, from an upload to a refused retrain.

Each step prints one line with its figure and keeps its seconds. Used by `make demo`
and by the functional tests, which check each answer against the OpenAPI document.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from privacyhub.api.client import Client, Refused
from privacyhub.engines.dp.events import event_from_dict
from privacyhub.engines.dp.rdp import epsilon_from_rdp, rdp_vector

RUNS_THAT_FIT = 2.5  # the training and one retrain fit under the cap, a second not
K = 5
SUPPRESSION_LIMIT = 0.05


class StepFailed(Exception):
    """A step did not hold; the message says which and why."""


@dataclass(frozen=True)
class Table:
    """What the main job works on."""

    name: str
    file_name: str
    content: bytes
    target: str
    purpose: str


@dataclass
class Figures:
    """What `var/demo.json` holds."""

    seconds: dict[str, float] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, **self.values}


class MainJob:
    """One walk through the hub. `say` prints a line."""

    def __init__(
        self,
        *,
        steward: Client,
        analyst: Client,
        analyst_name: str,
        table: Table,
        epsilon: str,
        say: Callable[[str], None],
    ) -> None:
        self._steward = steward
        self._analyst = analyst
        self._analyst_name = analyst_name
        self._table = table
        self._epsilon = epsilon
        self._say = say
        self.figures = Figures()
        self.report_id = ""

    def run(self) -> Figures:
        """Every step in order; StepFailed or a client's error where one fails."""
        version = self._upload()
        columns = self._roles(version)
        self._budget(version)
        self._anonymize(version, columns)
        model_version = self._train(version)
        self._assess(model_version)
        self._report(model_version)
        self._feedback(model_version, columns)
        return self.figures

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.figures.seconds[name] = round(time.monotonic() - began, 2)

    def _tell(self, step: str, text: str) -> None:
        self._say(f"{step:<10} {text} ({self.figures.seconds[step]:.1f} s)")

    def _upload(self) -> str:
        with self._step("upload"):
            accepted = self._steward.call(
                "POST",
                "datasets/",
                files={"file": (self._table.file_name, self._table.content)},
                data={"name": self._table.name, "purpose": self._table.purpose},
                headers={"Idempotency-Key": f"demo-{time.time_ns()}"},
            ).json()
            job = self._steward.wait(accepted)
            version = str(job["result"]["version"])
            told = self._steward.get(f"versions/{version}/")
        rows = told["rows"]
        self._rows = rows
        self._tell("upload", f"{rows:,} rows, typed, profiled and encrypted")
        return version

    def _roles(self, version: str) -> list[dict[str, Any]]:
        with self._step("roles"):
            columns = self._steward.get(f"versions/{version}/columns/")
            names = [column["name"] for column in columns]
            if self._table.target not in names:
                raise StepFailed(
                    f"There is no column “{self._table.target}”. There are: "
                    + ", ".join(names)
                )
            changes: dict[str, Any] = {self._table.target: {"is_target": True}}
            columns = self._steward.patch(f"versions/{version}/columns/", changes)
        counts: dict[str, int] = {}
        for column in columns:
            counts[column["role"]] = counts.get(column["role"], 0) + 1
        told = ", ".join(f"{count} {role}" for role, count in counts.items())
        self._tell("roles", told.replace("_", "-"))
        for column in columns:
            role = "target" if column["is_target"] else column["role"]
            dropped = " (dropped)" if role == "identifier" else ""
            shown = f"{role.replace('_', '-')}{dropped}"
            self._say(f"           {column['name']}: {shown}. {column['reason']}")
        return list(columns)

    def _budget(self, version: str) -> None:
        """Declare N, and a cap under which the training and one retrain fit."""
        with self._step("budget"):
            units = _rounded(self._rows)
            delta = f"{1 / (10 * units):.1e}"
            declared = {
                "unit": "record",
                "declared_units": units,
                "delta_cap": f"{3 / (10 * units):.1e}",
                "epsilon_cap": "100",
            }
            self._steward.put(f"versions/{version}/budget/", declared)
            price = self._steward.post(
                "trainings/price/", self._recipe(version, delta=delta)
            )
            cap = _cap_for(price, delta_cap=float(declared["delta_cap"]))
            declared["epsilon_cap"] = cap
            self._steward.put(f"versions/{version}/budget/", declared)
            self._delta = delta
        self._tell(
            "budget", f"cap epsilon {cap} for {units:,} declared records, one retrain"
        )

    def _recipe(self, version: str, *, delta: str) -> dict[str, Any]:
        return {
            "version": version,
            "name": f"{self._table.target} of {self._table.name}",
            "target": self._table.target,
            "privacy": "dp",
            "epsilon": self._epsilon,
            "delta": delta,
        }

    def _anonymize(self, version: str, columns: list[dict[str, Any]]) -> None:
        with self._step("anonymize"):
            chosen = {
                column["name"]: {"hierarchy": "automatic"}
                for column in columns
                if column["role"] == "quasi_identifier" and not column["is_target"]
            }
            policy = {
                "quasi_identifiers": chosen,
                "models": [{"name": "k_anonymity", "k": K}],
                "suppression_limit": SUPPRESSION_LIMIT,
            }
            accepted = self._steward.post(
                "anonymizations/", {"version": version, "policy": policy}
            )
            job = self._steward.wait(accepted)
            run = self._steward.get(f"anonymizations/{job['result']['run']}/")
        result = run["result"]
        risk = result["risk"]["after"]["prosecutor"]["highest"]
        self.figures.values |= {"k": K, "suppressed": result["suppressed"]}
        self._tell(
            "anonymize",
            f"k = {K} on {len(chosen)} columns, {result['suppressed']:,} rows "
            f"suppressed, highest re-identification risk {risk:.0%}",
        )

    def _train(self, version: str) -> str:
        with self._step("train"):
            accepted = self._steward.post(
                "trainings/", self._recipe(version, delta=self._delta)
            )
            job = self._steward.wait(accepted)
            model_version = str(job["result"]["model_version"])
            told = self._steward.get(f"model-versions/{model_version}/")
        self._training = str(accepted["training"])
        guarantee = told["guarantee"]
        self.figures.values |= {
            "epsilon_training": float(guarantee["epsilon"]),
            "delta": float(guarantee["delta"]),
        }
        self._tell(
            "train",
            f"epsilon {float(guarantee['epsilon']):.3f} at delta "
            f"{float(guarantee['delta']):.1e}, {guarantee['steps']} steps",
        )
        return model_version

    def _assess(self, model_version: str) -> None:
        with self._step("assess"):
            training = self._steward.get(f"trainings/{self._training}/")
            self._steward.wait(training["assess_job"])
            found = self._steward.get(
                "assessments/", params={"model_version": model_version}
            )
            assessment = self._steward.get(f"assessments/{found['results'][0]['id']}/")
        exact = assessment["exact"]["metrics"]
        released = assessment["released"]["metrics"]
        self.figures.values |= {
            "accuracy_exact": exact["accuracy"]["value"],
            "epsilon_metrics": float(assessment["epsilon"]),
        }
        text = f"accuracy {exact['accuracy']['value']:.3f}"
        if "auc" in exact:
            self.figures.values |= {
                "auc_exact": exact["auc"]["value"],
                "auc_released": released["auc"]["value"],
            }
            text = (
                f"AUC {exact['auc']['value']:.4f} exact (stewards only), "
                f"{released['auc']['value']:.4f} released, {text}"
            )
        self._tell("assess", text)

    def _report(self, model_version: str) -> None:
        with self._step("report"):
            report = self._steward.post("reports/", {"model_version": model_version})
            figures = report["content"]["figures"]
        self.report_id = str(report["id"])
        self.figures.values["epsilon"] = float(figures["epsilon"])
        self._tell(
            "report",
            f"epsilon {float(figures['epsilon']):.3f} in total, "
            f"SHA-256 {report['sha256'][:12]}…",
        )

    def _feedback(self, model_version: str, columns: list[dict[str, Any]]) -> None:
        with self._step("feedback"):
            told = self._steward.get(f"model-versions/{model_version}/")
            self._steward.post(
                f"models/{told['model']}/share/",
                {"user": self._analyst_name, "right": "use"},
            )
            rows = _first_rows(self._table, told["summary"]["inputs"])
            predicted = self._analyst.post(
                f"model-versions/{model_version}/predict/", {"rows": rows}
            )["predictions"]
            classes = told["summary"].get("classes") or []
            wrong = [
                name for name in classes if name != predicted[0]["output"]["label"]
            ]
            corrections = (
                [{"prediction": predicted[0]["id"], "label": wrong[0]}] if wrong else []
            )
            first = self._give(model_version, corrections)
        self._tell("feedback", f"{len(corrections)} corrected label, by an analyst")
        with self._step("retrain"):
            accepted = self._steward.post(f"feedback/{first}/accept/")
            training = self._steward.get(f"trainings/{accepted['training']}/")
            job = self._steward.wait(training["job"])
            self._steward.wait(training["assess_job"])
        number = self._steward.get(f"model-versions/{job['result']['model_version']}/")
        self._tell("retrain", f"version {number['number']} on the corrected data")
        with self._step("refusal"):
            second = self._give(model_version, [])
            try:
                self._steward.post(f"feedback/{second}/accept/")
            except Refused as refused:
                if refused.problem.get("code") != "over_cap":
                    raise
            else:
                raise StepFailed("The ledger let a second retrain pass its cap.")
        self._tell("refusal", "a second retrain would pass the cap: refused")

    def _give(self, model_version: str, corrections: list[dict[str, Any]]) -> str:
        given = self._analyst.post(
            "feedback/",
            {
                "model_version": model_version,
                "rating": 3,
                "problem": "wrong",
                "text": "Please train again.",
                "corrections": corrections,
            },
        )
        return str(given["id"])


def _first_rows(table: Table, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two rows to predict: what an analyst might type in for two people."""
    if table.file_name.endswith((".parquet", ".pq")):
        frame = pl.read_parquet(io.BytesIO(table.content)).head(2)
    else:
        frame = pl.read_csv(table.content, infer_schema=False, n_rows=2)
    frame = frame.cast(pl.String).rename(str.strip)
    known = [one for one in inputs if one["name"] in frame.columns]
    return [
        {
            one["name"]: float(cell) if one["kind"] == "number" else cell
            for one in known
            if (cell := (row[one["name"]] or "").strip()) not in {"", "?"}
        }
        for row in frame.iter_rows(named=True)
    ]


def _rounded(rows: int) -> int:
    """Two digits of a count: what a steward would declare."""
    digits = len(str(rows))
    step = 10 ** max(0, digits - 2)
    return max(1, rows // step * step)


def _cap_for(price: dict[str, Any], *, delta_cap: float) -> str:
    """A cap on epsilon for `RUNS_THAT_FIT` runs at this price, two digits."""
    worst = 0.0
    for part in ("train", "heldout"):
        vectors = [
            rdp_vector(event_from_dict(one["event"]))
            for one in price["prices"]
            if one["part"] in {part, "all"}
        ]
        total = [
            int(sum(values) * RUNS_THAT_FIT) for values in zip(*vectors, strict=True)
        ]
        if total:
            worst = max(worst, epsilon_from_rdp(total, delta=0.9 * delta_cap))
    return f"{worst:.2f}"
