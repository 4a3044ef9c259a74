"""The search for post-processing operations that raise the cross-validated Dice, step by step as in nnU-Net.

1. Keep the largest component of all foreground labels jointly: accepted if the foreground mean rises and no target's
   mean falls. With several targets, then of each in turn, after the operations accepted so far: accepted if its own
   mean rises. Or, if the recipe leaves that to the training labels (nnU-Net 2018, arXiv 1809.10486): of each target
   that never has several components there, whatever its Dice.
2. If the recipe names volumes: remove components below one of them, in the same order. Of the volumes that raise the
   mean, the one with the highest Dice is accepted, and on a tie the smallest.
3. If the recipe says so: fill the holes of each target in turn, accepted if its own mean rises.

All Dice values are computed from tables, not from images (see `operations`): each case is read once.

Source: method.md section 23; steps 2 and 3 are not in nnU-Net.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target, members
from segflow.contracts.scores import Operation, PostProcessing, Step
from segflow.metrics.overlap import dice, nan_mean, target_counts, target_key
from segflow.recipes.selection import PostprocessingRecipe
from segflow.selection.operations import Pieces, Values, confusion, relabelled

__all__ = ["search"]

#: In the order in which they are applied.
_Operations = tuple[Operation, ...]


def search(
    cases: Sequence[Pieces],
    labels: Labels,
    recipe: PostprocessingRecipe,
    *,
    single: Collection[Target] = (),
) -> PostProcessing:
    """Find the operations that raise the cross-validated Dice.

    A target that occurs in no case is left out. (In nnU-Net it makes the foreground mean NaN, and step 1 is
    never accepted: method.md section 25, number 4.)

    Args:
        cases: Out-of-fold label maps and references in original space, cut into pieces; with holes if the recipe fills
            them.
        labels: Their vocabulary.
        recipe: Which operations are tried.
        single: Targets of which only the largest component is kept, if the recipe leaves that to the training labels.

    Returns:
        The accepted operations in order, and all that were tried with their Dice.

    Raises:
        PredictionError: There are no cases, and not only the training labels decide.

    Source: method.md section 23, except for absent classes.
    """
    if not (cases or recipe.largest_component == "if_single_in_labels"):
        raise PredictionError("there are no predicted cases to search post-processing with")
    means = _Means(cases, labels)
    accepted: _Operations = ()
    steps: list[Step] = []
    for decided, operations in _from_labels(labels, recipe, single):
        steps += _try(means, decided, operations, accepted, in_any_case=True)
        accepted += operations
    for target, alternatives in _alternatives(labels, recipe):
        tried = _try(means, target, alternatives, accepted)
        steps += tried
        accepted += tuple(step.operation for step in tried if step.accepted)
    return PostProcessing(
        operations=accepted,
        steps=tuple(steps),
        foreground_mean_dice_before=means.dice(None, ()),
        foreground_mean_dice_after=means.dice(None, accepted),
    )


class _Means:
    """Mean Dice of targets after operations; nothing is computed twice."""

    def __init__(self, cases: Sequence[Pieces], labels: Labels) -> None:
        self._cases = cases
        self._labels = labels
        self._values: dict[_Operations, list[Values]] = {(): [case.labels for case in cases]}
        self._dice: dict[_Operations, dict[Target, float]] = {}

    def dice(self, target: Target | None, operations: _Operations) -> float:
        """Mean over the cases in which a target's Dice is defined; without a target, the mean of these means."""
        means = self._of_targets(operations)
        return nan_mean(means.values()) if target is None else means[target]

    def any_falls(self, before: _Operations, after: _Operations) -> bool:
        """Whether any target has a lower mean than before."""
        return any(self.dice(target, after) < self.dice(target, before) for target in self._labels.targets)

    def _of_targets(self, operations: _Operations) -> dict[Target, float]:
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

    def _after(self, operations: _Operations) -> list[Values]:
        if operations not in self._values:
            before = self._after(operations[:-1])
            self._values[operations] = [
                relabelled(case, values, operations[-1])
                for case, values in zip(self._cases, before, strict=True)
            ]
        return self._values[operations]


def _from_labels(
    labels: Labels, recipe: PostprocessingRecipe, single: Collection[Target]
) -> Iterator[tuple[Target, _Operations]]:
    """Operations that the training labels decide on."""
    if recipe.largest_component == "if_single_in_labels":
        for target in labels.targets:
            if target in single:
                yield target, (Operation(name="keep_largest", labels=members(target)),)


def _alternatives(
    labels: Labels, recipe: PostprocessingRecipe
) -> Iterator[tuple[Target | None, _Operations]]:
    """Operations of which at most one is accepted, and the target whose Dice decides (None: the foreground mean)."""
    unions: list[tuple[Target | None, tuple[int, ...]]] = [(None, labels.foreground_values)]
    if len(labels.targets) > 1:
        unions += [(target, members(target)) for target in labels.targets]
    if recipe.largest_component is True:
        for target, values in unions:
            yield target, (Operation(name="keep_largest", labels=values),)
    for target, values in unions if recipe.remove_below_mm3 else ():
        kind = partial(Operation, name="remove_small", labels=values)
        yield target, tuple(kind(min_volume_mm3=mm3) for mm3 in recipe.remove_below_mm3)
    if recipe.fill_holes:
        # The value of each target in a label map.
        shown = labels.regions_class_order if labels.has_regions else labels.foreground_values
        for target, value in zip(labels.targets, shown, strict=True):
            yield target, (Operation(name="fill_holes", labels=members(target), fill=value),)


def _try(
    means: _Means,
    target: Target | None,
    alternatives: _Operations,
    accepted: _Operations,
    *,
    in_any_case: bool = False,
) -> list[Step]:
    """One step per alternative; the best of those that raise the Dice is accepted, or all of them in any case."""
    before = means.dice(target, accepted)
    found = [(means.dice(target, (*accepted, operation)), operation) for operation in alternatives]
    better = [
        (after, operation)
        for after, operation in found
        if after > before and not (target is None and means.any_falls(accepted, (*accepted, operation)))
    ]
    best = max(better, key=lambda pair: pair[0])[1] if better else None
    return [
        Step(
            operation=operation,
            target="foreground" if target is None else target_key(target),
            dice_before=before,
            dice_after=after,
            accepted=in_any_case or operation is best,
        )
        for after, operation in found
    ]
