"""Anonymization: hierarchies, privacy models, optimal search, recoding, risk."""

from __future__ import annotations

from . import risk
from .checks import Node
from .errors import AnonymizeCancelled, AnonymizeError
from .explain import ColumnExplanation, Explanation, explain
from .hierarchies import Hierarchy, HierarchyProblem
from .metrics import Loss, Metric
from .models import Model
from .models_sensitive import (
    DistinctLDiversity,
    EntropyLDiversity,
    EqualTCloseness,
)
from .models_size import KAnonymity
from .run import BeforeAfter, Result, anonymize, what_if

__all__ = [
    "AnonymizeCancelled",
    "AnonymizeError",
    "BeforeAfter",
    "ColumnExplanation",
    "DistinctLDiversity",
    "EntropyLDiversity",
    "EqualTCloseness",
    "Explanation",
    "Hierarchy",
    "HierarchyProblem",
    "KAnonymity",
    "Loss",
    "Metric",
    "Model",
    "Node",
    "Result",
    "anonymize",
    "explain",
    "risk",
    "what_if",
]
