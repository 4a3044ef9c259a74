"""Cross-entropy over classes, and binary cross-entropy over regions, of all voxels or of those where it is highest.

In all functions `mask`, (b, 1, *spatial), marks the voxels that count (all if None), `share` (above 0, at most 1) is
the part of each patch's voxels that is used, those of the highest cross-entropy, and `group` are the processes that
share the batch. The result is a scalar; 0 if no voxel counts. Source: method.md section 14.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segflow.network.group import SINGLE, Group

__all__ = ["binary_cross_entropy", "cross_entropy", "highest_mean"]


def highest_mean(
    losses: Tensor, *, share: float, mask: Tensor | None = None, group: Group = SINGLE
) -> Tensor:
    """The mean over a share of the entries of each patch, the highest ones.

    The losses are those of voxels, or of voxels and regions, (b, c, *spatial), none below 0. Of n entries that count,
    round(share * n) are taken, at least one; a patch where nothing counts gives none. They are chosen patch by patch,
    so that the result does not depend on how a batch is spread over processes; nnU-Net chooses among all voxels of a
    batch.
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
    return group.sum(total) / torch.clamp(group.sum(wanted.sum()), min=1)


def cross_entropy(
    log_p: Tensor,
    y: Tensor,
    *,
    share: float = 1.0,
    mask: Tensor | None = None,
    group: Group = SINGLE,
) -> Tensor:
    """The mean of -log p_y, of log-probabilities `log_p`, (b, c, *spatial).

    The class of each voxel, `y`, (b, 1, *spatial), int64, is within 0..c-1 even where the mask is false.
    """
    log_p_y = log_p.gather(1, y)
    if share < 1:
        return highest_mean(-log_p_y, share=share, mask=mask, group=group)
    if mask is None:
        return -group.mean(log_p_y.mean())
    return -group.sum((log_p_y * mask).sum()) / torch.clamp(group.sum(mask.sum()), min=1)


def binary_cross_entropy(
    logits: Tensor,
    y: Tensor,
    *,
    share: float = 1.0,
    mask: Tensor | None = None,
    group: Group = SINGLE,
) -> Tensor:
    """The mean of -(y log p + (1 - y) log(1 - p)) over voxels and regions.

    The scores `logits`, before the sigmoid, and the truth `y`, 0 or 1 (or boolean), are (b, c, *spatial). nnU-Net does
    not divide by the number of regions when there is an ignore label (method.md section 25.13).
    """
    y = y.to(logits.dtype)
    if mask is None and share == 1:
        return group.mean(F.binary_cross_entropy_with_logits(logits, y))
    losses = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    if mask is None or share < 1:
        return highest_mean(losses, share=share, mask=mask, group=group)
    n_regions = logits.shape[1]
    return group.sum((losses * mask).sum()) / (n_regions * torch.clamp(group.sum(mask.sum()), min=1))
