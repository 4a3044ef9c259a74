"""Made-up fingerprints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segflow.contracts.fingerprint import Fingerprint, IntensityProperties

INTENSITIES = IntensityProperties(
    max=4.0, mean=2.0, median=2.0, min=0.0, percentile_00_5=0.5, percentile_99_5=3.5, std=1.0
)


def fingerprint_of(
    cases: Iterable[tuple[Sequence[float], Sequence[int]]], *, relative_size: float = 1.0, channels: int = 1
) -> Fingerprint:
    """From (spacing, shape after the crop) pairs."""
    spacings, shapes = zip(*cases, strict=True)
    return Fingerprint(
        foreground_intensity_properties_per_channel={str(c): INTENSITIES for c in range(channels)},
        median_relative_size_after_cropping=relative_size,
        shapes_after_crop=tuple(tuple(shape) for shape in shapes),
        spacings=tuple(tuple(spacing) for spacing in spacings),
    )
