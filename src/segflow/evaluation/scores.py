"""Scores of one case, and means over cases, targets and folds. Source: method.md sections 20 and 22."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segflow.contracts.arrays import LabelMap
from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics.overlap import (
    confusion_matrix,
    mean_metrics,
    overlap_metrics,
    target_counts,
    target_key,
)

__all__ = ["merge_folds", "score_case", "summarise"]


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
        prediction_file: Recorded with the scores.
        reference_file: Recorded with the scores.

    Returns:
        Metrics per target, sorted by key.

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
    metrics = {
        target_key(target): overlap_metrics(target_counts(confusion, target))
        for target in sorted(labels.targets, key=target_key)
    }
    return CaseScores(metrics=metrics, prediction_file=prediction_file, reference_file=reference_file)


def summarise(
    cases: Sequence[CaseScores], labels: Labels, *, nsd_tolerance_mm: float | None = None
) -> Summary:
    """Average the scores of cases, over cases and then over targets.

    `mean` leaves out, for each target, the cases in which a metric is undefined; `foreground_mean` leaves out targets
    that occur in no case. In nnU-Net one absent class makes `foreground_mean` NaN (method.md section 25, number 4).
    Without cases, as where all are trained on, all means are NaN.

    Args:
        cases: In any order; sorted by file name in the summary.
        labels: Their vocabulary.
        nsd_tolerance_mm: Tolerance of the normalised surface Dice, where it was measured.

    Raises:
        PredictionError: A case lacks a target or has other metrics than the first.

    Source: method.md section 20, except for absent classes.
    """
    keys = sorted(target_key(target) for target in labels.targets)
    asked = [{metrics.requested for metrics in case.metrics.values()} for case in cases]
    for case, names in zip(cases, asked, strict=True):
        missing = [key for key in keys if key not in case.metrics]
        if missing:
            raise PredictionError(
                f"{case.prediction_file} has no score for {', '.join(missing)}; "
                "it was evaluated with other labels: evaluate it again"
            )
        if names != asked[0]:
            raise PredictionError(
                f"{case.prediction_file} has other metrics than {cases[0].prediction_file}; evaluate them together"
            )
    mean = {key: mean_metrics([case.metrics[key] for case in cases]) for key in keys}
    return Summary(
        foreground_mean=mean_metrics(list(mean.values())),
        mean=mean,
        metric_per_case=tuple(sorted(cases, key=lambda case: case.file_name)),
        nsd_tolerance_mm=nsd_tolerance_mm,
    )


def merge_folds(folds: Sequence[Summary], labels: Labels) -> Summary:
    """Summarise the cases of all folds as one cross-validation, in which every case has the same weight.

    Raises:
        PredictionError: A case is in two folds, or folds were evaluated differently.

    Source: method.md section 22.
    """
    cases = [case for fold in folds for case in fold.metric_per_case]
    times = Counter(case.file_name for case in cases)
    twice = sorted(name for name, n in times.items() if n > 1)
    if twice:
        raise PredictionError(
            f"these cases are in the validation set of more than one fold: {', '.join(twice)}; "
            "check the folds file"
        )
    tolerances = {fold.nsd_tolerance_mm for fold in folds}
    if len(tolerances) > 1:
        raise PredictionError(
            "folds were evaluated with different tolerances of the normalised surface Dice; evaluate them again"
        )
    return summarise(cases, labels, nsd_tolerance_mm=next(iter(tolerances), None))
