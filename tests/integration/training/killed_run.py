"""A training in processes of its own, for the test that kills one of them.

`python -m tests.integration.training.killed_run train` makes a hub with one queued
training in the database and the folder that the environment names, runs it, and is
expected to die at a failpoint; `... resume` finds the job lost, runs it again and
prints what the run was charged and what it guarantees, as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from jobs import execution, reaping  # noqa: E402
from jobs.models import Job  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.datasets import intake  # noqa: E402
from privacyhub.datasets import services as datasets  # noqa: E402
from privacyhub.datasets.models import Version  # noqa: E402
from privacyhub.datasets.uploads import seal  # noqa: E402
from privacyhub.engines.tables import patient_register  # noqa: E402
from privacyhub.governance.models import EntryKind, LedgerEntry, Reservation  # noqa: E402
from privacyhub.training import artefacts, recipes  # noqa: E402
from privacyhub.training import services as training  # noqa: E402
from privacyhub.training.models import TrainingRun  # noqa: E402

ROWS = 300


def train() -> None:
    call_command("migrate", verbosity=0)
    steward = User.objects.create_user(username="steward", password="p", role="steward")  # noqa: S106
    content = patient_register(rows=ROWS).write_csv().encode()
    upload = intake.receive(file=seal([content], name="register.csv"), by=steward)
    job = intake.submit(upload=upload, by=steward, name="Register")
    execution.execute(str(job.pk))
    version = Version.objects.get()
    datasets.declare_budget(
        version=version,
        by=steward,
        declared_units=ROWS,
        epsilon_cap="8",
        delta_cap="1e-5",
    )
    recipe = recipes.build(
        version=version,
        request={
            "target": "readmitted",
            "classes": ["no", "yes"],
            "settings": {"epochs": 5},
        },
        by=version.created_by,
    )
    run = training.submit(version=version, recipe=recipe, by=steward, name="Model")
    execution.execute(str(run.job_id))


def resume() -> None:
    run = TrainingRun.objects.select_related("job").get()
    lost = run.job.state
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=run.job_id).update(lease_until=past)
    reaping.reap()
    execution.execute(str(run.job_id))
    run.job.refresh_from_db()
    told: dict[str, Any] = {
        "lost": lost,
        "state": run.job.state,
        "trace": run.job.trace,
        "planned": training.plan_of(run).spec.steps,
        "charges": list(
            LedgerEntry.objects.filter(run_id=run.job_id, kind=EntryKind.CHARGE)
            .order_by("id")
            .values_list("event", flat=True)
        ),
        "reserved": Reservation.objects.get(run_id=run.job_id).vector,
        "charged": Reservation.objects.get(run_id=run.job_id).charged,
    }
    if run.job.state == "succeeded":
        told["guarantee"] = run.model_version.guarantee
        told["kept"] = artefacts.load(run.model_version).guarantee
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    {"train": train, "resume": resume}[sys.argv[1]]()
