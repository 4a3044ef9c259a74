"""Distances between the surfaces of two masks, in mm: HD95, ASSD and normalised surface Dice.

A surface is a set of voxels, as in Metrics Reloaded: those of the mask that have a face neighbour outside it, or lie at
the image's edge. Distances are exact, between voxel centres, for any spacing. An axis along which the image has a
single voxel is left out, so that the surface of a flat image is its outline.

Ignored voxels are on no surface, and make none: an ignored neighbour does not count as outside.

Source: Maier-Hein et al. 2024 (Metrics Reloaded); for the normalised surface Dice Nikolov et al. 2018, with voxels in
place of surface elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import Mask, SpacingMm

__all__ = ["SurfaceDistances", "assd_mm", "hd95_mm", "nsd", "surface_distances", "surface_metrics"]

_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances from each voxel of one surface to the nearest of the other, in mm; infinite if that one is empty.

    Attributes:
        from_prediction: One per voxel of the prediction's surface.
        from_reference: One per voxel of the reference's.
    """

    from_prediction: NDArray[np.float64]
    from_reference: NDArray[np.float64]


def surface_distances(
    prediction: Mask, reference: Mask, spacing_mm: SpacingMm, ignored: Mask | None = None
) -> SurfaceDistances:
    """Measure the distances from each surface to the other; masks (z, y, x), `ignored` of voxels without annotation.

    Source: Maier-Hein et al. 2024, without ignored voxels.
    """
    thick = tuple(axis for axis, size in enumerate(prediction.shape) if size > 1) or (0,)
    flat = tuple(axis for axis in range(prediction.ndim) if axis not in thick)
    sampling = [spacing_mm[axis] for axis in thick]
    masks = [mask.squeeze(flat) for mask in (prediction, reference)]
    unknown = None if ignored is None else ignored.squeeze(flat)
    box = _box(masks[0] | masks[1])
    ours, theirs = (_surface(mask, box, unknown) for mask in masks)
    return SurfaceDistances(_distance_to(theirs, sampling)[ours], _distance_to(ours, sampling)[theirs])


def surface_metrics(
    distances: SurfaceDistances, names: Iterable[str], tolerance_mm: float
) -> dict[str, float]:
    """Some of "hd95", "assd" and "nsd", by name."""
    functions: dict[str, Callable[[SurfaceDistances], float]] = {
        "hd95": hd95_mm,
        "assd": assd_mm,
        "nsd": partial(nsd, tolerance_mm=tolerance_mm),
    }
    return {name: functions[name](distances) for name in names}


def hd95_mm(distances: SurfaceDistances) -> float:
    """The larger of the two directions' 95th percentile, mm; NaN (not infinity) if either surface is empty.

    Source: Maier-Hein et al. 2024.
    """
    both = (distances.from_prediction, distances.from_reference)
    if not all(one.size for one in both):
        return math.nan
    return max(float(np.percentile(one, _PERCENTILE)) for one in both)


def assd_mm(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance, mm: the mean over all voxels of both surfaces; NaN if either is empty.

    Source: Maier-Hein et al. 2024.
    """
    both = np.concatenate([distances.from_prediction, distances.from_reference])
    return float(both.mean()) if both.size and np.isfinite(both).all() else math.nan


def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice: the share of both surfaces' voxels within a tolerance of the other surface.

    It is 0 if only one of prediction and reference has a surface, and NaN if neither has.

    Source: Nikolov et al. 2018, with voxels in place of surface elements.
    """
    both = np.concatenate([distances.from_prediction, distances.from_reference])
    return float(np.count_nonzero(both <= tolerance_mm) / both.size) if both.size else math.nan


def _distance_to(surface: Mask, sampling: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each voxel to a surface, mm."""
    if not surface.any():
        return np.full(surface.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~surface, sampling=sampling)
    return distance


def _surface(mask: Mask, box: tuple[slice, ...], unknown: Mask | None) -> Mask:
    """The surface of the mask, which lies inside the box."""
    inside = mask[box]
    if unknown is None:
        return inside & ~ndimage.binary_erosion(inside)
    # An ignored voxel beside the box counts as more of the mask, so the box is widened by one where it can be.
    wide = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    narrow = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(box, wide, strict=True))
    eroded = ndimage.binary_erosion(mask[wide] | unknown[wide])[narrow]
    surface: Mask = inside & ~unknown[box] & ~eroded
    return surface


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box with all of the mask; empty if it is."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    return boxes[0] if boxes else (slice(0, 0),) * mask.ndim
