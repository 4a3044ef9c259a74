"""Where the tiles of a sliding window lie, and how much each voxel of a tile counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["gaussian_weights", "tile_corners", "tile_starts"]

_REACH = 4.0  # standard deviations after which scipy's Gaussian filter, which the method uses, is cut off


def tile_starts(size: int, tile: int, step: float) -> tuple[int, ...]:
    """First voxels of the tiles along one axis: evenly spread, the last one flush with the end.

    Args:
        size: Voxels of the axis, at least `tile`.
        tile: Voxels of a tile.
        step: Largest distance of two neighbours as a share of the tile.

    Returns:
        Ascending positions.

    Raises:
        ValueError: The axis is shorter than a tile.

    Source: method.md section 16; 110 voxels, tile 64, step 0.5 give 0, 23, 46.
    """
    if size < tile:
        raise ValueError(f"an axis of {size} voxels holds no tile of {tile}")
    steps = math.ceil((size - tile) / (tile * step))
    return tuple(round((size - tile) / steps * i) for i in range(steps + 1)) if steps else (0,)


def tile_corners(shape: Sequence[int], patch: Sequence[int], step: float) -> Iterator[tuple[int, ...]]:
    """First voxel of every tile of an image, first axis outermost; see `tile_starts`."""
    axes = (tile_starts(size, tile, step) for size, tile in zip(shape, patch, strict=True))
    return itertools.product(*axes)


def gaussian_weights(patch: Sequence[int], sigma: float) -> NDArray[np.float32]:
    """A Gaussian over a tile (*patch), 1 at voxel patch // 2 and nowhere zero; `sigma` is a share of the patch.

    Source: method.md section 16, but in float32: in float16 a sixth of the weights are subnormal.
    """
    weights = np.ones(())
    for size in patch:
        distance = np.abs(np.arange(size) - size // 2)
        line = np.exp(-0.5 * (distance / (size * sigma)) ** 2)
        line[distance > int(_REACH * size * sigma + 0.5)] = 0
        weights = np.multiply.outer(weights, line)
    weights /= weights.max()
    weights[weights == 0] = weights[weights > 0].min()
    return weights.astype(np.float32)
