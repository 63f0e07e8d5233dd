"""Anonymization: hierarchies, privacy models, optimal search, recoding, risk."""

from __future__ import annotations

from . import risk
from .checks import Node
from .errors import AnonymizeCancelled, AnonymizeError
from .explain import ColumnExplanation, Explanation, explain
from .hierarchies import Hierarchy, HierarchyProblem
from .metrics import Metric
from .metrics_classes import (
    AverageClassSize,
    ClassificationAccuracy,
    Discernibility,
    KLDivergence,
)
from .metrics_columns import Loss, NonUniformEntropy, Precision
from .models import Model
from .models_closeness import (
    EqualTCloseness,
    HierarchicalTCloseness,
    OrderedTCloseness,
)
from .models_likeness import (
    BasicBetaLikeness,
    DeltaDisclosure,
    EnhancedBetaLikeness,
)
from .models_profit import Profitability
from .models_risk import AverageRisk, PopulationUniqueness, SampleUniqueness
from .models_sampling import EpsilonDeltaDP
from .models_sensitive import (
    DistinctLDiversity,
    EntropyLDiversity,
    RecursiveCLDiversity,
)
from .models_size import DeltaPresence, Inclusion, KAnonymity, KMap
from .run import BeforeAfter, Result, anonymize, what_if

__all__ = [
    "AnonymizeCancelled",
    "AnonymizeError",
    "AverageClassSize",
    "AverageRisk",
    "BasicBetaLikeness",
    "BeforeAfter",
    "ClassificationAccuracy",
    "ColumnExplanation",
    "DeltaDisclosure",
    "DeltaPresence",
    "Discernibility",
    "DistinctLDiversity",
    "EnhancedBetaLikeness",
    "EntropyLDiversity",
    "EpsilonDeltaDP",
    "EqualTCloseness",
    "Explanation",
    "HierarchicalTCloseness",
    "Hierarchy",
    "HierarchyProblem",
    "Inclusion",
    "KAnonymity",
    "KLDivergence",
    "KMap",
    "Loss",
    "Metric",
    "Model",
    "Node",
    "NonUniformEntropy",
    "OrderedTCloseness",
    "PopulationUniqueness",
    "Precision",
    "Profitability",
    "RecursiveCLDiversity",
    "Result",
    "SampleUniqueness",
    "anonymize",
    "explain",
    "risk",
    "what_if",
]
