"""What a post-processing operation does to a label map."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from segflow.contracts.arrays import LabelMap
from segflow.contracts.scores import Operation
from segflow.volumes.components import keep_largest

__all__ = ["apply"]

#: Every operation by name: (label map, label values) -> label map.
_RULES: dict[str, Callable[[LabelMap, Collection[int]], LabelMap]] = {"keep_largest": keep_largest}


def apply(operations: Iterable[Operation], label_map: LabelMap) -> LabelMap:
    """Apply operations one after the other.

    Args:
        operations: In order; none leaves the label map as it is.
        label_map: Original space, (z, y, x).

    Returns:
        The label map of the same shape and type; `label_map` itself if there are no operations.

    Source: method.md section 23.
    """
    for operation in operations:
        label_map = _RULES[operation.name](label_map, operation.labels)
    return label_map
