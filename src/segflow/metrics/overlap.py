"""Overlap of two label maps: counts of voxels, Dice and intersection over union, and their means.

The package says what scores of empty cases are. Source: method.md sections 2 and 20.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target, members
from segflow.contracts.scores import Metrics

__all__ = [
    "Counts",
    "confusion_matrix",
    "count_pairs",
    "dice",
    "iou",
    "mean_metrics",
    "nan_mean",
    "overlap_metrics",
    "target_counts",
    "target_key",
]

#: Voxels counted at a time, so that counting a large scan needs tens of megabytes only.
_CHUNK_VOXELS = 2**21


@dataclass(frozen=True)
class Counts:
    """Voxels of one target.

    Attributes:
        tp: In prediction and reference.
        fp: In the prediction only.
        fn: In the reference only.
        tn: In neither.
    """

    tp: int
    fp: int
    fn: int
    tn: int


def target_key(target: Target) -> str:
    """The key of a target in summary.json, such as "1" or "(1, 2)"."""
    return str(target)


def confusion_matrix(reference: LabelMap, prediction: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """Count how often each reference label meets each predicted label; maps of any number of axes.

    Voxels whose reference is the ignore label are left out. A value that `labels` does not know is in no
    target and counts as background.

    Returns:
        Voxels, (reference label, predicted label), background first.

    Raises:
        PredictionError: The shapes differ.
    """
    if reference.shape != prediction.shape:
        raise PredictionError(
            f"prediction and reference differ in shape: {prediction.shape} and {reference.shape}"
        )
    return count_pairs(reference, prediction, labels, len(labels.values))


def count_pairs(
    reference: LabelMap, other: NDArray[np.integer], labels: Labels, n_others: int
) -> NDArray[np.int64]:
    """Count how often each reference label meets each value of another map, where the reference is annotated.

    Args:
        reference: Annotated label map, any number of axes; an unknown value counts as background.
        other: Whole numbers from 0, same shape; values from `n_others` on, and negative ones, count as 0.
        labels: The reference's vocabulary.
        n_others: Number of values of `other`.

    Returns:
        Voxels, (reference label, value of `other`).
    """
    total = np.zeros((len(labels.values), n_others), dtype=np.int64)
    flat_reference, flat_other = reference.ravel(), other.ravel()
    for start in range(0, reference.size, _CHUNK_VOXELS):
        chunk = slice(start, start + _CHUNK_VOXELS)
        _count(flat_reference[chunk], flat_other[chunk], labels.ignore, total)
    return total


def _count(
    reference: LabelMap, other: NDArray[np.integer], ignore: int | None, total: NDArray[np.int64]
) -> None:
    """Most voxels are 0 in both, which is fastest to find out."""
    n, n_others = total.shape
    some = (reference != 0) | (other != 0)
    annotated = reference.size
    if ignore is not None:
        is_annotated = reference != ignore
        some &= is_annotated
        annotated = int(np.count_nonzero(is_annotated))
    joint = _known(reference[some], n) * n_others + _known(other[some], n_others)
    total += np.bincount(joint, minlength=total.size).reshape(total.shape)
    total[0, 0] += annotated - joint.size


def _known(values: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    return np.where((values >= 0) & (values < n), values, 0).astype(np.int64)


def target_counts(confusion: NDArray[np.int64], target: Target) -> Counts:
    """Counts of one target from the confusion matrix of all labels."""
    rows = list(members(target))
    in_reference = int(confusion[rows].sum())
    in_prediction = int(confusion[:, rows].sum())
    tp = int(confusion[np.ix_(rows, rows)].sum())
    fp, fn = in_prediction - tp, in_reference - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=int(confusion.sum()) - tp - fp - fn)


def dice(counts: Counts) -> float:
    """Dice coefficient, 2 TP / (2 TP + FP + FN); NaN if the target is in neither label map."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard index), TP / (TP + FP + FN); NaN if the target is in neither label map."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def overlap_metrics(counts: Counts) -> Metrics:
    """Dice, IoU, and the counts of one target in one case."""
    return Metrics(
        dice=dice(counts),
        fn=counts.fn,
        fp=counts.fp,
        iou=iou(counts),
        tn=counts.tn,
        tp=counts.tp,
        n_pred=counts.fp + counts.tp,
        n_ref=counts.fn + counts.tp,
    )


def nan_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    array = np.asarray(list(values), dtype=np.float64)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else math.nan


def mean_metrics(entries: Sequence[Metrics]) -> Metrics:
    """Mean of each metric over the entries in which it is defined; NaN if it is in none, None if not requested."""
    required = (name for name, field in Metrics.model_fields.items() if field.is_required())
    asked = entries[0].requested if entries else required
    return Metrics(**{name: nan_mean(getattr(e, name) for e in entries) for name in asked})


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
