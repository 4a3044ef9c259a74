"""From logits on the network's grid to a label map on the image's own. Source: method.md section 17."""

from __future__ import annotations

import numpy as np

from segflow.contracts.arrays import LabelMap, Scores
from segflow.contracts.case import CaseRecord
from segflow.contracts.labels import Labels
from segflow.contracts.plan import Preparation
from segflow.volumes.axes import transpose_spatial
from segflow.volumes.crop import uncrop
from segflow.volumes.labelmaps import labels_from_probabilities, probabilities
from segflow.volumes.resample import resample_scores, separate_axis

__all__ = ["restore_labels", "restore_probabilities"]


def restore_probabilities(
    scores: Scores,
    record: CaseRecord,
    preparation: Preparation,
    labels: Labels,
    *,
    as_probabilities: bool = False,
) -> Scores:
    """Resample logits to the cropped image's grid and turn them into probabilities.

    Args:
        scores: (k, z, y, x), of the prepared image's shape.
        record: Of the case.
        preparation: For the spacing the logits have.
        labels: Classes or regions.
        as_probabilities: The scores are probabilities already.

    Returns:
        (k, z, y, x), float32, on the crop of the transposed raw image.

    Source: method.md section 17; float32 where the peer keeps float16 (section 25, defect 3).
    """
    current_mm = preparation.spacing_mm
    if preparation.dimensions == 2:
        current_mm = (record.spacing_mm[0], *current_mm)
    axis = separate_axis(current_mm, record.spacing_mm)
    resampled = resample_scores(scores, record.shape_after_crop, axis)
    return resampled if as_probabilities else probabilities(resampled, labels)


def restore_labels(scores: Scores, record: CaseRecord, preparation: Preparation, labels: Labels) -> LabelMap:
    """Reduce probabilities to labels, undo the crop and the transposition.

    Args:
        scores: Probabilities (k, z, y, x) on the crop of the transposed raw image.
        record: Of the case.
        preparation: For the axis order.
        labels: Classes or regions.

    Returns:
        (z, y, x), unsigned, of the raw image's shape and axis order.

    Source: method.md section 17.
    """
    found = labels_from_probabilities(scores, labels)
    whole = uncrop(found, record.crop_box, record.shape_before_crop)
    return np.ascontiguousarray(transpose_spatial(whole, preparation.transpose_backward))
