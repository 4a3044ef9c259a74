"""Resampling of images, label maps and scores.

Spline resizing is linear and separable, so it is one small matrix per axis. The matrix is read off
`scipy.ndimage.zoom` (half-pixel grid, edge voxels repeated) by resizing the identity.
Source: method.md section 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import Image, LabelMap, Scores, Shape3

__all__ = ["resample_image", "resample_labels", "resample_scores", "resampled_shape", "separate_axis"]

ANISOTROPY_RATIO = 3.0  # coarsest / finest spacing above which the coarse axis is treated apart
IMAGE_ORDER = 3
SCORE_ORDER = 1
_NEGLIGIBLE = 1e-10  # matrix entries below this are denormals in the making, and slow
_TIE = 1e-9  # two label scores closer than this are equal: they are sums of the same few products


def resampled_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], target_spacing_mm: Sequence[float]
) -> tuple[int, ...]:
    """The shape an array has after resampling.

    Args:
        shape: Voxels per axis.
        spacing_mm: Of the array.
        target_spacing_mm: Wanted.

    Returns:
        Voxels per axis, rounded half to even; at least 1, so that a single slice survives.

    Source: method.md section 8.1.
    """
    axes = zip(spacing_mm, target_spacing_mm, shape, strict=True)
    return tuple(max(1, round(old / new * size)) for old, new, size in axes)


def separate_axis(spacing_mm: Sequence[float], target_spacing_mm: Sequence[float]) -> int | None:
    """The axis so coarse that it must not take part in interpolation.

    Args:
        spacing_mm: Of the array.
        target_spacing_mm: Wanted.

    Returns:
        The axis, or None if spacing is nearly isotropic or the coarsest spacing is shared by several axes.

    Source: method.md section 8.2.
    """
    for candidate in (spacing_mm, target_spacing_mm):
        coarsest = max(candidate)
        if coarsest / min(candidate) > ANISOTROPY_RATIO:
            axes = [axis for axis, value in enumerate(candidate) if value == coarsest]
            return axes[0] if len(axes) == 1 else None
    return None


def resample_image(image: Image, shape: Shape3, axis: int | None) -> Image:
    """Resize every channel by third-order splines, clipped to the channel's own range.

    Args:
        image: (c, z, y, x).
        shape: Spatial shape of the result.
        axis: Axis to treat apart (slice by slice, nearest neighbour along it), or None.

    Returns:
        (c, *shape), float32; the input itself if nothing changes.

    Source: method.md sections 8.2, 8.3.
    """
    if image.shape[1:] == tuple(shape):
        return image
    over = (0, 1, 2) if axis is None else tuple(a for a in range(3) if a != axis)
    resized = np.empty((len(image), *shape), np.float32)
    for channel, out in zip(image, resized, strict=True):
        low, high = channel.min(axis=over, keepdims=True), channel.max(axis=over, keepdims=True)
        if axis is not None:
            nearest = _nearest(channel.shape[axis], shape[axis])
            channel, low, high = (np.take(a, nearest, axis) for a in (channel, low, high))  # noqa: PLW2901
        np.clip(_resize(channel, shape, IMAGE_ORDER), low, high, out=out)
    return resized


def resample_scores(scores: Scores, shape: Shape3, axis: int | None) -> Scores:
    """Resize logits or probabilities linearly.

    Args:
        scores: (k, z, y, x).
        shape: Spatial shape of the result.
        axis: Axis to treat apart, or None.

    Returns:
        (k, *shape), float32; the input itself if nothing changes.

    Source: method.md sections 8.3, 17.
    """
    if scores.shape[1:] == tuple(shape):
        return scores
    resized = np.empty((len(scores), *shape), np.float32)
    for channel, out in zip(scores, resized, strict=True):
        source = (
            channel if axis is None else np.take(channel, _nearest(channel.shape[axis], shape[axis]), axis)
        )
        out[...] = _resize(source, shape, SCORE_ORDER)
    return resized


def resample_labels(labels: LabelMap, shape: Shape3, axis: int | None) -> LabelMap:
    """Resize each label's indicator linearly; the highest wins, ties go to the nearest voxel's label.

    Args:
        labels: (z, y, x).
        shape: Spatial shape of the result.
        axis: Axis to treat apart, or None.

    Returns:
        (*shape), of the same type; the input itself if nothing changes.

    Source: method.md section 8.4 (the rule as released today).
    """
    if labels.shape == tuple(shape):
        return labels
    if axis is not None:
        labels = np.take(labels, _nearest(labels.shape[axis], shape[axis]), axis)
    nearest = labels[np.ix_(*(_nearest(old, new) for old, new in zip(labels.shape, shape, strict=True)))]
    winner = np.zeros(shape, labels.dtype)
    best = np.zeros(shape, np.float64)
    own = np.zeros(shape, np.float64)  # score of the nearest voxel's label
    for value in np.unique(labels):
        score = _resize((labels == value).astype(np.float64), shape, SCORE_ORDER)
        higher = score > best + _TIE
        winner[higher] = value
        best[higher] = score[higher]
        np.copyto(own, score, where=nearest == value)
    return np.where((own >= best - _TIE) & (own > 0), nearest, winner)


def _resize(array: NDArray[Any], shape: Sequence[int], order: int) -> NDArray[Any]:
    """Apply one matrix per axis, the axis that shrinks most first."""
    axes = [axis for axis in range(array.ndim) if array.shape[axis] != shape[axis]]
    for axis in sorted(axes, key=lambda a: shape[a] / array.shape[a]):
        matrix = _matrix(array.shape[axis], shape[axis], order).astype(array.dtype, copy=False)
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array


@lru_cache(maxsize=64)
def _matrix(size: int, new_size: int, order: int) -> NDArray[np.float64]:
    """(new_size, size): column j is the resized unit impulse at j."""
    columns = [_zoom(impulse, new_size, order) for impulse in np.eye(size)]
    matrix = np.stack(columns, axis=1)
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0
    matrix.setflags(write=False)
    return matrix


def _zoom(line: NDArray[np.float64], new_size: int, order: int) -> NDArray[np.float64]:
    zoomed = ndimage.zoom(line, new_size / len(line), order=order, mode="nearest", grid_mode=True)
    return np.asarray(zoomed, np.float64)


@lru_cache(maxsize=64)
def _nearest(size: int, new_size: int) -> NDArray[np.intp]:
    """Index of the source voxel nearest to each new voxel's centre; rounds as scipy does, so ties agree."""
    centres = (np.arange(new_size) + 0.5) * (size / new_size) - 0.5
    index = np.clip(np.floor(centres + 0.5).astype(np.intp), 0, size - 1)
    index.setflags(write=False)
    return index
