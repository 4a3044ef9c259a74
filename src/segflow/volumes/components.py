"""Connected components of label maps."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, Mask, SpacingMm
from segflow.volumes.holes import fill_holes

__all__ = ["fill_enclosed", "keep_largest", "largest_components", "remove_small", "voxel_mm3"]


def largest_components(mask: Mask) -> Mask:
    """The largest connected component of a mask, or all of them that share the largest size.

    Neighbours touch at faces, edges or corners (8 neighbours in 2D, 26 in 3D).

    Args:
        mask: Any number of axes.

    Returns:
        Mask of the same shape; empty if `mask` is.

    Source: method.md section 23.
    """
    kept = np.zeros(mask.shape, dtype=np.bool_)
    if not mask.any():
        return kept
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    everywhere = np.ones((3,) * mask.ndim, dtype=np.bool_)
    components, _ = ndimage.label(mask[box], structure=everywhere)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # background
    kept[box] = (sizes == sizes.max())[components]
    return kept


def keep_largest(label_map: LabelMap, labels: Collection[int]) -> LabelMap:
    """Set to background what lies outside the largest connected component of the given labels taken together.

    Args:
        label_map: Any number of axes.
        labels: Label values whose union is the mask; other voxels stay as they are.

    Returns:
        A new label map of the same shape and type.

    Source: method.md section 23.
    """
    mask = np.isin(label_map, list(labels))
    result: LabelMap = np.where(mask & ~largest_components(mask), 0, label_map).astype(label_map.dtype)
    return result


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

    Source: ours.
    """
    mask = np.isin(label_map, list(labels))
    result = label_map.copy()
    if not mask.any():
        return result
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    components, _ = ndimage.label(mask[box], structure=np.ones((3,) * mask.ndim, dtype=np.bool_))
    small = np.bincount(components.ravel()) * voxel_mm3(label_map.shape, spacing_mm) < min_volume_mm3
    small[0] = False  # background
    result[box][small[components]] = 0
    return result


def fill_enclosed(label_map: LabelMap, labels: Collection[int], fill: int) -> LabelMap:
    """Give a label to the background that the given labels, taken together, enclose.

    Enclosed is what no way by faces outside the mask joins to the image's edge. Other labels in there stay. In a flat
    image, ways lead within its plane.

    Args:
        label_map: (z, y, x).
        labels: Label values whose union is the mask.
        fill: The value to write.

    Returns:
        A new label map of the same shape and type.

    Source: ours.
    """
    mask = np.isin(label_map, list(labels))
    result = label_map.copy()
    if not mask.any():
        return result
    flat = tuple(axis for axis, size in enumerate(mask.shape) if size == 1)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = mask[box]
    filled = _fill_flat(inside, flat) if flat else fill_holes(inside)
    result[box][filled & (result[box] == 0)] = fill
    return result


def _fill_flat(mask: Mask, axes: tuple[int, ...]) -> Mask:
    """Fill holes without the axes that have a single voxel."""
    filled: Mask = np.expand_dims(ndimage.binary_fill_holes(mask.squeeze(axes)), axes)
    return filled


def voxel_mm3(shape: Sequence[int], spacing_mm: SpacingMm) -> float:
    """Volume of a voxel. An axis along which the image has a single voxel does not count: then it is an area, mm2.

    Args:
        shape: Of the image, along z, y, x.
        spacing_mm: Along z, y, x.

    Returns:
        Cubic millimetres.

    Source: ours.
    """
    return math.prod(mm for size, mm in zip(shape, spacing_mm, strict=True) if size > 1)
