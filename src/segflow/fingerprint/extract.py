"""The data fingerprint: one part per case, then pooled. Source: method.md section 5.

Intensities are drawn with replacement, many times each. Draws are counted, not listed; the statistics are exactly those
of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.case import RawCase
from segflow.contracts.errors import DatasetError
from segflow.contracts.fingerprint import CaseExtent, CaseMeasurement, Fingerprint, IntensityProperties
from segflow.volumes.crop import bounding_box, crop, nonzero_voxels

__all__ = [
    "CaseFingerprint",
    "DrawnIntensities",
    "draw_intensities",
    "intensity_properties",
    "measure_case",
    "pool_cases",
    "samples_per_case",
]

TOTAL_SAMPLES = 10**8  # foreground intensities drawn from the whole data set, per channel
_SEED = 1234
_DRAWN_AT_ONCE = 1 << 20
_SIGN = np.uint32(1 << 31)


@dataclass(frozen=True)
class DrawnIntensities:
    """Which values were drawn from one case, and how often; both empty without foreground.

    Attributes:
        values: Ascending, unique, float32.
        cumulative: Number of draws of each value or a lower one.
    """

    values: NDArray[np.float32]
    cumulative: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Number of draws."""
        return int(self.cumulative[-1]) if len(self.cumulative) else 0

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of draws of each value."""
        return np.diff(self.cumulative, prepend=0)

    def at_most(self, limits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Number of draws that are no larger than each limit."""
        found = np.searchsorted(self.values, limits, side="right")
        return np.concatenate(([0], self.cumulative))[found]


@dataclass(frozen=True)
class CaseFingerprint:
    """One case's part of the fingerprint: its extent, and drawn intensities of each channel."""

    extent: CaseExtent
    intensities: tuple[DrawnIntensities, ...]


def samples_per_case(n_cases: int) -> int:
    """Number of intensities drawn from each case, per channel."""
    return TOTAL_SAMPLES // n_cases


def measure_case(raw: RawCase) -> CaseMeasurement:
    """Measure one case. The ignore label counts as foreground, as in nnU-Net.

    Raises:
        DatasetError: The case has no labels.

    Source: method.md section 5.
    """
    if raw.labels is None:
        raise DatasetError(f"case {raw.identifier}: no label file, so no foreground to measure")
    box = bounding_box(nonzero_voxels(raw.image))
    image, labels = crop(raw.image, box), crop(raw.labels, box)
    foreground = labels > 0
    values = np.stack([channel[foreground] for channel in image]).astype(np.float32, copy=False)
    extent = CaseExtent(
        shape_after_crop=labels.shape,
        spacing_mm=raw.geometry.spacing_mm,
        relative_size=labels.size / raw.labels.size,
    )
    return CaseMeasurement(extent, values)


def draw_intensities(measured: CaseMeasurement, n_samples: int) -> CaseFingerprint:
    """Draw from a case's foreground, `n_samples` per channel, with replacement and a fixed seed.

    One generator serves all channels in turn. Source: method.md section 5.
    """
    random = np.random.RandomState(_SEED)
    drawn = tuple(_draw(channel, n_samples, random) for channel in measured.foreground)
    return CaseFingerprint(measured.extent, drawn)


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
    """The fingerprint from the cases' parts, in the order of the case identifiers.

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
        median_relative_size_after_cropping=float(np.median([part.extent.relative_size for part in cases])),
        shapes_after_crop=tuple(part.extent.shape_after_crop for part in cases),
        spacings=tuple(part.extent.spacing_mm for part in cases),
    )


def intensity_properties(samples: Sequence[DrawnIntensities]) -> IntensityProperties:
    """Statistics of all draws: median and percentiles as numpy computes them, mean and deviation from sums in float64.

    Args:
        samples: One per case; at least one is not empty.

    Source: method.md section 5: numpy's array is float32, or float64 if there is a case without foreground.
    """
    drawn = [sample for sample in samples if sample.total]
    total = sum(sample.total for sample in drawn)
    dtype = np.float32 if len(drawn) == len(samples) else np.float64
    positions = [(total - 1) * share for share in (0.005, 0.5, 0.995)]
    ranks = np.array(
        [rank for position in positions for rank in (int(position), min(int(position) + 1, total - 1))]
    )
    ordered = _order_statistics(drawn, ranks).astype(dtype).reshape(3, 2)
    low, high = (_between(ordered[i], positions[i] % 1) for i in (0, 2))
    middle = ordered[1] if positions[1] % 1 else ordered[1, :1]
    exact = [(sample.values.astype(np.float64), sample.counts) for sample in drawn]
    mean = sum(float((values * counts).sum()) for values, counts in exact) / total
    variance = sum(float(((values - mean) ** 2 * counts).sum()) for values, counts in exact) / total
    return IntensityProperties(
        max=float(max(sample.values[-1] for sample in drawn)),
        mean=mean,
        median=float(middle.mean()),
        min=float(min(sample.values[0] for sample in drawn)),
        percentile_00_5=low,
        percentile_99_5=high,
        std=float(np.sqrt(variance)),
    )


def _order_statistics(samples: Sequence[DrawnIntensities], ranks: NDArray[np.int64]) -> NDArray[np.float32]:
    """The draws at some ranks, counted from 0, of all draws in order.

    By bisection over the float32 numbers between the extremes, for all ranks at once: in 32 steps, without an array of
    all draws.
    """
    low = np.full(len(ranks), min(_key(sample.values[:1])[0] for sample in samples), np.uint64)
    high = np.full(len(ranks), max(_key(sample.values[-1:])[0] for sample in samples), np.uint64)
    while (low < high).any():
        middle = (low + high) // 2
        limits = _value(middle.astype(np.uint32))
        enough = sum(sample.at_most(limits) for sample in samples) > ranks
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle + 1)
    return _value(low.astype(np.uint32))


def _key(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Unsigned integers in the same order as the float32 numbers."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _value(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The inverse of `_key`."""
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)


def _between(pair: NDArray[np.floating], share: float) -> float:
    """Linear interpolation between two neighbours, rounded as in numpy's percentile."""
    lower, upper = float(pair[0]), float(pair[1])
    step = float(pair[1] - pair[0])
    return lower + step * share if share < 0.5 else upper - step * (1 - share)
