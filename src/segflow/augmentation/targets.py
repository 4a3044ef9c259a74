"""From the label map of a patch to what the network's outputs are compared with.

Source: method.md section 13, steps 13, 15 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segflow.augmentation.separable import nearest_indices
from segflow.contracts.labels import Labels

__all__ = ["make_targets", "target_shapes"]


def target_shapes(
    patch_shape: Sequence[int], strides: Sequence[Sequence[int]], *, n_scored: int
) -> tuple[tuple[int, ...], ...]:
    """The shapes of the outputs that are scored, full resolution first.

    Args:
        patch_shape: Voxels.
        strides: Of the network, per stage and axis.
        n_scored: Outputs that count; the bottleneck has none.

    Source: method.md sections 13 (step 16) and 14.
    """
    shapes, factors = [], [1] * len(patch_shape)
    for stride in strides[:n_scored]:
        factors = [f * s for f, s in zip(factors, stride, strict=True)]
        shapes.append(tuple(round(n / f) for n, f in zip(patch_shape, factors, strict=True)))
    return tuple(shapes)


def make_targets(label_map: Tensor, labels: Labels, *, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Targets at every scored resolution.

    Args:
        label_map: (*spatial), integer; -1 becomes background.
        labels: Classes or regions.
        shapes: As of `target_shapes`.

    Returns:
        Per resolution: classes (*shape) as the label map's type, or regions (r, *shape), boolean, with a
        last channel for ignore if there is such a label.

    Source: method.md section 13, steps 13, 15 and 16.
    """
    label_map = label_map.clamp(min=0)
    resized = [_resize(label_map, shape) for shape in shapes]
    return [_regions(scale, labels) for scale in resized] if labels.has_regions else resized


def _resize(label_map: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, (n, n_small) in enumerate(zip(label_map.shape, shape, strict=True)):
        if n_small != n:
            label_map = label_map.index_select(axis, nearest_indices(n, n_small))
    return label_map


def _regions(label_map: Tensor, labels: Labels) -> Tensor:
    """Regions after resizing: picking a voxel and asking for its regions can be swapped."""
    members = [target if isinstance(target, tuple) else (target,) for target in labels.targets]
    if labels.ignore is not None:
        members.append((labels.ignore,))
    return torch.stack([torch.isin(label_map, torch.tensor(values)) for values in members])
