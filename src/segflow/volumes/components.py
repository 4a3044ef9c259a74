"""Connected components of label maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.volumes.crop import bounding_slices, fill_holes

__all__ = ["fill_enclosed", "keep_largest", "remove_small", "voxel_mm3"]

#: From sizes in voxels to which of them are too small.
_Rule = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


def keep_largest(label_map: LabelMap, labels: Collection[int]) -> LabelMap:
    """Set to background what lies outside the largest connected component of the given labels taken together.

    Neighbours touch at faces, edges or corners (26 neighbours; 8 in a flat image). Of components that share the largest
    size, all stay.

    Args:
        label_map: (z, y, x).
        labels: Label values whose union is the mask; other voxels stay as they are.

    Returns:
        A new label map of the same shape and type.

    Source: method.md section 23.
    """
    return _without_components(label_map, labels, lambda voxels: voxels < voxels.max())


def remove_small(
    label_map: LabelMap, labels: Collection[int], min_volume_mm3: float, spacing_mm: SpacingMm
) -> LabelMap:
    """Set to background the components, of the given labels taken together, that are smaller than a volume.

    Args:
        label_map: (z, y, x).
        labels: Label values whose union is the mask; other voxels stay as they are.
        min_volume_mm3: A component of just this volume stays; of a flat image, mm2.
        spacing_mm: Along z, y, x.

    Returns:
        A new label map of the same shape and type.
    """
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
    """Give a label to the background that the given labels, taken together, enclose.

    Enclosed is what no path of face neighbours outside the mask joins to the image's edge. Other labels in there stay.
    In a flat image, paths lie within its plane.

    Args:
        label_map: (z, y, x).
        labels: Label values whose union is the mask.
        fill: The value to write.

    Returns:
        A new label map of the same shape and type.
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
