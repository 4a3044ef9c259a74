"""Dice and intersection over union, and their means. Empty cases are decided here and nowhere else.

True and false positives and negatives of every class or region, from one pass over two label maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segflow.contracts.arrays import LabelMap
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels, Target
from segflow.contracts.scores import Metrics

__all__ = [
    "Counts",
    "confusion_matrix",
    "dice",
    "iou",
    "mean_metrics",
    "members",
    "nan_mean",
    "overlap_metrics",
    "target_counts",
    "target_key",
]

#: Voxels counted at a time, so that counting a large scan needs tens of megabytes only.
_CHUNK_VOXELS = 2**21


@dataclass(frozen=True)
class Counts:
    """Voxels of one target: in both label maps, in one of them, in neither.

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


def members(target: Target) -> tuple[int, ...]:
    """The label values that make up a target.

    Args:
        target: A class or a region.

    Returns:
        One or more label values.

    Source: method.md section 2.
    """
    return target if isinstance(target, tuple) else (target,)


def target_key(target: Target) -> str:
    """The key of a target in summary.json.

    Args:
        target: A class or a region.

    Returns:
        Such as "1" or "(1, 2)".

    Source: method.md section 20.
    """
    return str(target)


def confusion_matrix(reference: LabelMap, prediction: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """Count how often each reference label meets each predicted label.

    Voxels whose reference is the ignore label are left out. A value that `labels` does not know is in no
    target and counts as background.

    Args:
        reference: Annotated label map, any number of axes.
        prediction: Label map of the same shape.
        labels: Their vocabulary.

    Returns:
        Voxels, (reference label, predicted label), background first.

    Raises:
        PredictionError: The shapes differ.

    Source: ours; the counts it leads to are those of method.md section 20.
    """
    if reference.shape != prediction.shape:
        raise PredictionError(
            f"prediction and reference differ in shape: {prediction.shape} and {reference.shape}"
        )
    n = len(labels.values)
    total = np.zeros((n, n), dtype=np.int64)
    flat_reference, flat_prediction = reference.ravel(), prediction.ravel()
    for start in range(0, reference.size, _CHUNK_VOXELS):
        chunk = slice(start, start + _CHUNK_VOXELS)
        total += _count(flat_reference[chunk], flat_prediction[chunk], labels)
    return total


def target_counts(confusion: NDArray[np.int64], target: Target) -> Counts:
    """Counts of one target from the confusion matrix of all labels.

    Args:
        confusion: Voxels, (reference label, predicted label).
        target: A class or a region.

    Returns:
        The counts; they add up to the sum of the matrix.

    Source: method.md section 20.
    """
    rows = list(members(target))
    in_reference = int(confusion[rows].sum())
    in_prediction = int(confusion[:, rows].sum())
    tp = int(confusion[np.ix_(rows, rows)].sum())
    fp, fn = in_prediction - tp, in_reference - tp
    return Counts(tp=tp, fp=fp, fn=fn, tn=int(confusion.sum()) - tp - fp - fn)


def _count(reference: LabelMap, prediction: LabelMap, labels: Labels) -> NDArray[np.int64]:
    """Most voxels are background in both, which is the fastest thing to tell."""
    n = len(labels.values)
    some = (reference != 0) | (prediction != 0)
    annotated = reference.size
    if labels.ignore is not None:
        is_annotated = reference != labels.ignore
        some &= is_annotated
        annotated = int(np.count_nonzero(is_annotated))
    joint = _known(reference[some], n) * n + _known(prediction[some], n)
    table = np.bincount(joint, minlength=n * n).reshape(n, n)
    table[0, 0] += annotated - joint.size
    return table


def _known(values: LabelMap, n: int) -> NDArray[np.int64]:
    return np.where((values >= 0) & (values < n), values, 0).astype(np.int64)


def dice(counts: Counts) -> float:
    """Dice coefficient, 2 TP / (2 TP + FP + FN).

    Args:
        counts: Of one target.

    Returns:
        0 to 1; NaN if the target is in neither label map.

    Source: method.md section 20.
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(counts: Counts) -> float:
    """Intersection over union (Jaccard index), TP / (TP + FP + FN).

    Args:
        counts: Of one target.

    Returns:
        0 to 1; NaN if the target is in neither label map.

    Source: method.md section 20.
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def overlap_metrics(counts: Counts) -> Metrics:
    """All that is reported of one target in one case.

    Args:
        counts: Of the target.

    Returns:
        Dice, IoU, and the counts as whole numbers.

    Source: method.md section 20.
    """
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
    """Mean of the values that are defined.

    Args:
        values: Any; NaN where undefined.

    Returns:
        Their mean without the NaNs; NaN if nothing is left.

    Source: method.md section 20.
    """
    array = np.asarray(list(values), dtype=np.float64)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else math.nan


def mean_metrics(entries: Sequence[Metrics]) -> Metrics:
    """Mean of each metric, over the entries in which it is defined.

    Args:
        entries: One target in many cases, or many targets; all with the same metrics.

    Returns:
        The means; NaN where no entry is defined, None where it was not asked for.

    Source: method.md section 20.

    """
    asked = entries[0].asked if entries else ()
    return Metrics(**{name: nan_mean(getattr(e, name) for e in entries) for name in asked})


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
