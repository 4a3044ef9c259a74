"""Dice and intersection over union, and their means. Empty cases are decided here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from segflow.contracts.scores import Metrics
from segflow.metrics.counts import Counts

__all__ = ["dice", "iou", "mean_metrics", "nan_mean", "overlap_metrics"]


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
