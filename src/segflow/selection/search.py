"""Which post-processing operations pay: a few questions, each answered by a mean Dice before and after.

1. Keep the largest component of all foreground labels jointly: accepted if the foreground mean rises and no target's
   mean falls. With several targets, then of each in turn, on the best result so far: accepted if its own mean rises.
2. If the recipe names volumes: remove components below one of them, asked in the same way. Of the volumes that would
   be accepted, the one with the highest Dice is, and on a tie the smallest.
3. If the recipe says so: fill the holes of each target in turn, accepted if its own mean rises.

The questions are asked of tables, not of images (see `pieces`): each case is read once.

Dice of every case after any sequence of operations, from its pieces alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Operation, PostProcessing, Step
from segflow.metrics.overlap import dice, members, nan_mean, target_counts, target_key
from segflow.recipes.selection import PostprocessingRecipe
from segflow.selection.pieces import Pieces, connected, cut

__all__ = [
    "DiceTables",
    "LoadPair",
    "Operations",
    "confusion",
    "relabelled",
    "search",
]

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
        """Mean over targets of the mean Dice; a target that occurs in no case has no part in it."""
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


#: Reads one prediction, its reference, and the spacing along z, y, x.
LoadPair = Callable[[], tuple[LabelMap, LabelMap, SpacingMm]]
#: The name of what concerns the whole foreground in the answer.
_JOINT = "foreground"


class Mapper(Protocol):
    """`map`, or a pool's ordered counterpart."""

    def __call__(self, function: Callable[[LoadPair], Pieces], cases: Sequence[LoadPair], /) -> Iterable[Any]:
        """The function's value for each case, in order."""
        ...


@dataclass(frozen=True)
class _Question:
    """Alternatives of which at most one is accepted; without a target it concerns the whole foreground."""

    target: Target | None
    alternatives: tuple[Operation, ...]


def search(
    cases: Sequence[LoadPair],
    labels: Labels,
    recipe: PostprocessingRecipe | None = None,
    *,
    on_case: Callable[[], None] | None = None,
    mapper: Mapper = map,
) -> PostProcessing:
    """Find the operations that raise the cross-validated Dice.

    A target that occurs in no case has no say. (In the peer it makes the foreground mean NaN, and step 1 is
    never accepted: method.md section 25, number 4.)

    Args:
        cases: Each reads one pair in original space, (z, y, x), when called, and is called once; one pair is in memory
            at a time.
        labels: Their vocabulary.
        recipe: Which operations are tried; by default the peer's.
        on_case: Called after each case that was read.
        mapper: Stands in for `map`, to spread the cases over processes; must keep their order.

    Returns:
        The accepted operations in order, and every question with its numbers.

    Raises:
        PredictionError: There are no cases, or a prediction and its reference differ in shape.

    Source: method.md section 23, except for absent classes and the operations that the peer does not have (ours).
    """
    if not cases:
        raise PredictionError("there are no predicted cases to search post-processing with")
    recipe = recipe or PostprocessingRecipe()
    pieces = []
    for found in mapper(partial(_read, labels=labels, holes=recipe.fill_holes), cases):
        pieces.append(found)
        if on_case is not None:
            on_case()
    tables = DiceTables(pieces, labels)
    accepted: Operations = ()
    steps: list[Step] = []
    for question in _questions(labels, recipe):
        answers = _ask(tables, labels, question, accepted)
        steps += answers
        accepted += tuple(step.operation for step in answers if step.accepted)
    return PostProcessing(
        operations=accepted,
        steps=tuple(steps),
        foreground_mean_dice_before=tables.foreground_mean(()),
        foreground_mean_dice_after=tables.foreground_mean(accepted),
    )


def _read(load: LoadPair, *, labels: Labels, holes: bool) -> Pieces:
    prediction, reference, spacing_mm = load()
    return cut(prediction, reference, labels, spacing_mm, holes=holes)


def _questions(labels: Labels, recipe: PostprocessingRecipe) -> Iterator[_Question]:
    """All questions, in order; what is asked does not depend on the answers."""
    whole: list[tuple[Target | None, tuple[int, ...]]] = [(None, labels.foreground_values)]
    if len(labels.targets) > 1:
        whole += [(target, members(target)) for target in labels.targets]
    if recipe.largest_component:
        for target, values in whole:
            yield _Question(target, (Operation(name="keep_largest", labels=values),))
    if recipe.remove_below_mm3:
        for target, values in whole:
            volumes = recipe.remove_below_mm3
            yield _Question(
                target,
                tuple(Operation(name="remove_small", labels=values, min_volume_mm3=mm3) for mm3 in volumes),
            )
    if recipe.fill_holes:
        for target, value in zip(labels.targets, _written(labels), strict=True):
            yield _Question(target, (Operation(name="fill_holes", labels=members(target), fill=value),))


def _written(labels: Labels) -> tuple[int, ...]:
    """The label value that stands for each target in a label map."""
    return labels.regions_class_order if labels.has_regions else labels.foreground_values


def _ask(tables: DiceTables, labels: Labels, question: _Question, accepted: Operations) -> list[Step]:
    """One step per alternative; the best of those that pay is accepted."""
    target = question.target
    before = _dice(tables, target, accepted)
    found = [(o, _dice(tables, target, (*accepted, o))) for o in question.alternatives]
    paying = [
        (dice, operation)
        for operation, dice in found
        if dice > before and (target is not None or not _any_falls(tables, labels, accepted, operation))
    ]
    best = max(paying, key=lambda pair: pair[0])[1] if paying else None
    return [
        Step(
            operation=operation,
            target=_JOINT if target is None else target_key(target),
            dice_before=before,
            dice_after=dice,
            accepted=operation is best,
        )
        for operation, dice in found
    ]


def _dice(tables: DiceTables, target: Target | None, operations: Operations) -> float:
    return tables.foreground_mean(operations) if target is None else tables.mean_dice(target, operations)


def _any_falls(tables: DiceTables, labels: Labels, accepted: Operations, operation: Operation) -> bool:
    return any(
        tables.mean_dice(target, (*accepted, operation)) < tables.mean_dice(target, accepted)
        for target in labels.targets
    )
