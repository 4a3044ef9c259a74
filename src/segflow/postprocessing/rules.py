"""What a post-processing operation does to a label map."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.scores import Operation
from segflow.volumes.components import fill_enclosed, keep_largest, remove_small

__all__ = ["apply"]

#: Every operation by name. The contract sees to it that an operation has the values that its rule needs.
_RULES: dict[str, Callable[[LabelMap, Operation, SpacingMm], LabelMap]] = {
    "keep_largest": lambda found, o, _: keep_largest(found, o.labels),
    "remove_small": lambda found, o, mm: remove_small(found, o.labels, o.min_volume_mm3 or 0, mm),
    "fill_holes": lambda found, o, _: fill_enclosed(found, o.labels, o.fill or 0),
}


def apply(operations: Iterable[Operation], label_map: LabelMap, *, spacing_mm: SpacingMm) -> LabelMap:
    """Apply operations one after the other.

    Args:
        operations: In order; none leaves the label map as it is.
        label_map: Original space, (z, y, x).
        spacing_mm: Along z, y, x.

    Returns:
        The label map of the same shape and type; `label_map` itself if there are no operations.

    Source: method.md section 23; removal by volume and filling are ours.
    """
    for operation in operations:
        label_map = _RULES[operation.name](label_map, operation, spacing_mm)
    return label_map
