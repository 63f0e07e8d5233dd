"""What to train and how: everything of a run but its data and its noise.

Validated when made, so that a bad setting is refused before anything is charged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any, Literal, get_args

from privacyhub.engines.dp.architecture import (
    ACTIVATIONS,
    MAX_LAYERS,
    MAX_WIDTH,
    TASKS,
    Activation,
    Architecture,
    Embedding,
    Task,
    parse_hidden,
)

MAX_STEPS = 1_000_000
BLOCKS = 20  # of a run
# Of a clip norm, and one over the least: squares of gradients that have to be clipped
# to less would vanish in 32 bits, and the sum would hold them whole.
MOST_CLIP = 1e6
MOST_LEARNING_RATE = 1000

_WHOLE = ("embedding_width", "max_rows_per_unit")

Optimizer = Literal["sgd", "adam"]
Schedule = Literal["constant", "linear", "cosine"]
Implementation = Literal["engine", "dpsequential", "dpkeras"]
# The loops that are TensorFlow Privacy's own, for a sentence.
REFERENCES = {
    "dpsequential": "TensorFlow Privacy's DPSequential",
    "dpkeras": "TensorFlow Privacy's DP Keras optimizer",
}


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """Settings of a training run.

    units: the declared number of units N of the training half (not the exact count).
    hidden: widths of the hidden layers; none is logistic, softmax or linear.
    expected_batch: units a step on average; q = expected_batch / units.
    epochs: expected passes over the data; steps = epochs / q.
    clip_norm: the largest L2 norm of one unit's gradient.
    clip_quantile: where set, the clip norm follows this quantile of the units' gradient
        norms from `clip_norm` on (see `adaptive`); None keeps it fixed.
    max_rows_per_unit: how many rows of one unit take part.
    class_weights: weight of each class in the loss (declared, not read from data).
    ema: decay of the averaged weights that become the model; 0 keeps the last ones.
    implementation: the engine's own loop, or one of TensorFlow Privacy's as the
        reference (see `reference`).
    seed: of the initial weights only. Sampling and noise never take a seed.
    """

    task: Task
    units: int
    expected_batch: int
    epochs: float
    classes: int = 2
    hidden: tuple[int, ...] = ()
    activation: Activation = "tanh"
    embedding_width: int = 8
    clip_norm: float = 1.0
    clip_quantile: float | None = None
    learning_rate: float = 0.01
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    schedule: Schedule = "constant"
    ema: float = 0.0
    max_rows_per_unit: int = 1
    class_weights: tuple[float, ...] | None = None
    implementation: Implementation = "engine"
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in _WHOLE:
            _require(
                _is_whole(getattr(self, name)),
                f"The setting “{name}” must be a whole number.",
            )
        _require(
            all(_is_whole(width) for width in self.hidden),
            "The widths of hidden layers must be whole numbers.",
        )
        _require(self.task in TASKS, f"The task must be one of {', '.join(TASKS)}.")
        _require(self.units >= 1, "The declared number of units must be at least 1.")
        _require(self.expected_batch >= 1, "The expected batch must be at least 1.")
        _require(
            self.expected_batch <= self.units,
            f"The expected batch ({self.expected_batch}) is larger than the declared "
            f"number of units ({self.units}).",
        )
        _require(self.epochs > 0, "The number of epochs must be positive.")
        _require(
            self.epochs <= MAX_STEPS and self.steps <= MAX_STEPS,
            f"A run has at most {MAX_STEPS:,} steps.",
        )
        _require(
            len(self.hidden) <= MAX_LAYERS
            and all(1 <= width <= MAX_WIDTH for width in self.hidden),
            f"A network has at most {MAX_LAYERS} hidden layers of 1 to {MAX_WIDTH} "
            "units.",
        )
        if self.task == "multiclass":
            _require(self.classes >= 2, "A multi-class target has 2 classes or more.")
        elif self.task == "binary":
            _require(self.classes == 2, "A binary target has 2 classes.")
        _require(
            self.activation in ACTIVATIONS,
            f"The activation must be one of {', '.join(ACTIVATIONS)}.",
        )
        _require(1 <= self.embedding_width <= 256, "Embeddings have 1 to 256 numbers.")
        _require(
            1 / MOST_CLIP <= self.clip_norm <= MOST_CLIP,
            f"The clip norm lies between {1 / MOST_CLIP:g} and {MOST_CLIP:,.0f}.",
        )
        if self.clip_quantile is not None:
            _require(
                0 < self.clip_quantile < 1,
                "The quantile of an adaptive clip norm lies between 0 and 1.",
            )
        _require(
            0 < self.learning_rate <= MOST_LEARNING_RATE,
            f"The learning rate lies above 0 and is at most {MOST_LEARNING_RATE:,}.",
        )
        _require(
            self.optimizer in get_args(Optimizer), "The optimizer must be sgd or adam."
        )
        _require(0 <= self.momentum < 1, "The momentum must be in [0, 1).")
        _require(
            self.schedule in get_args(Schedule),
            "The schedule must be constant, linear or cosine.",
        )
        _require(0 <= self.ema < 1, "The decay of averaged weights must be in [0, 1).")
        _require(self.max_rows_per_unit >= 1, "A unit contributes at least one row.")
        _require(
            self.implementation in get_args(Implementation),
            "The implementation must be engine, dpsequential or dpkeras.",
        )
        if self.class_weights is not None:
            _require(self.task != "regression", "A regression has no class weights.")
            _require(
                len(self.class_weights) == self.classes
                and all(0 < w <= 100 for w in self.class_weights),
                "There must be one weight a class, above 0 and at most 100.",
            )

    @property
    def sampling_probability(self) -> float:
        return self.expected_batch / self.units

    @property
    def steps(self) -> int:
        return max(1, round(self.epochs * self.units / self.expected_batch))

    @property
    def block(self) -> int:
        """Steps of one block: charged before it runs, saved after it."""
        return math.ceil(self.steps / BLOCKS)

    def architecture(
        self, *, features: int, category_sizes: tuple[int, ...] = ()
    ) -> Architecture:
        """The network for an encoded table of this width."""
        return Architecture(
            features=features,
            outputs=self.classes if self.task == "multiclass" else 1,
            hidden=self.hidden,
            activation=self.activation,
            embeddings=tuple(
                Embedding(size=size, width=min(self.embedding_width, size))
                for size in category_sizes
            ),
        )

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of the step with this number (from 0)."""
        done = step / self.steps
        if self.schedule == "linear":
            return self.learning_rate * (1 - 0.95 * done)
        if self.schedule == "cosine":
            return self.learning_rate * (
                0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2
            )
        return self.learning_rate

    def to_dict(self) -> dict[str, Any]:
        stored = asdict(self)
        stored["hidden"] = list(self.hidden)
        if self.class_weights is not None:
            stored["class_weights"] = list(self.class_weights)
        return {"schema": 1, **stored}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TrainSpec:
        """Read a spec. `hidden` may hold sizes or dense-layer objects.

        Raises ValueError for unknown settings, unknown layers and bad values.
        """
        values = dict(stored)
        if values.pop("schema", 1) != 1:
            raise ValueError("The training settings are of an unknown schema.")
        unknown = set(values) - {f.name for f in fields(cls)}
        _require(not unknown, f"Unknown settings: {', '.join(sorted(unknown))}.")
        hidden, activation = parse_hidden(values.get("hidden", ()))
        values["hidden"] = hidden
        if activation is not None:
            values["activation"] = activation
        if values.get("class_weights") is not None:
            values["class_weights"] = _floats(values["class_weights"])
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError("A training setting is missing or mistyped.") from error


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in values)
    except OverflowError as error:
        raise ValueError("A class weight is too large.") from error
