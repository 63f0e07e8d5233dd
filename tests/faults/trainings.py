"""Real trainings among the jobs: TensorFlow, the real task, its ledger and metrics."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

from privacyhub.api.client import Client
from privacyhub.engines.tables import patient_register
from tests.faults.campaign import Trial

LEASE = 20  # seconds: a child that imports TensorFlow may miss some beats
ROWS = 600
RECIPE = {"epsilon": "0.5", "metrics_epsilon": "0.1", "classes": ["no", "yes"]}


def upload(client: Client) -> str:
    """A small register with a target and a budget for many runs; its version."""
    buffer = io.BytesIO()
    patient_register(rows=ROWS).write_csv(buffer)
    files = {"file": ("register.csv", buffer.getvalue())}
    made = client.call("POST", "datasets/", files=files, data={"name": "Register"})
    version = str(client.wait(made.json())["result"]["version"])
    client.patch(f"versions/{version}/columns/", {"readmitted": {"is_target": True}})
    budget: dict[str, Any] = {
        "unit": "record",
        "declared_units": ROWS,
        "epsilon_cap": "100",
        "delta_cap": "1e-3",
    }
    client.put(f"versions/{version}/budget/", budget)
    return version


def submit(trial: Trial, version: str) -> list[str]:
    """Accept a training and the job that measures it; both are to end."""
    client = trial.stack.client
    answer = client.post("trainings/", {**RECIPE, "version": version})
    told = client.get(f"trainings/{answer['training']}/")
    jobs = [UUID(told[name]).hex for name in ("job", "assess_job") if told[name]]
    trial.adopt(jobs)
    return jobs
