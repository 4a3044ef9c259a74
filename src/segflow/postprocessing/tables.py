"""Dice of every case after any sequence of operations, from its pieces alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Operation
from segflow.metrics import dice, nan_mean, target_counts
from segflow.postprocessing.pieces import Pieces, connected

__all__ = ["DiceTables", "Operations", "confusion", "relabelled"]

#: Operations in the order in which they are applied.
Operations = tuple[Operation, ...]
#: Label value of each piece.
_Values = NDArray[np.int64]


class DiceTables:
    """Mean Dice of targets after operations; nothing is computed twice."""

    def __init__(self, cases: Sequence[Pieces], labels: Labels) -> None:
        self._cases = cases
        self._labels = labels
        self._values: dict[Operations, list[_Values]] = {(): [case.labels for case in cases]}
        self._dice: dict[Operations, dict[Target, float]] = {}

    def mean_dice(self, target: Target, operations: Operations) -> float:
        """Mean Dice of a target over cases, after operations.

        Args:
            target: A class or a region.
            operations: In order.

        Returns:
            The mean over cases in which it is defined, or NaN.

        Source: method.md section 23.
        """
        return self._means(operations)[target]

    def foreground_mean(self, operations: Operations) -> float:
        """Mean over targets of the mean Dice; a target that occurs in no case has no part in it. Source: ours."""
        return nan_mean(self._means(operations).values())

    def _means(self, operations: Operations) -> dict[Target, float]:
        if operations not in self._dice:
            tables = [
                confusion(case, values, self._labels)
                for case, values in zip(self._cases, self._after(operations), strict=True)
            ]
            self._dice[operations] = {
                target: nan_mean(dice(target_counts(table, target)) for table in tables)
                for target in self._labels.targets
            }
        return self._dice[operations]

    def _after(self, operations: Operations) -> list[_Values]:
        if operations not in self._values:
            before = self._after(operations[:-1])
            self._values[operations] = [
                relabelled(case, values, operations[-1])
                for case, values in zip(self._cases, before, strict=True)
            ]
        return self._values[operations]


def relabelled(pieces: Pieces, values: _Values, operation: Operation) -> _Values:
    """What an operation makes of the pieces' labels; the same as `apply` on the label map.

    Args:
        pieces: Of a case.
        values: Their labels before it.
        operation: Any.

    Returns:
        Their labels after it.

    Source: method.md section 23; removal by volume and filling are ours.
    """
    return _RULES[operation.name](pieces, values, operation)


def confusion(pieces: Pieces, values: _Values, labels: Labels) -> NDArray[np.int64]:
    """How often each reference label meets each label of the pieces.

    Args:
        pieces: Of a case.
        values: Their labels.
        labels: The vocabulary.

    Returns:
        Annotated voxels, (reference label, predicted label), as `segflow.metrics.confusion_matrix` gives them.

    Source: ours.
    """
    n = len(labels.values)
    table = np.zeros((n, n), dtype=np.int64)
    shown = np.where(values < n, values, 0)
    np.add.at(table.T, shown, pieces.overlaps)
    table[:, 0] += pieces.elsewhere
    return table


def _keep_largest(pieces: Pieces, values: _Values, operation: Operation) -> _Values:
    inside = np.isin(values, operation.labels)
    sizes = _component_voxels(pieces, inside)
    return np.where(inside & (sizes < sizes[inside].max(initial=0)), 0, values)


def _remove_small(pieces: Pieces, values: _Values, operation: Operation) -> _Values:
    inside = np.isin(values, operation.labels)
    small = _component_voxels(pieces, inside) * pieces.voxel_mm3 < (operation.min_volume_mm3 or 0)
    return np.where(inside & small, 0, values)


def _fill_holes(pieces: Pieces, values: _Values, operation: Operation) -> _Values:
    """What no way by faces outside the target joins to the rim is enclosed."""
    free = ~np.isin(values, operation.labels)
    roots = connected(_within(pieces.adjoining, free), len(values))
    open_roots = np.zeros(len(values), dtype=np.bool_)
    open_roots[roots[free & pieces.outside]] = True
    enclosed = free & ~open_roots[roots]
    return np.where(enclosed & (values == 0), operation.fill or 0, values)


def _component_voxels(pieces: Pieces, inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Size of the component that each piece is a part of."""
    roots = connected(_within(pieces.touching, inside), len(inside))
    total = np.bincount(roots, weights=pieces.voxels, minlength=len(inside)).astype(np.int64)
    return total[roots]


def _within(pairs: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return pairs[chosen[pairs].all(axis=1)]


_RULES: dict[str, Callable[[Pieces, _Values, Operation], _Values]] = {
    "keep_largest": _keep_largest,
    "remove_small": _remove_small,
    "fill_holes": _fill_holes,
}
