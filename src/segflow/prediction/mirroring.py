"""Mirrored copies of a patch, and the mean of what a network says of them. Source: method.md section 16."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Final

import torch
from torch import Tensor

from segflow.recipes.inference import Axis

__all__ = ["Network", "mirrored_mean", "mirrorings"]

#: (b, c, spatial) to logits (b, k, spatial).
Network = Callable[[Tensor], Tensor]

#: The last axes of a batch.
_AXES: Final[tuple[Axis, ...]] = ("z", "y", "x")


def mirrored_mean(
    network: Network, batch: Tensor, *, mirroring: bool | Sequence[Axis] = True, at_a_time: int = 1
) -> Tensor:
    """The mean output over every combination of mirrored spatial axes (all, none, or those named), each mirrored back.

    The batch has 2 or 3 spatial axes; z is ignored in 2D. The network is given
    `at_a_time` combinations in one batch.
    """
    combinations = mirrorings(batch.ndim - 2, mirroring=mirroring)

    def outputs() -> Iterator[Tensor]:
        for start in range(0, len(combinations), at_a_time):
            some = combinations[start : start + at_a_time]
            mirrored = network(torch.cat([torch.flip(batch, axes) for axes in some]))
            yield from map(torch.flip, mirrored.chunk(len(some)), some)

    return reduce(torch.add, outputs()) / len(combinations)


def mirrorings(dimensions: int, *, mirroring: bool | Sequence[Axis]) -> list[tuple[int, ...]]:
    """All combinations of the mirrored axes of a patch, each counted from its last axis (-1); no axis comes first."""
    chosen = _AXES if mirroring is True else mirroring or ()
    mirrored = [i for i, axis in enumerate(_AXES, start=-3) if axis in chosen and i >= -dimensions]
    return [axes for n in range(len(mirrored) + 1) for axes in itertools.combinations(mirrored, n)]
