"""From scores to label maps, and back to one channel per label. Source: method.md section 17."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from segflow.contracts.arrays import Image, LabelMap, Scores
from segflow.contracts.labels import Labels

__all__ = ["label_dtype", "one_hot", "pick_labels", "probabilities"]

REGION_THRESHOLD = 0.5
REGION_LOGIT = 0.0  # of which the sigmoid is one half
_UINT8_LABELS = 255  # this many foreground labels no longer fit beside the background


def label_dtype(labels: Labels) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds every label: uint8, or uint16 from 255 foreground labels on.

    Source: method.md section 17.
    """
    return np.uint8 if max(labels.values) < _UINT8_LABELS else np.uint16


def probabilities(logits: Scores, labels: Labels) -> Scores:
    """Softmax over classes, or a sigmoid per region, of logits (k, z, y, x); float32. Source: method.md section 17."""
    if labels.has_regions:
        return np.asarray(expit(logits), np.float32)
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True), np.float32)


def pick_labels(
    scores: Iterable[NDArray[np.float32]], labels: Labels, *, are_probabilities: bool
) -> LabelMap:
    """The highest-scored class, or the topmost region that is more likely than not.

    Args:
        scores: One array (z, y, x) per class or region; read once, one after the other.
        labels: Classes or regions.
        are_probabilities: The scores are probabilities rather than logits.

    Returns:
        (z, y, x), uint8 or uint16. Equal scores give the lower label.

    Source: method.md section 17.
    """
    if not labels.has_regions:
        return _pick_classes(scores, labels)
    return _pick_regions(scores, labels, REGION_THRESHOLD if are_probabilities else REGION_LOGIT)


def _pick_classes(scores: Iterable[NDArray[np.float32]], labels: Labels) -> LabelMap:
    each = iter(scores)
    best = np.array(next(each))
    found = np.zeros(best.shape, label_dtype(labels))
    for value, score in enumerate(each, start=1):
        higher = score > best
        np.copyto(best, score, where=higher)
        found[higher] = value
    return found


def _pick_regions(scores: Iterable[NDArray[np.float32]], labels: Labels, threshold: float) -> LabelMap:
    found: LabelMap | None = None
    for value, score in zip(labels.regions_class_order, scores, strict=True):
        if found is None:
            found = np.zeros(score.shape, label_dtype(labels))
        found[score > threshold] = value
    if found is None:
        raise ValueError("there are no regions")
    return found


def one_hot(label_map: LabelMap, values: Sequence[int]) -> Image:
    """One float32 channel (z, y, x) per label value: 1 where the map has it. Source: method.md section 13, step 14."""
    channels: NDArray[np.bool_] = np.stack([label_map == value for value in values])
    return channels.astype(np.float32)
