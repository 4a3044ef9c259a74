"""Filling the holes of a mask: what `scipy.ndimage.binary_fill_holes` does, several times faster on large volumes.

Source: method.md section 4 for the rule; the algorithm is ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Mask

__all__ = ["fill_holes"]


def fill_holes(mask: Mask) -> Mask:
    """Add the voxels that no path of face neighbours outside the mask joins to the border.

    Args:
        mask: (z, y, x).

    Returns:
        A new mask.

    Source: method.md section 4.
    """
    # A rim of True stands for the end of the array, so that a step never leaves it.
    free = np.pad(~mask, 1, constant_values=False)
    reached = _border(free)
    for axis in (0, 1):
        _sweep(np.moveaxis(free, axis, 0), np.moveaxis(reached, axis, 0))
    _spread(free, reached)
    inside = (slice(1, -1),) * 3
    return ~reached[inside]


def _border(free: Mask) -> Mask:
    """The free voxels of the outermost layer."""
    reached = np.zeros_like(free)
    for axis in range(3):
        for layer in (1, -2):
            place = (slice(None),) * axis + (layer,)
            reached[place] = free[place]
    return reached


def _sweep(free: Mask, reached: Mask) -> None:
    """Go on from reached voxels along straight lines of the first axis: most of an image's surroundings at once."""
    for order in (range(1, len(free)), range(len(free) - 2, -1, -1)):
        before = order[0] - order.step
        for here in order:
            reached[here] |= free[here] & reached[before]
            before = here


def _spread(free: Mask, reached: Mask) -> None:
    """Go on step by step to what no straight line reaches."""
    steps = np.array([sign * stride for stride in free.strides for sign in (1, -1)])  # one byte a voxel
    flat_free, flat_reached = free.ravel(), reached.reshape(-1)
    found = _next_to(free, reached)
    while len(found):
        flat_reached[found] = True
        neighbours = (found[:, None] + steps).ravel()
        found = np.unique(neighbours[flat_free[neighbours] & ~flat_reached[neighbours]])


def _next_to(free: Mask, reached: Mask) -> NDArray[np.intp]:
    """Flat indices of free voxels that are not reached but have a neighbour that is; a slice at a time."""
    rows, size = [], free[0].size
    for z in range(1, len(free) - 1):
        here = reached[z]
        near = reached[z - 1] | reached[z + 1]
        near[1:] |= here[:-1]
        near[:-1] |= here[1:]
        near[:, 1:] |= here[:, :-1]
        near[:, :-1] |= here[:, 1:]
        near &= free[z] & ~here
        rows.append(np.flatnonzero(near) + z * size)
    return np.concatenate(rows)
