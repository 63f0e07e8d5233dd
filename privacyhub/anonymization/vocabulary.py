"""What a policy may name: privacy models, metrics, methods, treatments of columns.

Pages, the API and the engine are all served from these declarations.
"""

from __future__ import annotations

from privacyhub.anonymization.vocabulary_metrics import (
    AGGREGATES,
    METHODS,
    METRICS,
    MethodKind,
    MetricKind,
)
from privacyhub.anonymization.vocabulary_models import MODELS, ModelKind, Need
from privacyhub.anonymization.vocabulary_parameters import Parameter
from privacyhub.anonymization.vocabulary_treatments import TREATMENTS, TreatmentKind

__all__ = [
    "AGGREGATES",
    "METHODS",
    "METRICS",
    "MODELS",
    "TREATMENTS",
    "MethodKind",
    "MetricKind",
    "ModelKind",
    "Need",
    "Parameter",
    "TreatmentKind",
]
