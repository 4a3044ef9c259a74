"""Cross-entropy over classes, and binary cross-entropy over regions.

The mean over the entries of a patch that cost most.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segflow.losses.parts import WHOLE, Parts

__all__ = ["binary_cross_entropy", "cross_entropy", "highest_mean"]


def highest_mean(losses: Tensor, *, share: float, mask: Tensor | None = None, parts: Parts = WHOLE) -> Tensor:
    """The mean over a share of the entries of each patch, the highest ones.

    Of n entries that count, round(share * n) are taken, at least one; a patch where nothing counts gives none. They are
    chosen patch by patch, so that the result does not depend on how a batch is spread over processes.

    Args:
        losses: Of voxels, or of voxels and regions, (b, c, *spatial), none below 0.
        share: Above 0, at most 1.
        mask: Voxels that count, (b, 1, *spatial), boolean; all if None.
        parts: Of the batch, if these patches are one of several.

    Returns:
        Scalar; 0 if no voxel counts.

    Source: ours (the peer chooses among all voxels of a batch).
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
    return parts.sum(total) / torch.clamp(parts.sum(wanted.sum()), min=1)


def cross_entropy(
    log_p: Tensor, y: Tensor, *, share: float = 1.0, mask: Tensor | None = None, parts: Parts = WHOLE
) -> Tensor:
    """The mean of -log p_y over the voxels that count, or over a share of them; 0 if there are none.

    Args:
        log_p: Log-probabilities, (b, c, *spatial).
        y: Class of each voxel, (b, 1, *spatial), int64; within 0..c-1 where the mask is false too.
        share: Of each patch's voxels, the ones of highest cross-entropy (`highest_mean`); 1 for all.
        mask: Voxels that count, (b, 1, *spatial), boolean; all if None.
        parts: Of the batch, if these patches are one of several.

    Returns:
        Scalar.

    Source: method.md section 14.
    """
    log_p_y = log_p.gather(1, y)
    if share < 1:
        return highest_mean(-log_p_y, share=share, mask=mask, parts=parts)
    if mask is None:
        return -parts.mean(log_p_y.mean())
    return -parts.sum((log_p_y * mask).sum()) / torch.clamp(parts.sum(mask.sum()), min=1)


def binary_cross_entropy(
    logits: Tensor, y: Tensor, *, share: float = 1.0, mask: Tensor | None = None, parts: Parts = WHOLE
) -> Tensor:
    """The mean of -(y log p + (1 - y) log(1 - p)) over the voxels that count and over the regions, or a share of both.

    The peer forgets to divide by the number of regions when there is an ignore label (method.md 25.13).

    Args:
        logits: Scores before the sigmoid, (b, c, *spatial).
        y: Truth, 0 or 1 (or boolean), same shape.
        share: Of each patch's voxels in all regions, the ones of highest cross-entropy (`highest_mean`); 1 for all.
        mask: Voxels that count, (b, 1, *spatial), boolean; all if None.
        parts: Of the batch, if these patches are one of several.

    Returns:
        Scalar; 0 if no voxel counts.

    Source: method.md sections 14 and 25.13.

    """
    y = y.to(logits.dtype)
    if mask is None and share == 1:
        return parts.mean(F.binary_cross_entropy_with_logits(logits, y))
    losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    if mask is None or share < 1:
        return highest_mean(losses, share=share, mask=mask, parts=parts)
    n_regions = logits.shape[1]
    return parts.sum((losses * mask).sum()) / (n_regions * torch.clamp(parts.sum(mask.sum()), min=1))
