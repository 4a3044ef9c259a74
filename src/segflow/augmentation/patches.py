"""Where to cut a training patch, and reading it from a memory map. A 2D patch has three axes: it is one voxel thick.

Source: method.md section 12; docs/decisions/0011 has the figures for reading.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from itertools import product
from types import EllipsisType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import Shape3, Voxels
from segflow.contracts.labels import Labels, Target

__all__ = ["announce", "choose_locations", "draw_start", "read_patch"]


T = TypeVar("T", bound=np.generic)


def choose_locations(
    locations: Mapping[Target, Voxels], labels: Labels, *, forced: bool
) -> Mapping[Target, Voxels]:
    """The voxels that a patch may be centred on; empty if it may lie anywhere.

    With an ignore label, the locations of all annotated voxels have a key that is not a target.

    Source: method.md sections 9.2 and 12.
    """
    annotated = (
        {} if labels.ignore is None else {k: v for k, v in locations.items() if k not in labels.targets}
    )
    targets = {k: v for k, v in locations.items() if k not in annotated and len(v) > 0}
    return targets if forced and targets else annotated


def draw_start(
    rng: np.random.Generator,
    case_shape: Shape3,
    *,
    read_shape: Shape3,
    patch_shape: Shape3,
    locations: Mapping[Target, Voxels],
) -> Shape3:
    """Draw the first voxel of a patch: around one of the locations, or anywhere if there are none.

    With pad = read - patch, enlarged where the case is smaller than what is read, a start lies in
    [-ceil(pad / 2), case + ceil(pad / 2) - read]. Around a location only the lower limit holds.

    Args:
        rng: Source of randomness.
        case_shape: Voxels of the case.
        read_shape: Voxels to be read.
        patch_shape: Voxels of the final patch.
        locations: Voxels to choose from: a key uniformly, then one of its voxels. Empty keys don't count.

    Returns:
        The first voxel along z, y, x; may be negative.
    """
    pads = [max(r - p, r - n) for r, p, n in zip(read_shape, patch_shape, case_shape, strict=True)]
    halves = [-(-pad // 2) for pad in pads]
    lowest = [-half for half in halves]
    keys = [key for key, voxels in locations.items() if len(voxels) > 0]
    if not keys:
        highest = [n + half - r for n, half, r in zip(case_shape, halves, read_shape, strict=True)]
        z, y, x = (int(rng.integers(lo, hi + 1)) for lo, hi in zip(lowest, highest, strict=True))
        return z, y, x
    voxels = locations[keys[int(rng.integers(len(keys)))]]
    voxel = voxels[int(rng.integers(len(voxels)))]
    z, y, x = (max(lo, int(v) - size // 2) for lo, v, size in zip(lowest, voxel, read_shape, strict=True))
    return z, y, x


def read_patch(array: NDArray[T], start: Sequence[int], shape: Sequence[int], *, fill: int) -> NDArray[T]:
    """Copy a box out of an array, reading no more than the box.

    Args:
        array: (..., z, y, x); may be a memory map.
        start: First voxel along the last three axes; may lie outside.
        shape: Voxels along the last three axes.
        fill: Value of voxels outside the array.

    Returns:
        (..., *shape), contiguous, writable and independent of the array.
    """
    inside: list[slice | EllipsisType] = [...]
    target: list[slice | EllipsisType] = [...]
    n_inside = []
    for first, size, limit in zip(start, shape, array.shape[-3:], strict=True):
        low, high = max(first, 0), min(first + size, limit)
        inside.append(slice(low, high))
        target.append(slice(low - first, high - first))
        n_inside.append(max(high - low, 0))
    patch: NDArray[T] = np.empty((*array.shape[:-3], *shape), dtype=array.dtype)
    if n_inside != list(shape):
        patch.fill(fill)
    if min(n_inside) > 0:
        part = array[tuple(inside)]
        announce(part)
        patch[tuple(target)] = part
    return patch


def announce(part: NDArray[Any]) -> None:
    """Tell the system that a part (..., y, x) of a memory map is about to be read, so that it fetches all at once.

    Without that, it waits for each row that is not in memory yet. Does nothing for other arrays, and where
    the system has no such call.
    """
    mapping = _mapping_of(part)
    if mapping is None or not hasattr(mmap, "MADV_WILLNEED") or part.size == 0:
        return
    origin = np.frombuffer(mapping, np.uint8).ctypes.data
    rows, columns = part.shape[-2:]
    length = (rows - 1) * part.strides[-2] + columns * part.itemsize
    first = part.ctypes.data - origin
    steps = part.strides[:-2]
    for index in product(*map(range, part.shape[:-2])):
        start = first + sum(step * i for step, i in zip(steps, index, strict=True))
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, page, start + length - page)


def _mapping_of(array: NDArray[Any]) -> mmap.mmap | None:
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None
