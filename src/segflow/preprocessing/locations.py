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
    return {target: _draw(label_map, target, random) for target in _targets(labels)}


def _targets(labels: Labels) -> tuple[Target, ...]:
    if labels.ignore is None:
        return labels.targets
    return (*labels.targets, (-1, *labels.values))


def _draw(label_map: LabelMap, target: Target, random: np.random.RandomState) -> NDArray[np.int32]:
    members = target if isinstance(target, tuple) else (target,)
    pool = np.concatenate([np.flatnonzero(label_map == value) for value in members])
    if len(pool) == 0:
        return np.empty((0, 3), np.int32)
    wanted = max(min(MAX_VOXELS, len(pool)), math.ceil(MIN_SHARE * len(pool)))
    drawn = pool[random.choice(len(pool), wanted, replace=False)]
    return np.stack(np.unravel_index(drawn, label_map.shape), axis=1).astype(np.int32)
