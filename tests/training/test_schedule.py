"""The learning rate, and the end of training."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segflow.recipes.training import TrainingRecipe
from segflow.training.monitor import EpochRecord, epochs_without_gain
from segflow.training.schedule import is_over, polynomial_learning_rate


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.01), (500, 0.01 * 0.5**0.9), (999, 0.01 * 0.001**0.9)])
def test_polynomial_decay(epoch, expected):
    rate = polynomial_learning_rate(epoch, epochs=1000, initial=0.01, exponent=0.9)
    assert rate == pytest.approx(expected)


def history_of(emas):
    plain = {
        "learning_rate": 0.1,
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "pseudo_dice": (0.5,),
        "mean": 0.5,
    }
    return [EpochRecord(epoch=epoch, ema=ema, seconds=1.0, **plain) for epoch, ema in enumerate(emas)]


@pytest.mark.parametrize(
    ("emas", "expected"),
    [
        ([], 0),
        ([0.5], 0),
        ([0.5, 0.4, 0.5], 2),  # as high as before is no gain
        ([0.5, 0.4, 0.6], 0),
        ([0.1, 0.2, 0.1, 0.15], 2),
        ([math.nan, math.nan], 0),  # nothing to compare
        ([math.nan, math.nan, 0.1], 0),
        ([math.nan, 0.1, math.nan], 1),
    ],
)
def test_epochs_without_gain(emas, expected):
    assert epochs_without_gain(history_of(emas)) == expected


@given(st.lists(st.integers(0, 9) | st.just(math.nan), max_size=30))
def test_over_when_the_best_is_as_far_back_as_patience_lasts(emas):
    known = [ema for ema in emas if not math.isnan(ema)]
    since = len(emas) - 1 - emas.index(max(known)) if known else 0
    history = history_of(emas)
    assert not is_over(history, TrainingRecipe(patience=since + 1))
    assert since == 0 or is_over(history, TrainingRecipe(patience=since))
    assert not is_over(history, TrainingRecipe())


@pytest.mark.parametrize(("patience", "over"), [(2, True), (3, True), (4, False)])
def test_the_epoch_that_patience_ends_with(patience, over):
    assert is_over(history_of([0.4, 0.5, 0.4, 0.5, 0.3]), TrainingRecipe(patience=patience)) == over


def test_the_last_epoch_ends_it_whatever_patience_is_left():
    assert is_over(history_of([0.1, 0.2, 0.3]), TrainingRecipe(epochs=3, patience=5))
    assert not is_over(history_of([0.1, 0.2]), TrainingRecipe(epochs=3, patience=5))
