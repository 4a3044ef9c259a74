"""Which post-processing operations pay: a few questions, each answered by a mean Dice before and after.

1. All foreground labels jointly: accepted if the foreground mean rises and no target's mean falls.
2. With several targets, each in turn, on the best result so far: accepted if its own mean rises.

The questions are asked of Dice values, not of images (see `tables`): where targets do not overlap, a single
pass over the cases answers all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Operation, PostProcessing, Step
from segflow.metrics import members, nan_mean, target_key
from segflow.postprocessing.tables import DiceTables, LoadPair, Mapper, Operations, targets_overlap

__all__ = ["LoadPair", "passes_over_cases", "search"]

#: The name of step 1 in the answer.
_JOINT = "foreground"


def search(
    cases: Sequence[LoadPair],
    labels: Labels,
    *,
    on_case: Callable[[], None] | None = None,
    mapper: Mapper = map,
) -> PostProcessing:
    """Find the operations that raise the cross-validated Dice.

    A target that occurs in no case has no say. (In the peer it makes the foreground mean NaN, and step 1 is
    never accepted: method.md section 25, number 4.)

    Args:
        cases: Each reads one (prediction, reference) pair in original space, (z, y, x), when called; one
            pair is in memory at a time.
        labels: Their vocabulary.
        on_case: Called after each case that was read; `passes_over_cases` says how often at most.
        mapper: Stands in for `map`, to spread the cases over processes; must keep their order.

    Returns:
        The accepted operations in order, and every question with its numbers.

    Raises:
        PredictionError: There are no cases, or a prediction and its reference differ in shape.

    Source: method.md section 23, except for absent classes (ours).
    """
    if not cases:
        raise PredictionError("there are no predicted cases to search post-processing with")
    tables = DiceTables(cases, labels, on_case=on_case, mapper=mapper)
    joint = Operation(name="keep_largest", labels=labels.foreground_values)
    singles = [Operation(name="keep_largest", labels=members(t)) for t in labels.targets]
    tables.measure(_foreseeable(joint, singles, labels))

    before = _means(tables, labels, ())
    accepted, step = _ask_jointly(tables, labels, joint)
    steps = [step]
    if len(labels.targets) > 1:
        for target, operation in zip(labels.targets, singles, strict=True):
            step = _ask_alone(tables, target, operation, accepted)
            steps.append(step)
            accepted = (*accepted, operation) if step.accepted else accepted
    return PostProcessing(
        operations=accepted,
        steps=tuple(steps),
        foreground_mean_dice_before=nan_mean(before),
        foreground_mean_dice_after=nan_mean(_means(tables, labels, accepted)),
    )


def passes_over_cases(labels: Labels) -> int:
    """How often `search` reads each case, at most.

    Args:
        labels: Their vocabulary.

    Returns:
        1, or one more than there are regions if regions overlap.

    Source: ours.
    """
    return 1 + len(labels.targets) if targets_overlap(labels) else 1


def _ask_jointly(tables: DiceTables, labels: Labels, joint: Operation) -> tuple[Operations, Step]:
    before, after = _means(tables, labels, ()), _means(tables, labels, (joint,))
    rises = nan_mean(after) > nan_mean(before)
    falls = any(b > a for b, a in zip(before, after, strict=True))
    step = Step(
        operation=joint,
        target=_JOINT,
        dice_before=nan_mean(before),
        dice_after=nan_mean(after),
        accepted=rises and not falls,
    )
    return ((joint,) if step.accepted else ()), step


def _ask_alone(tables: DiceTables, target: Target, operation: Operation, accepted: Operations) -> Step:
    before = tables.mean_dice(target, accepted)
    after = tables.mean_dice(target, (*accepted, operation))
    return Step(
        operation=operation,
        target=target_key(target),
        dice_before=before,
        dice_after=after,
        accepted=after > before,
    )


def _means(tables: DiceTables, labels: Labels, operations: Operations) -> list[float]:
    return [tables.mean_dice(target, operations) for target in labels.targets]


def _foreseeable(joint: Operation, singles: Sequence[Operation], labels: Labels) -> list[Operations]:
    """What will be asked whatever the answers: all of it, if no accepted target step can change another."""
    needed: list[Operations] = [(), (joint,)]
    if len(singles) > 1 and not targets_overlap(labels):
        needed += [(single,) for single in singles]
        needed += [(joint, single) for single in singles]
    return needed
