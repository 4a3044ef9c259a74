"""Where each target is, remembered for foreground oversampling. Source: method.md section 9.2."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, Voxels
from segflow.contracts.labels import Labels, Target

__all__ = ["target_locations"]

MAX_VOXELS = 10_000
MIN_SHARE = 0.01
_SEED = 1234


def target_locations(label_map: LabelMap, labels: Labels) -> dict[Target, Voxels]:
    """Draw up to 10,000 voxels (at least 1 %) of every target.

    Args:
        label_map: (z, y, x), -1 outside the mask.
        labels: Classes or regions; an ignore label adds the tuple of all annotated values as a target.

    Returns:
        For each target its voxels (n, 3); n is 0 where it does not occur.

    Source: method.md section 9.2 (the rule since release 2.6.2).
    """
    random = np.random.RandomState(_SEED)
    targets = _targets(labels)
    pools = _pools(label_map, {value for target in targets for value in _members(target)})
    drawn: dict[Target, Voxels] = {}
    for target in targets:
        pool = np.concatenate([pools[value] for value in _members(target)])
        drawn[target] = _voxels(_draw(pool, random), label_map.shape)
    return drawn


def _targets(labels: Labels) -> tuple[Target, ...]:
    if labels.ignore is None:
        return labels.targets
    return (*labels.targets, (-1, *labels.values))


def _members(target: Target) -> tuple[int, ...]:
    return target if isinstance(target, tuple) else (target,)


def _pools(label_map: LabelMap, values: set[int]) -> dict[int, NDArray[np.intp]]:
    """Flat indices of every label's voxels, in C order: one pass for all but the largest, background and outside."""
    flat = label_map.ravel()
    pools = {value: np.flatnonzero(flat == value) for value in values if value <= 0}
    index = np.flatnonzero(flat > 0)
    carried = flat[index]
    index = index[np.argsort(carried, kind="stable")]
    ends = np.cumsum(np.bincount(carried, minlength=max(values, default=0) + 1))
    return pools | {value: index[ends[value - 1] : ends[value]] for value in values if value > 0}


def _draw(pool: NDArray[np.intp], random: np.random.RandomState) -> NDArray[np.intp]:
    if len(pool) == 0:
        return pool
    wanted = max(min(MAX_VOXELS, len(pool)), math.ceil(MIN_SHARE * len(pool)))
    return pool[random.choice(len(pool), wanted, replace=False)]


def _voxels(index: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int32]:
    return np.stack(np.unravel_index(index, shape), axis=1).astype(np.int32)
