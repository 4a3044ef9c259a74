"""Resampling of label maps.

Each label's indicator would be resized linearly, and the highest score win. Between voxels of one label that is this
label, so scores are computed only where the voxels around a new one differ. The time does not depend on the number of
labels. Source: method.md section 8.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Mask, Shape3
from segflow.volumes.interpolation import Neighbours, linear_neighbours, nearest_index

__all__ = ["resample_labels"]

_SLICES = 16  # of the result, at a time
_CORNERS = tuple(product((False, True), repeat=3))  # in the order in which scipy adds them up


def resample_labels(labels: LabelMap, shape: Shape3, axis: int | None) -> LabelMap:
    """Resize each label's indicator linearly; the highest wins, ties go to the nearest voxel's label.

    Scores are added up in scipy's order, so that rounding, and with it every tie, is as in the method.

    Args:
        labels: (z, y, x).
        shape: Spatial shape of the result.
        axis: Axis to treat apart (slice by slice, nearest neighbour along it), or None.

    Returns:
        (*shape), of the same type; the input itself if nothing changes.

    Source: method.md section 8.4 (the rule as released today).
    """
    if labels.shape == tuple(shape):
        return labels
    if axis is not None:
        labels = np.take(labels, nearest_index(labels.shape[axis], shape[axis]), axis)
    axes = [linear_neighbours(old, new) for old, new in zip(labels.shape, shape, strict=True)]
    nearest = [nearest_index(old, new) for old, new in zip(labels.shape, shape, strict=True)]
    resized = np.empty(shape, labels.dtype)
    for start in range(0, shape[0], _SLICES):
        rows = slice(start, start + _SLICES)
        out = resized[rows]
        out[...], mixed = _agreed(labels, rows, axes)
        for z, y, x in _voxels(mixed):
            voxels = (z + start, y, x)
            close = labels[tuple(index[voxel] for index, voxel in zip(nearest, voxels, strict=True))]
            out[z, y, x] = _winners(*_corners(labels, voxels, axes), close)
    return resized


def _agreed(labels: LabelMap, rows: slice, axes: list[Neighbours]) -> tuple[LabelMap, Mask]:
    """Some slices of the result where all voxels around agree, and where they do not."""
    low = high = labels
    for axis, near in enumerate(axes):
        first, second = (near.low[rows], near.high[rows]) if axis == 0 else (near.low, near.high)
        low, high = (
            chosen(np.take(array, first, axis), np.take(array, second, axis))
            for chosen, array in ((np.minimum, low), (np.maximum, high))
        )
    return low, low != high


def _voxels(mixed: Mask) -> Iterator[tuple[NDArray[np.intp], ...]]:
    """Coordinates of the mixed voxels, slice by slice to bound the memory."""
    for z, plane in enumerate(mixed):
        y, x = np.nonzero(plane)
        if len(y):
            yield np.full_like(y, z), y, x


def _corners(
    labels: LabelMap, voxels: tuple[NDArray[np.intp], ...], axes: list[Neighbours]
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Labels and weights (8, n) of the old voxels around new ones."""
    index = [(near.low[v], near.high[v]) for near, v in zip(axes, voxels, strict=True)]
    weight = [(near.low_weight[v], near.high_weight[v]) for near, v in zip(axes, voxels, strict=True)]
    found = np.stack([labels[index[0][z], index[1][y], index[2][x]] for z, y, x in _CORNERS])
    weights = np.stack([weight[0][z] * weight[1][y] * weight[2][x] for z, y, x in _CORNERS])
    return found, weights


def _winners(
    corners: NDArray[np.integer], weights: NDArray[np.float64], nearest: NDArray[np.integer]
) -> NDArray[np.integer]:
    """The label of the highest score: the nearest voxel's if it is among them, else the lowest."""
    best = np.zeros(len(nearest))
    winner = np.full(len(nearest), np.iinfo(corners.dtype).max, corners.dtype)
    for candidate in corners:
        score = _score(candidate, corners, weights)
        better = (score > best) | ((score == best) & (candidate < winner))
        winner[better] = candidate[better]
        np.maximum(best, score, out=best)
    return np.where(_score(nearest, corners, weights) == best, nearest, winner)


def _score(
    label: NDArray[np.integer], corners: NDArray[np.integer], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of the weights of the corners that carry a label."""
    score = np.zeros(len(label))
    for corner, weight in zip(corners, weights, strict=True):
        score += np.where(corner == label, weight, 0.0)
    return score
