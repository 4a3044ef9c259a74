"""Intensity normalisation of one channel. Source: method.md section 7."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Mask
from segflow.contracts.errors import DatasetError
from segflow.contracts.fingerprint import IntensityProperties
from segflow.contracts.plan import Normalization

__all__ = ["normalise"]

EPSILON = 1e-8
RGB_MAX = 255.0
_BLOCK = 1 << 20


def normalise(
    channel: NDArray[np.float32],
    scheme: Normalization,
    *,
    mask: Mask | None,
    intensities: IntensityProperties | None,
) -> NDArray[np.float32]:
    """Normalise a channel; means and standard deviations are from sums in float64.

    Args:
        channel: (z, y, x), cropped.
        scheme: The normalisation.
        mask: (z, y, x): z-score inside it and leave other voxels unchanged; None for all voxels.
        intensities: Those of the fingerprint, for "ct".

    Returns:
        (z, y, x), float32; a new array unless the scheme changes nothing.

    Raises:
        DatasetError: An RGB channel has values outside 0..255.

    Source: method.md section 7.
    """
    if scheme == "zscore":
        return _zscore(channel, mask)
    if scheme == "ct" and intensities is not None:
        return _ct(channel, intensities)
    if scheme == "rescale_0_1":
        shifted = channel - channel.min()
        shifted /= max(shifted.max(), np.float32(EPSILON))
        return shifted
    return _rgb(channel) if scheme == "rgb_0_1" else channel


def _zscore(channel: NDArray[np.float32], mask: Mask | None) -> NDArray[np.float32]:
    values = channel if mask is None else channel[mask]
    if values.size == 0:
        return channel
    scaled = values - np.float32(values.mean(dtype=np.float64))
    scaled /= max(np.float32(np.sqrt(_mean_square(scaled))), np.float32(EPSILON))
    if mask is None:
        return scaled
    whole = channel.copy()
    whole[mask] = scaled
    return whole


def _mean_square(values: NDArray[np.float32]) -> float:
    """In float64, a block at a time to bound the memory."""
    flat = values.ravel()
    blocks = (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))
    return sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks) / flat.size


def _ct(channel: NDArray[np.float32], intensities: IntensityProperties) -> NDArray[np.float32]:
    scaled = np.clip(channel, intensities.percentile_00_5, intensities.percentile_99_5)
    scaled -= intensities.mean
    scaled /= max(intensities.std, EPSILON)
    return scaled


def _rgb(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    if channel.min() < 0 or channel.max() > RGB_MAX:
        raise DatasetError(
            f"a channel that is normalised as rgb_to_0_1 has values from {channel.min():g} to {channel.max():g}; they "
            "must be within 0..255, so rescale the image, or choose another normalisation by the channel's name in "
            "dataset.json or planning.normalization"
        )
    return channel / np.float32(RGB_MAX)
