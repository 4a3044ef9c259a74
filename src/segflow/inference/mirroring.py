"""Averaging over mirrored copies of the input. Source: method.md section 16."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["mirrored_mean"]


def mirrored_mean(network: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """The mean output over every combination of mirrored spatial axes, each mirrored back.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        batch: (b, c, spatial), 2 or 3 spatial axes.

    Returns:
        (b, k, spatial).

    Source: method.md section 16.
    """
    spatial = range(2, batch.ndim)
    combinations = [axes for n in range(batch.ndim - 1) for axes in itertools.combinations(spatial, n)]
    total = network(batch)
    for axes in combinations[1:]:
        total = total + torch.flip(network(torch.flip(batch, axes)), axes)
    return total / len(combinations)
