"""The mean over the entries of a patch that cost most."""

from __future__ import annotations

import torch
from torch import Tensor

from segflow.losses.parts import WHOLE, Parts

__all__ = ["highest_mean"]


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
