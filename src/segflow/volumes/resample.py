"""Resampling of images, and the grid they are brought to.

A volume is made slab by slab: a few slices of the result, from the slices they depend on. So the memory is that of the
input and of the result. Source: method.md section 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segflow.volumes.banded import resize_depth, resize_planes
from segflow.volumes.interpolation import bands, nearest_index

__all__ = ["resample_image", "resampled_shape", "separate_axis"]

ANISOTROPY_RATIO = 3.0  # coarsest / finest spacing above which the coarse axis is treated apart
IMAGE_ORDER = 3
_IN_PLANE = (IMAGE_ORDER, IMAGE_ORDER)


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
