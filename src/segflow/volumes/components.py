"""Connected components of label maps."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy import ndimage

from segflow.contracts.arrays import LabelMap, Mask

__all__ = ["keep_largest", "largest_components"]


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
