"""Every branch of the search on rows of voxels, and the search against a plain one on whole maps."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import Operation
from segflow.metrics import confusion_matrix, dice, members, nan_mean, target_counts, target_key
from segflow.postprocessing import apply, passes_over_cases, search

ONE = Labels((("background", 0), ("a", 1)))
TWO = Labels((("background", 0), ("a", 1), ("b", 2)))
THREE = Labels((("background", 0), ("a", 1), ("b", 2), ("c", 3)))
NESTED = Labels(
    (("background", 0), ("whole", (1, 2, 3)), ("core", (2, 3)), ("top", 3)), regions_class_order=(1, 2, 3)
)
MIXED = Labels((("background", 0), ("ab", (1, 2)), ("b", 2), ("c", 3)), regions_class_order=(1, 2, 3))
IGNORE = Labels((*TWO.entries, ("ignore", 3)))


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
        return tuple(maps)


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


def test_perfect_prediction_needs_nothing():
    result = search(Cases((row("1100220"), row("1100220"))).loaders, TWO)
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


def test_joint_is_refused_if_nothing_rises():
    result = search(Cases((row("1100011"), row("1100011"))).loaders, ONE)
    assert result.steps[0].dice_before == result.steps[0].dice_after
    assert not result.steps[0].accepted


def test_class_step_follows_accepted_joint():
    # Joint drops the far 2; then class 1's second component inside the kept blob goes.
    result = search(Cases((row("11212202"), row("11222200"))).loaders, TWO)
    assert accepted(result) == ["foreground", "1"]
    assert [o.labels for o in result.operations] == [(1, 2), (1,)]


def test_class_step_must_raise_its_own_mean():
    # Class 1 really has two components: keeping one would lower it.
    result = search(Cases((row("1110110222"), row("1110110222"))).loaders, TWO)
    assert result.steps[1].dice_after < result.steps[1].dice_before
    assert result.operations == ()


def test_absent_class_has_no_say():
    result = search(Cases((row("1100010"), row("1100000"))).loaders, TWO)
    assert accepted(result) == ["foreground"]
    assert math.isnan(result.steps[2].dice_before)
    assert not result.steps[2].accepted


def test_nothing_defined_accepts_nothing():
    result = search(Cases((row("000"), row("000"))).loaders, TWO)
    assert result.operations == ()
    assert math.isnan(result.foreground_mean_dice_before)


def test_region_step_changes_the_others():
    result = search(Cases((row("1233300103"), row("1233300000"))).loaders, NESTED)
    assert [step.target for step in result.steps] == ["foreground", "(1, 2, 3)", "(2, 3)", "3"]
    assert accepted(result) == ["foreground"]
    assert result.foreground_mean_dice_after == 1


@pytest.mark.parametrize(("labels", "passes"), [(ONE, 1), (THREE, 1), (NESTED, 4), (MIXED, 4)])
def test_volumes_are_read_seldom(labels, passes):
    cases = Cases(*[(row("1233300103"), row("1233300000"))] * 2)
    ticks = []
    search(cases.loaders, labels, on_case=lambda: ticks.append(1))
    assert passes_over_cases(labels) == passes
    assert cases.reads == len(ticks) == 2 * passes


def test_another_map():
    cases = Cases((row("1100010"), row("1100000")))
    result = search(cases.loaders, ONE, mapper=lambda function, items: [function(item) for item in items])
    assert accepted(result) == ["foreground"]


def test_no_cases():
    with pytest.raises(PredictionError, match="no predicted cases"):
        search([], ONE)


def test_shapes_must_agree():
    with pytest.raises(PredictionError, match="differ in shape"):
        search(Cases((row("10"), row("1"))).loaders, ONE)


def plain_search(pairs, labels):
    """The rules read aloud: score all maps before and after each step."""

    def scores(maps):
        confusions = [
            confusion_matrix(reference, m, labels) for m, (_, reference) in zip(maps, pairs, strict=True)
        ]
        return {t: nan_mean(dice(target_counts(c, t)) for c in confusions) for t in labels.targets}

    def keep(values, maps):
        operation = Operation(name="keep_largest", labels=values)
        return operation, [apply([operation], m) for m in maps]

    maps, operations, numbers = [prediction for prediction, _ in pairs], [], []
    before = scores(maps)
    operation, changed = keep(labels.foreground_values, maps)
    after = scores(changed)
    numbers.append(("foreground", nan_mean(before.values()), nan_mean(after.values())))
    if numbers[0][2] > numbers[0][1] and not any(after[t] < before[t] for t in after):
        maps, operations = changed, [operation]
    for target in labels.targets if len(labels.targets) > 1 else ():
        operation, changed = keep(members(target), maps)
        before, after = scores(maps)[target], scores(changed)[target]
        numbers.append((target_key(target), before, after))
        if after > before:
            maps, operations = changed, [*operations, operation]
    return operations, numbers, nan_mean(scores(maps).values())


@pytest.mark.parametrize("labels", [ONE, TWO, THREE, NESTED, MIXED, IGNORE], ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_like_the_plain_search(labels, seed):
    generator = np.random.default_rng(seed)
    n, pairs = len(labels.values), []
    for _ in range(3):
        reference = np.zeros((2, 6, 9), dtype=np.uint8)
        reference[:, 1:4, 1:5] = generator.integers(1, n + (labels.ignore is not None), (2, 3, 4))
        noise = generator.integers(0, n, reference.shape)
        prediction = np.where(generator.random(reference.shape) < 0.12, noise, reference).astype(np.uint8)
        prediction[prediction == labels.ignore] = 0
        pairs.append((prediction, reference))
    result = search(Cases(*pairs).loaders, labels)
    operations, numbers, after = plain_search(pairs, labels)
    assert list(result.operations) == operations
    for step, (target, dice_before, dice_after) in zip(result.steps, numbers, strict=True):
        assert step.target == target
        assert (step.dice_before, step.dice_after) == pytest.approx((dice_before, dice_after), nan_ok=True)
    assert result.foreground_mean_dice_after == pytest.approx(after, nan_ok=True)
