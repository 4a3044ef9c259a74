"""Pseudo-Dice, its moving mean, and when training is over."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segflow.contracts.labels import Labels
from segflow.recipes.training import TrainingRecipe
from segflow.training.monitor import (
    EpochRecord,
    count_overlap,
    epochs_without_gain,
    is_over,
    moving_mean,
    pseudo_dice,
)

CLASSES = (("background", 0), ("a", 1), ("b", 2))
REGIONS = (("background", 0), ("both", (1, 2)), ("b", 2))
IGNORE = ("ignore", 3)


@pytest.mark.parametrize(
    ("labels", "target", "expected"),
    [
        (Labels(CLASSES), [0, 1, 2, 2, 0], [[1, 1], [1, 1], [0, 1]]),
        (Labels((*CLASSES, IGNORE)), [3, 1, 3, 2, 3], [[1, 1], [0, 0], [0, 0]]),
    ],
)
def test_overlap_of_classes(labels, target, expected):
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1, 2, 2]]), 3).movedim(-1, 1).float()
    assert count_overlap(logits, torch.tensor([target], dtype=torch.int16), labels).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "ignored", "expected"),
    [
        (Labels(REGIONS, (1, 2)), [], [[1, 1], [1, 0], [1, 1]]),
        (Labels((*REGIONS, IGNORE), (1, 2)), [[False, True, True]], [[1, 1], [0, 0], [0, 0]]),
    ],
)
def test_overlap_of_regions(labels, ignored, expected):
    logits = torch.tensor([[[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]])
    target = torch.tensor([[[True, False, True], [True, True, False], *ignored]])
    assert count_overlap(logits, target, labels).tolist() == expected


def test_dice_and_its_mean_over_what_occurs():
    dice, mean = pseudo_dice(torch.tensor([[3, 0, 1], [1, 0, 0], [1, 0, 2]]))
    assert dice[::2] == pytest.approx([0.75, 0.5])
    assert math.isnan(dice[1])
    assert mean == pytest.approx(0.625)
    assert math.isnan(pseudo_dice(torch.zeros(3, 2, dtype=torch.int64))[1])


def test_moving_mean():
    assert moving_mean(None, 0.5) == 0.5
    assert moving_mean(0.5, 0.7) == pytest.approx(0.52)
    assert moving_mean(0.5, math.nan) == 0.5
    assert moving_mean(math.nan, 0.5) == 0.5
    assert math.isnan(moving_mean(None, math.nan))


def history_of(emas):
    plain = dict.fromkeys(("learning_rate", "train_loss", "validation_loss", "mean", "skipped", "seconds"), 1)
    return [EpochRecord(epoch=i, ema=ema, pseudo_dice=[0.5], **plain) for i, ema in enumerate(emas)]


@given(st.lists(st.integers(0, 9) | st.just(math.nan), max_size=30))
def test_over_when_the_best_epoch_is_as_far_back_as_patience_allows(emas):
    """As high as before is no gain, and without any pseudo-Dice there is nothing to compare."""
    known = [ema for ema in emas if not math.isnan(ema)]
    since = len(emas) - 1 - emas.index(max(known)) if known else 0
    history = history_of(emas)
    assert epochs_without_gain(history) == since
    assert not is_over(history, TrainingRecipe(patience=since + 1))
    assert since == 0 or is_over(history, TrainingRecipe(patience=since))
    assert not is_over(history, TrainingRecipe())
    assert not emas or is_over(history, TrainingRecipe(epochs=len(emas), patience=99))
