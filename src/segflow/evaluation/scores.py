"""Scores of one case."""

from __future__ import annotations

from segflow.contracts.arrays import LabelMap
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores
from segflow.metrics import confusion_matrix, overlap_metrics, target_counts, target_key

__all__ = ["score_case"]


def score_case(
    prediction: LabelMap,
    reference: LabelMap,
    labels: Labels,
    *,
    prediction_file: str,
    reference_file: str,
) -> CaseScores:
    """Compare a predicted with an annotated label map, target by target.

    Voxels whose reference is the ignore label are left out. A target in neither map has Dice and IoU NaN;
    one that is only predicted has 0.

    Args:
        prediction: Original space, (z, y, x).
        reference: The same shape.
        labels: Their vocabulary; its targets are scored.
        prediction_file: Where the prediction came from.
        reference_file: Where the reference came from.

    Returns:
        Metrics per target, sorted by key, and the two file names.

    Raises:
        PredictionError: The shapes differ.

    Source: method.md section 20.
    """
    if prediction.shape != reference.shape:
        raise PredictionError(
            f"{prediction_file} has shape {prediction.shape}, but its reference {reference_file} has "
            f"{reference.shape}; predict this case again from the image that the reference belongs to"
        )
    confusion = confusion_matrix(reference, prediction, labels)
    metrics = {target_key(t): overlap_metrics(target_counts(confusion, t)) for t in labels.targets}
    return CaseScores(
        metrics=dict(sorted(metrics.items())),
        prediction_file=prediction_file,
        reference_file=reference_file,
    )
