"""The data fingerprint: one part per case, then pooled. Source: method.md section 5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.fingerprint import CaseMeasurement, Fingerprint
from segflow.fingerprint.statistics import DrawnIntensities, intensity_properties
from segflow.volumes.crop import bounding_box, crop, nonzero_voxels

__all__ = ["CaseFingerprint", "draw_intensities", "measure_case", "pool_cases", "samples_per_case"]

TOTAL_SAMPLES = 10**8  # foreground intensities drawn from the whole data set, per channel
_SEED = 1234
_DRAWN_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class CaseFingerprint:
    """One case's part of the fingerprint: its measurement, with the intensities drawn in place of all.

    Attributes:
        shape_after_crop: Voxels along z, y, x.
        spacing_mm: Along z, y, x.
        relative_size: Voxels after / before the crop.
        intensities: Per channel.
    """

    shape_after_crop: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    relative_size: float
    intensities: tuple[DrawnIntensities, ...]


def samples_per_case(n_cases: int) -> int:
    """How many intensities are drawn from each case. Source: method.md section 5."""
    return TOTAL_SAMPLES // n_cases


def measure_case(raw: RawCase) -> CaseMeasurement:
    """Measure one case.

    Args:
        raw: The case as read, with labels.

    Returns:
        What the fingerprint needs of it.

    Raises:
        DatasetError: The case has no labels.

    Source: method.md section 5 (the ignore label counts as foreground there, and here).
    """
    if raw.labels is None:
        raise DatasetError(f"case {raw.identifier}: no label file, so no foreground to measure")
    box = bounding_box(nonzero_voxels(raw.image))
    image, labels = crop(raw.image, box), crop(raw.labels, box)
    foreground = labels > 0
    values = np.stack([channel[foreground] for channel in image]).astype(np.float32, copy=False)
    z, y, x = labels.shape
    return CaseMeasurement((z, y, x), raw.geometry.spacing_mm, labels.size / raw.labels.size, values)


def draw_intensities(measured: CaseMeasurement, n_samples: int) -> CaseFingerprint:
    """Draw from a case's foreground, with replacement, from a fixed seed: one generator for all channels in turn.

    Args:
        measured: The case.
        n_samples: Draws per channel.

    Returns:
        The case's part of the fingerprint.

    Source: method.md section 5; that draws are counted, not listed, is ours and changes no number.
    """
    random = np.random.RandomState(_SEED)
    return CaseFingerprint(
        measured.shape_after_crop,
        measured.spacing_mm,
        measured.relative_size,
        tuple(_draw(channel, n_samples, random) for channel in measured.foreground),
    )


def _draw(values: NDArray[np.float32], n_samples: int, random: np.random.RandomState) -> DrawnIntensities:
    if not len(values):
        return DrawnIntensities(values, np.empty(0, np.int64))
    times = np.zeros(len(values), np.int64)
    at_once = max(_DRAWN_AT_ONCE, len(values))
    for start in range(0, n_samples, at_once):
        drawn = random.randint(0, len(values), min(at_once, n_samples - start))
        times += np.bincount(drawn, minlength=len(values))
    order = np.argsort(values, kind="stable")
    ordered, cumulative = values[order] + np.float32(0), np.cumsum(times[order])  # so -0 is 0
    last = np.append(ordered[1:] != ordered[:-1], [True])
    found, cumulative = ordered[last], cumulative[last]
    seen = np.diff(cumulative, prepend=0) > 0
    return DrawnIntensities(found[seen], cumulative[seen])


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
    cases = tuple(parts)
    if not any(part.intensities[0].total for part in cases):
        raise DatasetError("no case has any foreground voxel; check the label files")
    return Fingerprint(
        foreground_intensity_properties_per_channel={
            str(channel): intensity_properties([part.intensities[channel] for part in cases])
            for channel in range(n_channels)
        },
        median_relative_size_after_cropping=float(np.median([part.relative_size for part in cases])),
        shapes_after_crop=tuple(part.shape_after_crop for part in cases),
        spacings=tuple(part.spacing_mm for part in cases),
    )
