"""`POST /api/v1/steps/`: a job is reserved and queued as a training is."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs import services as jobs
from jobs.models import Job
from privacyhub.api.answers import accepted
from privacyhub.engines.dp.events import GaussianEvent
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger, Part

PURPOSE = "training"
NOISE = 50.0  # standard deviations of the sum, so that a cap holds many jobs


class Steps(APIView):
    def post(self, request: Request) -> Response:
        return accepted(_submit(owner=request.user, spec=dict(request.data)))


@transaction.atomic
def _submit(*, owner: Any, spec: dict[str, Any]) -> Job:
    """Reserve the price of all steps, and queue the job that will charge it."""
    job_id = uuid.uuid4()
    event = GaussianEvent(noise_multiplier=NOISE, count=spec["steps"])
    price = ledger.Price(PURPOSE, event, Part.TRAIN, epsilon="0.1", delta="1e-8")
    ledger.reserve(
        ledgers=Ledger.objects.filter(pk=spec["ledger"]),
        run_id=job_id,
        prices=[price],
        recipient=owner.username,
        by=owner,
    )
    return jobs.submit(
        kind="steps", title="Steps", owner=owner, spec=spec, job_id=job_id
    )
