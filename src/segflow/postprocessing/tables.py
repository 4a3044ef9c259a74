"""Dice of every case after sequences of operations, measured in as few passes over the cases as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segflow.contracts.arrays import LabelMap
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Operation
from segflow.metrics import confusion_matrix, dice, members, nan_mean, target_counts
from segflow.postprocessing.rules import apply

__all__ = ["DiceTables", "LoadPair", "Mapper", "Operations", "case_table", "targets_overlap"]

#: Reads one (prediction, reference) pair.
LoadPair = Callable[[], tuple[LabelMap, LabelMap]]
#: Operations in the order in which they are applied.
Operations = tuple[Operation, ...]
#: Dice of one case by target, after some operations.
CaseTable = dict[tuple[Operations, Target], float]


class Mapper(Protocol):
    """`map`, or a pool's ordered counterpart."""

    def __call__(
        self, function: Callable[[LoadPair], CaseTable], cases: Sequence[LoadPair], /
    ) -> Iterable[Any]:
        """The function's value for each case, in order."""
        ...


class DiceTables:
    """Mean Dice of targets after operations; reads the cases only for what it does not know yet.

    An operation touches only voxels with its own labels. So where targets do not overlap, the Dice of one
    depends only on operations that share a label with it (the joint one and its own); others are struck out
    before looking up.
    """

    def __init__(
        self,
        cases: Sequence[LoadPair],
        labels: Labels,
        *,
        on_case: Callable[[], None] | None = None,
        mapper: Mapper = map,
    ) -> None:
        self._cases = cases
        self._labels = labels
        self._on_case = on_case
        self._mapper = mapper
        self._dice: dict[tuple[Operations, Target], list[float]] = {}

    def measure(self, sequences: Sequence[Operations]) -> None:
        """Read every case once and keep its Dice after each sequence of operations.

        Args:
            sequences: Operations in order; the empty sequence is the unprocessed prediction.

        Source: ours.
        """
        table_of = partial(case_table, labels=self._labels, sequences=tuple(sequences))
        for table in self._mapper(table_of, self._cases):
            for key, value in table.items():
                self._dice.setdefault(key, []).append(value)
            if self._on_case is not None:
                self._on_case()

    def mean_dice(self, target: Target, operations: Operations) -> float:
        """Mean Dice of a target over cases, after operations.

        Args:
            target: A class or a region.
            operations: In order.

        Returns:
            The mean over cases in which it is defined, or NaN.

        Source: method.md section 23.
        """
        acting = tuple(o for o in operations if _concerns(o, target, self._labels))
        if (acting, target) not in self._dice:
            self.measure([acting])
        return nan_mean(self._dice[acting, target])


def targets_overlap(labels: Labels) -> bool:
    """Whether any label value belongs to more than one target.

    Args:
        labels: Classes or regions.

    Returns:
        Always False for classes.

    Source: ours.
    """
    values = [value for target in labels.targets for value in members(target)]
    return len(set(values)) < len(values)


def case_table(load: LoadPair, labels: Labels, sequences: Sequence[Operations]) -> CaseTable:
    """Dice of one case after each of several sequences of operations.

    Args:
        load: Reads (prediction, reference), each (z, y, x).
        labels: Their vocabulary.
        sequences: Operations in order. What sequences have in common at their beginning is computed once.

    Returns:
        Dice by (operations, target), of every target that the last operation can have changed.

    Source: ours.
    """
    prediction, reference = load()
    confusion = confusion_matrix(reference, prediction, labels)
    box = _foreground_box(prediction)
    known: dict[Operations, tuple[LabelMap, NDArray[np.int64]]] = {(): (prediction[box], confusion)}
    table: CaseTable = {}
    for sequence in sequences:
        _, confusion = _extend(known, sequence, reference[box], labels)
        for target in labels.targets:
            if not sequence or _concerns(sequence[-1], target, labels):
                table[sequence, target] = dice(target_counts(confusion, target))
    return table


def _extend(
    known: dict[Operations, tuple[LabelMap, NDArray[np.int64]]],
    sequence: Operations,
    reference: LabelMap,
    labels: Labels,
) -> tuple[LabelMap, NDArray[np.int64]]:
    """The label map and confusion matrix after a sequence; only changed voxels are counted anew."""
    if sequence not in known:
        before, confusion = _extend(known, sequence[:-1], reference, labels)
        after = apply(sequence[-1:], before)
        changed = before != after
        lost = confusion_matrix(reference[changed], before[changed], labels)
        gained = confusion_matrix(reference[changed], after[changed], labels)
        known[sequence] = (after, confusion - lost + gained)
    return known[sequence]


def _concerns(operation: Operation, target: Target, labels: Labels) -> bool:
    """Whether the operation can change the Dice of the target, directly or through another operation."""
    return targets_overlap(labels) or not set(operation.labels).isdisjoint(members(target))


def _foreground_box(label_map: LabelMap) -> tuple[slice, ...]:
    """The smallest box with all foreground; components do not change when cut to it."""
    boxes = ndimage.find_objects((label_map != 0).astype(np.uint8))
    return boxes[0] if boxes else (slice(0, 0),) * label_map.ndim
