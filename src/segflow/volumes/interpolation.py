"""Resizing along one axis as a matrix product, and of a few slices of a volume axis by axis.

Spline interpolation is linear and separable, so resizing a volume is one small matrix per axis. The matrices are read
off `scipy.ndimage.zoom` (half-pixel grid, edge voxels repeated) by resizing the identity. They are banded: a new voxel
depends on the few old ones around it. Source: method.md section 8.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Band",
    "Neighbours",
    "bands",
    "linear_neighbours",
    "nearest_index",
    "resize_depth",
    "resize_planes",
]


_NEGLIGIBLE = 1e-10  # matrix entries below this become 0: products with them may be denormal, and slow
_ROWS = 24  # new voxels per band: few enough that few entries are 0, enough for a fast product
_KEPT = 64  # matrices kept in memory


@dataclass(frozen=True)
class Band:
    """Some rows of a resizing matrix, without the columns that are zero in all of them.

    Attributes:
        new: The rows: voxels of the result.
        old: The columns: voxels they are made from.
        weights: (rows, columns), float32.
    """

    new: slice
    old: slice
    weights: NDArray[np.float32]

    @property
    def is_identity(self) -> bool:
        """Each new voxel is the old one at its place."""
        n_new, n_old = self.weights.shape
        return n_new == n_old and bool((self.weights == np.eye(n_new)).all())


@dataclass(frozen=True)
class Neighbours:
    """Linear interpolation along an axis: each new voxel lies between two old ones.

    Attributes:
        low, high: Indices of the two; equal where the new voxel's centre is that of an old one, or beyond the edge.
        low_weight, high_weight: Float64, as scipy computes them; `high_weight` is 0 where the two are equal.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    low_weight: NDArray[np.float64]
    high_weight: NDArray[np.float64]


@lru_cache(maxsize=_KEPT)
def bands(size: int, new_size: int, order: int, rows: int = _ROWS) -> tuple[Band, ...]:
    """The matrix that resizes an axis by a spline of order 1 or 3 (0: the nearest voxel), in bands of `rows` rows."""
    matrix = _matrix(size, new_size, order).astype(np.float32)
    found = []
    for start in range(0, new_size, rows):
        new = slice(start, min(start + rows, new_size))
        used = np.flatnonzero(matrix[new].any(axis=0))
        old = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(matrix[new, old])
        weights.setflags(write=False)
        found.append(Band(new, old, weights))
    return tuple(found)


@lru_cache(maxsize=_KEPT)
def linear_neighbours(size: int, new_size: int) -> Neighbours:
    """Between which old voxels the new ones of an axis lie."""
    matrix = _matrix(size, new_size, 1)
    used = matrix != 0
    low = used.argmax(axis=1)
    high = size - 1 - used[:, ::-1].argmax(axis=1)
    rows = np.arange(new_size)
    return Neighbours(low, high, matrix[rows, low], np.where(low == high, 0.0, matrix[rows, high]))


@lru_cache(maxsize=_KEPT)
def nearest_index(size: int, new_size: int) -> NDArray[np.intp]:
    """The old voxel nearest to each new voxel's centre, (new_size,); halves go up."""
    # This order of operations rounds as scipy does, so that voxels halfway between two agree.
    centres = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    index = np.clip(np.floor(centres + 0.5).astype(np.intp), 0, size - 1)
    index.setflags(write=False)
    return index


def _matrix(size: int, new_size: int, order: int) -> NDArray[np.float64]:
    """(new_size, size): column j is the resized unit impulse at j."""
    if size == new_size:
        return np.eye(size)
    if order == 0:
        return np.eye(size)[nearest_index(size, new_size)]
    from scipy import ndimage  # noqa: PLC0415  its import takes longer than preparing a small case

    columns = [
        ndimage.zoom(impulse, new_size / size, order=order, mode="nearest", grid_mode=True)
        for impulse in np.eye(size)
    ]
    matrix = np.stack(columns, axis=1)
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
    matrix.setflags(write=False)
    return matrix


def resize_depth(planes: NDArray[Any], band: Band) -> NDArray[np.float32]:
    """The new planes (z', y, x) of a band of the first axis, from its old planes (z, y, x).

    They are the old planes themselves, as float32, if the band changes nothing.
    """
    slab = np.ascontiguousarray(planes, np.float32)
    if band.is_identity:
        return slab
    return (band.weights @ slab.reshape(len(slab), -1)).reshape(-1, *slab.shape[1:])


def resize_planes(
    planes: NDArray[np.float32], shape: Sequence[int], orders: Sequence[int]
) -> NDArray[np.float32]:
    """Resize the last two axes of planes (z, y, x) by splines; the planes themselves if nothing changes."""
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
