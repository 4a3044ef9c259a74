"""Making a previous stage's labels as imperfect as they will be at prediction.

Source: method.md section 13, step 14. Morphology is done with Euclidean distances rather than with a
structuring element: the same ball, at a cost that does not grow with its radius (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from segflow.recipes.augmentation import AugmentationRecipe

__all__ = ["CascadeDraw", "Morphology", "Removal", "draw_cascade", "one_hot", "perturb_"]

Operation = Literal["dilate", "erode", "close", "open"]
_OPERATIONS: Final[tuple[Operation, ...]] = ("dilate", "erode", "close", "open")


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
    """Draw which labels to change, and how.

    Args:
        rng: Source of randomness.
        recipe: Probabilities and the range of the radius.
        n_labels: Foreground labels.

    Source: method.md section 13, step 14.
    """
    morphology: list[Morphology] = []
    if rng.random() < recipe.p_cascade_morphology:
        for label in rng.permutation(n_labels).tolist():
            if rng.random() < recipe.p_cascade_morphology_label:
                operation = _OPERATIONS[int(rng.integers(len(_OPERATIONS)))]
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
    """One channel per foreground label.

    Args:
        labels: (*spatial), integer.
        values: The foreground labels.

    Returns:
        (n, *spatial), float32, 0 or 1.

    Source: method.md section 13, step 14.
    """
    return (labels[None] == torch.tensor(values).view(-1, *[1] * labels.ndim)).float()


def perturb_(channels: Tensor, draw: CascadeDraw, *, max_share: float) -> None:
    """Apply the steps in place.

    Args:
        channels: As of `one_hot`.
        draw: The steps.
        max_share: Only components smaller than this share of the patch are removed.

    Source: method.md section 13, step 14.
    """
    masks = channels.numpy()
    for step in draw.morphology:
        before = masks[step.label] > 0
        after = _morphology(before, step)
        masks[:, after & ~before] = 0
        masks[step.label] = after
    for removal in draw.removals:
        _remove_component_(masks[removal.label], removal, max_share)


def _morphology(mask: NDArray[np.bool_], step: Morphology) -> NDArray[np.bool_]:
    r = step.radius
    if not mask.any():
        return mask
    if step.operation == "dilate":
        return _dilate(mask, r)
    if step.operation == "erode":
        return _erode(mask, r)
    if step.operation == "close":
        return _erode(_dilate(mask, r), r)
    return _dilate(_erode(mask, r), r)


def _dilate(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)


def _erode(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """What lies beyond the patch does not erode: it is unknown, not background."""
    return mask if mask.all() else ~_dilate(~mask, radius)


def _remove_component_(mask: NDArray[np.float32], removal: Removal, max_share: float) -> None:
    components, n = ndimage.label(mask > 0, structure=np.ones((3,) * mask.ndim))
    sizes = np.bincount(components.ravel(), minlength=n + 1)[1:]
    small = np.flatnonzero(sizes < max_share * mask.size)
    if len(small) > 0:
        chosen = small[int(removal.choice * len(small))]
        mask[components == chosen + 1] = 0
