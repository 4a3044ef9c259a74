"""Which post-processing operations pay: a few questions, each answered by a mean Dice before and after.

1. Keep the largest component of all foreground labels jointly: accepted if the foreground mean rises and no target's
   mean falls. With several targets, then of each in turn, on the best result so far: accepted if its own mean rises.
2. If the recipe names volumes: remove components below one of them, asked in the same way. Of the volumes that would
   be accepted, the one with the highest Dice is, and on a tie the smallest.
3. If the recipe says so: fill the holes of each target in turn, accepted if its own mean rises.

The questions are asked of tables, not of images (see `pieces`): each case is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from segflow.contracts.arrays import LabelMap, SpacingMm
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Operation, PostProcessing, Step
from segflow.metrics import members, target_key
from segflow.postprocessing.pieces import Pieces, cut
from segflow.postprocessing.tables import DiceTables, Operations
from segflow.recipes.postprocessing import PostprocessingRecipe

__all__ = ["LoadPair", "search"]

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
