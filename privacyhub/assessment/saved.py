"""What an assessment found, kept for its next attempt: one draw of noise a charge.

Exact figures are among it, so it is sealed under the key of the version that was read:
erasing that version erases it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from jobs import checkpoints
from jobs.models import Job
from privacyhub.datasets.models import Version
from privacyhub.engines.tables import SealedError
from privacyhub.governance import keys


@dataclass(frozen=True, kw_only=True)
class Found:
    """Figures as an Assessment or a GroupAssessment keeps them."""

    exact: Any
    released: Any


def save(*, job: Job, version: Version, position: int, found: Found) -> None:
    """Keep it for the next attempt. Raises what `jobs.checkpoints.save` raises."""
    content = keys.seal_json(asdict(found), key=version.key, context=_context(job))
    checkpoints.save(job=job, position=position, content=content)


def latest(*, job: Job, version: Version) -> Found | None:
    """What an earlier attempt found, or None where nothing can be used."""
    saved = checkpoints.latest(job=job)
    if saved is None:
        return None
    try:
        told = keys.unseal_json(saved.content, key=version.key, context=_context(job))
    except SealedError:
        return None
    return Found(**told)


def _context(job: Job) -> str:
    return f"assessment:{job.pk}"
