"""The networks that can be trained: dense layers over features and embeddings.

An architecture is data, validated when it is read; no code is ever loaded with it.
Weights live in one flat float32 vector, whose layout an `Architecture` defines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Activation = Literal["tanh", "relu"]

TASKS: tuple[str, ...] = get_args(Task)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
MAX_LAYERS = 8
MAX_WIDTH = 4096
MAX_PARAMETERS = 20_000_000

_MIXING_LAYERS = {"batch_normalization", "batchnormalization", "batch_norm"}


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A category column's table: `size` places, each a vector of `width`."""

    size: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network from `features` inputs and the embeddings to `outputs` logits.

    No hidden layer makes it logistic, softmax or linear regression.
    """

    features: int
    outputs: int
    hidden: tuple[int, ...] = ()
    activation: Activation = "tanh"
    embeddings: tuple[Embedding, ...] = ()

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"The activation must be one of {', '.join(ACTIVATIONS)}.")
        if self.inputs < 1:
            raise ValueError("The network has no input column.")
        if self.outputs < 1:
            raise ValueError("The network has no output.")
        if len(self.hidden) > MAX_LAYERS:
            raise ValueError(f"A network has at most {MAX_LAYERS} hidden layers.")
        if any(not 1 <= width <= MAX_WIDTH for width in self.hidden):
            raise ValueError(f"A hidden layer has 1 to {MAX_WIDTH} units.")
        if any(e.size < 1 or e.width < 1 for e in self.embeddings):
            raise ValueError("An embedding has at least one place and one number.")
        if self.parameters > MAX_PARAMETERS:
            raise ValueError(f"A network has at most {MAX_PARAMETERS} weights.")

    @property
    def inputs(self) -> int:
        """Width of the first dense layer's input: features, then embeddings."""
        return self.features + sum(e.width for e in self.embeddings)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Weight names and shapes, in the order of the flat vector."""
        shapes: dict[str, tuple[int, ...]] = {}
        for k, embedding in enumerate(self.embeddings):
            shapes[f"embedding_{k}/table"] = (embedding.size, embedding.width)
        widths = [self.inputs, *self.hidden, self.outputs]
        for layer, (wide, out) in enumerate(zip(widths, widths[1:], strict=False)):
            shapes[f"dense_{layer}/kernel"] = (wide, out)
            shapes[f"dense_{layer}/bias"] = (out,)
        return shapes

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    def initial_vector(self, *, seed: int | None) -> NDArray[np.float32]:
        """Glorot-uniform kernels, small embeddings, zero biases, zero last layer.

        With a zero last layer the first predictions are all equal, and no noise has
        to undo a random start. The seed is no secret: nothing here sees data.
        """
        generator = np.random.default_rng(seed)
        last = f"dense_{len(self.hidden)}/kernel"
        parts = []
        for name, shape in self.shapes.items():
            if name.endswith("bias") or name == last:
                part = np.zeros(shape)
            elif name.startswith("embedding"):
                part = generator.normal(scale=shape[1] ** -0.5, size=shape)
            else:
                bound = math.sqrt(6 / (shape[0] + shape[1]))
                part = generator.uniform(-bound, bound, size=shape)
            parts.append(part.ravel())
        return np.concatenate(parts).astype(np.float32)

    def unpack(self, vector: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The named weights of a flat vector (views)."""
        weights, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            weights[name] = vector[start : start + size].reshape(shape)
            start += size
        return weights

    def pack(self, weights: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """The flat vector of named weights. Raises ValueError on another shape."""
        for name, shape in self.shapes.items():
            if name not in weights or weights[name].shape != shape:
                raise ValueError(f"The weights {name} are missing or misshapen.")
        return np.concatenate(
            [np.asarray(weights[n], dtype=np.float32).ravel() for n in self.shapes]
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "features": self.features,
            "embeddings": [[e.size, e.width] for e in self.embeddings],
            "layers": [
                {"type": "dense", "units": width, "activation": self.activation}
                for width in self.hidden
            ]
            + [{"type": "dense", "units": self.outputs, "activation": "linear"}],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Architecture:
        """Read an architecture. Raises ValueError for any layer not known here."""
        if stored.get("schema") != 1:
            raise ValueError("The architecture is of an unknown schema.")
        layers = stored["layers"]
        hidden, activation = parse_hidden(layers[:-1])
        outputs, _ = parse_hidden(layers[-1:], activations=("linear",))
        return cls(
            features=int(stored["features"]),
            outputs=outputs[0],
            hidden=hidden,
            activation=activation or "tanh",
            embeddings=tuple(
                Embedding(size=int(size), width=int(width))
                for size, width in stored["embeddings"]
            ),
        )


def parse_hidden(
    layers: Sequence[int | Mapping[str, Any]],
    *,
    activations: Sequence[str] = ACTIVATIONS,
) -> tuple[tuple[int, ...], Activation | None]:
    """Widths and the one activation of declared layers: sizes or dense-layer objects.

    Raises ValueError for a layer that mixes examples and for any unknown layer.
    """
    widths: list[int] = []
    found: set[str] = set()
    for position, layer in enumerate(layers, start=1):
        if isinstance(layer, bool):
            raise ValueError(f"Layer {position} must be a size or an object.")
        if isinstance(layer, int):
            widths.append(layer)
            continue
        if not isinstance(layer, Mapping):
            raise ValueError(f"Layer {position} must be a size or an object.")
        kind = str(layer.get("type", "")).lower()
        if kind in _MIXING_LAYERS:
            raise ValueError(
                f"Layer {position}: batch normalization mixes the rows of a batch, so "
                "one row's influence cannot be bounded. Leave it out."
            )
        if kind != "dense":
            raise ValueError(f"Layer {position}: only dense layers are supported.")
        unknown = set(layer) - {"type", "units", "activation"}
        if unknown:
            raise ValueError(
                f"Layer {position} has unknown settings: {', '.join(sorted(unknown))}."
            )
        units = layer.get("units")
        if not isinstance(units, int) or isinstance(units, bool):
            raise ValueError(f"Layer {position}: units must be a whole number.")
        widths.append(units)
        activation = layer.get("activation", activations[0])
        if activation not in activations:
            raise ValueError(
                f"Layer {position}: the activation must be one of "
                f"{', '.join(activations)}."
            )
        found.add(activation)
    if len(found) > 1:
        raise ValueError("All hidden layers must have the same activation.")
    return tuple(widths), cast("Activation | None", next(iter(found), None))
