"""Resizing a slab of a volume, axis by axis, with banded matrices. Source: method.md section 8.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.volumes.interpolation import Band, bands

__all__ = ["resize_depth", "resize_planes"]


def resize_depth(planes: NDArray[Any], band: Band) -> NDArray[np.float32]:
    """The new planes of a band.

    Args:
        planes: The old planes it is made from, (z, y, x).
        band: Of the first axis.

    Returns:
        (z', y, x); the planes themselves, as float32, if the band changes nothing.

    Source: method.md section 8.3.
    """
    slab = np.ascontiguousarray(planes, np.float32)
    if band.is_identity:
        return slab
    return (band.weights @ slab.reshape(len(slab), -1)).reshape(-1, *slab.shape[1:])


def resize_planes(
    planes: NDArray[np.float32], shape: Sequence[int], orders: Sequence[int]
) -> NDArray[np.float32]:
    """Resize the last two axes.

    Args:
        planes: (z, y, x).
        shape: New y and x.
        orders: Of the splines along y and x.

    Returns:
        (z, *shape); the planes themselves if nothing changes.

    Source: method.md section 8.3.
    """
    depth, rows, columns = planes.shape
    new_rows, new_columns = shape
    if new_rows != rows:
        resized = np.empty((depth, new_rows, columns), np.float32)
        for band in bands(rows, new_rows, orders[0]):
            np.matmul(band.weights, planes[:, band.old], out=resized[:, band.new])
        planes = resized
    if new_columns != columns:
        flat = np.empty((depth * new_rows, new_columns), np.float32)
        lines = planes.reshape(-1, columns)
        for band in bands(columns, new_columns, orders[1]):
            np.matmul(lines[:, band.old], band.weights.T, out=flat[:, band.new])
        planes = flat.reshape(depth, new_rows, new_columns)
    return planes
