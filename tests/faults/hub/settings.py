"""The hub's settings with the kind `steps`, and a broker that redelivers soon."""

from __future__ import annotations

from pathlib import Path

from privacyhub import env
from privacyhub.settings import *  # noqa: F403
from privacyhub.settings import (
    CELERY_BROKER_TRANSPORT_OPTIONS,
    INSTALLED_APPS,
    REDIS_URL,
    VAR_DIR,
)

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.hub"]
ROOT_URLCONF = "tests.faults.hub.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # no secrets here
MAX_JOBS_PER_USER = MAX_RUNNING_JOBS_PER_USER = 100_000

WITNESS_FILE = Path(VAR_DIR) / "witness"
ARTEFACT_DIR = Path(VAR_DIR) / "artefacts"
MEMORY_GROUP = env.text("FAULTS_MEMORY_GROUP")  # a control group with little memory

if REDIS_URL:
    # On a broker that others use too, the run has queues of its own.
    CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"] = env.text("FAULTS_PREFIX")
    CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] = env.integer(
        "FAULTS_VISIBILITY", 3600
    )
CELERY_TASK_ACKS_LATE = env.boolean("FAULTS_ACKS_LATE")
