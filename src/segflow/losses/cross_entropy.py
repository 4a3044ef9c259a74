"""Cross-entropy over classes, and binary cross-entropy over regions, of all voxels or of those where it is highest.

In all functions `mask`, (b, 1, *spatial), marks the voxels that count (all if None), `share` is the part of each
patch's voxels that is used, those of the highest cross-entropy (1 for all), and `reduction` combines the sums of
processes that share the batch. The result is a scalar; 0 if no voxel counts. Source: method.md section 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segflow.losses.reduction import SINGLE_PROCESS, Reduction

__all__ = ["binary_cross_entropy", "cross_entropy", "highest_mean"]


def highest_mean(
    losses: Tensor, *, share: float, mask: Tensor | None = None, reduction: Reduction = SINGLE_PROCESS
) -> Tensor:
    """The mean over a share of the entries of each patch, the highest ones.

    Of n entries that count, round(share * n) are taken, at least one; a patch where nothing counts gives none. They are
    chosen patch by patch, so that the result does not depend on how a batch is spread over processes.

    Args:
        losses: Of voxels, or of voxels and regions, (b, c, *spatial), none below 0.
        share: Above 0, at most 1.
        mask: Voxels that count.
        reduction: Over processes.

    Source: not in nnU-Net, which chooses among all voxels of a batch.
    """
    flat = losses.flatten(1)
    n = flat.shape[1]
    counts = torch.full((len(flat),), n, device=flat.device)
    if mask is not None:
        valid = mask.expand_as(losses).flatten(1)
        counts = valid.sum(1)
        flat = flat.masked_fill(~valid, -1)
    wanted = torch.minimum((counts.double() * share).round().long().clamp(min=1), counts)
    values = flat.topk(max(round(n * share), 1), dim=1).values
    chosen = torch.arange(values.shape[1], device=flat.device) < wanted[:, None]
    total = values.masked_fill(~chosen, 0).sum()
    return reduction.sum(total) / torch.clamp(reduction.sum(wanted.sum()), min=1)


def cross_entropy(
    log_p: Tensor,
    y: Tensor,
    *,
    share: float = 1.0,
    mask: Tensor | None = None,
    reduction: Reduction = SINGLE_PROCESS,
) -> Tensor:
    """The mean of -log p_y.

    Args:
        log_p: Log-probabilities, (b, c, *spatial).
        y: Class of each voxel, (b, 1, *spatial), int64; within 0..c-1 where the mask is false too.
        share: Above 0, at most 1.
        mask: Voxels that count.
        reduction: Over processes.
    """
    log_p_y = log_p.gather(1, y)
    if share < 1:
        return highest_mean(-log_p_y, share=share, mask=mask, reduction=reduction)
    if mask is None:
        return -reduction.mean(log_p_y.mean())
    return -reduction.sum((log_p_y * mask).sum()) / torch.clamp(reduction.sum(mask.sum()), min=1)


def binary_cross_entropy(
    logits: Tensor,
    y: Tensor,
    *,
    share: float = 1.0,
    mask: Tensor | None = None,
    reduction: Reduction = SINGLE_PROCESS,
) -> Tensor:
    """The mean of -(y log p + (1 - y) log(1 - p)) over voxels and regions.

    nnU-Net does not divide by the number of regions when there is an ignore label (method.md section 25.13).

    Args:
        logits: Scores before the sigmoid, (b, c, *spatial).
        y: Truth, 0 or 1 (or boolean), same shape.
        share: Above 0, at most 1.
        mask: Voxels that count.
        reduction: Over processes.
    """
    y = y.to(logits.dtype)
    if mask is None and share == 1:
        return reduction.mean(F.binary_cross_entropy_with_logits(logits, y))
    losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    if mask is None or share < 1:
        return highest_mean(losses, share=share, mask=mask, reduction=reduction)
    n_regions = logits.shape[1]
    return reduction.sum((losses * mask).sum()) / (n_regions * torch.clamp(reduction.sum(mask.sum()), min=1))
