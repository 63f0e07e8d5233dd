"""Opacus: per-example gradients by hooks, and ghost clipping.

Runs in the peers' environment. Its `PrivacyEngine` with Poisson sampling, flat clipping
and its default (not its secure) noise; torch takes as many threads as there are cores.
The rows lie in one tensor and a batch is one indexing of it: Opacus' own way through
`TensorDataset` takes row by row and is several times slower.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
from opacus import PrivacyEngine
from torch import nn

from tests.benchmarks.dp_peers import Training, serve
from tests.benchmarks.dp_setting import (
    CLASSES,
    CLIP_NORM,
    FEATURES,
    HIDDEN,
    LEARNING_RATE,
    NOISE_MULTIPLIER,
    rows,
)

MODES = ("ghost", "hooks")


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Rows in memory, of which a loader may take many at once."""

    def __init__(self) -> None:
        features, target = rows()
        self._features = torch.from_numpy(features)
        self._target = torch.from_numpy(target).long()

    def __len__(self) -> int:
        return len(self._target)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self._features[index], self._target[index]

    __getitems__ = __getitem__


def network() -> nn.Sequential:
    widths = (FEATURES, *HIDDEN, CLASSES)
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training(batch: int, *, mode: str) -> Training:
    module = network()
    criterion: Any = nn.CrossEntropyLoss()
    private = PrivacyEngine().make_private(
        module=module,
        optimizer=torch.optim.Adam(module.parameters(), lr=LEARNING_RATE),
        criterion=criterion,
        data_loader=torch.utils.data.DataLoader(
            Rows(), batch_size=batch, collate_fn=lambda taken: taken
        ),
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=CLIP_NORM,
        grad_sample_mode=mode,
    )
    if mode == "ghost":
        model, optimizer, criterion, loader = private
    else:
        model, optimizer, loader = private

    def train(epochs: int) -> None:
        for _ in range(epochs):
            for features, target in loader:
                optimizer.zero_grad()
                criterion(model(features), target).backward()
                optimizer.step()

    train(1)
    return train


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve({f"opacus-{mode}": partial(training, mode=mode) for mode in MODES})
