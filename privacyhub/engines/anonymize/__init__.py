"""Anonymization: hierarchies, privacy models, optimal search, recoding, risk."""

from __future__ import annotations

from privacyhub.engines.identifiers.combinations import distinction_and_separation

from . import risk, uniqueness
from .checks import Node
from .errors import AnonymizeCancelled, AnonymizeError, AnonymizeTimeout
from .explain import ColumnExplanation, Explanation, explain
from .hierarchies import Hierarchy, HierarchyProblem
from .local_recoding import LocalResult, recode_locally, suppress_cells
from .masks import mask, pad_zip
from .metrics import Metric, no_worse, relative_gap
from .metrics_classes import (
    AverageClassSize,
    ClassificationAccuracy,
    Discernibility,
    KLDivergence,
)
from .metrics_columns import Loss, NonUniformEntropy, Precision
from .minimal_uniques import MinimalUniques, minimal_uniques
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
from .numbers import (
    add_noise,
    code_extremes,
    microaggregate,
    round_to,
    swap_ranks,
)
from .pseudonyms import pseudonymize
from .rows import FrameRows, Rows, compact
from .run import BeforeAfter, Result, anonymize, transform, what_if
from .safe_harbor import check_safe_harbor
from .utility import Accuracy, ColumnUtility, accuracy, compare_columns

__all__ = [
    "Accuracy",
    "ColumnUtility",
    "MinimalUniques",
    "accuracy",
    "add_noise",
    "distinction_and_separation",
    "FrameRows",
    "Rows",
    "check_safe_harbor",
    "compact",
    "code_extremes",
    "compare_columns",
    "mask",
    "microaggregate",
    "minimal_uniques",
    "pad_zip",
    "pseudonymize",
    "round_to",
    "swap_ranks",
    "AnonymizeCancelled",
    "AnonymizeError",
    "AnonymizeTimeout",
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
    "LocalResult",
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
    "no_worse",
    "recode_locally",
    "relative_gap",
    "risk",
    "suppress_cells",
    "transform",
    "uniqueness",
    "what_if",
]
