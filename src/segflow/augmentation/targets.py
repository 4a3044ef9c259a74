"""What label maps of a patch become: targets of the network's outputs, and input channels of a cascade.

A previous stage's labels are made as imperfect as they will be at prediction.

Source: method.md section 13, steps 13 to 16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from segflow.augmentation.separable import nearest_indices
from segflow.contracts.labels import Labels, members
from segflow.recipes.training import AugmentationRecipe

__all__ = [
    "CascadeDraw",
    "Morphology",
    "Removal",
    "draw_cascade",
    "make_targets",
    "one_hot",
    "perturb_",
    "target_shapes",
]

Operation = Literal["dilate", "erode", "close", "open"]


def target_shapes(
    patch_shape: Sequence[int], strides: Sequence[Sequence[int]], *, n_scored: int
) -> tuple[tuple[int, ...], ...]:
    """The shapes of the outputs that are scored, full resolution first.

    Args:
        patch_shape: Voxels.
        strides: Of the network, per stage and axis.
        n_scored: Outputs that count; the bottleneck has none.
    """
    shapes, factors = [], [1] * len(patch_shape)
    for stride in strides[:n_scored]:
        factors = [f * s for f, s in zip(factors, stride, strict=True)]
        shapes.append(tuple(round(n / f) for n, f in zip(patch_shape, factors, strict=True)))
    return tuple(shapes)


def make_targets(label_map: Tensor, labels: Labels, *, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """Targets at every scored resolution.

    Args:
        label_map: (..., *spatial), integer; -1 becomes background.
        labels: Classes or regions.
        shapes: As of `target_shapes`.

    Returns:
        Per resolution: classes (..., *shape) as the label map's type, or regions (..., r, *shape), boolean, with
        a last channel for ignore if there is such a label.
    """
    label_map = label_map.clamp(min=0)
    resized = [_resize(label_map, shape) for shape in shapes]
    if not labels.has_regions:
        return resized
    channel_axis = label_map.ndim - len(shapes[0])
    return [_regions(scale, labels, channel_axis) for scale in resized]


def _resize(label_map: Tensor, shape: Sequence[int]) -> Tensor:
    first = label_map.ndim - len(shape)
    for axis, n_small in enumerate(shape, start=first):
        n = label_map.shape[axis]
        if n_small != n:
            label_map = label_map.index_select(axis, nearest_indices(n, n_small, label_map.device))
    return label_map


def _regions(label_map: Tensor, labels: Labels, channel_axis: int) -> Tensor:
    """Regions after resizing: picking a voxel and asking for its regions can be swapped."""
    regions = [members(target) for target in labels.targets]
    if labels.ignore is not None:
        regions.append((labels.ignore,))
    masks = [reduce(torch.logical_or, (label_map == value for value in values)) for values in regions]
    return torch.stack(masks, dim=channel_axis)


@dataclass(frozen=True)
class Morphology:
    """Change the outline of one label (its position among the foreground labels) with a ball."""

    label: int
    operation: Operation
    radius: float


@dataclass(frozen=True)
class Removal:
    """Remove one small component of a label: number floor(choice * n) of its n small components."""

    label: int
    choice: float


@dataclass(frozen=True)
class CascadeDraw:
    """Steps in the order they are applied."""

    morphology: tuple[Morphology, ...] = ()
    removals: tuple[Removal, ...] = ()


def draw_cascade(rng: np.random.Generator, recipe: AugmentationRecipe, *, n_labels: int) -> CascadeDraw:
    """Draw which of the foreground labels to change, and how."""
    morphology: list[Morphology] = []
    if rng.random() < recipe.p_cascade_morphology:
        for label in rng.permutation(n_labels).tolist():
            if rng.random() < recipe.p_cascade_morphology_label:
                operation = list(_OPERATIONS)[int(rng.integers(len(_OPERATIONS)))]
                morphology.append(Morphology(label, operation, float(rng.uniform(*recipe.cascade_radius))))
    removals: list[Removal] = []
    if rng.random() < recipe.p_cascade_remove:
        removals = [
            Removal(label, float(rng.random()))
            for label in rng.permutation(n_labels).tolist()
            if rng.random() < recipe.p_cascade_remove_label
        ]
    return CascadeDraw(tuple(morphology), tuple(removals))


def one_hot(labels: Tensor, values: tuple[int, ...]) -> Tensor:
    """One channel per foreground label: (n, *spatial), float32, 0 or 1."""
    return (labels[None] == torch.tensor(values).view(-1, *[1] * labels.ndim)).float()


def perturb_(channels: Tensor, draw: CascadeDraw, *, max_share: float) -> None:
    """Change channels as of `one_hot` in place; only components smaller than `max_share` of the patch are removed."""
    masks = channels.numpy()
    for step in draw.morphology:
        before = masks[step.label] > 0
        after = before
        for change in _OPERATIONS[step.operation] if before.any() else ():
            after = change(after, step.radius)
        masks[:, after & ~before] = 0
        masks[step.label] = after
    for removal in draw.removals:
        _remove_component_(masks[removal.label], removal, max_share)


def _dilate(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)


def _erode(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """What lies beyond the patch does not erode: it is unknown, not background."""
    return mask if mask.all() else ~_dilate(~mask, radius)


_OPERATIONS: Final[dict[Operation, tuple[Callable[[NDArray[np.bool_], float], NDArray[np.bool_]], ...]]] = {
    "dilate": (_dilate,),
    "erode": (_erode,),
    "close": (_dilate, _erode),
    "open": (_erode, _dilate),
}


def _remove_component_(mask: NDArray[np.float32], removal: Removal, max_share: float) -> None:
    components, n = ndimage.label(mask > 0, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=n + 1)[1:]
    small = np.flatnonzero(sizes < max_share * mask.size)
    if len(small) > 0:
        chosen = small[int(removal.choice * len(small))]
        mask[components == chosen + 1] = 0
