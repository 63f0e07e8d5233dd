"""Models for tests: by the real engine once, else by one that needs no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privacyhub.datasets import intake
from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Version
from privacyhub.engines.assess import group_errors, histogram, released
from privacyhub.engines.dp.events import PoissonGaussianEvent
from privacyhub.engines.dp.model import TrainedModel
from privacyhub.engines.prepare import statistics
from privacyhub.governance import keys
from privacyhub.training import recipes, services
from tests.unit.engines.dp.noises import seeded_gaussian, seeded_laplace

RECIPE = {"classes": ["no", "yes"], "epsilon": "1", "metrics_epsilon": "0.5"}


@pytest.fixture(autouse=True)
def _seeded_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same noise on counts in every run: it may leave nothing of so few rows."""
    counts = seeded_laplace(9)
    for module in (group_errors, histogram, released):
        monkeypatch.setattr(module, "laplace_counts", counts)
    monkeypatch.setattr(statistics, "noisy_counts", seeded_gaussian(9))


@pytest.fixture(autouse=True)
def _seeded_coins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same units are held out in every run: of few, it may be none."""
    create, identity_key = keys.create, keys.identity_key

    def seeded(*, purpose: str, plain: bytes | None = None) -> Any:
        own = bytes(range(32)) if purpose == "split" else plain
        return create(purpose=purpose, plain=own)

    def of_rows(purpose: str) -> bytes:
        return bytes(range(32)) if purpose == "table" else identity_key(purpose)

    monkeypatch.setattr(keys, "create", seeded)
    monkeypatch.setattr(keys, "identity_key", of_rows)


class QuickEngine:
    """Keeps the engine's contract (pay, then run) with weights that learnt nothing."""

    def __init__(self) -> None:
        self.steps_run = 0
        self.after_block: Callable[[int], None] = lambda done: None

    def train(
        self,
        data: Any,
        *,
        spec: Any,
        noise_multiplier: float,
        on_block: Callable[[int, int], None],
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
        resume_from: bytes | None = None,
        on_checkpoint: Callable[[int, bytes], None] = lambda step, content: None,
        steps_limit: int | None = None,
    ) -> TrainedModel:
        block = math.ceil(spec.steps / 20)
        done = began = int(resume_from or b"0")
        limit = spec.steps if steps_limit is None else began + steps_limit
        while done < min(limit, spec.steps):
            steps = min(block, limit - done, spec.steps - done)
            on_block(done, steps)
            done += steps
            self.steps_run += steps
            progress(done, spec.steps)
            self.after_block(self.steps_run)
            on_checkpoint(done, str(done).encode())
        event = PoissonGaussianEvent(
            sampling_probability=spec.sampling_probability,
            noise_multiplier=noise_multiplier,
            steps=done - began,
        )
        return self._model(data, spec, steps_run=done - began, event=event)

    def train_plain(self, data: Any, *, spec: Any, **_: Any) -> TrainedModel:
        return self._model(data, spec, steps_run=spec.steps, losses=[0.7, 0.6])

    def _model(self, data: Any, spec: Any, **told: Any) -> TrainedModel:
        architecture = spec.architecture(
            features=data.features.shape[1], category_sizes=data.category_sizes
        )
        vector = np.random.default_rng(0).normal(size=architecture.parameters)
        return TrainedModel(
            architecture=architecture,
            weights=architecture.unpack(vector.astype(np.float32)),
            spec=spec,
            encoder=data.encoder,
            **told,
        )


@pytest.fixture
def quick_engine(monkeypatch: pytest.MonkeyPatch) -> QuickEngine:
    engine = QuickEngine()
    monkeypatch.setattr("jobs.tasks.train._engine", lambda: engine)
    return engine


@pytest.fixture
def submit(register_version: Any, steward: Any) -> Callable[..., Any]:
    """Queue a training of the register; keyword arguments go into the recipe."""

    def make(*, name: str = "Readmission", reason: str = "", **asked: Any) -> Any:
        recipe = recipes.build(
            version=register_version,
            request=RECIPE | asked,
            by=register_version.created_by,
        )
        return services.submit(
            version=register_version,
            recipe=recipe,
            by=steward,
            name=name,
            reason=reason,
        )

    return make


@pytest.fixture
def model_version(
    quick_engine: QuickEngine, submit: Callable[..., Any], run_jobs: Callable[[], None]
) -> Any:
    """A trained and assessed model version of the register."""
    run = submit()
    run_jobs()
    run.job.refresh_from_db()
    run.assess_job.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace or run.job.message
    assert run.assess_job.state == "succeeded", run.assess_job.trace
    return run.model_version


@pytest.fixture
def visits_of(
    steward: Any, upload_file: Callable[..., Any], run_jobs: Callable[[], None]
) -> Callable[..., Any]:
    """A version of rows `person,x,y` whose unit of privacy is a person."""

    def make(rows: list[str], *, people: int, most_rows: int) -> Any:
        content = "\n".join(["person,x,y", *rows]).encode()
        upload = intake.receive(file=upload_file(content), by=steward)
        job = intake.submit(upload=upload, by=steward, name="Visits")
        run_jobs()
        job.refresh_from_db()
        version = Version.objects.get(pk=job.result["version"])
        datasets.set_columns(
            version=version, changes={"person": {"is_unit_key": True}}, by=steward
        )
        datasets.declare_budget(
            version=version,
            by=steward,
            declared_units=people,
            epsilon_cap="8",
            delta_cap="1e-5",
            unit="key",
            unit_key="person",
            most_rows_per_unit=most_rows,
        )
        return version

    return make
