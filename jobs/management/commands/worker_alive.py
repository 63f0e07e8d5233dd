"""`manage.py worker_alive`: exit 0 while this host's worker says that it lives."""

from __future__ import annotations

import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models.functions import Now

from jobs.models import Worker


class Command(BaseCommand):
    help = "Fail when no worker of this host was heard of within a lease."

    def handle(self, *args: Any, **options: Any) -> None:
        here = f"{socket.gethostname()}:"
        heard = Worker.objects.filter(
            name__startswith=here, seen_at__gt=Now() - settings.JOB_LEASE
        ).exists()
        if not heard:
            raise CommandError("No worker of this host was heard of.")
