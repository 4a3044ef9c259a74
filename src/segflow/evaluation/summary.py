"""Means over cases and targets, and the union of folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segflow.contracts.errors import PredictionError
from segflow.contracts.labels import Labels
from segflow.contracts.scores import CaseScores, Summary
from segflow.metrics import mean_metrics, target_key

__all__ = ["merge_folds", "summarise"]


def summarise(
    cases: Sequence[CaseScores], labels: Labels, *, nsd_tolerance_mm: float | None = None
) -> Summary:
    """Average the scores of cases.

    `mean` leaves out, for each target, the cases in which a metric is undefined. `foreground_mean` likewise
    leaves out targets that occur in no case. The peer does not (method.md section 25, number 4): there, one
    absent class makes `foreground_mean` NaN. Without absent classes the values are the same.

    Args:
        cases: In any order.
        labels: Their vocabulary.
        nsd_tolerance_mm: Of the normalised surface Dice, where it was measured.

    Returns:
        Means per target and over targets, and the cases sorted by reference file.

    Raises:
        PredictionError: There are no cases, or a case lacks a target or has other metrics than the first.

    Source: method.md section 20, except for absent classes (ours).
    """
    if not cases:
        raise PredictionError("there are no scored cases to summarise; predict and evaluate some first")
    keys = sorted(target_key(target) for target in labels.targets)
    for case in cases:
        missing = [key for key in keys if key not in case.metrics]
        if missing:
            raise PredictionError(
                f"{case.prediction_file} has no score for {', '.join(missing)}; "
                "it was evaluated with other labels: evaluate it again"
            )
    _check_metrics(cases)
    mean = {key: mean_metrics([case.metrics[key] for case in cases]) for key in keys}
    return Summary(
        foreground_mean=mean_metrics(list(mean.values())),
        mean=mean,
        metric_per_case=tuple(sorted(cases, key=lambda case: case.reference_file)),
        nsd_tolerance_mm=nsd_tolerance_mm,
    )


def merge_folds(folds: Sequence[Summary], labels: Labels) -> Summary:
    """Summarise the cases of all folds as one cross-validation.

    Every case weighs the same, whatever the size of its fold.

    Args:
        folds: One summary per fold.
        labels: Their vocabulary.

    Returns:
        Means over all cases.

    Raises:
        PredictionError: A case is in two folds, or there are no cases, or folds were evaluated differently.

    Source: method.md section 22.
    """
    cases = [case for fold in folds for case in fold.metric_per_case]
    times = Counter(case.reference_file for case in cases)
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


def _check_metrics(cases: Sequence[CaseScores]) -> None:
    first = _asked(cases[0])
    for case in cases:
        if _asked(case) != first:
            raise PredictionError(
                f"{case.prediction_file} has other metrics than {cases[0].prediction_file}; evaluate them together"
            )


def _asked(case: CaseScores) -> set[tuple[str, ...]]:
    return {metrics.asked for metrics in case.metrics.values()}
