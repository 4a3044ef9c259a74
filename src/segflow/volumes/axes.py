"""Reordering of spatial axes, so that the axis of coarsest spacing comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["reorder", "transpose_spatial"]

T = TypeVar("T")


def reorder(values: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    """Pick `values` (one per axis) in the order of `order`.

    Args:
        values: One entry per spatial axis.
        order: Source axis of each target axis.

    Returns:
        As many entries as `order`.

    Source: method.md section 6.2.
    """
    return tuple(values[axis] for axis in order)


def transpose_spatial(array: NDArray[Any], order: Sequence[int]) -> NDArray[Any]:
    """Reorder the last three axes of an array.

    Args:
        array: (..., z, y, x).
        order: Source axis of each target axis, a permutation of 0, 1, 2.

    Returns:
        A view, (..., a, b, c).

    Source: method.md section 6.2.
    """
    leading = array.ndim - len(order)
    return np.transpose(array, (*range(leading), *(leading + axis for axis in order)))
