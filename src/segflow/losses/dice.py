"""The soft Dice loss: the mean over classes (method.md section 14), or one ratio with squared denominators."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from segflow.network.group import SINGLE, Group

__all__ = ["soft_dice_loss", "squared_dice_loss"]

#: Added above and below, so that a class absent from both scores 1.
EPSILON: Final = 1e-5
#: Lower limit of the denominator.
FLOOR: Final = 1e-8


def soft_dice_loss(
    p: Tensor,
    y: Tensor,
    *,
    batch_dice: bool,
    mask: Tensor | None = None,
    group: Group = SINGLE,
) -> Tensor:
    """Minus the mean soft Dice.

        I = sum(p * y)    P = sum(p)    Y = sum(y)
        Dice = (2 I + epsilon) / max(P + Y + epsilon, floor)

    The sums run over the voxels of a patch, or with `batch_dice` over those of the whole batch.

    Args:
        p: Probabilities, (b, c, *spatial).
        y: Truth, 0 or 1 (or boolean), same shape.
        batch_dice: Sum over the batch.
        mask: Voxels that count, (b, 1, *spatial), boolean; all if None.
        group: The processes that share the batch.

    Returns:
        Scalar between -1 and 0.
    """
    if mask is not None:
        p, y = p * mask, y * mask
    axes = (*((0,) if batch_dice else ()), *range(2, p.ndim))
    I = (p * y).sum(axes)  # noqa: E741, N806  the formula's letter
    P, Y = p.sum(axes), y.sum(axes, dtype=p.dtype)  # noqa: N806  the formula's letters
    if batch_dice:
        I, P, Y = group.sum(torch.stack((I, P, Y)))  # noqa: E741, N806
    dice = ((2 * I + EPSILON) / torch.clamp(P + Y + EPSILON, min=FLOOR)).mean()
    return -(dice if batch_dice else group.mean(dice))


def squared_dice_loss(
    p: Tensor,
    y: Tensor,
    *,
    batch_dice: bool,
    mask: Tensor | None = None,
    group: Group = SINGLE,
) -> Tensor:
    """One Dice loss of all classes together: 1 - 2 sum(p * y) / (sum(p^2) + sum(y^2)).

    The sums run over classes and voxels of a patch, or with `batch_dice` over those of the whole batch. Nothing is
    added to them; where no voxel counts, the loss is 1.

    Args:
        p: Probabilities, background included, (b, c, *spatial).
        y: Truth, 0 or 1 (or boolean), same shape.
        batch_dice: Sum over the batch.
        mask: Voxels that count, (b, 1, *spatial), boolean; all if None.
        group: The processes that share the batch.

    Returns:
        Scalar between 0 and 1.

    Source: formula 1 of the FLARE 2021 entry that the recipe flare21 follows.
    """
    if mask is not None:
        p, y = p * mask, y * mask
    axes = tuple(range(0 if batch_dice else 1, p.ndim))
    overlap = (p * y).sum(axes)
    sizes = p.square().sum(axes) + y.sum(axes, dtype=p.dtype)  # y is its own square
    if batch_dice:
        overlap, sizes = group.sum(torch.stack((overlap, sizes)))
    loss = (1 - 2 * overlap / torch.clamp(sizes, min=FLOOR)).mean()
    return loss if batch_dice else group.mean(loss)
