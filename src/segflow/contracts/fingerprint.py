"""The data fingerprint: what planning knows of a data set. Source: method.md section 5."""

from __future__ import annotations

from segflow.contracts.codec import Contract

__all__ = ["Fingerprint", "IntensityProperties"]


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
    """The data fingerprint, in the peer's file format.

    Attributes:
        foreground_intensity_properties_per_channel: Keyed "0", "1", ...
        median_relative_size_after_cropping: Median over cases of voxels after / before the crop to non-zero.
        shapes_after_crop: Per case, voxels along z, y, x.
        spacings: Per case, millimetres along z, y, x.
    """

    foreground_intensity_properties_per_channel: dict[str, IntensityProperties]
    median_relative_size_after_cropping: float
    shapes_after_crop: tuple[tuple[int, int, int], ...]
    spacings: tuple[tuple[float, float, float], ...]
