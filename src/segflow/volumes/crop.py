"""Cutting an image to its non-zero box, and putting a result back. Source: method.md section 4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, LabelMap, Mask, Scores, Shape3
from segflow.volumes.holes import fill_holes

__all__ = [
    "Box",
    "bounding_box",
    "crop",
    "crop_mask",
    "mark_outside",
    "nonzero_voxels",
    "uncrop",
    "uncrop_probabilities",
]

#: Half-open (start, stop) per axis.
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

OUTSIDE = -1  # label of voxels that are background and outside the non-zero mask


def nonzero_voxels(image: Image) -> Mask:
    """Voxels where any channel is not zero.

    Args:
        image: (c, z, y, x).

    Returns:
        (z, y, x).

    Source: method.md section 4.
    """
    found = image[0] != 0
    for channel in image[1:]:
        found |= channel != 0
    return found


def crop_mask(mask: Mask) -> tuple[Box, Mask]:
    """Cut a mask to its box, then fill its holes: voxels that no path of face neighbours joins to the outside.

    Filling before the cut would give the same, and take longer.

    Args:
        mask: (z, y, x).

    Returns:
        The box, and the filled mask inside it.

    Source: method.md section 4.
    """
    box = bounding_box(mask)
    inside = crop(mask, box)
    # An empty mask keeps its extent: there is nothing to fill.
    if inside.all() or not inside.any():
        return box, inside
    return box, fill_holes(inside)


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
    found = []
    while mask.ndim:  # then its shadow along the first axis, which tells of the others
        hits = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
        found.append((int(hits[0]), int(hits[-1]) + 1))
        mask = np.asarray(mask[slice(*found[-1])].any(axis=0))
    return _box(found)


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


def mark_outside(labels: LabelMap, mask: Mask) -> None:
    """Set background voxels outside the mask to -1, in place.

    Args:
        labels: (z, y, x), signed.
        mask: (z, y, x).

    Source: method.md section 4.
    """
    np.putmask(labels, (labels == 0) & ~mask, OUTSIDE)


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


def uncrop_probabilities(scores: Scores, box: Box, shape: Shape3, *, has_regions: bool) -> Scores:
    """Put cropped probabilities back: outside, the background is certain.

    Args:
        scores: (k, z, y, x), of the box's size.
        box: Half-open (start, stop) per axis.
        shape: Spatial shape of the result.
        has_regions: There is no background among the outputs: all are 0 outside.

    Returns:
        (k, *shape).

    Source: method.md section 17.
    """
    whole: Scores = uncrop(scores, box, shape)
    if not has_regions:
        whole[0] = uncrop(scores[0], box, shape, fill=1)
    return whole


def _box(edges: Any) -> Box:
    first, second, third = edges
    return (first, second, third)
