"""Target spacing, axis order and median shape. Source: method.md sections 6.1-6.3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.reasons import SpacingReasons

__all__ = ["axis_order", "inverse_order", "median_shape_at", "target_spacing"]

ANISOTROPY_RATIO = 3.0  # coarsest axis over the others, in spacing and in voxels
COARSE_AXIS_PERCENTILE = 10
_TIE_BREAK_MM = 1e-5


def target_spacing(fingerprint: Fingerprint) -> SpacingReasons:
    """The spacing to which all cases are resampled: the median, finer along a coarse axis; with the reasons.

    Source: method.md section 6.1.
    """
    spacings = np.asarray(fingerprint.spacings)
    median = np.percentile(spacings, 50, axis=0)
    shape = np.percentile(np.asarray(fingerprint.shapes_after_crop), 50, axis=0)
    coarse = int(np.argmax(median))
    others = [axis for axis in range(3) if axis != coarse]
    finest_allowed = max(median[others])
    coarse_in_mm = median[coarse] > ANISOTROPY_RATIO * finest_allowed
    coarse_in_voxels = shape[coarse] * ANISOTROPY_RATIO < min(shape[others])
    low = np.percentile(spacings[:, coarse], COARSE_AXIS_PERCENTILE)
    target = median.copy()
    if coarse_in_mm and coarse_in_voxels:
        target[coarse] = low if low >= finest_allowed else finest_allowed + _TIE_BREAK_MM
    return SpacingReasons(
        target_mm=tuple(float(value) for value in target),
        median_mm=tuple(float(value) for value in median),
        coarse=coarse,
        times_coarser=float(median[coarse] / finest_allowed),
        times_shorter=float(min(shape[others]) / shape[coarse]),
        is_anisotropic=bool(coarse_in_mm and coarse_in_voxels),
        percentile_mm=float(low),
    )


def axis_order(spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """The source axis of each target axis: the one of coarsest spacing first, then the others in their order.

    Source: method.md section 6.2.
    """
    coarse = int(np.argmax(spacing_mm))
    first, second = (axis for axis in range(3) if axis != coarse)
    return (coarse, first, second)


def inverse_order(order: Sequence[int]) -> tuple[int, int, int]:
    """The permutation that undoes `order`. Source: method.md section 6.2."""
    first, second, third = (int(axis) for axis in np.argsort(order))
    return (first, second, third)


def median_shape_at(fingerprint: Fingerprint, spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """The median image shape once every case has a given spacing, along z, y, x; at least 1, may be x.5.

    Source: method.md section 6.3.
    """
    ratio = np.asarray(fingerprint.spacings) / np.asarray(spacing_mm)
    shapes = np.maximum(np.rint(ratio * np.asarray(fingerprint.shapes_after_crop)), 1)
    return tuple(float(value) for value in np.median(shapes, axis=0))
