"""Cross-entropy plus Dice: what a segmentation network minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from segflow.contracts.labels import Labels
from segflow.losses.cross_entropy import binary_cross_entropy, cross_entropy
from segflow.losses.deep_supervision import DeepSupervisionLoss, deep_supervision_weights
from segflow.losses.dice import soft_dice_loss
from segflow.losses.parts import WHOLE, Parts

__all__ = ["ClassLoss", "RegionLoss", "build_loss"]


@dataclass(frozen=True, kw_only=True)
class ClassLoss:
    """Cross-entropy + Dice on the softmax over classes that exclude each other.

    Dice leaves out the background.

    Attributes:
        batch_dice: Sum Dice over the batch.
        ignore: Target value of voxels that do not count, if there is one.
        parts: Of the batch, if it is spread over processes.
    """

    batch_dice: bool
    ignore: int | None = None
    parts: Parts = WHOLE

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output.

        Args:
            logits: (b, c, *spatial), background first.
            target: Class of each voxel, (b, *spatial), any integer type.

        Returns:
            Scalar.

        Source: method.md section 14.
        """
        log_p = torch.log_softmax(logits.float(), dim=1)
        y = target.long().unsqueeze(1)
        mask = None
        if self.ignore is not None:
            mask = y != self.ignore
            y = y * mask
        classes = torch.arange(1, logits.shape[1], device=y.device).view(1, -1, *[1] * (y.ndim - 2))
        p = log_p[:, 1:].exp()
        dice = soft_dice_loss(p, y == classes, batch_dice=self.batch_dice, mask=mask, parts=self.parts)
        return cross_entropy(log_p, y, mask=mask, parts=self.parts) + dice


@dataclass(frozen=True, kw_only=True)
class RegionLoss:
    """Binary cross-entropy + Dice on the sigmoid of regions that may overlap.

    Attributes:
        batch_dice: Sum Dice over the batch.
        ignore_last: The target's last channel marks voxels that do not count.
        parts: Of the batch, if it is spread over processes.
    """

    batch_dice: bool
    ignore_last: bool = False
    parts: Parts = WHOLE

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output.

        Args:
            logits: (b, r, *spatial).
            target: Boolean, (b, r, *spatial), or r + 1 channels with `ignore_last`.

        Returns:
            Scalar.

        Source: method.md section 14.
        """
        logits = logits.float()
        mask = None
        if self.ignore_last:
            target, mask = target[:, :-1], ~target[:, -1:].bool()
        p = torch.sigmoid(logits)
        dice = soft_dice_loss(p, target, batch_dice=self.batch_dice, mask=mask, parts=self.parts)
        return binary_cross_entropy(logits, target, mask=mask, parts=self.parts) + dice


def build_loss(
    labels: Labels, *, batch_dice: bool, n_scales: int, parts: Parts = WHOLE
) -> DeepSupervisionLoss:
    """The loss for a set of labels and a number of outputs.

    Args:
        labels: Classes or regions, with or without ignore.
        batch_dice: Sum Dice over the batch.
        n_scales: Outputs of the network; 1 without deep supervision.
        parts: Of the batch, if it is spread over processes.

    Returns:
        A callable of (list of logits, list of targets), full resolution first.

    Source: method.md section 14.
    """
    loss: Callable[[Tensor, Tensor], Tensor]
    if labels.has_regions:
        loss = RegionLoss(batch_dice=batch_dice, ignore_last=labels.ignore is not None, parts=parts)
    else:
        loss = ClassLoss(batch_dice=batch_dice, ignore=labels.ignore, parts=parts)
    return DeepSupervisionLoss(loss, deep_supervision_weights(n_scales))
