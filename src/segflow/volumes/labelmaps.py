"""From scores to label maps, and back to one channel per label. Source: method.md section 17."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from segflow.contracts.arrays import Image, LabelMap, Scores
from segflow.contracts.labels import Labels

__all__ = ["label_dtype", "labels_from_probabilities", "one_hot", "probabilities"]

REGION_THRESHOLD = 0.5
_UINT8_LABELS = 255  # this many foreground labels no longer fit beside the background


def label_dtype(labels: Labels) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds every label: uint8, or uint16 from 255 foreground labels on.

    Source: method.md section 17.
    """
    return np.uint8 if max(labels.values) < _UINT8_LABELS else np.uint16


def probabilities(logits: Scores, labels: Labels) -> Scores:
    """Softmax over classes, or a sigmoid per region.

    Args:
        logits: (k, z, y, x).
        labels: Classes or regions.

    Returns:
        (k, z, y, x), float32.

    Source: method.md section 17.
    """
    if labels.has_regions:
        return np.asarray(expit(logits), np.float32)
    shifted = np.exp(logits - logits.max(axis=0, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=0, keepdims=True), np.float32)


def labels_from_probabilities(scores: Scores, labels: Labels) -> LabelMap:
    """The most probable class, or the topmost region above one half.

    Args:
        scores: Probabilities (k, z, y, x).
        labels: Classes or regions.

    Returns:
        (z, y, x), uint8 or uint16. Equal probabilities give the lower label.

    Source: method.md section 17.
    """
    dtype = label_dtype(labels)
    if not labels.has_regions:
        return scores.argmax(axis=0).astype(dtype)
    found = np.zeros(scores.shape[1:], dtype)
    for value, score in zip(labels.regions_class_order, scores, strict=True):
        found[score > REGION_THRESHOLD] = value
    return found


def one_hot(label_map: LabelMap, values: Sequence[int]) -> Image:
    """One channel per label value: 1 where the map has it.

    Args:
        label_map: (z, y, x).
        values: Label values.

    Returns:
        (len(values), z, y, x), float32.

    Source: method.md section 13, step 14.
    """
    channels: NDArray[np.bool_] = np.stack([label_map == value for value in values])
    return channels.astype(np.float32)
