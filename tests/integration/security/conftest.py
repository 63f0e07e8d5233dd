"""Every route of the hub, and one object of each kind that a steward owns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from privacyhub.accounts import tokens
from privacyhub.anonymization.models import (
    AnonymizationRun,
    Hierarchy,
    PolicyTemplate,
    PseudonymDomain,
)
from privacyhub.assessment import reports
from privacyhub.datasets import services
from privacyhub.deployments.models import (
    Prediction,
    PredictionBatch,
    output_context,
)
from privacyhub.feedback import services as feedback
from privacyhub.governance import keys
from privacyhub.governance.models import CapRequest
from privacyhub.training import services as training
from privacyhub.training.models import Sweep
from tests.integration.published_model import publish_model


@dataclass(frozen=True)
class Route:
    """One address. `kind` is its first folder, which says what `pk` names."""

    pattern: str
    view: Any

    @property
    def is_api(self) -> bool:
        return self.pattern.startswith("api/v1/")

    @property
    def kind(self) -> str:
        return self.pattern.removeprefix("api/v1/").split("/")[0]

    @property
    def names_object(self) -> bool:
        return "<uuid:pk>" in self.pattern

    def address(self, pk: Any = None) -> str:
        return "/" + self.pattern.replace("<uuid:pk>", str(pk or uuid.uuid4())).replace(
            "<uuid:grant>", str(uuid.uuid4())
        ).replace("<uuid:run>", str(uuid.uuid4())).replace("<uidb64>", "AA").replace(
            "<token>", "a-b"
        ).replace("<slug:form>", "onnx")


def _routes(resolver: Any, before: str = "") -> Iterator[Route]:
    for one in resolver.url_patterns:
        pattern = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from _routes(one, pattern)
        elif isinstance(one, URLPattern):
            yield Route(pattern, one.callback)


@pytest.fixture(scope="session")
def routes() -> list[Route]:
    return list(_routes(get_resolver()))


@pytest.fixture
def model_version(register_version: Any, steward: Any) -> Any:
    return publish_model(version=register_version, by=steward)


@pytest.fixture
def predict_for(model_version: Any) -> Callable[..., Any]:
    """A kept prediction of the model, asked for by a user."""

    def make(user: Any) -> Any:
        pk = uuid.uuid4()
        return Prediction.objects.create(
            id=pk,
            model_version=model_version,
            requested_by=user,
            sealed_input=keys.seal_json({}, key=model_version.key, context=str(pk)),
            sealed_output=keys.seal_json(
                {"label": "no", "probability": 0.9},
                key=model_version.key,
                context=output_context(pk),
            ),
        )

    return make


@pytest.fixture
def owned(
    register_version: Any,
    model_version: Any,
    steward: Any,
    upload_file: Callable[..., Any],
    predict_for: Callable[..., Any],
) -> dict[str, Any]:
    """Objects of the steward by the first folder of their addresses."""
    version, run = register_version, model_version.run
    account = services.the_ledger(version)
    token, _ = tokens.create(user=steward, name="owned")
    key, _ = keys.create(purpose="hierarchy")
    grant = training.share(
        model=model_version.model, user=_nobody(), right="use", by=steward
    )
    return {
        "datasets": version.dataset,
        "versions": version,
        "models": model_version.model,
        "model-versions": model_version,
        "trainings": run,
        "assessments": model_version.assessments.get(),
        "jobs": run.job,
        "ledgers": account,
        "predictions": predict_for(steward),
        "prediction-batches": _batch(model_version, steward, upload_file),
        "reports": reports.create(by=steward, model_version=model_version),
        "feedback": feedback.submit(
            model_version=model_version, author=steward, rating=3, problem="wrong"
        ),
        "hierarchies": Hierarchy.objects.create(
            name="zip", owner=steward, levels=2, values_count=1, key=key, sealed_csv=b""
        ),
        "sweeps": Sweep.objects.create(
            model=model_version.model,
            version=version,
            owner=steward,
            together="1",
            metrics_together="0.5",
            delta="0.00001",
        ),
        "anonymizations": AnonymizationRun.objects.create(
            version=version, owner=steward, job=run.assess_job, policy={}
        ),
        "policy-templates": PolicyTemplate.objects.create(
            name="clinic", owner=steward, policy={}
        ),
        "pseudonym-domains": PseudonymDomain.objects.create(
            name="patient", owner=steward, key=key
        ),
        "cap-requests": CapRequest.objects.create(
            ledger=account, epsilon_cap="9", reason="more", requested_by=steward
        ),
        "grants": grant,
        "me": token,
        "settings": token,
        "users": steward,
    }


def _nobody() -> Any:
    from privacyhub.accounts.models import User

    return User.objects.create_user(username="nobody", role="analyst")


def _batch(model_version: Any, user: Any, upload_file: Callable[..., Any]) -> Any:
    from privacyhub.deployments import batches

    file = upload_file(b"age,sex\n1,male\n")
    batch = batches.submit(model_version=model_version, file=file, by=user)
    return PredictionBatch.objects.get(pk=batch.pk)
