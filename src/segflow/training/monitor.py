"""How well the network does while it learns (Dice over validation patches), and when to stop.

Source: method.md section 15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.recipes.training import TrainingRecipe

__all__ = ["EpochRecord", "count_overlap", "epochs_without_gain", "is_over", "moving_mean", "pseudo_dice"]

#: Weight of the past in the moving mean. Source: method.md section 15.
_MOMENTUM: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch of a training.

    Attributes:
        epoch: From 0.
        learning_rate: Of its first step.
        train_loss: Mean over training batches whose loss is finite.
        validation_loss: Mean over validation batches; NaN without any.
        pseudo_dice: Per target, over all voxels of the validation patches; NaN if it does not occur.
        mean: Of the pseudo-Dice of targets that occur.
        ema: Moving mean of `mean`.
        skipped: Training batches without effect, as their gradients were not finite in half precision.
        seconds: Wall time.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    pseudo_dice: list[float]
    mean: float
    ema: float
    skipped: int
    seconds: float


def count_overlap(logits: Tensor, target: Tensor, labels: Labels) -> Tensor:
    """True positives, false positives and false negatives of a batch.

    Args:
        logits: (b, outputs, *spatial).
        target: Classes (b, *spatial), or regions (b, r, *spatial), a last channel for ignore if there is one.
        labels: Classes or regions.

    Returns:
        int64, (3, targets), on the CPU.
    """
    count = _count_regions if labels.has_regions else _count_classes
    return count(logits, target, labels).cpu()


def _count_classes(logits: Tensor, target: Tensor, labels: Labels) -> Tensor:
    """From the confusion matrix: rows are the truth."""
    n = logits.shape[1]
    prediction, truth = logits.argmax(dim=1).reshape(-1), target.reshape(-1).long()
    if labels.ignore is not None:
        valid = truth != labels.ignore
        prediction, truth = prediction[valid], truth[valid]
    confusion = torch.bincount(truth * n + prediction, minlength=n * n).reshape(n, n)
    tp = confusion.diagonal()
    return torch.stack((tp, confusion.sum(0) - tp, confusion.sum(1) - tp))[:, 1:]


def _count_regions(logits: Tensor, target: Tensor, labels: Labels) -> Tensor:
    """A region is predicted where its sigmoid exceeds one half."""
    prediction, truth = logits > 0, target[:, : logits.shape[1]].bool()
    valid = ~target[:, -1:].bool() if labels.ignore is not None else torch.ones_like(truth[:, :1])
    axes = (0, *range(2, logits.ndim))
    pairs = ((prediction, truth), (prediction, ~truth), (~prediction, truth))
    return torch.stack([(a & b & valid).sum(axes) for a, b in pairs])


def pseudo_dice(counts: Tensor) -> tuple[list[float], float]:
    """Dice per target and its mean over the targets that occur.

        Dice = 2 TP / (2 TP + FP + FN)

    Args:
        counts: (3, targets).

    Returns:
        Dice per target, NaN where 0 / 0; and the mean, NaN if no target occurs.
    """
    tp, fp, fn = counts.double()
    dice = 2 * tp / (2 * tp + fp + fn)
    return dice.tolist(), float(dice.nanmean())


def moving_mean(previous: float | None, new: float) -> float:
    """0.9 * previous + 0.1 * new; the first value as it is.

    An undefined value (NaN) changes nothing; nnU-Net's mean would stay NaN for good.
    """
    if previous is None or math.isnan(previous):
        return new
    return previous if math.isnan(new) else _MOMENTUM * previous + (1 - _MOMENTUM) * new


def epochs_without_gain(history: Sequence[EpochRecord]) -> int:
    """Epochs since the moving mean of the pseudo-Dice was last higher than ever before.

    0 if there are none, if the last one was the best, or if no epoch has a pseudo-Dice to compare.
    """
    best, since = -math.inf, 0
    for record in history:
        if record.ema > best:
            best, since = record.ema, 0
        elif best > -math.inf:
            since += 1
    return since


def is_over(history: Sequence[EpochRecord], recipe: TrainingRecipe) -> bool:
    """Whether training ends: all epochs are done, or the recipe's patience has run out.

    That follows from the history alone, so an interrupted training ends where an uninterrupted one does.
    """
    if len(history) >= recipe.epochs:
        return True
    return recipe.patience is not None and epochs_without_gain(history) >= recipe.patience
