"""The learning rate, and when training is over. Source: method.md section 15."""

from __future__ import annotations

from collections.abc import Sequence

from segflow.recipes.training import TrainingRecipe
from segflow.training.monitor import EpochRecord, epochs_without_gain

__all__ = ["is_over", "polynomial_learning_rate"]


def polynomial_learning_rate(epoch: int, *, epochs: int, initial: float, exponent: float) -> float:
    """The learning rate of an epoch: initial * (1 - epoch / epochs) ^ exponent.

    Args:
        epoch: From 0.
        epochs: Length of the schedule.
        initial: At epoch 0.
        exponent: Of the decay.

    Source: method.md section 15.
    """
    return float(initial * (1 - epoch / epochs) ** exponent)


def is_over(history: Sequence[EpochRecord], recipe: TrainingRecipe) -> bool:
    """Whether training ends after the epochs behind it: it has had all of them, or its patience is at an end.

    That follows from the history alone, so an interrupted training ends where one that was not does.

    Args:
        history: All epochs so far.
        recipe: Number of epochs, and patience.

    Source: method.md section 15 for the number; patience is ours.

    """
    if len(history) >= recipe.epochs:
        return True
    return recipe.patience is not None and epochs_without_gain(history) >= recipe.patience
