"""A network slid over an image larger than its patch. Source: method.md section 16."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.contracts.arrays import Image, Scores
from segflow.inference.accumulator import Accumulator
from segflow.inference.mirroring import mirrored_mean
from segflow.inference.precision import in_precision
from segflow.recipes.inference import Axis, InferenceRecipe
from segflow.volumes.tiles import gaussian_weights, tile_corners

__all__ = ["Network", "sliding_window"]

#: (b, c, spatial) to logits (b, k, spatial).
Network = Callable[[Tensor], Tensor]

BATCH_VOXELS = (
    40 * 56 * 40 * 4
)  # tiles are batched up to about this many voxels: enough to fill a core's caches
_Slices = tuple[slice, ...]


def sliding_window(
    networks: Sequence[Network],
    image: Image,
    patch: Sequence[int],
    recipe: InferenceRecipe,
    *,
    n_outputs: int,
    device: str,
) -> Iterator[Scores]:
    """Logits of a whole image: overlapping tiles, weighted by a Gaussian, averaged in float32.

    Planes come out as soon as no further tile touches them, so that little more than a tile's depth of logits is in
    memory. Sums are kept beside the network if they fit there.

    Args:
        networks: One per fold; their logits are averaged.
        image: (c, z, y, x), preprocessed. A two-dimensional patch is slid over each slice of the first axis.
        patch: Voxels of a tile, 2 or 3 axes.
        recipe: Step, Gaussian, mirroring, precision.
        n_outputs: Channels of the logits.
        device: Where the networks are.

    Yields:
        Consecutive planes (n_outputs, n, y, x), float32; all of them together are those of the image.

    Source: method.md section 16, without its float16 accumulation (section 25, defect 2).
    """
    if not networks:
        raise ValueError("no network to predict with")
    networks = [in_precision(network, recipe.precision, device) for network in networks]
    padded, inner = _pad_to_patch(image, patch)
    source = torch.from_numpy(padded)
    tiles = list(_tiles(padded.shape[1:], patch, recipe.step))
    batches = list(_batched(tiles, max(1, BATCH_VOXELS // int(np.prod(patch)))))
    depth = max(batch[-1][0].stop - batch[0][0].start for batch in batches)
    sums = Accumulator((n_outputs, depth, *padded.shape[2:]), device)
    weights = torch.from_numpy(gaussian_weights(patch, recipe.gaussian_sigma)).to(sums.home)
    for batch in batches:
        if batch[0][0].start > sums.first:
            yield from _inside(sums, batch[0][0].start, inner)
        with torch.inference_mode():
            images = torch.stack([source[(slice(None), *tile)].reshape(-1, *patch) for tile in batch])
            scores = _mean_over_networks(networks, images.to(device), mirroring=recipe.mirroring)
            for tile, values in zip(batch, scores.to(sums.home), strict=True):
                sums.add(tile, values, weights)
    yield from _inside(sums, padded.shape[1], inner)


def _inside(sums: Accumulator, stop: int, inner: _Slices) -> Iterator[Scores]:
    """Finished planes without the padding; nothing if all are padding."""
    low, high = inner[0].start, inner[0].stop
    for first, planes in sums.finish(stop):
        kept = planes[(slice(None), slice(max(low - first, 0), max(high - first, 0)), *inner[1:])]
        if kept.shape[1]:
            yield np.ascontiguousarray(kept)


def _mean_over_networks(
    networks: Sequence[Network], tiles: Tensor, *, mirroring: bool | Sequence[Axis]
) -> Tensor:
    means = (mirrored_mean(network, tiles, mirroring=mirroring) for network in networks)
    return reduce(torch.add, means) / len(networks)


def _pad_to_patch(image: Image, patch: Sequence[int]) -> tuple[NDArray[np.float32], _Slices]:
    """Zero-pad to at least the patch, the odd voxel at the upper end; and where the image then lies."""
    needed = (1,) * (3 - len(patch)) + tuple(patch)
    short = [max(0, want - size) for want, size in zip(needed, image.shape[1:], strict=True)]
    below = [gap // 2 for gap in short]
    inner = tuple(slice(low, low + size) for low, size in zip(below, image.shape[1:], strict=True))
    widths = [(0, 0), *((low, gap - low) for low, gap in zip(below, short, strict=True))]
    padded = np.pad(image, widths) if any(short) else np.array(image)
    return padded.astype(np.float32, copy=False), inner


def _tiles(shape: Sequence[int], patch: Sequence[int], step: float) -> Iterator[_Slices]:
    if len(patch) == 3:
        for corner in tile_corners(shape, patch, step):
            yield tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        return
    for plane, corner in itertools.product(range(shape[0]), tile_corners(shape[1:], patch, step)):
        inside = (slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        yield (slice(plane, plane + 1), *inside)


def _batched(tiles: Sequence[_Slices], size: int) -> Iterator[Sequence[_Slices]]:
    for start in range(0, len(tiles), size):
        yield tiles[start : start + size]
