"""Cutting an image to its non-zero box, and putting a result back. Source: method.md section 4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import Image, LabelMap, Mask, Shape3

__all__ = ["Box", "bounding_box", "crop", "mark_outside", "nonzero_mask", "uncrop"]

#: Half-open (start, stop) per axis.
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

OUTSIDE = -1  # label of voxels that are background and outside the non-zero mask


def nonzero_mask(image: Image) -> Mask:
    """Voxels where any channel is not zero, with holes filled.

    Args:
        image: (c, z, y, x).

    Returns:
        (z, y, x).

    Source: method.md section 4.
    """
    mask = np.any(image != 0, axis=0)
    if mask.all():
        return mask
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)


def bounding_box(mask: Mask) -> Box:
    """The tight box around the true voxels; the whole array if there are none.

    Args:
        mask: (z, y, x).

    Returns:
        Half-open (start, stop) per axis.

    Source: method.md section 4.
    """
    if not mask.any():
        return _box((0, size) for size in mask.shape)
    projections = (mask.any(axis=(1, 2)), mask.any(axis=(0, 2)), mask.any(axis=(0, 1)))
    hits = (np.flatnonzero(projection) for projection in projections)
    return _box((int(hit[0]), int(hit[-1]) + 1) for hit in hits)


def crop(array: NDArray[Any], box: Box) -> NDArray[Any]:
    """Cut the last three axes to a box.

    Args:
        array: (..., z, y, x).
        box: Half-open (start, stop) per axis.

    Returns:
        A view.

    Source: method.md section 4.
    """
    index: tuple[Any, ...] = (..., *(slice(start, stop) for start, stop in box))
    return array[index]


def mark_outside(labels: LabelMap, mask: Mask) -> LabelMap:
    """Set background voxels outside the mask to -1.

    Args:
        labels: (z, y, x), signed.
        mask: (z, y, x).

    Returns:
        A new label map.

    Source: method.md section 4.
    """
    return np.where((labels == 0) & ~mask, np.asarray(OUTSIDE, labels.dtype), labels)


def uncrop(array: NDArray[Any], box: Box, shape: Shape3, fill: float = 0) -> NDArray[Any]:
    """Put a cropped array back into a full-size one; the inverse of `crop`.

    Args:
        array: (..., z, y, x), of the box's size.
        box: Half-open (start, stop) per axis.
        shape: Spatial shape of the result.
        fill: Value outside the box.

    Returns:
        (..., *shape), of the same type.

    Source: method.md section 17.
    """
    if array.shape[-3:] == tuple(shape):
        return array
    whole = np.full((*array.shape[:-3], *shape), fill, dtype=array.dtype)
    crop(whole, box)[...] = array
    return whole


def _box(edges: Any) -> Box:
    first, second, third = edges
    return (first, second, third)
