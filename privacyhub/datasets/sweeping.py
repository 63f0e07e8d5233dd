"""Files that nobody will read again: what a killed job or request left in the store."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.utils import timezone

from privacyhub.datasets import intake, storage
from privacyhub.datasets.models import Upload

# Longer than any job runs: a file in the making is younger than its job.
LEFT_ALONE = timedelta(days=1)


def sweep() -> int:
    """Remove files that no row with a living key names; how many there were.

    Every model with a `file` names one in the store; its key is `KEY_OF_FILE` or
    `key`.
    """
    root = Path(settings.VAR_DIR) / "store"
    until = time.time() - LEFT_ALONE.total_seconds()
    old = [
        path.relative_to(root).as_posix()
        for path in root.glob("*/*")
        if path.is_file() and path.stat().st_mtime < until
    ]
    if not old:
        return 0
    orphans = set(old) - _named()
    for name in orphans:
        storage.remove(name)
    return len(orphans)


def forget_left_uploads() -> int:
    """Forget old uploads that no job will read; how many there were.

    An upload is consumed in the transaction that accepts its job. A request that was
    killed before that has left it with a living key, which `sweep` spares.
    """
    until = timezone.now() - LEFT_ALONE
    left = Upload.objects.filter(
        consumed_at=None, key__destroyed_at=None, created_at__lt=until
    )
    uploads = list(left.select_related("key"))
    for upload in uploads:
        intake.forget(upload)
    return len(uploads)


def _named() -> set[str]:
    named: set[str] = set()
    for model in apps.get_models():
        if any(field.name == "file" for field in model._meta.get_fields()):
            key = getattr(model, "KEY_OF_FILE", "key")
            living = model._default_manager.filter(**{f"{key}__destroyed_at": None})
            named.update(living.values_list("file", flat=True))
    return named
