"""How often, and along which axes, a U-Net pools. Source: method.md section 6.4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Topology", "topology"]

POOL_SPACING_RATIO = 2.0  # an axis this much coarser than the finest does not pool (or convolve) yet


@dataclass(frozen=True)
class Topology:
    """Strides and kernels per stage, and the patch they divide.

    Attributes:
        strides: Per stage, per axis; the first is all 1.
        kernels: Per stage, per axis.
        patch: Voxels, a multiple of `divisor`.
        divisor: Product of the strides per axis.
    """

    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    patch: tuple[int, ...]
    divisor: tuple[int, ...]


def topology(
    spacing_mm: Sequence[float], size: Sequence[float], *, min_edge: int, max_poolings: int | None = None
) -> Topology:
    """Pool every axis that is long enough and fine enough, until none is.

    Args:
        spacing_mm: Per axis (2 or 3).
        size: Voxels per axis; may be x.5.
        min_edge: Shortest edge a feature map may have.
        max_poolings: Along an axis; no limit if None.

    Returns:
        The stages, and `size` rounded up to what they divide.

    Source: method.md section 6.4; a limit is ours.
    """
    axes = range(len(size))
    spacing, current = list(spacing_mm), [float(value) for value in size]
    kernel, divisor = [1] * len(size), [1] * len(size)
    strides: list[tuple[int, ...]] = [(1,) * len(size)]
    kernels: list[tuple[int, ...]] = []
    most = math.inf if max_poolings is None else 2**max_poolings
    while pooled := _poolable_axes(
        spacing, [edge if d < most else 0 for edge, d in zip(current, divisor, strict=True)], min_edge
    ):
        if 1 in kernel:
            finest = min(spacing)
            kernel = [
                3 if k == 3 or spacing[a] / finest < POOL_SPACING_RATIO else 1 for a, k in enumerate(kernel)
            ]
        kernels.append(tuple(kernel))
        strides.append(tuple([2 if axis in pooled else 1 for axis in axes]))
        for axis in pooled:
            spacing[axis] *= 2
            current[axis] = math.ceil(current[axis] / 2)
            divisor[axis] *= 2
    kernels.append((3,) * len(size))
    patch = tuple([math.ceil(value / d) * d for value, d in zip(size, divisor, strict=True)])
    return Topology(tuple(strides), tuple(kernels), patch, tuple(divisor))


def _poolable_axes(spacing: Sequence[float], size: Sequence[float], min_edge: int) -> list[int]:
    long_enough = [axis for axis, value in enumerate(size) if value >= 2 * min_edge]
    if not long_enough:
        return []
    finest = min(spacing[axis] for axis in long_enough)
    fine = [axis for axis in long_enough if spacing[axis] / finest < POOL_SPACING_RATIO]
    if len(fine) == 1 and size[fine[0]] < 3 * min_edge:
        return []
    return fine
