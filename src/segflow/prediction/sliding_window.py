"""A network slid over an image larger than its patch. Source: method.md section 16.

Networks that answer with probabilities. Source: method.md sections 17 and 26.
The arithmetic of a network that predicts. Source: method.md section 16; precisions on a CPU are ours.
Averaging over mirrored copies of the input. Source: method.md section 16.
Weighted sums over the planes that tiles still touch. Source: method.md section 16; the moving window is ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segflow.contracts.arrays import Image, Scores
from segflow.recipes.inference import Axis, InferenceRecipe, Precision
from segflow.volumes.tiles import gaussian_weights, tile_corners

__all__ = [
    "Accumulator",
    "Network",
    "home_of",
    "in_precision",
    "mirrored_mean",
    "sliding_window",
    "with_probabilities",
]


def with_probabilities(
    network: Callable[[Tensor], Tensor], *, has_regions: bool
) -> Callable[[Tensor], Tensor]:
    """A network whose logits are turned into probabilities at once, so that these are averaged.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        has_regions: The outputs are regions, which may overlap, rather than classes.

    Returns:
        (b, c, spatial) to probabilities (b, k, spatial), float32.

    Source: method.md section 26, fold and mirror averaging.
    """

    def probabilities(batch: Tensor) -> Tensor:
        logits = network(batch).float()
        return torch.sigmoid(logits) if has_regions else torch.softmax(logits, dim=1)

    return probabilities


_TYPES: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def in_precision(
    network: Callable[[Tensor], Tensor], precision: Precision, device: str
) -> Callable[[Tensor], Tensor]:
    """A network that computes in some precision and answers in float32.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        precision: "auto" is float16 on a GPU and float32 on a CPU.
        device: Where the network is.

    Returns:
        The same network; its answer leaves the precision before anything is added up.

    Source: method.md section 16 (half precision on CUDA).
    """
    kind = torch.device(device).type
    if precision == "auto":
        precision = "float16" if kind == "cuda" else "float32"

    def answer(batch: Tensor) -> Tensor:
        with torch.autocast(kind, dtype=_TYPES.get(precision), enabled=precision in _TYPES):
            return network(batch).float()

    return answer


#: The last axes of a batch.
_AXES: Final[tuple[Axis, ...]] = ("z", "y", "x")


def mirrored_mean(
    network: Callable[[Tensor], Tensor], batch: Tensor, *, mirroring: bool | Sequence[Axis] = True
) -> Tensor:
    """The mean output over every combination of mirrored spatial axes, each mirrored back.

    Args:
        network: (b, c, spatial) to logits (b, k, spatial).
        batch: (b, c, spatial), 2 or 3 spatial axes.
        mirroring: Mirror all axes, none, or those named; z is passed over where there are two.

    Returns:
        (b, k, spatial).

    Source: method.md section 16.
    """
    chosen = _AXES if mirroring is True else mirroring or ()
    mirrored = [
        batch.ndim + i for i, axis in enumerate(_AXES, start=-3) if axis in chosen and batch.ndim + i > 1
    ]
    combinations = [axes for n in range(len(mirrored) + 1) for axes in itertools.combinations(mirrored, n)]
    total = network(batch)
    for axes in combinations[1:]:
        total = total + torch.flip(network(torch.flip(batch, axes)), axes)
    return total / len(combinations)


_FLOAT_BYTES = 4
_PLANES = 8  # that are finished at a time
_GPU_SHARE = 0.5  # of the free memory of a GPU; the network needs the rest


def home_of(shape: Sequence[int], device: str) -> torch.device:
    """Where sums are kept: beside the network if there is room for them, or else in main memory.

    Args:
        shape: Of the sums.
        device: Of the network.
    """
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return wanted
    free, _ = torch.cuda.mem_get_info(wanted)
    needed = _FLOAT_BYTES * torch.Size(shape).numel()
    return wanted if needed <= _GPU_SHARE * free else torch.device("cpu")


class Accumulator:
    """Sums of a volume's planes, of which a few are held at a time, from the first to the last."""

    def __init__(self, shape: Sequence[int], device: str) -> None:
        """Begin at the first plane.

        Args:
            shape: (k, n, y, x), n for the planes held.
            device: Of the network.
        """
        self.home = home_of(shape, device)
        self.first = 0
        self._total = torch.zeros(tuple(shape), device=self.home)
        self._norm = torch.zeros(tuple(shape[1:]), device=self.home)

    def add(self, tile: tuple[slice, ...], scores: Tensor, weights: Tensor) -> None:
        """Add a tile.

        Args:
            tile: Where it lies in the volume; its planes are held.
            scores: (k, *spatial), on the accumulator's home.
            weights: (*spatial), there as well.

        Source: method.md section 16.
        """
        planes, *inside = tile
        held = (slice(planes.start - self.first, planes.stop - self.first), *inside)
        target = self._total[(slice(None), *held)]
        weight = weights.reshape(target.shape[1:])
        target.addcmul_(scores.reshape(target.shape), weight)
        self._norm[held] += weight

    def finish(self, stop: int) -> Iterator[tuple[int, Scores]]:
        """The means of the planes before one, which no further tile touches; then move on.

        Args:
            stop: Number of the first plane that is not finished.

        Yields:
            Number of the first of some planes, and the planes (k, n, y, x), float32.

        Source: method.md section 16.
        """
        n = stop - self.first
        for start in range(0, n, _PLANES):
            some = slice(start, min(start + _PLANES, n))
            means: Scores = (self._total[:, some] / self._norm[some]).cpu().numpy()
            yield self.first + start, means
        for held in (*self._total, self._norm):  # one by one: a whole copy might not fit
            held[: len(held) - n] = held[n:].clone()
            held[len(held) - n :] = 0
        self.first = stop


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
