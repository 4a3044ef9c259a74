"""How much disk prepared cases take."""

from __future__ import annotations

import math
from typing import Final

from segflow.contracts.plan import Plan

__all__ = ["prepared_gb"]

#: float32 per channel, and labels of two bytes at most.
_IMAGE_BYTES, _LABEL_BYTES = 4, 2
_GB: Final = 1e9


def prepared_gb(plan: Plan, n_cases: int) -> dict[str, float]:
    """Gigabytes of the prepared cases of each configuration, as if all cases were of median size.

    Configurations that share prepared cases with an earlier one take nothing.
    """
    found: dict[str, float] = {}
    seen: set[str] = set()
    for name, configuration in plan.configurations.items():
        slices = plan.median_shape[0] if len(configuration.median_shape) < len(plan.median_shape) else 1
        voxels = n_cases * slices * math.prod(configuration.median_shape)
        per_voxel = _IMAGE_BYTES * len(configuration.normalization) + _LABEL_BYTES
        found[name] = 0.0 if configuration.data_identifier in seen else voxels * per_voxel / _GB
        seen.add(configuration.data_identifier)
    return found
