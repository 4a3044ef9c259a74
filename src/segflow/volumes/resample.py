"""Resampling of images, scores and label maps, and the grid they are brought to. Source: method.md section 8.

A volume is computed slab by slab: a few slices of the result, from the slices they depend on. So little memory is
needed beside the input and the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Mask, Shape3
from segflow.volumes.interpolation import (
    Band,
    Neighbours,
    bands,
    linear_neighbours,
    nearest_index,
    resize_depth,
    resize_planes,
)

__all__ = [
    "ScoreGrid",
    "resample_image",
    "resample_labels",
    "resample_labels_nearest",
    "resampled_shape",
    "separate_axis",
]

ANISOTROPY_RATIO = 3.0  # coarsest / finest spacing above which the coarse axis is treated separately
IMAGE_ORDER = 3
_IN_PLANE = (IMAGE_ORDER, IMAGE_ORDER)
_LINEAR, _NEAREST = 1, 0
_SLICES = 16  # of a label map's result, at a time
_CORNERS = tuple(product((False, True), repeat=3))  # in the order in which scipy adds them up


def resampled_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], target_spacing_mm: Sequence[float]
) -> tuple[int, ...]:
    """The shape of an array after resampling: rounded half to even, and at least 1, so that a single slice survives.

    Source: method.md section 8.1.
    """
    axes = zip(spacing_mm, target_spacing_mm, shape, strict=True)
    return tuple(max(1, round(old / new * size)) for old, new, size in axes)


def separate_axis(
    spacing_mm: Sequence[float], target_spacing_mm: Sequence[float], *, allowed: bool = True
) -> int | None:
    """The axis so coarse that it is not interpolated along.

    None if spacing is nearly isotropic, if the coarsest spacing is shared by several axes, or if no axis is `allowed`
    to be treated so. The spacing of the array decides, or if it is nearly isotropic, the one after resampling.

    Source: method.md section 8.2.
    """
    for candidate in (spacing_mm, target_spacing_mm) if allowed else ():
        coarsest = max(candidate)
        if coarsest / min(candidate) > ANISOTROPY_RATIO:
            axes = [axis for axis, value in enumerate(candidate) if value == coarsest]
            return axes[0] if len(axes) == 1 else None
    return None


def resample_image(channel: NDArray[np.float32], out: NDArray[np.float32], axis: int | None) -> None:
    """Resize a channel by third-order splines, clipped to its own range (or, slice by slice, to the slice's).

    Args:
        channel: (z, y, x).
        out: Filled with the result, whose shape it has; with the channel itself if that is the channel's own.
        axis: Axis to treat separately (slice by slice, nearest neighbour along it), or None.

    Source: method.md sections 8.2, 8.3.
    """
    if channel.shape == out.shape:
        out[...] = channel
    elif axis is None:
        limits = channel.min(), channel.max()
        for band in bands(len(channel), len(out), IMAGE_ORDER):
            slab = resize_depth(channel[band.old], band)
            np.clip(resize_planes(slab, out.shape[1:], _IN_PLANE), *limits, out=out[band.new])
    else:
        _resize_slices(np.moveaxis(channel, axis, 0), np.moveaxis(out, axis, 0))


def _resize_slices(slices: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Resize each slice by itself; along the first axis take the nearest."""
    index = nearest_index(len(slices), len(out))
    for new, old in enumerate(index):
        if new and old == index[new - 1]:
            out[new] = out[new - 1]
            continue
        plane = np.ascontiguousarray(slices[old : old + 1], np.float32)
        resized = resize_planes(plane, out.shape[1:], _IN_PLANE)
        np.clip(resized, plane.min(), plane.max(), out=out[new : new + 1])


@dataclass(frozen=True, kw_only=True)
class ScoreGrid:
    """Linear resizing of logits or probabilities from one grid to another, some planes of the result at a time.

    Attributes:
        shape: Old shape.
        new_shape: New shape.
        axis: Axis to treat separately: nearest neighbour along it (`separate_axis`), or None.
    """

    shape: Shape3
    new_shape: Shape3
    axis: int | None

    @property
    def _orders(self) -> tuple[int, int, int]:
        z, y, x = (_NEAREST if axis == self.axis else _LINEAR for axis in range(3))
        return z, y, x

    def bands(self, planes: int) -> tuple[Band, ...]:
        """Groups of this many new planes, in order, and the old planes that each is made from."""
        return bands(self.shape[0], self.new_shape[0], self._orders[0], planes)

    def resize(self, planes: NDArray[Any], band: Band) -> NDArray[np.float32]:
        """The new planes (z', y', x') of a group, float32, from its old planes (z, y, x) of any floating-point type.

        They are the old planes themselves if nothing changes.
        """
        return resize_planes(resize_depth(planes, band), self.new_shape[1:], self._orders[1:])


def resample_labels_nearest(labels: LabelMap, shape: Shape3) -> LabelMap:
    """Give every new voxel the label of the old one nearest to its centre; halfway between two, of the upper one.

    Args:
        labels: (z, y, x).
        shape: Spatial shape of the result.

    Returns:
        (*shape), of the same type.

    Source: method.md section 8.3, order 0.
    """
    return labels[np.ix_(*(nearest_index(old, new) for old, new in zip(labels.shape, shape, strict=True)))]


def resample_labels(labels: LabelMap, shape: Shape3, axis: int | None) -> LabelMap:
    """Resize each label's indicator linearly; the highest wins, ties go to the nearest voxel's label.

    Scores are added up in scipy's order, so that rounding, and with it every tie, is as in the method.

    Args:
        labels: (z, y, x).
        shape: Spatial shape of the result.
        axis: Axis to treat separately (slice by slice, nearest neighbour along it), or None.

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
