"""TensorFlow with legacy Keras, set before any test module imports it."""

from __future__ import annotations

import os
import secrets
import sys

import numpy as np
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow Privacy's package file imports an Estimator that no longer exists.
sys.skip_tf_privacy_import = True  # type: ignore[attr-defined]


@pytest.fixture
def seeded_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same batches and noise in every run, for what a rare draw would not show."""
    monkeypatch.setattr(secrets, "token_bytes", np.random.default_rng(1).bytes)
