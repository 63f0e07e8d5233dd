"""Noise of a seed, so that each run asserts the same of what is released."""

from __future__ import annotations

import pytest

from privacyhub.engines.assess import group_errors, histogram, released
from tests.unit.engines.dp.noises import seeded_laplace


@pytest.fixture(autouse=True)
def _seeded_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a noisy count is now and then the exact one, or far from it."""
    counts = seeded_laplace(1)
    for module in (group_errors, histogram, released):
        monkeypatch.setattr(module, "laplace_counts", counts)
