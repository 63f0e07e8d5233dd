"""An anonymization and the training after it, for the test that kills the first.

`python -m tests.integration.training.killed_chain order` makes a hub with both queued
in the database and the folder that the environment names, runs the anonymization, and
is expected to die at a failpoint; `... follow` does what a keeper and a worker would,
which runs only what a message was sent for, and prints how both ended, as JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from jobs import execution, reaping  # noqa: E402
from jobs.models import Job  # noqa: E402
from jobs.states import State  # noqa: E402
from privacyhub.accounts.models import User  # noqa: E402
from privacyhub.anonymization import services as anonymization  # noqa: E402
from privacyhub.anonymization.models import AnonymizationRun  # noqa: E402
from privacyhub.datasets import intake  # noqa: E402
from privacyhub.datasets import services as datasets  # noqa: E402
from privacyhub.datasets.models import Role, Version  # noqa: E402
from privacyhub.datasets.uploads import seal  # noqa: E402
from privacyhub.engines.tables import patient_register  # noqa: E402
from privacyhub.governance.models import Reservation  # noqa: E402
from privacyhub.training import recipes  # noqa: E402
from privacyhub.training import services as training  # noqa: E402
from privacyhub.training.models import TrainingRun  # noqa: E402

ROWS = 300
MOST_TURNS = 10


def order() -> None:
    call_command("migrate", verbosity=0)
    steward = User.objects.create_user(username="steward", password="p", role="steward")  # noqa: S106
    content = patient_register(rows=ROWS).write_csv().encode()
    upload = intake.receive(file=seal([content], name="register.csv"), by=steward)
    job = intake.submit(upload=upload, by=steward, name="Register")
    execution.execute(str(job.pk))
    version = Version.objects.get()
    named = version.columns.exclude(role=Role.IDENTIFIER)
    named.update(role=Role.INSENSITIVE)
    named.filter(name="sex").update(role=Role.QUASI_IDENTIFIER)
    datasets.declare_budget(
        version=version,
        by=steward,
        declared_units=ROWS,
        epsilon_cap="8",
        delta_cap="1e-5",
    )
    policy = {
        "quasi_identifiers": {"sex": {"hierarchy": "automatic"}},
        "models": [{"name": "k_anonymity", "k": 4}],
    }
    run = anonymization.submit(version=version, policy=policy, by=steward)
    recipe = recipes.build(
        version=version,
        after=run,
        request={
            "target": "readmitted",
            "classes": ["no", "yes"],
            "features": ["sex", "creatinine"],
            "settings": {"epochs": 2},
        },
        by=steward,
    )
    training.submit(version=version, after=run, recipe=recipe, by=steward, name="Model")
    execution.execute(str(run.job_id))


def follow() -> None:
    run = AnonymizationRun.objects.select_related("job").get()
    made = TrainingRun.objects.select_related("job").get()
    left = [run.job.state, made.job.state, made.version_id is not None]
    past = timezone.now() - timedelta(hours=1)
    Job.objects.filter(state=State.RUNNING).update(lease_until=past)
    for _ in range(MOST_TURNS):
        reaping.reap()
        heard = Job.objects.claimable().exclude(published_at=None)
        job = heard.order_by("created_at").first()
        if job is None:
            break
        execution.execute(str(job.pk))
    for row in (run, made, run.job, made.job):
        row.refresh_from_db()
    held = Reservation.objects.get(run_id=made.job_id)
    told = {
        "left": left,
        "states": [run.job.state, made.job.state],
        "trace": run.job.trace or made.job.trace,
        "on_the_release": made.version_id == run.release_id is not None,
        "releases": Version.objects.filter(kind="anonymized").count(),
        "held": held.state,
        "charged_as_reserved": held.charged == held.vector,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    {"order": order, "follow": follow}[sys.argv[1]]()
