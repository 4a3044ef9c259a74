"""Resampling of images and scores, and the grid they are brought to.

A volume is made slab by slab: a few slices of the result, from the slices they depend on. So the memory is that of the
input and of the result. Source: method.md section 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Scores, Shape3
from segflow.volumes.interpolation import bands, nearest_index

__all__ = ["resample_image", "resample_scores", "resampled_shape", "separate_axis"]

ANISOTROPY_RATIO = 3.0  # coarsest / finest spacing above which the coarse axis is treated apart
IMAGE_ORDER = 3
SCORE_ORDER = 1


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


def resample_image(channel: NDArray[np.float32], out: NDArray[np.float32], axis: int | None) -> None:
    """Resize a channel by third-order splines, clipped to its own range (or, slice by slice, to the slice's).

    Args:
        channel: (z, y, x).
        out: Filled with the result; its shape is the one wanted. Untouched values if that is the channel's own.
        axis: Axis to treat apart (slice by slice, nearest neighbour along it), or None.

    Source: method.md sections 8.2, 8.3.
    """
    _resize(channel, out, axis, IMAGE_ORDER)


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
        _resize(channel, out, axis, SCORE_ORDER)
    return resized


def _resize(volume: NDArray[Any], out: NDArray[np.float32], axis: int | None, order: int) -> None:
    if volume.shape == out.shape:
        out[...] = volume
    elif axis is None:
        limits = _limits(volume, order)
        for new, slab in _slabs(volume, len(out), order):
            _store(_in_plane(slab, out.shape[1:], order), out[new], limits)
    else:
        _resize_slices(np.moveaxis(volume, axis, 0), np.moveaxis(out, axis, 0), order)


def _resize_slices(slices: NDArray[Any], out: NDArray[np.float32], order: int) -> None:
    """Resize each slice by itself; along the first axis take the nearest."""
    index = nearest_index(len(slices), len(out))
    for new, old in enumerate(index):
        if new and old == index[new - 1]:
            out[new] = out[new - 1]
            continue
        plane = np.ascontiguousarray(slices[old : old + 1], np.float32)
        _store(_in_plane(plane, out.shape[1:], order), out[new : new + 1], _limits(plane, order))


def _slabs(volume: NDArray[Any], new_depth: int, order: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Some slices of the result at a time, resized along the first axis."""
    for band in bands(len(volume), new_depth, order):
        slab = np.ascontiguousarray(volume[band.old], np.float32)
        if new_depth != len(volume):
            slab = (band.weights @ slab.reshape(len(slab), -1)).reshape(-1, *slab.shape[1:])
        yield band.new, slab


def _in_plane(slab: NDArray[np.float32], shape: Sequence[int], order: int) -> NDArray[np.float32]:
    """Resize the last two axes of (z, y, x)."""
    depth, rows, columns = slab.shape
    new_rows, new_columns = shape
    if new_rows != rows:
        resized = np.empty((depth, new_rows, columns), np.float32)
        for band in bands(rows, new_rows, order):
            np.matmul(band.weights, slab[:, band.old], out=resized[:, band.new])
        slab = resized
    if new_columns != columns:
        flat = np.empty((depth * new_rows, new_columns), np.float32)
        lines = slab.reshape(-1, columns)
        for band in bands(columns, new_columns, order):
            np.matmul(lines[:, band.old], band.weights.T, out=flat[:, band.new])
        slab = flat.reshape(depth, new_rows, new_columns)
    return slab


def _limits(array: NDArray[Any], order: int) -> tuple[float, float] | None:
    """The range to keep within; none is needed where a spline cannot leave it."""
    return (array.min(), array.max()) if order > 1 else None


def _store(slab: NDArray[np.float32], out: NDArray[np.float32], limits: tuple[float, float] | None) -> None:
    if limits is None:
        out[...] = slab
    else:
        np.clip(slab, *limits, out=out)
