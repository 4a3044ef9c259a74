"""Which normalisation each channel gets. Source: method.md section 7."""

from __future__ import annotations

from collections.abc import Sequence

from segflow.contracts.plan import Normalization

__all__ = ["mask_normalization", "normalizations"]

MASK_BELOW_RELATIVE_SIZE = 0.75  # of the image that is left by the crop, in the median

_BY_CHANNEL_NAME: dict[str, Normalization] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_0_1",
    "rgb_to_0_1": "rgb_0_1",
}


def normalizations(channel_names: Sequence[str]) -> tuple[Normalization, ...]:
    """The scheme of each channel, by its name; z-score for every unknown name.

    Args:
        channel_names: As in dataset.json.

    Returns:
        One per channel.

    Source: method.md section 7.
    """
    return tuple(_BY_CHANNEL_NAME.get(name.casefold(), "zscore") for name in channel_names)


def mask_normalization(schemes: Sequence[Normalization], relative_size: float) -> tuple[bool, ...]:
    """Whether a channel's statistics leave out the zeros around the subject.

    Args:
        schemes: One per channel.
        relative_size: Median share of voxels that the crop to non-zero keeps.

    Returns:
        One per channel.

    Source: method.md section 7.
    """
    return tuple(scheme == "zscore" and relative_size < MASK_BELOW_RELATIVE_SIZE for scheme in schemes)
