"""Every branch of the search on rows of voxels, and the search against a plain one on whole maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from case_samples import CLASSES, IGNORE, labels_of

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, members
from segflow.contracts.scores import Operation
from segflow.metrics import overlap
from segflow.metrics.overlap import confusion_matrix, nan_mean, target_counts, target_key
from segflow.recipes.selection import PostprocessingRecipe
from segflow.selection.operations import apply, cut
from segflow.selection.search import search

ONE, THREE = labels_of(1), labels_of(3)
NESTED = Labels(
    (("background", 0), ("whole", (1, 2, 3)), ("core", (2, 3)), ("top", 3)), regions_class_order=(1, 2, 3)
)
MIXED = Labels((("background", 0), ("ab", (1, 2)), ("b", 2), ("c", 3)), regions_class_order=(1, 2, 3))
MM = (2.0, 1.0, 0.5)
DEFAULT = PostprocessingRecipe()
EVERYTHING = PostprocessingRecipe(remove_below_mm3=(1.5, 2.5, 4), fill_holes=True)
KEEP_1 = (Operation(name="keep_largest", labels=(1,)),)
KEEP_1_AND_2 = (Operation(name="keep_largest", labels=(1, 2)),)


def load(prediction, reference):
    """A pair of read-only maps, from arrays or rows of digits."""
    maps = [
        np.array(list(values) if isinstance(values, str) else values, dtype=np.uint8, ndmin=3)
        for values in (prediction, reference)
    ]
    for array in maps:
        array.setflags(write=False)
    return (*maps, MM)


def found_for(labels, *pairs, recipe=DEFAULT, single=()):
    cases = []
    for prediction, reference, spacing_mm in (load(*pair) for pair in pairs):
        cases.append(cut(prediction, reference, labels, spacing_mm, holes=recipe.fill_holes))
    return search(cases, labels, recipe, single=single)


def test_a_single_class_has_one_step():
    result = found_for(ONE, ("1100010", "1100000"))
    (step,) = result.steps
    assert (step.target, step.accepted) == ("foreground", True)
    assert result.operations == KEEP_1
    assert step.dice_before == result.foreground_mean_dice_before == 0.8
    assert step.dice_after == result.foreground_mean_dice_after == 1


def test_a_joint_operation_is_refused_if_a_class_falls():
    # Jointly, class 1 loses its false positives everywhere, but class 2, small and apart in one case, is
    # lost there: the mean rises, class 2 falls.
    cases = [("1111010101010200", "1111000000000200"), *[("11220101010101", "11220000000000")] * 3]
    result = found_for(CLASSES, *cases)
    joint, first, second = result.steps
    assert joint.dice_after > joint.dice_before
    assert [step.accepted for step in (joint, first, second)] == [False, True, False]
    assert first.dice_after == 1
    assert result.operations == KEEP_1
    assert result.foreground_mean_dice_after == 1


def test_training_labels_decide_whatever_the_dice():
    """Class 1 is always one component in the training labels, class 2 is not: its false speck stays."""
    recipe = PostprocessingRecipe(largest_component="if_single_in_labels")
    result = found_for(CLASSES, ("110111002202", "110000002200"), recipe=recipe, single=(1,))
    (step,) = result.steps
    assert (step.operation, step.target, step.accepted) == (*KEEP_1, "1", True)
    assert step.dice_after == 0 < step.dice_before  # the larger component is the wrong one
    assert result.operations == KEEP_1
    assert result.foreground_mean_dice_after < result.foreground_mean_dice_before
    assert found_for(CLASSES, ("11011", "11000"), recipe=recipe).operations == ()
    assert found_for(CLASSES, ("11010", "11000"), single=(2,)).operations == KEEP_1_AND_2  # as the Dice says


def test_operations_on_which_the_dice_decides_come_after_those_of_the_training_labels():
    recipe = PostprocessingRecipe(largest_component="if_single_in_labels", remove_below_mm3=(1.5,))
    result = found_for(ONE, ("1101000", "1100000"), recipe=recipe, single=(1,))
    assert [step.operation.name for step in result.steps] == ["keep_largest", "remove_small"]
    assert result.operations == KEEP_1


def test_a_class_that_occurs_nowhere_is_left_out():
    result = found_for(CLASSES, ("1100010", "1100000"))
    assert [step.accepted for step in result.steps] == [True, False, False]
    assert math.isnan(result.steps[2].dice_before)
    nothing = found_for(CLASSES, ("000", "000"))
    assert nothing.operations == ()
    assert math.isnan(nothing.foreground_mean_dice_before)


@pytest.mark.parametrize(
    ("pairs", "message"), [([], "no predicted cases"), ([("10", "1")], "differ in shape")]
)
def test_cases_that_cannot_be_searched(pairs, message):
    with pytest.raises(PredictionError, match=message):
        found_for(ONE, *pairs)


def test_the_volume_with_the_highest_dice_is_accepted():
    # Voxels of 0.5 mm along the row: components of 4, 1 and 2 voxels; the last is right.
    recipe = PostprocessingRecipe(largest_component=False, remove_below_mm3=(0.3, 0.6, 0.9, 1.5))
    result = found_for(ONE, ("1111010110", "1111000110"), recipe=recipe)
    assert [step.accepted for step in result.steps] == [False, True, False, False]
    assert result.operations[0].min_volume_mm3 == 0.6  # 0.9 gives the same Dice
    assert result.steps[1].dice_after == result.steps[2].dice_after == 1
    assert result.steps[3].dice_after < 1


class PlainSearch:
    """The rules taken literally: change and score all maps for each operation."""

    def __init__(self, pairs, labels):
        self.pairs, self.labels = pairs, labels
        self.maps = [prediction for prediction, _ in pairs]
        self.tried, self.operations = [], []

    def run(self, recipe):
        labels = self.labels
        wholes = [(None, labels.foreground_values)]
        wholes += [(t, members(t)) for t in labels.targets if len(labels.targets) > 1]
        if recipe.largest_component:
            for target, values in wholes:
                self.ask(target, [Operation(name="keep_largest", labels=values)])
        volumes = recipe.remove_below_mm3
        for target, values in wholes if volumes else ():
            kind = {"name": "remove_small", "labels": values}
            self.ask(target, [Operation(**kind, min_volume_mm3=v) for v in volumes])
        written = labels.regions_class_order or labels.foreground_values
        for target, value in zip(labels.targets, written, strict=True) if recipe.fill_holes else ():
            self.ask(target, [Operation(name="fill_holes", labels=members(target), fill=value)])

    def ask(self, target, alternatives):
        before, found = self.scores(self.maps), []
        name = "foreground" if target is None else target_key(target)
        for operation in alternatives:
            changed = [apply([operation], m, spacing_mm=MM) for m in self.maps]
            after = self.scores(changed)
            pair = [nan_mean(s.values()) if target is None else s[target] for s in (before, after)]
            falls = target is None and any(after[t] < before[t] for t in after)
            self.tried.append((name, operation, pair))
            found += [(pair[1], operation, changed)] if pair[1] > pair[0] and not falls else []
        if found:
            _, operation, self.maps = max(found, key=lambda one: one[0])
            self.operations.append(operation)

    def scores(self, maps):
        confusions = [
            confusion_matrix(reference, found, self.labels)
            for found, (_, reference) in zip(maps, self.pairs, strict=True)
        ]
        return {
            t: nan_mean(overlap.dice(target_counts(c, t)) for c in confusions) for t in self.labels.targets
        }


RECIPES = {
    "nnunet": PostprocessingRecipe(),
    "everything": EVERYTHING,
    "holes": PostprocessingRecipe(largest_component=False, fill_holes=True),
}


@pytest.mark.parametrize("labels", [ONE, CLASSES, THREE, NESTED, MIXED, IGNORE], ids=str)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("seed", range(6))
def test_like_the_plain_search(labels, recipe, seed):
    generator = np.random.default_rng(seed)
    n, pairs = len(labels.values), []
    for _ in range(3):
        reference = np.zeros((2, 6, 9) if seed % 3 else (1, 9, 9), dtype=np.uint8)
        core = reference[:, 1:4, 1:5]
        core[...] = generator.integers(1, n + (labels.ignore is not None), core.shape)
        noise = generator.integers(0, n, reference.shape)
        prediction = np.where(generator.random(reference.shape) < 0.12, noise, reference).astype(np.uint8)
        prediction[prediction == labels.ignore] = 0
        pairs.append((prediction, reference))
    result = found_for(labels, *pairs, recipe=RECIPES[recipe])
    plain = PlainSearch(pairs, labels)
    plain.run(RECIPES[recipe])
    assert list(result.operations) == plain.operations
    assert [(step.target, step.operation) for step in result.steps] == [tried[:2] for tried in plain.tried]
    for step, (*_, dice) in zip(result.steps, plain.tried, strict=True):
        assert [step.dice_before, step.dice_after] == pytest.approx(dice, nan_ok=True)
    after = nan_mean(plain.scores(plain.maps).values())
    assert result.foreground_mean_dice_after == pytest.approx(after, nan_ok=True)
