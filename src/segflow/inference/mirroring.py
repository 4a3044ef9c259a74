"""Averaging over mirrored copies of the input. Source: method.md section 16."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from segflow.recipes.inference import Axis

__all__ = ["mirrored_mean"]

#: The last axes of a batch.
_AXES: Final[tuple[Axis, ...]] = ("z", "y", "x")


def mirrored_mean(
    network: Callable[[Tensor], Tensor], batch: Tensor, *, mirroring: bool | Sequence[Axis] = True
) -> Tensor:
    """The mean output over every combination of mirrored spatial axes, each mirrored back.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        batch: (b, c, spatial), 2 or 3 spatial axes.
        mirroring: Mirror all axes, none, or those named; z is passed over where there are two.

    Returns:
        (b, k, spatial).

    Source: method.md section 16.
    """
    chosen = _AXES if mirroring is True else mirroring or ()
    mirrored = [
        batch.ndim + i for i, axis in enumerate(_AXES, start=-3) if axis in chosen and batch.ndim + i > 1
    ]
    combinations = [axes for n in range(len(mirrored) + 1) for axes in itertools.combinations(mirrored, n)]
    total = network(batch)
    for axes in combinations[1:]:
        total = total + torch.flip(network(torch.flip(batch, axes)), axes)
    return total / len(combinations)
