"""The data fingerprint: what planning knows of a data set. Source: method.md section 5."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Shape3, SpacingMm
from segflow.contracts.codec import Contract

__all__ = ["CaseExtent", "CaseMeasurement", "Fingerprint", "IntensityProperties"]


class CaseExtent(Contract):
    """How large a case is.

    Attributes:
        shape_after_crop: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        relative_size: Voxels after / before the crop.
    """

    shape_after_crop: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    relative_size: float


@dataclass(frozen=True)
class CaseMeasurement:
    """What the fingerprint needs of one case; it depends on no other case.

    `foreground` has the intensities (c, n) of all foreground voxels inside the crop, in C order, float32.
    """

    extent: CaseExtent
    foreground: NDArray[np.float32]


class IntensityProperties(Contract):
    """Statistics of one channel's foreground intensities, pooled over all cases."""

    max: float
    mean: float
    median: float
    min: float
    percentile_00_5: float
    percentile_99_5: float
    std: float


class Fingerprint(Contract):
    """dataset_fingerprint.json, in nnU-Net's format.

    Attributes:
        foreground_intensity_properties_per_channel: Keyed "0", "1", ...
        median_relative_size_after_cropping: Median over cases of voxels after / before the crop to non-zero.
        shapes_after_crop: Per case, voxels along z, y, x.
        spacings: Per case, millimetres along z, y, x.
    """

    foreground_intensity_properties_per_channel: dict[str, IntensityProperties]
    median_relative_size_after_cropping: float
    shapes_after_crop: tuple[Shape3, ...]
    spacings: tuple[SpacingMm, ...]
