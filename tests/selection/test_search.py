"""Every branch of the search on rows of voxels, and the search against a plain one on whole maps."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics.overlap import confusion_matrix, dice, members, nan_mean, target_counts, target_key
from segflow.recipes.selection import PostprocessingRecipe
from segflow.selection.pieces import apply
from segflow.selection.search import search

ONE = Labels((("background", 0), ("a", 1)))
TWO = Labels((("background", 0), ("a", 1), ("b", 2)))
THREE = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))
NESTED = Labels(
    (("background", 0), ("whole", (1, 2, 3)), ("core", (2, 3)), ("top", 3)), regions_class_order=(1, 2, 3)
)
MIXED = Labels((("background", 0), ("ab", (1, 2)), ("b", 2), ("c", 3)), regions_class_order=(1, 2, 3))
IGNORE = Labels((*TWO.entries, ("ignore", 3)))
MM = (2.0, 1.0, 0.5)


class Cases:
    """Pairs of read-only maps that count how often they are read."""

    def __init__(self, *pairs):
        self.reads = 0
        self.loaders = [partial(self._load, *pair) for pair in pairs]

    def _load(self, prediction, reference):
        self.reads += 1
        maps = [np.array(values, dtype=np.uint8, ndmin=3) for values in (prediction, reference)]
        for array in maps:
            array.setflags(write=False)
        return (*maps, MM)


def row(text):
    return [int(character) for character in text]


def accepted(result):
    return [step.target for step in result.steps if step.accepted]


def test_single_class_has_one_step():
    result = search(Cases((row("1100010"), row("1100000"))).loaders, ONE)
    assert accepted(result) == ["foreground"]
    assert len(result.steps) == 1
    assert result.operations == (Operation(name="keep_largest", labels=(1,)),)
    assert result.steps[0].dice_before == result.foreground_mean_dice_before == 0.8
    assert result.steps[0].dice_after == result.foreground_mean_dice_after == 1


def test_a_perfect_prediction_needs_nothing():
    result = search(Cases((row("11002202"), row("11002202"))).loaders, TWO)
    assert result.operations == ()
    assert [step.target for step in result.steps] == ["foreground", "1", "2"]
    assert not any(step.accepted for step in result.steps)


def test_joint_is_refused_if_a_class_falls():
    # Jointly, class 1 loses its false positives everywhere, but class 2, small and apart in one case, is
    # lost there: the mean rises, class 2 falls.
    cases = [(row("1111010101010200"), row("1111000000000200"))]
    cases += [(row("11220101010101"), row("11220000000000"))] * 3
    result = search(Cases(*cases).loaders, TWO)
    joint, first, second = result.steps
    assert joint.dice_after > joint.dice_before
    assert not joint.accepted
    assert first.accepted
    assert first.dice_after == 1
    assert not second.accepted
    assert result.operations == (Operation(name="keep_largest", labels=(1,)),)
    assert result.foreground_mean_dice_after == 1


def test_a_class_that_occurs_nowhere_is_left_out():
    result = search(Cases((row("1100010"), row("1100000"))).loaders, TWO)
    assert accepted(result) == ["foreground"]
    assert math.isnan(result.steps[2].dice_before)
    assert not result.steps[2].accepted
    nothing = search(Cases((row("000"), row("000"))).loaders, TWO)
    assert nothing.operations == ()
    assert math.isnan(nothing.foreground_mean_dice_before)


@pytest.mark.parametrize("labels", [ONE, THREE, NESTED, MIXED], ids=str)
def test_volumes_are_read_once(labels):
    cases = Cases(*[(row("1233300103"), row("1233300000"))] * 2)
    ticks = []

    def mapper(function, items):
        return [function(item) for item in items]

    search(cases.loaders, labels, EVERYTHING, on_case=lambda: ticks.append(1), mapper=mapper)
    assert cases.reads == len(ticks) == 2


@pytest.mark.parametrize(
    ("pairs", "message"), [([], "no predicted cases"), ([(row("10"), row("1"))], "differ in shape")]
)
def test_cases_that_cannot_be_searched(pairs, message):
    with pytest.raises(PredictionError, match=message):
        search(Cases(*pairs).loaders, ONE)


EVERYTHING = PostprocessingRecipe(remove_below_mm3=(1.5, 2.5, 4), fill_holes=True)


def test_nothing_but_what_the_recipe_asks():
    cases = Cases((row("1100010"), row("1100000")))
    only_holes = PostprocessingRecipe(largest_component=False, fill_holes=True)
    assert [step.operation.name for step in search(cases.loaders, TWO, only_holes).steps] == [
        "fill_holes"
    ] * 2
    found = search(cases.loaders, TWO, EVERYTHING).steps
    assert [(step.operation.name, step.target) for step in found] == [
        *[("keep_largest", target) for target in ("foreground", "1", "2")],
        *[("remove_small", target) for target in ("foreground", "1", "2") for _ in range(3)],
        *[("fill_holes", target) for target in ("1", "2")],
    ]


def test_the_volume_that_pays_most_is_taken():
    # Voxels of 0.5 mm along the row: components of 4, 1 and 2 voxels; the last is right.
    recipe = PostprocessingRecipe(largest_component=False, remove_below_mm3=(0.3, 0.6, 0.9, 1.5))
    result = search(Cases((row("1111010110"), row("1111000110"))).loaders, ONE, recipe)
    assert [step.accepted for step in result.steps] == [False, True, False, False]
    assert result.operations[0].min_volume_mm3 == 0.6  # 0.9 gives the same Dice
    assert result.steps[1].dice_after == result.steps[2].dice_after == 1
    assert result.steps[3].dice_after < 1


def test_holes_are_filled_where_that_pays():
    reference = np.array([row("01110"), row("01110"), row("01110")])
    prediction = reference.copy()
    prediction[1, 2] = 0
    recipe = PostprocessingRecipe(fill_holes=True)
    result = search(Cases((prediction, reference)).loaders, ONE, recipe)
    assert result.operations == (Operation(name="fill_holes", labels=(1,), fill=1),)
    assert result.foreground_mean_dice_after == 1
    assert not search(Cases((prediction, prediction)).loaders, ONE, recipe).operations


class PlainSearch:
    """The rules read aloud: score all maps before and after each step."""

    def __init__(self, pairs, labels):
        self.pairs, self.labels = pairs, labels
        self.maps = [prediction for prediction, _ in pairs]
        self.numbers, self.operations = [], []

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
        for operation in alternatives:
            changed = [apply([operation], m, spacing_mm=MM) for m in self.maps]
            after = self.scores(changed)
            pair = [nan_mean(s.values()) if target is None else s[target] for s in (before, after)]
            falls = target is None and any(after[t] < before[t] for t in after)
            self.numbers.append(("foreground" if target is None else target_key(target), *pair))
            found += [(pair[1], operation, changed)] if pair[1] > pair[0] and not falls else []
        if found:
            _, operation, self.maps = max(found, key=lambda one: one[0])
            self.operations.append(operation)

    def scores(self, maps):
        confusions = [
            confusion_matrix(reference, found, self.labels)
            for found, (_, reference) in zip(maps, self.pairs, strict=True)
        ]
        return {t: nan_mean(dice(target_counts(c, t)) for c in confusions) for t in self.labels.targets}


@pytest.mark.parametrize("labels", [ONE, TWO, THREE, NESTED, MIXED, IGNORE], ids=str)
@pytest.mark.parametrize("recipe", [PostprocessingRecipe(), EVERYTHING], ids=["nnunet", "everything"])
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
    result = search(Cases(*pairs).loaders, labels, recipe)
    plain = PlainSearch(pairs, labels)
    plain.run(recipe)
    assert list(result.operations) == plain.operations
    for step, (target, *numbers) in zip(result.steps, plain.numbers, strict=True):
        assert step.target == target
        assert (step.dice_before, step.dice_after) == pytest.approx(tuple(numbers), nan_ok=True)
    after = nan_mean(plain.scores(plain.maps).values())
    assert result.foreground_mean_dice_after == pytest.approx(after, nan_ok=True)
