"""The data fingerprint: one part per case, then pooled. Source: method.md section 5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.fingerprint import Fingerprint, IntensityProperties
from segflow.volumes.crop import bounding_box, crop, nonzero_mask

__all__ = ["CaseFingerprint", "describe_case", "pool_cases", "samples_per_case"]

TOTAL_SAMPLES = 10**8  # foreground intensities drawn from the whole data set, per channel
_SEED = 1234


@dataclass(frozen=True)
class CaseFingerprint:
    """One case's part.

    Attributes:
        shape_after_crop: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        relative_size: Voxels after / before the crop.
        intensities: (c, n) foreground intensities drawn with replacement; n = 0 without foreground.
    """

    shape_after_crop: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    relative_size: float
    intensities: NDArray[np.float32]


def samples_per_case(n_cases: int) -> int:
    """How many intensities are drawn from each case. Source: method.md section 5."""
    return TOTAL_SAMPLES // n_cases


def describe_case(raw: RawCase, n_samples: int) -> CaseFingerprint:
    """Measure one case.

    Args:
        raw: The case as read, with labels.
        n_samples: Intensities to draw per channel, with replacement, from a fixed seed.

    Returns:
        Its part of the fingerprint.

    Raises:
        DatasetError: The case has no labels.

    Source: method.md section 5 (the ignore label counts as foreground there, and here).
    """
    if raw.labels is None:
        raise DatasetError(f"case {raw.identifier}: no label file, so no foreground to measure")
    box = bounding_box(nonzero_mask(raw.image))
    image, labels = crop(raw.image, box), crop(raw.labels, box)
    foreground = labels > 0
    n_foreground = int(foreground.sum())
    random = np.random.RandomState(_SEED)
    drawn = n_samples if n_foreground else 0
    intensities = np.empty((len(image), drawn), np.float32)
    for channel, out in zip(image, intensities, strict=True):
        if n_foreground:
            out[...] = channel[foreground][random.randint(0, n_foreground, drawn)]
    z, y, x = labels.shape
    return CaseFingerprint((z, y, x), raw.geometry.spacing_mm, labels.size / raw.labels.size, intensities)


def pool_cases(parts: Iterable[CaseFingerprint], n_channels: int) -> Fingerprint:
    """Put the cases' parts together.

    Args:
        parts: In the order of the case identifiers.
        n_channels: Of the data set.

    Returns:
        The fingerprint.

    Raises:
        DatasetError: No case has any foreground.

    Source: method.md section 5.
    """
    shapes, spacings, sizes = [], [], []
    pools: list[list[NDArray[np.float32]]] = [[] for _ in range(n_channels)]
    for part in parts:
        shapes.append(part.shape_after_crop)
        spacings.append(part.spacing_mm)
        sizes.append(part.relative_size)
        for pool, values in zip(pools, part.intensities, strict=True):
            pool.append(values)
    properties = {}
    for channel, pool in enumerate(pools):
        properties[str(channel)] = _statistics(np.concatenate(pool))
        pool.clear()
    return Fingerprint(
        foreground_intensity_properties_per_channel=properties,
        median_relative_size_after_cropping=float(np.median(sizes)),
        shapes_after_crop=tuple(shapes),
        spacings=tuple(spacings),
    )


def _statistics(values: NDArray[np.float32]) -> IntensityProperties:
    if values.size == 0:
        raise DatasetError("no case has any foreground voxel; check the label files")
    mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5), overwrite_input=True)
    return IntensityProperties(
        max=float(values.max()),
        mean=mean,
        median=float(median),
        min=float(values.min()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
        std=std,
    )
