"""Where a training run was: the loop's state, the encoder, what the ledger had charged.

A run's weights are private where it is without privacy, and so are the trials of a
search, so each checkpoint is sealed under the key of the version that is trained on:
erasing that version erases them. None holds a noise seed.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import Any

from jobs import checkpoints
from jobs.models import Job
from privacyhub.datasets.models import Version
from privacyhub.engines.prepare.encoding import Encoder
from privacyhub.engines.tables import SealedError, SealedReader, SealedWriter
from privacyhub.governance import keys

SCHEMA = 1
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The state of a run after `step` executed steps.

    encoder: with the bounds and categories that were found, and paid for, once.
    charged: steps that all attempts had charged by then; the ledger itself decides.
    state: the loop's own bytes; empty before the first step.
    search: where a search over settings was; None of a run without one.
    """

    step: int
    encoder: Encoder
    charged: int = 0
    state: bytes = b""
    search: dict[str, Any] | None = None


def save(*, job: Job, version: Version, position: int, saved: Saved) -> None:
    """Keep it for the next attempt. Raises what `jobs.checkpoints.save` raises."""
    head = json.dumps(
        {
            "schema": SCHEMA,
            "step": saved.step,
            "charged": saved.charged,
            "encoder": saved.encoder.to_dict(),
            "search": saved.search,
        }
    ).encode()
    raw = io.BytesIO()
    key = keys.unwrap(version.key)
    with SealedWriter(raw, key=key, context=_context(job)) as writer:
        writer.write(_LENGTH.pack(len(head)) + head + saved.state)
    checkpoints.save(job=job, position=position, content=raw.getvalue())


def latest(*, job: Job, version: Version) -> Saved | None:
    """The newest that is whole, or None: then the work begins anew."""
    found = checkpoints.latest(job=job)
    if found is None:
        return None
    try:
        raw = io.BytesIO(found.content)
        key = keys.unwrap(version.key)
        content = SealedReader(raw, key=key, context=_context(job)).read()
        size = _LENGTH.size + _LENGTH.unpack_from(content)[0]
        head = json.loads(content[_LENGTH.size : size])
    except (SealedError, struct.error, json.JSONDecodeError):
        return None  # of another key or build: nothing here can be used
    if head["schema"] != SCHEMA:
        return None
    return Saved(
        step=head["step"],
        charged=head["charged"],
        encoder=Encoder.from_dict(head["encoder"]),
        search=head["search"],
        state=content[size:],
    )


def _context(job: Job) -> bytes:
    return f"checkpoint:{job.pk}".encode()
