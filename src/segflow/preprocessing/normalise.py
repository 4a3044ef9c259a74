"""Intensity normalisation, channel by channel. Source: method.md section 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Image, Mask
from segflow.contracts.errors import DatasetError
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.plan import Normalization

__all__ = ["normalise"]

EPSILON = 1e-8
RGB_MAX = 255.0


def normalise(
    image: Image,
    mask: Mask,
    schemes: Sequence[Normalization],
    *,
    use_mask: Sequence[bool],
    intensities: Sequence[IntensityProperties | None],
) -> Image:
    """Bring every channel to the range its scheme asks for.

    Args:
        image: (c, z, y, x), cropped.
        mask: (z, y, x), the non-zero mask, cropped.
        schemes: One per channel.
        use_mask: Per channel: z-score inside the mask only, and leave the rest as it is.
        intensities: Of the fingerprint, one per channel; "ct" needs them.

    Returns:
        (c, z, y, x), float32.

    Raises:
        DatasetError: A channel called RGB has values outside 0..255.

    Source: method.md section 7.
    """
    channels = [
        _zscore(channel, mask if masked else None)
        if scheme == "zscore"
        else _fixed(channel, scheme, properties)
        for channel, scheme, masked, properties in zip(image, schemes, use_mask, intensities, strict=True)
    ]
    return np.stack(channels)


def _zscore(channel: NDArray[np.float32], mask: Mask | None) -> NDArray[np.float32]:
    values = channel if mask is None else channel[mask]
    if values.size == 0:
        return channel
    mean, std = values.mean(dtype=np.float32), max(values.std(dtype=np.float32), np.float32(EPSILON))
    scaled = (channel - mean) / std
    return scaled if mask is None else np.where(mask, scaled, channel)


def _fixed(
    channel: NDArray[np.float32], scheme: Normalization, properties: IntensityProperties | None
) -> NDArray[np.float32]:
    if scheme == "ct" and properties is not None:
        clipped = np.clip(channel, properties.percentile_00_5, properties.percentile_99_5)
        return ((clipped - properties.mean) / max(properties.std, EPSILON)).astype(np.float32)
    if scheme == "rescale_0_1":
        shifted = channel - channel.min()
        return shifted / max(shifted.max(), np.float32(EPSILON))
    if scheme == "rgb_0_1":
        if channel.min() < 0 or channel.max() > RGB_MAX:
            raise DatasetError(
                f"a channel named rgb_to_0_1 holds values from {channel.min():g} to {channel.max():g}; it must "
                "keep within 0..255, so rename the channel in dataset.json or rescale the image"
            )
        return (channel / RGB_MAX).astype(np.float32)
    return channel
