"""Voxels, volume and mean intensity of every class or region of a label map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from segflow.contracts.arrays import Image, LabelMap
from segflow.contracts.labels import Labels, members
from segflow.contracts.model import ClassStatistics
from segflow.metrics.overlap import target_key

__all__ = ["measure"]

_MM3_PER_ML = 1000


def measure(
    case: str, image: Image, found: LabelMap, labels: Labels, file_spacing_mm: Sequence[float]
) -> tuple[ClassStatistics, ...]:
    """One row per class or region, in the order of `labels.targets`.

    Args:
        case: Its identifier.
        image: (c, z, y, x), as read.
        found: (z, y, x) label map.
        labels: Classes or regions.
        file_spacing_mm: Along the axes of the file; empty if it is not known. Without 3, there is no volume.
    """
    voxel_ml = math.prod(file_spacing_mm) / _MM3_PER_ML if len(file_spacing_mm) == 3 else None
    rows = []
    for name, target in zip(labels.target_names, labels.targets, strict=True):
        inside = np.isin(found, members(target))
        n = int(np.count_nonzero(inside))
        row = ClassStatistics(
            case=case,
            target=target_key(target),
            name=name,
            voxels=n,
            volume_ml=None if voxel_ml is None else n * voxel_ml,
            mean_intensity=tuple(float(c[inside].mean(dtype=np.float64)) if n else None for c in image),
        )
        rows.append(row)
    return tuple(rows)
