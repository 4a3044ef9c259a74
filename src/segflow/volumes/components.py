"""Connected components of label maps (z, y, x), and the holes they enclose.

Each function takes a label map and the labels whose union is the mask, and returns a new map of the same shape and
type. Other voxels stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.volumes.crop import bounding_slices, fill_holes

__all__ = ["count_components", "fill_enclosed", "keep_largest", "remove_small", "voxel_mm3"]

#: From sizes in voxels to which of them are too small.
_Rule = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


def count_components(label_map: LabelMap, labels: Collection[int]) -> int:
    """Number of connected components of the mask, with the neighbours of `keep_largest`."""
    mask = np.isin(label_map, list(labels))
    if not mask.any():
        return 0
    _, count = ndimage.label(mask[bounding_slices(mask)], structure=np.ones((3,) * mask.ndim, np.bool_))
    return int(count)


def keep_largest(label_map: LabelMap, labels: Collection[int]) -> LabelMap:
    """Set to background all of the mask but its largest connected component.

    Neighbours touch at faces, edges or corners (26 neighbours; 8 in a flat image). Of components that share the largest
    size, all stay.

    Source: method.md section 23.
    """
    return _without_components(label_map, labels, lambda voxels: voxels < voxels.max())


def remove_small(
    label_map: LabelMap, labels: Collection[int], min_volume_mm3: float, spacing_mm: SpacingMm
) -> LabelMap:
    """Set to background the components of the mask below a volume; in a flat image, below an area in mm2."""
    mm3 = voxel_mm3(label_map.shape, spacing_mm)
    return _without_components(label_map, labels, lambda voxels: voxels * mm3 < min_volume_mm3)


def _without_components(label_map: LabelMap, labels: Collection[int], too_small: _Rule) -> LabelMap:
    mask = np.isin(label_map, list(labels))
    result = label_map.copy()
    if not mask.any():
        return result
    box = bounding_slices(mask)
    components, _ = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim, dtype=np.bool_))
    goes = np.zeros(components.max() + 1, dtype=np.bool_)
    goes[1:] = too_small(np.bincount(components.ravel())[1:])  # 0 is what is outside the mask
    result[box][goes[components]] = 0
    return result


def fill_enclosed(label_map: LabelMap, labels: Collection[int], fill: int) -> LabelMap:
    """Give the label `fill` to the background that the mask encloses; other labels in there stay.

    Enclosed is what no path of face neighbours outside the mask joins to the image's edge. In a flat image, paths lie
    within its plane.
    """
    mask = np.isin(label_map, list(labels))
    result = label_map.copy()
    if not mask.any():
        return result
    flat = tuple(axis for axis, size in enumerate(mask.shape) if size == 1)
    box = bounding_slices(mask)
    fill_mask = ndimage.binary_fill_holes if flat else fill_holes
    filled = np.expand_dims(fill_mask(mask[box].squeeze(flat)), flat)
    result[box][filled & (result[box] == 0)] = fill
    return result


def voxel_mm3(shape: Sequence[int], spacing_mm: SpacingMm) -> float:
    """Volume of a voxel, mm3. An axis along which the image has a single voxel does not count: then an area, mm2."""
    return math.prod(mm for size, mm in zip(shape, spacing_mm, strict=True) if size > 1)
